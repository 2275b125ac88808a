"""What every estimator of mutual information takes and returns.

Axes: N rows (samples), A units of X, B units of Y. Information is in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.rows import to_tensor

MIN_ROWS = 16
"""Rows below which nothing is estimated: a bin of the coarsest resolution would hold three of them."""
DOUBTS = (
    "",
    "above half the logarithm of the number of rows, which is more than so many rows can support: read it as large",
    "one unit determines the other where both vary continuously, as far as the rows show: the information is infinite, read it as large",
    "too few rows for so many levels without an order: the value is what few rows of each level confirm, and the truth may be larger",
    "rows repeat, so that copies of a row pass for evidence: leave one of each",
    "critics had too few rows for so wide a layer, or learnt these and not what they share: a lower bound that may be far below the truth",
)
"""Reasons not to trust a value, by their number in ``PairwiseInformation.doubts``."""
ABOVE_LIMIT, DETERMINED, SPARSE_LEVELS, REPEATED_ROWS, OVERFITTED = range(1, len(DOUBTS))
REPEATED_SHARE = 0.1
"""Share of the distinct rows that occur more than once, from which rows are taken to repeat."""
CONSTANT_TOLERANCE = 1e-9
"""A unit is constant if its range is at most this share of its largest magnitude: rounding is not information."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PairwiseInformation:
    """Mutual information of every unit of X with every unit of Y, and how well it is known.

    Attributes:
        values: estimates in nats. They are not clipped: estimates of 0 scatter around 0, and clipping would bias their mean.
        stderr: standard error of each value, without any bias; see ``stderr_note``.
        null: what independent units with the same margins are expected to show; it has been taken off ``values``.
        p: chance that independent units depend as strongly in the sample; 1 for a constant unit. For a single pair: many pairs need
            :func:`adjusted`.
        estimator: name of the method that was used.
        samples: rows.
        dead_x: units of X that are constant. Their information is 0.
        dead_y: units of Y that are constant.
        doubts: numbers of the reasons in ``DOUBTS`` not to trust a value, 0 where there is none.
        refined: pairs whose value is by the finer of two estimators; all pairs where there is only one.
        stderr_note: empty where ``values +- 1.96 stderr`` is meant to cover the truth 95 times in 100; otherwise says where it may not.
    """

    values: Float64[Tensor, "A B"]
    stderr: Float64[Tensor, "A B"]
    null: Float64[Tensor, "A B"]
    p: Float64[Tensor, "A B"]
    estimator: str
    samples: int
    dead_x: Bool[Tensor, " A"]
    dead_y: Bool[Tensor, " B"]
    doubts: Int64[Tensor, "A B"]
    refined: Bool[Tensor, "A B"]
    stderr_note: str = ""

    @property
    @verb
    def unreliable(self) -> Bool[Tensor, "A B"]:
        """Pairs whose value is not to be trusted, whatever its standard error; :meth:`why_unreliable` says why."""
        return self.doubts > 0

    @verb
    def why_unreliable(self, x: int, y: int) -> str:
        """The reason not to trust the value of a unit of X and a unit of Y; empty if there is none."""
        return DOUBTS[int(self.doubts[x, y])]


@runtime_checkable
class MutualInformationEstimator(Protocol):
    """A way to estimate the mutual information of all pairs of units."""

    def estimate(
        self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"], *, generator: torch.Generator | None = None
    ) -> PairwiseInformation: ...


def check_units(X: Shaped[Tensor, "N A"], name: str) -> Float64[Tensor, "N A"]:
    """Rows as float64 on the CPU; numbers of any real type, whole numbers and booleans (labels) included.

    Raises:
        WrongType: no tensor, or complex numbers.
        InvalidInput: not rows by units, no unit, or a value that is not finite.
    """
    if not isinstance(X, Tensor):
        raise WrongType(f"{name} is a {type(X).__name__}; expected a tensor [rows, units], for an array torch.from_numpy({name})")
    if X.dim() != 2:
        raise InvalidInput(f"{name} has shape {tuple(X.shape)}; expected [rows, units]; one unit alone is {name}[:, None]")
    if X.is_complex():
        raise WrongType(f"{name} is complex; mutual information is estimated of real units, for instance of magnitudes: {name}.abs()")
    if X.shape[1] == 0:
        raise InvalidInput(f"{name} has shape {tuple(X.shape)}: no units")
    rows = X.detach().to("cpu", torch.float64).contiguous()
    bad = (~rows.isfinite()).nonzero()
    if len(bad):
        row, unit = bad[0].tolist()
        raise InvalidInput(
            f"{name} has {len(bad)} values that are not finite, the first {float(rows[row, unit])} at row {row} of unit {unit};"
            " leave those rows out of X and Y alike"
        )
    return rows


def check_pair(X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N2 B"]) -> tuple[Float64[Tensor, "N A"], Float64[Tensor, "N B"]]:
    """Both sides, checked.

    Raises: as :func:`check_units`, and :class:`InvalidInput` for fewer than 16 rows or for another number of them on one side.
    """
    rows = check_units(X, "X"), check_units(Y, "Y")
    if len(rows[0]) != len(rows[1]):
        raise InvalidInput(f"X has {len(rows[0])} rows and Y has {len(rows[1])}; row n of both must be the same sample")
    require_rows(len(rows[0]))
    return rows


def require_rows(rows: int) -> None:
    """Refuse too few rows.

    Raises:
        InvalidInput: fewer than ``MIN_ROWS``.
    """
    if rows < MIN_ROWS:
        raise InvalidInput(
            f"{rows} rows (samples) are too few for mutual information: at least {MIN_ROWS}, and hundreds for a usable error"
        )


def is_constant(rows: Float64[Tensor, "N A"]) -> Bool[Tensor, " A"]:
    """Units that do not vary by more than rounding."""
    low, high = rows.aminmax(dim=0)
    return high - low <= CONSTANT_TOLERANCE * torch.maximum(low.abs(), high.abs())


def sample_limit_doubts(values: Float64[Tensor, "A B"], rows: int) -> Int64[Tensor, "A B"]:
    """1 for values that so many rows cannot support. Reference: McAllester2020 (no lower bound of more than about ln N can be had)."""
    return (values > 0.5 * log(rows)).long() * ABOVE_LIMIT


def rows_repeat(X: Float64[Tensor, "N A"], Y: Float64[Tensor, "N B"]) -> bool:
    """Whether whole rows occur again, although some unit takes values that no two rows should share.

    Values on a grid (labels, quantised numbers) may well coincide; others that name the row, and come with all others of it, do not. From
    eight copies of each on they are levels like any other, and what levels cannot show is flagged as such.
    """
    bits = torch.cat([X, Y], 1).numpy().view(np.int64)
    factors = np.random.default_rng(0).integers(1, 1 << 62, bits.shape[1]) * 2 + 1
    first, counts = np.unique((bits * factors).sum(1), return_index=True, return_counts=True)[1:]
    if len(first) < MIN_ROWS or (counts > 1).mean() < REPEATED_SHARE or len(X) >= 8 * len(first):
        return False
    return any(_names_rows(np.unique(column), len(first)) for side in (X, Y) for column in side.T.numpy())


def _names_rows(values: np.ndarray, rows: int) -> bool:
    """Whether a unit has a value of its own for every second row at least, and these are on no grid."""
    if len(values) < rows / 2:
        return False
    steps = np.diff(values) / np.diff(values).min()
    return bool((np.abs(steps - steps.round()) > 1e-3).mean() > REPEATED_SHARE)


@verb
def adjusted(p: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
    """p-values adjusted for their number: keeping those of at most q bounds the expected share of false ones among them by q.

    Args:
        p: p-values in [0, 1]; NaN is not allowed.

    Raises:
        InvalidInput: others.

    Reference: Benjamini1995 (step-up, as adjusted p-values).
    """
    given = to_tensor(p)
    if not given.is_floating_point() or not bool(((given >= 0) & (given <= 1)).all()):
        raise InvalidInput("p-values are numbers from 0 to 1, without NaN")
    flat = given.flatten()
    order = flat.argsort(descending=True)
    count = len(flat)
    scaled = flat[order] * count / torch.arange(count, 0, -1, dtype=flat.dtype)
    found = torch.empty_like(flat)
    found[order] = torch.from_numpy(np.minimum.accumulate(scaled.numpy())).clamp_max(1)
    return found.view_as(given)
