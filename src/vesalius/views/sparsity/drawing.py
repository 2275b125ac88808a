"""The network that is left, as a layered drawing: columns of units, and the links between them that stayed.

Axes: K links between two columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from vesalius.sparsity.links import LINEAR_OPS
from vesalius.views.flow.layout import order_units, split_budget, unit_positions
from vesalius.views.sparsity.chart_data import PrunedLayer

MOST_UNITS = 16
"""Units of a layer that are drawn, those with the most importance."""
MOST_LINKS = 140
MIN_SLOTS = 6


@dataclass(frozen=True, kw_only=True)
class UnitDot:
    """A drawn unit.

    Attributes:
        column: of the drawing.
        position: in its layer.
        down: place in its column, in slots from the top.
        size: its importance as a share of the largest of its column.
        alive: whether a link leads to it, or from it if it is an input.
    """

    column: int
    position: int
    down: float
    size: float
    alive: bool


@dataclass(frozen=True, kw_only=True)
class KeptLink:
    """A link that stayed.

    Attributes:
        first, second: numbers of dots.
        weight: of the pruned network.
        score: its importance.
        width: the same as a share of the largest of its layer.
    """

    first: int
    second: int
    weight: float
    score: float
    width: float


@dataclass(frozen=True, kw_only=True)
class KeptNetwork:
    """A drawing.

    Attributes:
        names: of the columns.
        others: units of each column that are not drawn.
        left_out: links that stayed and are not drawn.
        slots: height.
    """

    names: tuple[str, ...]
    others: tuple[int, ...]
    dots: tuple[UnitDot, ...]
    lines: tuple[KeptLink, ...]
    left_out: int
    slots: float


def layer_chain(cuts: Sequence[PrunedLayer]) -> list[PrunedLayer]:
    """Layers that follow one another, each reading the units of the one before; those after the first that does not are left out."""
    found: list[PrunedLayer] = []
    for cut in cuts:
        plain = cut.links.layer.op in LINEAR_OPS and len(cut.links.layers) == 1
        if not plain or (found and cut.scores.shape[1] != found[-1].scores.shape[0]):
            break
        found.append(cut)
    return found


def kept_network(cuts: Sequence[PrunedLayer], weights: Sequence[Float[Tensor, "_ _"]], *, most_units: int = MOST_UNITS) -> KeptNetwork:
    """What is drawn of layers that follow one another.

    Args:
        cuts: from :func:`layer_chain`, at least one.
        weights: of the pruned network, in the same order.
        most_units: drawn of each layer.
    """
    strengths = _unit_importance(cuts)
    chosen = [_choose_units(strength, most_units) for strength in strengths]
    blocks = [torch.where(cut.mask, cut.scores, 0)[chosen[at + 1]][:, chosen[at]].T for at, cut in enumerate(cuts)]
    counts = split_budget([int((block > 0).sum()) for block in blocks], MOST_LINKS)
    ends = [_largest_entries(block, count) for block, count in zip(blocks, counts, strict=True)]
    heavy = [block.numpy()[tuple(part.T)] for block, part in zip(blocks, ends, strict=True)]
    order = order_units([len(part) for part in chosen], [(at, at + 1) for at in range(len(cuts))], ends, heavy)
    slots = float(max(*map(len, chosen), MIN_SLOTS))
    dots, number = _unit_dots(cuts, chosen, order, strengths, slots)
    lines = []
    for at, (part, scores) in enumerate(zip(ends, heavy, strict=True)):
        for (i, j), score in zip(part.tolist(), scores.tolist(), strict=True):
            source, unit = int(chosen[at][i]), int(chosen[at + 1][j])
            weight = float(weights[at][unit, source])
            width = score / (float(scores.max()) or 1.0)
            lines.append(KeptLink(first=number[at, source], second=number[at + 1, unit], weight=weight, score=score, width=width))
    return KeptNetwork(
        names=("input", *(cut.name for cut in cuts)),
        others=tuple(len(strength) - len(part) for strength, part in zip(strengths, chosen, strict=True)),
        dots=tuple(dots),
        lines=tuple(lines),
        left_out=sum(cut.kept for cut in cuts) - len(lines),
        slots=slots,
    )


def _unit_importance(cuts: Sequence[PrunedLayer]) -> list[Float[Tensor, " _"]]:
    """Importance that is left of each unit: of the links that go out, for the last layer of those that come in."""
    left = [torch.where(cut.mask, cut.scores, 0) for cut in cuts]
    return [*(part.mean(0) for part in left), left[-1].mean(1)]


def _choose_units(strength: Float[Tensor, " A"], most: int) -> Int[Tensor, " K"]:
    """Units to draw, in their own order."""
    return strength.sort(descending=True, stable=True).indices[:most].sort().values


def _largest_entries(block: Float[Tensor, "A B"], count: int) -> Int[ndarray, "K 2"]:
    """Places of the largest entries."""
    ranked = block.flatten().sort(descending=True, stable=True).indices[:count].numpy()
    return np.stack(np.unravel_index(ranked, tuple(block.shape)), 1).reshape(-1, 2)


def _unit_dots(
    cuts: Sequence[PrunedLayer],
    chosen: Sequence[Int[Tensor, " _"]],
    order: Sequence[Sequence[int]],
    strengths: Sequence[Tensor],
    slots: float,
) -> tuple[list[UnitDot], dict[tuple[int, int], int]]:
    """Units from the top, and their numbers by column and position."""
    dots: list[UnitDot] = []
    number: dict[tuple[int, int], int] = {}
    for at, part in enumerate(order):
        alive = cuts[at - 1].mask.any(1) if at else cuts[0].mask.any(0)
        largest = float(strengths[at].max()) or 1.0
        for slot, down in zip(part, unit_positions(len(part), slots), strict=True):
            position = int(chosen[at][slot])
            number[at, position] = len(dots)
            size = float(strengths[at][position]) / largest
            dots.append(UnitDot(column=at, position=position, down=down, size=size, alive=bool(alive[position])))
    return dots, number
