"""Pairs of units of many levels, whose joint table is too sparse to be counted: what it says of rows that it has not seen.

Axes: N rows, K levels of a unit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64
from numpy.typing import NDArray
from torch import Tensor


class LevelInformation(NamedTuple):
    """Information of two units of levels, from below and from above.

    Attributes:
        lower: by rows that are left out; it lacks what single rows cannot show.
        upper: plug-in, less its bias to first order; it has what sparse cells invent.
        variance: of what a row adds to ``lower``.
    """

    lower: float
    upper: float
    variance: float


MOST_DISTINCT = 0.25
"""Distinct values of a unit, as a share of the rows, up to which they are levels."""
MOST_UNSHARED = 0.1
"""Share of the rows with a value of their own, up to which a unit consists of levels."""


def count_levels(rows: Float64[Tensor, "N A"]) -> tuple[Float64[Tensor, " A"], Bool[Tensor, " A"]]:
    """How many values each unit takes that several rows share, 0 for a continuous one, with its own value in most rows; and whether it
    consists of such levels, with its own value in few rows."""
    same = torch.from_numpy(np.sort(rows.T.contiguous().numpy(), axis=1)).T.diff(dim=0) == 0
    shared = same[0].long() + (same[1:] & ~same[:-1]).sum(0)
    distinct = (~same).sum(0) + 1
    few = distinct <= MOST_DISTINCT * len(rows)
    return torch.where(few, shared, 0).double(), few & (distinct - shared <= MOST_UNSHARED * len(rows))


def shuffle_levels(rows: Float64[Tensor, "N A"], generator: torch.Generator | None) -> Float64[Tensor, "N A"]:
    """The same units with their levels named anew at random: information is that of before, but neighbouring levels are neighbours no more.

    Units without levels stay as they are.
    """
    found = rows.clone()
    for unit in count_levels(rows)[0].nonzero().flatten().tolist():
        levels, which = rows[:, unit].unique(return_inverse=True)
        found[:, unit] = torch.randperm(len(levels), generator=generator)[which].double()
    return found


def level_information(x: NDArray[np.float64], y: NDArray[np.float64]) -> LevelInformation:
    """Information of levels without any order.

    Each row in turn is left out, and its chance given the other unit's level is that of the rest, discounted by what rows seen once tell of
    those not seen, which goes to all levels by how frequent they are. The mean log ratio of that chance to the level's own is below the
    information on average. The mean of both directions is taken.

    Reference: NeyEssenKneser1994 (absolute discounting), of which this is the leave-one-out form; Miller1955 (bias of the plug-in).
    """
    code_x, code_y = (np.unique(side, return_inverse=True)[1] for side in (x, y))
    width = int(code_y.max()) + 1
    cells, count = np.unique(code_x * width + code_y, return_counts=True)
    at = cells // width, cells % width
    margins = np.bincount(code_x), np.bincount(code_y)
    n = len(x)
    once, twice = int((count == 1).sum()), int((count == 2).sum())
    discount = min(once / max(once + 2 * twice, 1), 1.0)
    local = (_left_out(count, at, margins, discount) + _left_out(count, at[::-1], margins[::-1], discount)) / 2
    lower = float((count * local).sum() / n)
    plug_in = float((count * np.log(count * n / (margins[0][at[0]] * margins[1][at[1]]))).sum() / n)
    bias = (len(count) - len(margins[0]) - len(margins[1]) + 1) / (2 * n)
    return LevelInformation(lower, plug_in - bias, float((count * np.square(local - lower)).sum() / n))


def _left_out(
    count: NDArray[np.int64], at: tuple[np.ndarray, ...], margins: tuple[np.ndarray, ...], discount: float
) -> NDArray[np.float64]:
    """Log ratio of the chance of the second level given the first to its chance alone, for a row of each cell that is left out."""
    others, rest = count - 1, margins[0][at[0]] - 1
    alone = np.maximum(margins[1][at[1]] - 1, 0.5) / (margins[1].sum() - 1)
    seen = np.bincount(at[0], minlength=len(margins[0]))[at[0]] - (count == 1)
    given = (np.maximum(others - discount, 0) + discount * seen * alone) / np.maximum(rest, 1)
    found: NDArray[np.float64] = np.log(np.where(rest > 0, np.maximum(given, 1e-12), alone) / alone)
    return found
