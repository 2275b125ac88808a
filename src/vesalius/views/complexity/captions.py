"""What a disentangled feature says, in words."""

from __future__ import annotations

from vesalius.complexity.compare import ComponentProfile
from vesalius.complexity.components import Complexity
from vesalius.views import style
from vesalius.views.complexity.chart_data import order_bands

HEADING = "Feature complexity"
COMPARISON_HEADING = "One feature in several networks"


def summary(found: Complexity) -> str:
    """The finding, in a few sentences."""
    rest, known = float(found.residual.mean()), zip(found.gain.mean(0).tolist(), order_bands(found.orders), strict=True)
    shares = [f"{style.percent(share)} {_band_phrase(band)}" for share, band in known if share > 0]
    told = f"Of the variance of {found.at}, {style.join_words(shares)}" if shares else f"No order explains any of {found.at}"
    return f"{told}{'' if rest < 0 else f'; {style.percent(rest)} is unexplained (rest)'}."


def _band_phrase(band: str) -> str:
    if band == "0":
        return "is linear in the input"
    return f"takes {band} nonlinear layer{'' if band == '1' else 's'}"


def facts(found: Complexity) -> dict[str, str]:
    """What it rests on."""
    known, rows = found.provenance, found.provenance.get("rows", {})
    cost = known.get("cost", {})
    seconds = cost.get("seconds") if isinstance(cost, dict) else None
    return {
        "feature": found.at,
        **({"measured on": f"{style.pluralize(int(rows['held']), 'row')} of {int(rows['all']):,}, not trained on"} if rows else {}),
        "seeds": str(len(found.nets)),
        "unexplained": style.percent(float(found.residual.mean())),
        **({"took": f"{style.number(float(seconds))} s"} if seconds else {}),
    }


def notes(profile: ComponentProfile) -> list[str]:
    """What must be known before these numbers are believed."""
    found = profile.complexity
    told = [
        "An order is how many nonlinear layers a network of this width, on this many rows, needed to predict the feature: what it could do"
        " with fewer, had it been wider or trained longer, is not known."
    ]
    alone = [band for band, kept in zip(order_bands(found.orders), found.kept.any(0).tolist(), strict=True) if not kept]
    if alone:
        told.append(f"Nothing of order {style.join_words(alone)} was found: a deeper net was no better on rows it had not seen.")
    if profile.coalitions is not None:
        told.append(
            "Effectiveness is each component's Shapley value for the fall of the training loss, over-fitting its Shapley value for the"
            " difference of test and training loss; bars are two standard errors."
        )
    return told
