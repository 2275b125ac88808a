"""How axes go through ops: a rule for each kind of op."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.fx import Node

from vesalius.trace.axes import (
    BATCH,
    POSITIONS,
    UNITS,
    UNKNOWN,
    Axes,
    Axis,
    AxisPart,
    Sizes,
    ValueAxes,
    axis_kind,
    axis_size,
    holds_whole,
    merge_axes,
    reshape_axes,
)
from vesalius.trace.axis_pass import NO_EVIDENCE, RESHAPES, AxisPass, Rule, argument, op_of
from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.opset import FAMILIES


def find_axes(model_graph: ModelGraph) -> dict[str, ValueAxes]:
    """The axes of every value, by its name.

    An input's features are on the axis along which the layers that come first read them; where none does, on the only axis, or on the
    first one of an image of at least three.
    """
    features: dict[str, int | None] = {} if model_graph.any_length is None else model_graph.any_length.features
    if not features:
        first = AxisPass(model_graph, RULES, {})
        first.run()
        features |= {name: _feature_axis(model_graph.value(name), first.evidence.get(name, [])) for name in model_graph.inputs}
    final = AxisPass(model_graph, RULES, features)
    final.run()
    return {
        name: ValueAxes(name, final.found[node], heads=model_graph.value(name).op == "attention")
        for name, node in model_graph.nodes.items()
    }


def _feature_axis(value: Value, evidence: Sequence[int]) -> int | None:
    """Axis of an input's features; :data:`NO_EVIDENCE` where it has positions alone, ``None`` where that cannot be known."""
    if not value.is_floating:
        return NO_EVIDENCE
    if evidence:
        return evidence[0] if len(set(evidence)) == 1 else None
    return 1 if len(value.shape) == 2 or len(value.shape) > 3 else None


def _elementwise(run: AxisPass, node: Node, value: Value) -> Axes | None:
    return broadcast_axes(run.tensors([*node.args, *node.kwargs.values()]), value.shape)


def _expand(run: AxisPass, node: Node, value: Value) -> Axes | None:
    return broadcast_axes(run.tensors(node.args[:1]), value.shape)


def broadcast_axes(sources: Sequence[Axes], shape: Sizes) -> Axes:
    """What axes are that several values share, aligned from the right."""
    found: list[Axis] = []
    for from_right in range(len(shape), 0, -1):
        side = shape[-from_right]
        here = [axes[-from_right] for axes in sources if len(axes) >= from_right]
        axis: Axis = ()
        for one in here:
            if axis_size(one) == side:
                axis = merge_axes(axis, one) if axis else one
        found.append(axis)
    return tuple(found)


def _same_axes(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """As the first argument; sizes may differ."""
    axes = run.of(node.args[0])
    if axes is None or len(axes) != len(value.shape):
        return None
    return tuple(() if _is_shuffled(run, node, axis, axes[axis]) else axes[axis] for axis in range(len(axes)))


def _is_shuffled(run: AxisPass, node: Node, axis: int, parts: Axis) -> bool:
    """Whether an op changes places along an axis that is more than the batch, so that samples cannot be found on it again."""
    place = AXIS_ARGUMENT.get(op_of(node))
    if place is None or axis_kind(parts) != BATCH or len(parts) == 1:
        return False
    dims = argument(node, place, "dim", -1 if op_of(node) in ("topk", "sort") else 0)
    several = dims if isinstance(dims, (tuple, list)) else [dims]
    ends = argument(node, 2, "start"), argument(node, 3, "end", sys.maxsize)
    whole = op_of(node) == "slice" and ends[0] in (None, 0) and ends[1] in (None, sys.maxsize)
    return not whole and any(not isinstance(dim, int) or dim % len(run.of(node.args[0]) or ()) == axis for dim in several)


def _norm(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """A normalisation: its parameters belong to features."""
    axes = run.of(node.args[0])
    if axes is None:
        return None
    over = argument(node, 1, "normalized_shape")
    last = op_of(node) in ("layer_norm", "rms_norm")
    axis = len(axes) - 1 if last else 1
    if (last and isinstance(over, (tuple, list)) and len(over) > 1) or len(axes) < 2:
        return axes
    run.note_reading(axes, axis)
    if any(axis_kind(one) == UNITS for one in axes) or axis_kind(axes[axis]) != UNKNOWN:
        return axes
    return (*axes[:axis], run.new(UNITS, node, value, axis), *axes[axis + 1 :])


def _linear(run: AxisPass, node: Node, value: Value) -> Axes | None:
    source = run.of(node.args[1] if value.op == "addmm" else node.args[0])
    if source is None or not source or len(source) != len(value.shape):
        return None
    run.note_reading(source, len(source) - 1)
    return (*source[:-1], run.new(UNITS, node, value, -1))


def _embedding(run: AxisPass, node: Node, value: Value) -> Axes | None:
    source = run.of(node.args[1])
    return None if source is None else (*source, run.new(UNITS, node, value, -1))


def _convolution(run: AxisPass, node: Node, value: Value) -> Axes | None:
    source = run.of(node.args[0])
    if source is None or len(source) < 3 or len(source) != len(value.shape):
        return None
    run.note_reading(source, 1)
    space = [run.new(POSITIONS, node, value, axis) for axis in range(2, len(source))]
    return (source[0], run.new(UNITS, node, value, 1), *space)


def _recurrent(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """The outputs of all steps, and the last states, which are [layers, batch, units]."""
    source = run.of(node.args[0])
    if source is None or len(source) != 3 or len(value.shape) != 3:
        return None
    run.note_reading(source, 2)
    if [axis_size(axis) for axis in source[:2]] == list(value.shape[:2]):
        return (*source[:2], run.new(UNITS, node, value, 2))
    return run.label(node, value, (POSITIONS, POSITIONS, UNITS))


def _matrix_product(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """A product of matrices; what a parameter makes are new units."""
    first, second = node.args[1:3] if value.op == "baddbmm" else node.args[:2]
    one, other = run.of(first), run.of(second)
    if one is None or other is None or len(one) < 2 or len(other) < 2:
        return None
    if first in run.varying and second not in run.varying:
        run.note_reading(one, len(one) - 1)
    rows = one[-2] if first in run.varying else run.new(axis_kind(other[-2]), node, value, -2)
    columns = other[-1] if second in run.varying else run.new(UNITS, node, value, -1)
    if second in run.varying and axis_kind(columns) == axis_kind(rows) == UNITS:
        rows = run.new(POSITIONS, node, value, -2)  # sums of rows of the second: each is one more place with the same features
    return (*broadcast_axes([other[:-2], one[:-2]], value.shape[:-2]), rows, columns)


def _attention(run: AxisPass, node: Node, value: Value) -> Axes | None:
    queries, values = run.of(node.args[0]), run.of(node.args[2])
    if queries is None or values is None or len(queries) < 2:
        return None
    return (*broadcast_axes([values[:-2], queries[:-2]], value.shape[:-2]), queries[-2], values[-1])


def _einsum(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """As a product of matrices: letters that a parameter alone brings are what the letters were that it sums over."""
    equation, operands = str(node.args[0]).replace(" ", ""), node.args[1]
    terms, arrow, result = equation.partition("->")
    if not arrow or "." in equation or not isinstance(operands, (tuple, list)):
        return None
    letters: dict[str, Axis] = {}
    last = ""
    for term, operand in zip(terms.split(","), operands, strict=True):
        if operand in run.varying:
            last = term
            for letter, axis in zip(term, run.of(operand) or (), strict=False):
                letters[letter] = merge_axes(letters[letter], axis) if letter in letters else axis
    summed = {axis_kind(axis) for letter, axis in letters.items() if letter not in result}
    made = POSITIONS if summed == {POSITIONS} else UNITS
    features = any(axis_kind(letters[letter]) == UNITS for letter in result if letter in last and letter in letters)
    found = []
    for at, letter in enumerate(result):
        axis = letters[letter] if letter in letters else run.new(made, node, value, at)
        place = letter in letters and letter not in last and axis_kind(axis) == UNITS and features
        found.append(run.new(POSITIONS, node, value, at) if place else axis)
    return tuple(found)


def _reshape(run: AxisPass, node: Node, value: Value) -> Axes | None:
    source = run.of(node.args[0])
    return None if source is None else reshape_axes(source, value.shape)


def _permute(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """The op itself tells where each axis goes: it is run on a tensor without elements, whose sides are all different."""
    source = run.of(node.args[0])
    if source is None:
        return None
    seen = torch.empty([2 + axis for axis in range(len(source))], dtype=torch.float32, device="meta")
    moved = node.target(seen, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    return tuple(source[side - 2] for side in moved.shape)


def _unsqueeze(run: AxisPass, node: Node, value: Value) -> Axes | None:
    source, axis = run.of(node.args[0]), argument(node, 1, "dim")
    if source is None:
        return None
    axis %= len(value.shape)
    return (*source[:axis], (), *source[axis:])


def _squeeze(run: AxisPass, node: Node, value: Value) -> Axes | None:
    source, dims = run.of(node.args[0]), argument(node, 1, "dim")
    if source is None:
        return None
    asked = range(len(source)) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = {dim % len(source) for dim in asked if axis_size(source[dim]) == 1}
    return tuple(axis for at, axis in enumerate(source) if at not in gone)


def _reduce(run: AxisPass, node: Node, value: Value) -> Axes | None:
    source = run.of(node.args[0])
    dims = argument(node, REDUCED_ARGUMENT.get(value.op, 1), "dim")
    if source is None or isinstance(dims, (bool, float)):
        return None
    if len(value.shape) == len(source):
        return source
    gone = {dim % len(source) for dim in ([dims] if isinstance(dims, int) else dims or range(len(source)))}
    return tuple(axis for at, axis in enumerate(source) if at not in gone)


def _take(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """One place of an axis, which goes."""
    source, dim = run.of(node.args[0]), argument(node, 1, "dim", 0)
    if source is None or not source:
        return None
    return tuple(axis for at, axis in enumerate(source) if at != dim % len(source))


def _join(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """Values one after another along an axis."""
    sources = [axes for axes in run.tensors(node.args[:1]) if len(axes) > 1 or axis_size(axes[0]) != 0 or len(value.shape) == 1]
    if not sources or any(len(axes) != len(value.shape) for axes in sources):
        return None
    along = argument(node, 1, "dim", 0) % len(value.shape)
    axes = list(broadcast_axes(sources, [axis_size(axis) if at != along else -1 for at, axis in enumerate(sources[0])]))
    kinds = {axis_kind(source[along]) for source in sources}
    kind = next((kind for kind in (BATCH, POSITIONS, UNITS) if kind in kinds), UNKNOWN)
    (part,) = run.new(UNKNOWN if kind == BATCH else kind, node, value, along)
    axes[along] = (part if all(holds_whole(source[along]) for source in sources) else replace(part, whole=None),)
    return tuple(axes)


def _stack(run: AxisPass, node: Node, value: Value) -> Axes | None:
    sources = run.tensors(node.args[:1])
    along = argument(node, 1, "dim", 0) % len(value.shape)
    axes = broadcast_axes(sources, [side for at, side in enumerate(value.shape) if at != along])
    return (*axes[:along], run.new(POSITIONS, node, value, along), *axes[along:])


def _index(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """Places of one axis, by a list of them."""
    source, places = run.of(node.args[0]), argument(node, 1, "indices", [])
    used = [at for at, one in enumerate(places) if one is not None]
    if source is None or len(used) != 1 or len(source) != len(value.shape) or axis_kind(source[used[0]]) == BATCH:
        return None
    kept = run.new(axis_kind(source[used[0]]), node, value, used[0])
    return tuple(kept if at == used[0] else axis for at, axis in enumerate(source))


def _repeat(run: AxisPass, node: Node, value: Value) -> Axes | None:
    source, counts = run.of(node.args[0]), argument(node, 1, "repeats", [])
    if source is None or len(counts) < len(source):
        return None
    axes: Axes = (*[()] * (len(value.shape) - len(source)), *source)
    return tuple(() if count != 1 and axis_kind(axis) == BATCH else axis for count, axis in zip(counts[-len(axes) :], axes, strict=True))


def _repeat_interleave(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """Each place some times, one after the other: a part of the axis that runs fastest, as rows are handed to several experts."""
    source, count = run.of(node.args[0]), argument(node, 1, "repeats")
    along = argument(node, 2, "dim")
    if source is None or not isinstance(count, int) or not isinstance(along, int):
        return _same_axes(run, node, value)
    along %= len(source)
    return tuple((*axis, AxisPart(UNKNOWN, count)) if place == along else axis for place, axis in enumerate(source))


def _windows(run: AxisPass, node: Node, value: Value) -> Axes | None:
    """Windows along one axis, whose places become a last axis (``Tensor.unfold``); or patches as columns (``im2col``)."""
    source = run.of(node.args[0])
    if source is None:
        return None
    positions = run.new(POSITIONS, node, value, -1)
    return (source[0], source[1], positions) if value.op == "im2col" else (*source, positions)


AXIS_ARGUMENT = {
    "slice": 1,
    "narrow": 1,
    "index_select": 1,
    "gather": 1,
    "sort": 1,
    "flip": 1,
    "split": 2,
    "split_with_sizes": 2,
    "chunk": 2,
} | {
    "topk": 2,
    "roll": 2,
    "repeat_interleave": 2,
    "take_along_dim": 2,
}
"""Ops that take or move elements along axes, and which of their arguments names these."""
REDUCED_ARGUMENT = {"norm": 2, "linalg_vector_norm": 2, "cosine_similarity": 2}
"""Reductions whose axes are not their second argument."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(FAMILIES["elementwise"], _elementwise),
    **dict.fromkeys(
        "add sub rsub mul div neg maximum minimum where masked_fill lerp addcmul addcdiv logaddexp sign"
        " eq ne lt le gt ge logical_not logical_and logical_or and or xor bitwise_not bitwise_and bitwise_or"
        " floor ceil round isnan isinf floor_divide copy atan2".split(),
        _elementwise,
    ),
    **dict.fromkeys(
        "dropout feature_dropout alpha_dropout native_dropout contiguous clone detach alias to type_as lift_fresh_copy softmax log_softmax"
        " cumsum tril triu roll flip sort slice narrow split split_with_sizes chunk index_select gather take_along_dim topk"
        " pad constant_pad_nd reflection_pad2d replication_pad2d pixel_shuffle pixel_unshuffle glu masked_scatter"
        " slice_scatter select_scatter index_put scatter fill prelu nan_to_num"
        " upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d"
        " upsample_trilinear3d".split(),
        _same_axes,
    ),
    **{
        f"{kind}_pool{axes}d{tail}": _same_axes
        for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "_adaptive_avg", "lp")
        for axes in (1, 2, 3)
        for tail in ("", "_with_indices")
    },
    **dict.fromkeys("layer_norm rms_norm batch_norm group_norm instance_norm".split(), _norm),
    **dict.fromkeys(("linear", "addmm"), _linear),
    **dict.fromkeys(("matmul", "mm", "bmm", "baddbmm"), _matrix_product),
    **{f"conv{kind}{axes}d": _convolution for kind in ("", "_transpose") for axes in (1, 2, 3)},
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys("permute transpose t movedim moveaxis swapaxes swapdims mT numpy_T".split(), _permute),
    **dict.fromkeys("expand expand_as broadcast_to".split(), _expand),
    **dict.fromkeys("repeat tile".split(), _repeat),
    **dict.fromkeys(
        "mean sum amax amin max min median prod logsumexp norm linalg_vector_norm var std var_mean std_mean all any argmax argmin aminmax"
        " cosine_similarity".split(),
        _reduce,
    ),
    **dict.fromkeys(("select", "unbind"), _take),
    **dict.fromkeys(("cat", "concat"), _join),
    **dict.fromkeys(("unfold", "im2col"), _windows),
    "repeat_interleave": _repeat_interleave,
    "embedding": _embedding,
    "bilinear": _linear,
    "attention": _attention,
    "einsum": _einsum,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "stack": _stack,
    "index": _index,
}
"""Rule of every op whose axes are known to come out in a certain way; those of all others are unknown, but for the batch."""
