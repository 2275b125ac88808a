"""What there is to draw in a flow graph: columns of units and the strongest edges between them, of a size that can be read.

Axes: A units of a layer, F units of the first, L units of the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from numpy import ndarray
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import POSITIVE_COUNT, whole_number, whole_numbers
from vesalius.information.communities import Communities
from vesalius.information.graph import FlowGraph
from vesalius.information.redundancy import RedundantPair
from vesalius.views.flow.layout import layer_blocks, order_units, split_budget, unit_positions

MOST_UNITS = 16
"""Units of a layer that are drawn, those with the most flow through them."""

MOST_EDGES = 150
EDGES_PER_PAIR = 20
"""Edges drawn of a shallow network, and between each two layers of a deep one; the strongest."""

MOST_COMMUNITY_EDGES = 6000
"""Edges up to which communities are looked for among all."""

MOST_BETWEENNESS_EDGES = 500_000
"""Edges up to which shortest paths are looked for among all."""

MOST_LISTED_PER_LAYER = 5
MOST_LISTED = 24
"""Units of a layer that are listed, and of all layers."""

MOST_COMPARISONS = 3e9
"""Comparisons of edges that looking for redundant units may take."""

MIN_SLOTS = 6
IMAGE_SLOTS = 9
"""Least height of a drawing, and of one with a picture of the inputs, in units."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowStatistics:
    """What is computed of a graph once, for all that is drawn of it.

    Attributes:
        betweenness: by layer.
        through: share of all flow through each unit, by layer.
        communities: of all units, or of the strongest edges of a large graph.
        edges: that the graph has.
        analysed: of them, those that communities were looked for among.
        paths_thinned: whether betweenness, too, is of those alone.
    """

    betweenness: Mapping[str, Float64[Tensor, " A"]]
    through: Mapping[str, Float64[Tensor, " A"]]
    communities: Communities
    edges: int
    analysed: int
    paths_thinned: bool = False

    def community(self, layer: str, position: int) -> int | None:
        """The community of a unit; ``None`` for one without edges."""
        found = int(self.communities.of[layer][position])
        return found if found < self.communities.count else None


@dataclass(frozen=True, kw_only=True)
class DrawnUnit:
    """A drawn unit.

    Attributes:
        layer: number of its layer.
        position: in the layer.
        name: with its layer, for people.
        label: without.
        dead: whether it is constant.
        community: 0 is the largest; ``None`` without edges.
        betweenness: shortest paths through it.
        size: the same, as a share of the largest in the graph.
        through: share of all flow that passes through it.
        into: sum of the weights of the edges that come in.
        out: of those that go out.
        down: place in its column, in slots from the top.
    """

    layer: int
    position: int
    name: str
    label: str
    dead: bool
    community: int | None
    betweenness: float
    size: float
    through: float
    into: float
    out: float
    down: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class DrawnLayer:
    """A layer.

    Attributes:
        units: numbers of its drawn units in ``FlowDrawing.units``, from the top; none where there is a picture.
        others: units that are not drawn.
        dead: how many of those are dead.
        share: of all flow, that passes through the others.
        image: what flows out of each pixel, where the units are the pixels of one.
    """

    name: str
    kind: str
    units: tuple[int, ...]
    others: int = 0
    dead: int = 0
    share: float = 0.0
    image: Float[ndarray, "height width"] | None = None


@dataclass(frozen=True, kw_only=True)
class DrawnEdge:
    """An edge, or all edges from a picture to a unit.

    Attributes:
        first: number of a unit in ``FlowDrawing.units``; ``None`` for the picture.
        second: the same.
        weight: the flow, or its sum over pixels.
        width: as a share of the widest.
        start: where it leaves the picture, as a share of the height.
    """

    first: int | None
    second: int
    weight: float
    width: float
    start: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FlowDrawing:
    """A layered drawing.

    Attributes:
        slots: its height, in units.
        left_out: edges that are not drawn.
        shape: of the picture, if there is one.
        blocks: modules that several columns are parts of: name, first and last column.
    """

    columns: tuple[DrawnLayer, ...]
    units: tuple[DrawnUnit, ...]
    links: tuple[DrawnEdge, ...]
    slots: float
    left_out: int
    shape: tuple[int, ...] | None
    blocks: tuple[tuple[str, int, int], ...] = ()

    @property
    def pictured(self) -> bool:
        """Whether the first column is a picture."""
        return self.columns[0].image is not None


def require_flow_graph(graph: object, what: str) -> None:
    """Refuse anything else.

    Raises:
        WrongType.
    """
    if not isinstance(graph, FlowGraph):
        raise WrongType(f"{what} shows a FlowGraph, not {type(graph).__name__}; make one with vesalius.information_flow(...)")


def image_shape(graph: FlowGraph, shape: Sequence[int] | None) -> tuple[int, ...] | None:
    """Height and width of the image that the first layer is, channels before them: as given, or the graph's ``provenance["shape"]``.

    Raises:
        InvalidInput: a shape of another number of units.
    """
    given = shape or graph.provenance.get("shape")
    if not given:
        return None
    found = whole_numbers("shape", given, POSITIVE_COUNT)
    if len(found) not in (2, 3) or prod(found) != len(graph.layers[0]):
        raise InvalidInput(
            f"layer {graph.names[0]!r} has {len(graph.layers[0])} units; a shape of {found} is none of an image of so many:"
            " give (height, width) or (channels, height, width)"
        )
    return found


def flow_statistics(graph: FlowGraph) -> FlowStatistics:
    """Betweenness, flow and communities; of a large graph, communities of the strongest edges between each two layers.

    Of a very large one, betweenness of these alone as well.
    """
    edges = [int(part.kept.sum()) for part in graph.edges]
    small = graph if sum(edges) <= MOST_COMMUNITY_EDGES else keep_strongest(graph, split_budget(edges, MOST_COMMUNITY_EDGES))
    return FlowStatistics(
        betweenness=(small if sum(edges) > MOST_BETWEENNESS_EDGES else graph).betweenness(),
        through=graph.through(),
        communities=small.communities(),
        edges=sum(edges),
        analysed=sum(int(part.kept.sum()) for part in small.edges),
        paths_thinned=sum(edges) > MOST_BETWEENNESS_EDGES,
    )


def keep_strongest(graph: FlowGraph, counts: Sequence[int]) -> FlowGraph:
    """The graph with so many edges between each two layers, the strongest, and more only where several are as strong as the last."""
    edges = []
    for part, count in zip(graph.edges, counts, strict=True):
        least = part.flow.flatten().topk(count).values[-1] if count else float("inf")
        edges.append(replace(part, flow=torch.where(part.flow >= least, part.flow, 0)))
    return replace(graph, edges=tuple(edges))


def unit_name(graph: FlowGraph, at: int, position: int, shape: tuple[int, ...] | None) -> str:
    """A unit for people; a pixel by its row and column."""
    if at or shape is None:
        return graph.layers[at].title(position)
    spot = ", ".join(str(place) for place in np.unravel_index(position, shape))
    return f"{graph.names[0]}[{spot}]"


def sum_channels(values: Float[Tensor, " F"], shape: tuple[int, ...]) -> Float[ndarray, "height width"]:
    """One value per unit of an image in its place, channels added up."""
    image = values.numpy().reshape(shape)
    return np.asarray(image.sum(0) if image.ndim == 3 else image)


def flow_drawing(
    graph: FlowGraph,
    reading: FlowStatistics,
    *,
    most_units: int = MOST_UNITS,
    most_edges: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> FlowDrawing:
    """A drawing of a graph.

    Args:
        graph: any.
        reading: of the same graph.
        most_units: drawn per layer, at least 1.
        most_edges: drawn in all, edges from a picture not counted; by default 150, or 20 for each layer pair if that is more.
        shape: of the image that the first layer is, from :func:`image_shape`.

    Raises:
        InvalidInput: no units or edges asked for.
    """
    most_edges = max(MOST_EDGES, EDGES_PER_PAIR * len(graph.edges)) if most_edges is None else most_edges
    most_units = whole_number("most_units", most_units, POSITIVE_COUNT)
    most_edges = whole_number("most_edges", most_edges, POSITIVE_COUNT)
    chosen = [_choose_units(graph, reading, at, most_units) for at in range(len(graph))]
    if shape is not None:
        chosen[0] = []
    pairs = graph.structure.pairs
    blocks = [flow[chosen[first]][:, chosen[second]] for flow, (first, second) in zip(graph.flows, pairs, strict=True)]
    counts = split_budget([int((block > 0).sum()) for block in blocks], most_edges)
    ends = [_largest_entries(block, count) for block, count in zip(blocks, counts, strict=True)]
    weights = [block.numpy()[tuple(part.T)] for block, part in zip(blocks, ends, strict=True)]
    order = order_units([len(part) for part in chosen], pairs, ends, weights)
    slots = max(*map(len, chosen), IMAGE_SLOTS if shape else MIN_SLOTS)
    units, columns = _drawn_layers(graph, reading, [[chosen[at][slot] for slot in part] for at, part in enumerate(order)], slots)
    named = [[(chosen[a][i], chosen[b][j]) for i, j in part.tolist()] for (a, b), part in zip(pairs, ends, strict=True)]
    links, drawn = _drawn_edges(units, pairs, named, weights), sum(counts)
    if shape is not None:
        read = [(graph.flows[place], pairs[place][1]) for place in graph.structure.out_of[0]]
        image = sum_channels(torch.stack([flow.sum(1) for flow, _ in read]).sum(0), shape)
        columns[0] = replace(columns[0], others=0, dead=0, share=0.0, image=image)
        fed = [(place, float(flow[:, units[place].position].sum())) for flow, at in read for place in columns[at].units]
        links, drawn = _image_edges(units, fed) + links, drawn + sum(int((flow[:, chosen[at]] > 0).sum()) for flow, at in read)
    return FlowDrawing(
        columns=tuple(columns),
        units=tuple(units),
        links=tuple(links),
        slots=float(slots),
        left_out=reading.edges - drawn,
        shape=shape,
        blocks=tuple(layer_blocks(graph.names)),
    )


def _drawn_edges(
    units: Sequence[DrawnUnit],
    pairs: Sequence[tuple[int, int]],
    ends: Sequence[Sequence[tuple[int, int]]],
    weights: Sequence[Float[ndarray, " _"]],
) -> list[DrawnEdge]:
    """Edges between units, by the numbers of the units."""
    number = {(unit.layer, unit.position): place for place, unit in enumerate(units)}
    widest = max((float(part.max()) for part in weights if len(part)), default=1.0)
    return [
        DrawnEdge(first=number[at, i], second=number[behind, j], weight=weight, width=weight / widest)
        for (at, behind), part, heavy in zip(pairs, ends, weights, strict=True)
        for (i, j), weight in zip(part, heavy.tolist(), strict=True)
    ]


def top_betweenness(graph: FlowGraph, reading: FlowStatistics) -> list[tuple[str, int]]:
    """The units with the largest betweenness of each layer, fewer of each in a deep network; those on no shortest path are left out."""
    inner = [layer for layer in graph.names if layer not in (*graph.sources, *graph.sinks)]
    most = max(1, min(MOST_LISTED_PER_LAYER, MOST_LISTED // max(len(inner), 1)))
    found = []
    for layer in inner:
        ranked = reading.betweenness[layer].sort(descending=True, stable=True)
        found += [(layer, int(unit)) for unit, value in zip(ranked.indices[:most], ranked.values, strict=False) if value > 0]
    return found


def redundant_units(graph: FlowGraph) -> tuple[RedundantPair, ...] | None:
    """Redundant units; ``None`` where looking for them would take minutes."""
    near = [0] * len(graph)
    for first, second in graph.structure.pairs:
        near[first] += len(graph.layers[second])
        near[second] += len(graph.layers[first])
    effort = sum(len(layer) ** 2 * edges for layer, edges in zip(graph.layers, near, strict=True))
    return graph.redundant() if effort <= MOST_COMPARISONS else None


def _choose_units(graph: FlowGraph, reading: FlowStatistics, at: int, most: int) -> list[int]:
    """Units of a layer to draw, in their own order: all of a small one, else those with the most flow through them."""
    layer = graph.layers[at]
    if len(layer) <= most:
        return list(range(len(layer)))
    strength = _flow_in_and_out(graph, at)[0] + _flow_in_and_out(graph, at)[1]
    through = reading.through[layer.name]
    ranked = sorted(range(len(layer)), key=lambda unit: (-float(through[unit]), -float(strength[unit]), unit))
    return sorted(ranked[:most])


def _flow_in_and_out(graph: FlowGraph, at: int) -> tuple[Float64[Tensor, " A"], Float64[Tensor, " A"]]:
    """What comes into every unit of a layer, and what goes out."""
    none = torch.zeros(len(graph.layers[at]), dtype=torch.float64)
    into = sum((graph.flows[place].sum(0) for place in graph.structure.into[at]), none)
    return into, sum((graph.flows[place].sum(1) for place in graph.structure.out_of[at]), none)


def _largest_entries(block: Float64[Tensor, "A B"], count: int) -> Int[ndarray, "K 2"]:
    """Places of the largest entries."""
    ranked = block.flatten().sort(descending=True, stable=True).indices[:count].numpy()
    return np.stack(np.unravel_index(ranked, tuple(block.shape)), 1).reshape(-1, 2)


def _drawn_layers(
    graph: FlowGraph, reading: FlowStatistics, shown: Sequence[Sequence[int]], slots: float
) -> tuple[list[DrawnUnit], list[DrawnLayer]]:
    """The units of every layer in their order, and their columns."""
    largest = max(float(part.max()) for part in reading.betweenness.values()) or 1.0
    units: list[DrawnUnit] = []
    columns = []
    for at, (layer, part) in enumerate(zip(graph.layers, shown, strict=True)):
        into, out = _flow_in_and_out(graph, at)
        between, through = reading.betweenness[layer.name], reading.through[layer.name]
        start = len(units)
        for position, down in zip(part, unit_positions(len(part), slots), strict=True):
            units.append(
                DrawnUnit(
                    layer=at, position=position, name=layer.title(position), label=layer.units[position], dead=bool(layer.dead[position]),
                    community=reading.community(layer.name, position), betweenness=float(between[position]),
                    size=float(between[position]) / largest, through=float(through[position]), into=float(into[position]),
                    out=float(out[position]), down=down,
                )
            )  # fmt: skip
        rest = torch.ones(len(layer), dtype=torch.bool)
        rest[list(part)] = False
        columns.append(
            DrawnLayer(
                name=layer.name, kind=layer.kind, units=tuple(range(start, len(units))), others=int(rest.sum()),
                dead=int((rest & layer.dead).sum()), share=float(through[rest].sum()),
            )
        )  # fmt: skip
    return units, columns


def _image_edges(units: Sequence[DrawnUnit], fed: Sequence[tuple[int, float]]) -> list[DrawnEdge]:
    """From a picture to each unit that reads it: the sum over pixels, in the order of the units, so that few cross.

    Args:
        units: all that are drawn.
        fed: numbers of units that read the picture, and what flows to each.
    """
    some = sorted(((place, flow) for place, flow in fed if flow > 0), key=lambda one: (units[one[0]].down, units[one[0]].layer))
    widest = max((flow for _, flow in some), default=1.0)
    return [
        DrawnEdge(first=None, second=place, weight=flow, width=flow / widest, start=(rank + 0.5) / len(some))
        for rank, (place, flow) in enumerate(some)
    ]
