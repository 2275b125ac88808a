"""Ways through a flow graph: the strongest from end to end, and those through each drawn unit; and what each unit is fed.

Axes: F units of the first layer, L units of the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from torch import Tensor

from vesalius.information import paths
from vesalius.information.graph import FlowGraph
from vesalius.information.layer_graph import LayerGraph
from vesalius.views.flow.chart_data import FlowDrawing, sum_channels, unit_name

MOST_PATHS = 5
"""Paths listed."""

MOST_NAMES = 6
"""Units of a path that are all named."""

MOST_UNIT_PATHS = 3
"""Paths highlighted of a unit."""


@dataclass(frozen=True, kw_only=True)
class NamedPath:
    """A way from the first layer to the last.

    Attributes:
        names: of its units.
        share: of all flow, the sum over all paths.
    """

    names: tuple[str, ...]
    share: float

    @property
    def words(self) -> str:
        """Its units, those in the middle of a long path counted."""
        names = self.names
        if len(names) > MOST_NAMES:
            names = (*names[: MOST_NAMES - 3], f"{len(names) - MOST_NAMES + 1} more", *names[-2:])
        return " \N{RIGHTWARDS ARROW} ".join(names)


@dataclass(frozen=True, kw_only=True)
class DrawnPath:
    """A path through drawn units.

    Attributes:
        stops: numbers in ``FlowDrawing.units``.
        pixel: row and column of where it starts, if that is on a picture.
    """

    stops: tuple[int, ...]
    pixel: tuple[int, int] | None
    path: NamedPath


def flow_shares(graph: FlowGraph) -> Float64[Tensor, "F L"]:
    """What flows from every unit of the first layer to every unit of the last, as shares of all; 0 where nothing flows."""
    flow = graph.attribution()
    total = flow.sum()
    return flow / total if total > 0 else flow


def strongest_named_paths(graph: FlowGraph, *, shape: tuple[int, ...] | None = None, most: int = MOST_PATHS) -> list[NamedPath]:
    """The paths with the largest products of weights."""
    total = float(graph.attribution().sum())
    return [
        NamedPath(names=tuple(unit_name(graph, graph.place(layer), unit, shape) for layer, unit in path.units), share=path.product / total)
        for path in graph.strongest_paths(k=most)
    ]


def paths_through_units(graph: FlowGraph, net: FlowDrawing, *, most: int = MOST_UNIT_PATHS) -> list[list[DrawnPath]]:
    """For each drawn unit, the strongest paths through it that visit drawn units only; anything on a picture is drawn."""
    shown = [[net.units[place].position for place in column.units] for column in net.columns]
    if net.pictured:
        shown[0] = list(range(len(graph.layers[0])))
    drawn = LayerGraph(tuple(map(len, shown)), graph.structure.pairs)
    blocks = [flow[shown[first]][:, shown[second]] for flow, (first, second) in zip(graph.flows, drawn.pairs, strict=True)]
    before = paths.best_ways(drawn, blocks, most, dict.fromkeys(drawn.sources, paths.ALL_UNITS))
    after = paths.best_ways(drawn.reverse, [block.T for block in blocks], most, dict.fromkeys(drawn.reverse.sources, paths.ALL_UNITS))
    total = float(graph.attribution().sum())
    found: list[list[DrawnPath]] = []
    for at, column in enumerate(net.columns):
        for slot in range(len(column.units)):
            ways = _strongest_through(before, after, (at, slot), most)
            found.append([_drawn_path(graph, net, shown, way, product / total) for way, product in ways])
    return found


def input_maps(graph: FlowGraph, net: FlowDrawing) -> list[Float[ndarray, "height width"]]:
    """For each drawn unit, what flows into it from every pixel, over all paths. Only where the first layer is a picture."""
    assert net.shape is not None
    into, none = paths.sums_from(graph.structure, graph.flows, 0), torch.zeros(len(graph.layers[0]), dtype=torch.float64)
    return [sum_channels(into[unit.layer][:, unit.position] if unit.layer in into else none, net.shape) for unit in net.units]


Way = tuple[tuple[int, int], ...]
"""Numbers of layers, and slots of units there."""


def _strongest_through(before: paths.BestWays, after: paths.BestWays, unit: tuple[int, int], most: int) -> list[tuple[Way, float]]:
    """The strongest ways from end to end through one unit: the best ways to it, each with the best ways on."""
    at, slot = unit
    last = len(before.best) - 1
    onward = [(tuple((last - layer, place) for layer, place in reversed(way)), product) for way, product in after.to(last - at, slot)]
    ways = [((*first, *second[1:]), one * other) for first, one in before.to(at, slot) for second, other in onward]
    return sorted(ways, key=lambda way: -way[1])[:most]


def _drawn_path(graph: FlowGraph, net: FlowDrawing, shown: Sequence[Sequence[int]], way: Way, share: float) -> DrawnPath:
    names = tuple(unit_name(graph, at, shown[at][slot], net.shape) for at, slot in way)
    stops = tuple(net.columns[at].units[slot] for at, slot in way if at or not net.pictured)
    pixel = None
    if net.shape is not None and way[0][0] == 0:
        spot = np.unravel_index(way[0][1], net.shape)[-2:]
        pixel = int(spot[0]), int(spot[1])
    return DrawnPath(stops=stops, pixel=pixel, path=NamedPath(names=names, share=share))
