"""A Taylor profile as a section of a page: how much of the change sits at each size of coalition and each order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from numpy import ndarray

from vesalius.core.errors import WrongType
from vesalius.interactions.taylor import TaylorProfile
from vesalius.views import style
from vesalius.views.html import Section, anchor_of, coloured_text, render_template

HEADING = "Taylor terms by interaction size and order"
MIN_SHARE = 5e-4
"""Shares below this are written as 0."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ProfileGrid:
    """A profile as a table.

    Attributes:
        rows: names of the sizes, and of their sum.
        columns: orders, and what no order accounts for.
        shares: of the change of the output, or in its unit where nothing changed.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    shares: Float[ndarray, "rows columns"]

    @property
    def scale(self) -> float:
        """The largest size."""
        return float(np.abs(self.shares).max()) or 1.0


def profile_grid(profile: TaylorProfile) -> ProfileGrid:
    """All entries and their sums over sizes.

    Raises:
        WrongType: not a profile.
    """
    if not isinstance(profile, TaylorProfile):
        raise WrongType(f"expected a TaylorProfile, not {type(profile).__name__}; make one with vesalius.interactions.taylor_profile")
    effects = np.concatenate([profile.effects.numpy(), profile.remainder.numpy()[:, None]], 1)
    shares = np.concatenate([effects, effects.sum(0)[None]]) / ((profile.total - profile.base) or 1.0)
    sizes, orders = profile.effects.shape
    names = ("single players", "pairs", *(f"coalitions of {size}" for size in range(3, sizes + 1)))[:sizes]
    return ProfileGrid(rows=(*names, "all"), columns=(*(f"order {k}" for k in range(1, orders + 1)), "rest"), shares=shares)


def taylor_profile_section(profile: TaylorProfile) -> Section:
    """A profile as a section of a page."""
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=taylor_profile_body(profile))


def taylor_profile_body(profile: TaylorProfile) -> Markup:
    """The section without its heading.

    Raises:
        WrongType: not a profile.
    """
    grid = profile_grid(profile)
    facts = {"f(b)": style.number(profile.base), "f(x)": style.number(profile.total), "orders": str(profile.effects.shape[1])}
    shares = zip(grid.rows, grid.shares.tolist(), strict=True)
    return render_template(
        "profile.html.j2",
        {
            "verdict": _convergence_verdict(profile),
            "represents": bool(profile.convergence.represents),
            "changed": profile.total != profile.base,
            "columns": grid.columns,
            "rows": [(name, [coloured_text(share, grid.scale, format_share(share)) for share in line]) for name, line in shares],
            "facts": facts,
        },
    )


def format_share(share: float) -> str:
    """A share to three digits after the point, 0 where it would be 0.000."""
    return f"{share:+.3f}".replace("-", style.MINUS) if abs(share) >= MIN_SHARE else "0"


def _convergence_verdict(profile: TaylorProfile) -> style.Verdict:
    return style.Verdict("ok" if bool(profile.convergence.represents) else "bad", profile.convergence.verdict)
