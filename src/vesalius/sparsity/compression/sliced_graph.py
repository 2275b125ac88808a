"""A traced network without some of its units, as a module: the graph itself, with every size in it that changed.

A user's own code may have sizes written down, such as a number of heads; the graph has them all, and they can be set.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from vesalius.core.errors import InvalidInput
from vesalius.sparsity.compression.dependencies import Elements, UnitGroups
from vesalius.sparsity.compression.partial_norms import channel_norm_with_zeros, layer_norm_with_zeros, rms_norm_with_zeros
from vesalius.sparsity.compression.unit_pass import BATCH
from vesalius.sparsity.compression.unit_recurrent import RECURRENT_RULES, makes_zeros
from vesalius.sparsity.compression.unit_rules import JOINING, expands_for
from vesalius.sparsity.unit_region import evaluate_constant
from vesalius.trace.axis_pass import argument, op_of
from vesalius.trace.network import Network
from vesalius.trace.signature import InputSlot, ModelCall

MODE_ARGUMENT = {"batch_norm": 5, **dict.fromkeys("dropout feature_dropout alpha_dropout".split(), 2)}
"""Where ops have whether the model is trained."""


@final
class GraphModel(nn.Module):
    """A graph that is called as the model was that it was traced from.

    Args:
        graph_module: from the tensors among the arguments to the output.
        call: how the model is called; where it gives a collection of one result, so does this, under its name.
    """

    def __init__(self, graph_module: GraphModule, call: ModelCall) -> None:
        super().__init__()
        self.graph_module = graph_module
        self.places = {at: arg.place for at, arg in enumerate(call.args) if isinstance(arg, InputSlot)}
        self.output = call.output
        self.keywords = {name: arg.place for name, arg in call.kwargs.items() if isinstance(arg, InputSlot)}

    def train(self, mode: bool = True) -> GraphModel:
        """Batch norms and dropouts compute as those of modules do."""
        super().train(mode)
        for node in self.graph_module.graph.nodes:
            if node.op == "call_function" and op_of(node) in MODE_ARGUMENT and len(node.args) > MODE_ARGUMENT[op_of(node)]:
                _set(node, MODE_ARGUMENT[op_of(node)], mode)
        self.graph_module.recompile()
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = {self.places[at]: arg for at, arg in enumerate(args) if at in self.places}
        given |= {self.keywords[name]: arg for name, arg in kwargs.items() if name in self.keywords}
        found = self.graph_module(*(given[place] for place in sorted(given)))
        return found if self.output is None else {str(self.output): found}


def slice_model(network: Network, tensors: Mapping[str, Tensor], units: UnitGroups, gone: Bool[Tensor, " G"]) -> GraphModel:
    """The network on smaller tensors.

    Args:
        network: traced, with a live model.
        tensors: all of its tensors, the smaller ones among them.
        units, gone: groups of units, and which of them the tensors lack.

    Raises:
        InvalidInput: an op that picks elements by their places along units; a model that gives more than one tensor.
    """
    model_graph = network.graph("slicing")
    assert network.call is not None
    if isinstance(network.call.output, tuple) or network.call.function is not None:
        raise InvalidInput("the graph has one tensor as its output, and the model gives more")
    copied = Graph()
    twins: dict[Node, Node] = {}
    copied.output(copied.graph_copy(model_graph.graph, twins))
    sizes = _Sizes(units, gone, {})
    for node, twin in twins.items():
        if node.op == "call_function" and op_of(node) in RESIZE:
            RESIZE[op_of(node)](sizes, node, twin)
        if twin.target is torch.ops.aten.view.default:
            twin.target = torch.ops.aten.reshape.default
    copied.eliminate_dead_code()
    copied.lint()
    held = {name: _as_held(network, name, tensor) for name, tensor in tensors.items()} | sizes.places
    return GraphModel(GraphModule(held, copied), network.call).train(network.call.model.training)


def _as_held(network: Network, name: str, tensor: Tensor) -> Tensor:
    assert network.call is not None
    parameters = dict(network.call.model.named_parameters(remove_duplicate=False))
    return nn.Parameter(tensor, requires_grad=parameters[name].requires_grad) if name in parameters else tensor


@dataclass(frozen=True, eq=False)
class _Sizes:
    """How many elements of values are left.

    Attributes:
        units, gone: as for :func:`slice_model`.
        places: of units that are picked by their places, under the names of new tensors.
    """

    units: UnitGroups
    gone: Bool[Tensor, " G"]
    places: dict[str, Tensor]

    def kept(self, node: Any) -> list[Bool[Tensor, " _"]] | None:
        """Which elements are left along each axis of a value; ``None`` if all are."""
        if isinstance(node, Node) and node.op == "get_attr":
            return self.of(self.units.axes[str(node.target)])
        name = node.meta["value"].name if isinstance(node, Node) and "value" in node.meta else ""
        return self.of(self.units.values.get(name))

    def of(self, groups: Elements | None) -> list[Bool[Tensor, " _"]] | None:
        """The same from the groups of elements."""
        if groups is None:
            return None
        if isinstance(groups, tuple):
            along = [~self.units.is_gone(axis, self.gone) for axis in groups]
            return None if all(bool(one.all()) for one in along) else along
        stays = ~self.units.is_gone(groups, self.gone)
        if bool(stays.all()):
            return None
        return [stays.movedim(axis, 0).reshape(stays.shape[axis], -1).any(1) for axis in range(stays.ndim)]


Resize = Callable[[_Sizes, Node, Node], None]


def _set(twin: Node, place: int, value: Any) -> None:
    twin.args = (*twin.args[:place], value, *twin.args[place + 1 :])


def _list_of_sizes(sizes: _Sizes, node: Node, twin: Node) -> None:
    """``view`` and ``expand``: a size per axis of the result."""
    if (kept := sizes.kept(node)) is None:
        return
    given: list[Any] = list(twin.args[1])  # type: ignore[arg-type]
    ahead = len(kept) - len(given)
    for at, size in enumerate(given):
        left = kept[at + ahead]
        if size == -1 or bool(left.all()):
            continue
        given[at] = int(left.sum()) if isinstance(size, int) else _times_batch(twin, size, int(left.sum()) // BATCH)
    _set(twin, 1, given)


def _times_batch(twin: Node, size: Node, count: int) -> Node:
    """The batch size times a number, where a size was the batch size times another."""
    while size.target is not torch.ops.aten.sym_size.int:
        size = next(arg for arg in size.args if isinstance(arg, Node))
    with twin.graph.inserting_before(twin):
        return twin.graph.call_function(operator.mul, (size, count))


def _unflatten(sizes: _Sizes, node: Node, twin: Node) -> None:
    if (kept := sizes.kept(node)) is None:
        return
    given: Any = twin.args[2]
    start = int(node.args[1]) % (len(kept) - len(given) + 1)  # type: ignore[arg-type]
    _set(twin, 2, [size if size == -1 else int(kept[start + at].sum()) for at, size in enumerate(given)])


def _split(sizes: _Sizes, node: Node, twin: Node) -> None:
    """Parts of other sizes than those that were written down."""
    dim = int(argument(node, 2, "dim", 0))
    parts = sizes.units.parts.get(node.meta["value"].name, ())
    kept = [sizes.of(groups) for groups in parts]
    if all(one is None for one in kept):
        return
    whole = [len(one[dim]) if isinstance(one, tuple) else one.shape[dim] for one in parts]
    counts = [size if left is None else int(left[dim].sum()) for size, left in zip(whole, kept, strict=True)]
    twin.target = torch.ops.aten.split_with_sizes.default
    twin.args, twin.kwargs = (twin.args[0], counts, dim), {}


def _slice(sizes: _Sizes, node: Node, twin: Node) -> None:
    if (kept := sizes.kept(node.args[0])) is None:
        return
    dim = int(argument(node, 1, "dim", 0))
    left = kept[dim]
    start, end, step = argument(node, 2, "start", 0) or 0, argument(node, 3, "end", None), argument(node, 4, "step", 1)
    if bool(left.all()) or not isinstance(start, int):
        return
    places = torch.arange(len(left))[start : end if isinstance(end, int) else None : step]
    if step != 1:
        _pick(sizes, twin, dim, left, places)
    else:
        first = int(places[0]) if len(places) else 0
        twin.args = (twin.args[0], dim, int(left[:first].sum()), int(left[: first + len(places)].sum()))
        twin.kwargs = {}


def _pick(sizes: _Sizes, twin: Node, dim: int, left: Bool[Tensor, " _"], places: Int[Tensor, " _"]) -> None:
    """Units by where they stand now, those that are gone left out."""
    name = f"places_{len(sizes.places)}"
    tensor = next(iter(sizes.units.network.parameters.values()))
    sizes.places[name] = (left.long().cumsum(0) - 1)[places[left[places]]].to(tensor.device)
    with twin.graph.inserting_before(twin):
        held = twin.graph.get_attr(name)
    twin.target = torch.ops.aten.index_select.default
    twin.args, twin.kwargs = (twin.args[0], dim, held), {}


def _select(sizes: _Sizes, node: Node, twin: Node) -> None:
    if (kept := sizes.kept(node.args[0])) is None:
        return
    dim, place = int(node.args[1]), int(node.args[2])  # type: ignore[arg-type]
    left = kept[dim]
    if not bool(left.all()):
        _set(twin, 2, int(left[: place % len(left)].sum()))


def _index(sizes: _Sizes, node: Node, twin: Node) -> None:
    """Elements picked by their places: those of units are others now."""
    if (kept := sizes.kept(node.args[0])) is None:
        return
    given = argument(node, 1, "indices")
    picked: list[tuple[int, Any]] = (
        [(at, one) for at, one in enumerate(given) if one is not None] if op_of(node) == "index" else [(int(given), node.args[2])]
    )
    if all(bool(kept[axis].all()) for axis, _ in picked):
        return
    places = evaluate_constant(sizes.units.network.axes, picked[0][1]) if len(picked) == 1 else None
    if places is None or places.ndim != 1 or places.is_floating_point():
        raise InvalidInput(f"{node.meta['value'].name!r} picks units by places that are computed, or along several axes")
    axis = picked[0][0]
    every = torch.arange(len(kept[axis]))
    _pick(sizes, twin, axis, kept[axis], every[places.cpu()])


def _pad(sizes: _Sizes, node: Node, twin: Node) -> None:
    """Fewer zeros beside units."""
    if (kept := sizes.kept(node)) is None:
        return
    before: Any = node.meta["value"].shape
    sides = list(argument(node, 1, "pad"))
    for at in range(len(sides) // 2):
        axis, ahead, behind = len(kept) - 1 - at, *sides[2 * at : 2 * at + 2]
        if not bool(kept[axis].all()) and min(ahead, behind) < 0:
            raise InvalidInput(f"{node.meta['value'].name!r} crops units")
        if before[axis] is not None:
            sides[2 * at] = int(kept[axis][:ahead].sum()) if ahead > 0 else ahead
            sides[2 * at + 1] = int(kept[axis][len(kept[axis]) - behind :].sum()) if behind > 0 else behind
    _set(twin, 1, sides)


def _groups(sizes: _Sizes, node: Node, twin: Node) -> None:
    """Fewer groups of channels."""
    groups, kept = argument(node, 6, "groups", 1), sizes.kept(node.args[0])
    if groups > 1 and kept is not None:
        _set(twin, 6, groups * int(kept[1].sum()) // len(kept[1]))


def _layer_norm(sizes: _Sizes, node: Node, twin: Node) -> None:
    over = len(argument(node, 1, "normalized_shape"))
    if (kept := sizes.kept(node.args[0])) is None or all(bool(one.all()) for one in kept[-over:]):
        return
    total, scale, shift = prod(map(len, kept[-over:])), argument(twin, 2, "weight"), argument(twin, 3, "bias")
    if op_of(node) == "rms_norm":
        twin.target, twin.args = rms_norm_with_zeros, (twin.args[0], total, scale, argument(twin, 3, "eps"))
    else:
        twin.target, twin.args = layer_norm_with_zeros, (twin.args[0], total, scale, shift, argument(twin, 4, "eps", 1e-5), over)
    twin.kwargs = {}


def _group_norm(sizes: _Sizes, node: Node, twin: Node) -> None:
    if (kept := sizes.kept(node.args[0])) is None:
        return
    groups, total, left = int(node.args[1]), len(kept[1]), int(kept[1].sum())  # type: ignore[arg-type]
    if groups > 1:
        _set(twin, 1, groups * left // total)
        return
    scale, shift = argument(twin, 2, "weight"), argument(twin, 3, "bias")
    twin.target, twin.args, twin.kwargs = channel_norm_with_zeros, (twin.args[0], total, scale, shift, argument(twin, 4, "eps", 1e-5)), {}


def _mean(sizes: _Sizes, node: Node, twin: Node) -> None:
    """A mean over units, of which those that are gone were 0."""
    if (kept := sizes.kept(node.args[0])) is None or sizes.kept(node) is not None:
        return
    dims = argument(node, 1, "dim")
    gone = range(len(kept)) if dims is None else [int(dim) for dim in ([dims] if isinstance(dims, int) else dims)]
    share = 1.0
    for dim in gone:
        share *= int(kept[dim].sum()) / len(kept[dim])
    with twin.graph.inserting_after(twin):
        scaled = twin.graph.call_function(torch.ops.aten.mul.Tensor, (twin, share))
    twin.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)


def _recurrent(sizes: _Sizes, node: Node, twin: Node) -> None:
    """States of zeros at the start are as wide as the units that are left."""
    first: Any = node.args[2]
    weights: list[Any] = list(first) if isinstance(first, (list, tuple)) else list(node.args[2:])
    axes = [sizes.units.kept(str(one.target), sizes.gone) for one in weights if isinstance(one, Node)]
    given = int(axes[1][1].sum())
    cells = next((int(kept[1].sum()) for one, kept in zip(weights, axes, strict=False) if str(one.target).endswith("weight_hr_l0")), given)
    several = isinstance(twin.args[1], (list, tuple))
    states: Any = list(twin.args[1]) if several else [twin.args[1]]  # type: ignore[arg-type]
    for at, (state, width) in enumerate(zip(states, (given, cells), strict=False)):
        if makes_zeros(state):
            with twin.graph.inserting_before(twin):
                states[at] = twin.graph.node_copy(state)  # others may read the same zeros
            place = len(state.args) - 1
            _set(states[at], place, [*state.args[place][:-1], width])
    _set(twin, 1, states if several else states[0])


def _joined(sizes: _Sizes, node: Node, twin: Node) -> None:
    """An operand that was expanded to as many units as there were is expanded by the op itself."""
    if sizes.kept(node) is None:
        return
    for given in node.all_input_nodes:
        if expands_for(given, node) and sizes.kept(given) is None:
            expanded = next(one for one in twin.all_input_nodes if one.name == given.name or one.meta.get("value") is given.meta["value"])
            twin.replace_input_with(expanded, expanded.args[0])  # type: ignore[arg-type]


RESIZE: Mapping[str, Resize] = {
    **dict.fromkeys("view reshape unsafe_view _reshape_alias reshape_alias expand broadcast_to".split(), _list_of_sizes),
    **dict.fromkeys("split split_with_sizes chunk".split(), _split),
    **dict.fromkeys(("layer_norm", "rms_norm"), _layer_norm),
    **{f"conv{kind}{axes}d": _groups for axes in (1, 2, 3) for kind in ("", "_transpose")},
    **dict.fromkeys(RECURRENT_RULES, _recurrent),
    **dict.fromkeys(JOINING, _joined),
    "unflatten": _unflatten,
    "slice": _slice,
    "select": _select,
    **dict.fromkeys(("index", "index_select"), _index),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "group_norm": _group_norm,
    "mean": _mean,
}
"""Ops with sizes among their arguments, and how these follow."""
