"""Where the units of a layer go: through which values, to which readers; or why they cannot be followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from vesalius.trace.axes import ValueAxes, axis_size
from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.layers import Layer
from vesalius.trace.network import Network
from vesalius.trace.opset import FAMILIES

LINEAR_OPS = frozenset({"linear", "addmm", "matmul", "mm"})
"""Layers each of whose outputs reads all of a row of inputs, never a rim of zeros."""
CONVOLUTION_OPS = frozenset({"conv1d", "conv2d", "conv3d"})
ELEMENTWISE_OPS = FAMILIES["elementwise"] | frozenset(
    "dropout feature_dropout alpha_dropout contiguous clone detach alias to _to_copy neg".split()
)
"""Ops on one element at a time."""
BINARY_OPS = frozenset("add sub rsub mul div prelu pow where maximum minimum".split())
"""The same of two values, one of which may be a parameter."""
POOLED_AXES = {f"{kind}_pool{axes}d": axes for axes in (1, 2, 3) for kind in ("max", "avg", "adaptive_avg", "adaptive_max")} | {
    "upsample_nearest1d": 1,
    "upsample_nearest2d": 2,
    "upsample_bilinear2d": 2,
}
"""Ops on axes of space, each channel by itself, and how many axes."""
RESHAPE_OPS = frozenset("view reshape flatten unflatten squeeze unsqueeze _unsafe_view _reshape_alias".split())
REDUCTION_OPS = frozenset("mean sum amax amin".split())


@dataclass(frozen=True)
class UnitAxis:
    """Where units stand in a value: ``block`` neighbouring elements of an axis are one unit."""

    axis: int
    block: int = 1


@dataclass(frozen=True)
class UnitReader:
    """A layer that reads units, ``block`` of its inputs each."""

    layer: Layer
    block: int

    @property
    def keeps_constants(self) -> bool:
        """Whether what is constant over positions in its input is constant in its output, so that a bias can carry it."""
        return self.layer.op in LINEAR_OPS | CONVOLUTION_OPS


@dataclass(frozen=True)
class UnitDependencies:
    """The units of a layer, followed.

    Attributes:
        layer: whose units.
        readers: layers that read them; together they are all that reads them.
        vectors: names of parameters and buffers with one element per unit, such as those of a batch norm, and the axis.
        reshaped: whether a reshape is on the way, whose sizes the model may have written down.
        why: the reason why they could not be followed to the end; then units of this layer cannot be removed.
    """

    layer: Layer
    readers: tuple[UnitReader, ...] = ()
    vectors: tuple[tuple[str, int], ...] = ()
    reshaped: bool = False
    why: str = ""


class _Blocked(Exception):
    """Units that cannot be followed further, and why."""


def find_dependencies(network: Network) -> dict[str, UnitDependencies]:
    """The units of every layer, followed, by the layer's name.

    Raises:
        NotTraceable: an opaque network.
    """
    model_graph = network.graph("following units")
    uses = _count_uses(model_graph)
    return {name: _follow_units(network, model_graph, layer, uses) for name, layer in network.layers.items()}


def _count_uses(model_graph: ModelGraph) -> Callable[[str], int]:
    """How often a tensor is read in the graph, under any name."""
    counts: dict[int, int] = {}
    homes = {name: tensor.data_ptr() or -place for place, (name, tensor) in enumerate(model_graph.tensors.items(), 1)}
    for node in model_graph.graph.nodes:
        if node.op == "get_attr" and str(node.target) in homes:
            home = homes[str(node.target)]
            counts[home] = counts.get(home, 0) + len(node.users)
    return lambda name: counts.get(homes[name], 0)


def _follow_units(network: Network, model_graph: ModelGraph, layer: Layer, uses: Callable[[str], int]) -> UnitDependencies:
    try:
        return _UnitTracer(network, model_graph, layer, uses).run()
    except _Blocked as found:
        return UnitDependencies(layer=layer, why=str(found))


class _UnitTracer:
    """One pass over the graph, from a layer's output on."""

    def __init__(self, network: Network, model_graph: ModelGraph, layer: Layer, uses: Callable[[str], int]) -> None:
        self.model_graph, self.layer, self.uses = model_graph, layer, uses
        self.axes = network.axes.values
        self.layers = {one.value: one for one in network.layers.values()}
        self.places: dict[Node, UnitAxis] = {}
        self.readers: list[UnitReader] = []
        self.vectors: list[tuple[str, int]] = []
        self.reshaped = False

    def run(self) -> UnitDependencies:
        if self.layer.groups > 1 or self.layer.op not in LINEAR_OPS | CONVOLUTION_OPS:
            raise _Blocked("grouped convolution" if self.layer.groups > 1 else f"layers of kind {self.layer.op} are left alone")
        self._require_single_use(self.layer.weight)
        if self.layer.bias:
            self._require_single_use(self.layer.bias)
        start = self.model_graph.nodes[self.layer.value]
        self.places[start] = UnitAxis(self.layer.unit_axis)
        for node in self.model_graph.graph.nodes:
            if node is not start and not node.meta.get("batch_size"):
                self._visit(node)
        if self.layer.value == self.model_graph.output or not self.readers:
            raise _Blocked("its units are the network's output")
        return UnitDependencies(self.layer, tuple(self.readers), tuple(self.vectors), self.reshaped)

    def _visit(self, node: Node) -> None:
        touched = [source for source in node.all_input_nodes if source in self.places]
        if not touched:
            return
        value: Value | None = node.meta.get("value")
        if node.op == "output":
            raise _Blocked("its units are the network's output")
        if value is None:
            raise _Blocked("its shape is computed with")
        if value.name in self.layers:
            self._read(self.layers[value.name], touched)
            return
        place = self._axis_after(node, value, touched)
        if value.shape[place.axis] != self.layer.units * place.block:
            raise _Blocked(f"{value.name!r} ({value.op}) has another number of units")
        self.places[node] = place

    def _read(self, layer: Layer, touched: list[Node]) -> None:
        place = self.places[touched[0]]
        if len(touched) > 1 or layer.source != touched[0].meta["value"].name:
            raise _Blocked(f"layer {layer.name!r} reads it as a weight")
        if layer.groups > 1:
            raise _Blocked(f"read by the grouped convolution {layer.name!r}")
        axis = len(touched[0].meta["value"].shape) - 1 if layer.op in LINEAR_OPS else 1
        if place.axis != axis or (place.block > 1 and layer.op not in LINEAR_OPS):
            raise _Blocked(f"layer {layer.name!r} reads it along another axis")
        self._require_single_use(layer.weight, f"read by layer {layer.name!r}, whose weight is used several times")
        self.readers.append(UnitReader(layer, place.block))

    def _axis_after(self, node: Node, value: Value, touched: list[Node]) -> UnitAxis:
        """Where the units are after an op."""
        source = touched[0]
        places = {self.places[one] for one in touched}
        if len(places) > 1:
            raise _Blocked(f"{value.name!r} ({value.op}) reads it in two ways")
        place, shape = places.pop(), source.meta["value"].shape
        others = [one for one in node.all_input_nodes if one not in self.places and not one.meta.get("batch_size")]
        if value.op == "batch_norm" or value.op in ELEMENTWISE_OPS | BINARY_OPS:
            self._check_parameters(value, place, shape, others)
            return place
        if others:
            raise _Blocked(f"{value.name!r} ({value.op}) joins it with other values")
        if value.op in POOLED_AXES:
            if (place.axis, place.block, len(shape)) != (1, 1, 2 + POOLED_AXES[value.op]):
                raise _Blocked(f"{value.name!r} ({value.op}) mixes its units")
            return place
        if value.op in RESHAPE_OPS:
            self.reshaped = self.reshaped or value.shape != shape
            return _axis_after_reshape(self.axes[value.name], value, self.layer)
        if value.op in AXIS_AFTER_OP:
            return AXIS_AFTER_OP[value.op](node, place, len(shape))
        if value.op in REDUCTION_OPS:
            return _axis_after_reduction(node, place, len(shape))
        raise _Blocked(f"{value.name!r} ({value.op}) mixes or joins its units")

    def _check_parameters(self, value: Value, place: UnitAxis, shape: tuple[int | None, ...], others: list[Node]) -> None:
        """Parameters that meet the units must be one number, or one per unit."""
        for other in others:
            if other.op != "get_attr":
                raise _Blocked(f"{value.name!r} ({value.op}) joins it with other values")
            tensor = self.model_graph.tensors[str(other.target)]
            if tensor.numel() == 1 and value.op != "batch_norm":
                continue
            along = 0 if value.op in ("batch_norm", "prelu") else place.axis - (len(shape) - tensor.ndim)
            if (
                place.block > 1
                or not 0 <= along < tensor.ndim
                or tensor.shape[along] != self.layer.units
                or tensor.numel() != tensor.shape[along]
            ):
                raise _Blocked(f"{value.name!r} ({value.op}) meets {str(other.target)!r}, which is not one number per unit")
            if value.op in ("batch_norm", "prelu") and place.axis != 1:
                raise _Blocked(f"{value.name!r} ({value.op}) is not along its units")
            self._require_single_use(str(other.target))
            self.vectors.append((str(other.target), along))

    def _require_single_use(self, name: str, why: str = "") -> None:
        if self.uses(name) != 1:
            raise _Blocked(why or f"{name!r} is used several times")


def _axis_after_reshape(axes: ValueAxes, value: Value, layer: Layer) -> UnitAxis:
    """Axes behind the units may be drawn into theirs, and axes of one element come and go."""
    origin = f"{layer.value}:{layer.unit_axis}"
    held = [(at, parts) for at, parts in enumerate(axes.axes) if any(part.origin == origin for part in parts)]
    if len(held) == 1 and axes.batch is not None and axes.batch.is_plain:
        at, parts = held[0]
        size = axis_size(parts)
        if parts[0].origin == origin and parts[0].is_whole and size is not None:
            return UnitAxis(at, size // layer.units)
    raise _Blocked(f"{value.name!r} ({value.op}) takes its units apart")


def _axis_after_permute(node: Node, place: UnitAxis, axes: int) -> UnitAxis:
    order = [int(axis) % axes for axis in node.args[1]]  # type: ignore[arg-type, union-attr]
    return UnitAxis(order.index(place.axis), place.block)


def _axis_after_transpose(node: Node, place: UnitAxis, axes: int) -> UnitAxis:
    one, other = (int(axis) % axes for axis in node.args[1:3])  # type: ignore[arg-type]
    return UnitAxis({one: other, other: one}.get(place.axis, place.axis), place.block)


AXIS_AFTER_OP: Mapping[str, Callable[[Node, UnitAxis, int], UnitAxis]] = {
    "permute": _axis_after_permute,
    "transpose": _axis_after_transpose,
}


def _axis_after_reduction(node: Node, place: UnitAxis, axes: int) -> UnitAxis:
    dims: Any = node.args[1] if len(node.args) > 1 else None
    gone = {int(axis) % axes for axis in ([dims] if isinstance(dims, int) else dims or range(axes))}
    if place.axis in gone:
        raise _Blocked(f"{node.meta['value'].name!r} ({node.meta['value'].op}) mixes its units")
    kept = bool(node.args[2]) if len(node.args) > 2 else bool(node.kwargs.get("keepdim", False))
    return UnitAxis(place.axis - (0 if kept else sum(axis < place.axis for axis in gone)), place.block)
