"""What is asked of a network: *where* the explanation lives (``at``) and *what* it explains (``target``).

Axes: B batch of samples asked about, N rows evaluated (any number per sample).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.fx import GraphModule

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.trace.network import Inputs, Network

Target = int | Tensor | tuple[int | str, ...] | None
HeadFunction = Callable[[Sequence[Tensor], Int[Tensor, " N"]], Tensor]
ALL_SAMPLES = slice(None)


@dataclass(frozen=True, eq=False)
class TargetSelector:
    """From an output [N ...] to one number per row.

    Attributes:
        index: position in one sample's output; empty for an output that is a single number.
        classes: class of each sample [B], where it differs between samples.
        unit: axis and position of an inner unit, averaged over its other axes (an image's positions, a sequence's tokens).
    """

    index: tuple[int, ...] = ()
    classes: Int[Tensor, " B"] | None = None
    unit: tuple[int, int] | None = None

    def __call__(self, output: Float[Tensor, "N ..."], rows: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        if self.unit is not None:
            axis, place = self.unit
            return output.select(axis, place).flatten(1).mean(1) if output.ndim > 2 else output[:, place]
        if self.classes is not None:
            return output.gather(1, self.classes[rows][:, None])[:, 0]
        if self.index:
            rest: tuple[Any, ...] = self.index
            return output[(slice(None), *rest)]
        return output.reshape(len(output))


@dataclass(frozen=True, eq=False)
class TargetSubgraph:
    """The part of a graph that a question is about.

    Attributes:
        program: from the explained tensors, then the context, to the output that holds the target.
        axes: the batch axis of each of its inputs.
        context: what the program reads besides, of all samples, batch first.
    """

    program: GraphModule
    axes: tuple[int, ...]
    context: tuple[Tensor, ...]

    def arguments(self, values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> list[Tensor]:
        """Inputs of the program as it wants them, from explained tensors that are batch first."""
        known = [*values, *(tensor.index_select(0, rows) for tensor in self.context)]
        return [tensor.movedim(0, axis) for tensor, axis in zip(known, self.axes, strict=True)]

    def head(self, values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Tensor:
        """The output for other values of the explained tensors."""
        output: Tensor = self.program(*self.arguments(values, rows))[0]
        return output


@dataclass(frozen=True, eq=False)
class Question:
    """A scalar function of some tensors, per sample.

    Attributes:
        network: what is asked.
        at: names of the explained tensors.
        present: the explained tensors as the samples have them, batch first: [B *event] each.
        target: readable name of what is explained.
        single: whether one unbatched sample was given.
        inputs: all inputs of the network, bound and batched.
        end: name of the value that holds the target; empty on an opaque network.
        head: from the explained tensors to the output that holds the target.
        pick: from that output to the target.
        total: the target of each sample as it is, [B].
        cut: the program behind ``head``; ``None`` on an opaque network.
        asked: the target as it was given.
    """

    network: Network
    at: tuple[str, ...]
    present: tuple[Tensor, ...]
    target: str
    single: bool
    inputs: tuple[Tensor, ...]
    end: str
    head: HeadFunction
    pick: TargetSelector
    total: Tensor
    subgraph: TargetSubgraph | None = None
    given_target: Target = None

    @property
    def batch(self) -> int:
        """Number of samples asked about."""
        return len(self.present[0])

    def score(self, values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """The explained output for other values of the explained tensors.

        Args:
            values: [N *event] per explained tensor.
            rows: which sample each row is a variant of; what is not explained is taken from there.
        """
        return self.pick(self.head(values, rows), rows)

    def require_differentiable(self, method: str) -> None:
        """Refuse tensors that have no gradient.

        Raises:
            WrongType: an explained tensor is of integers.
        """
        for name, tensor in zip(self.at, self.present, strict=True):
            if not tensor.is_floating_point():
                raise WrongType(f"{name!r} is {tensor.dtype} and has no gradient, which {method} needs; {self._suggest_alternative()}")

    def _suggest_alternative(self) -> str:
        if self.network.opaque:
            return "use a method that only evaluates, such as shapley_value"
        embeddings = [layer.value for layer in self.network.layers.values() if layer.op == "embedding"]
        offer = f"explain an embedding instead, at={embeddings[0]!r}" if embeddings else "explain an inner value instead, with at="
        return f"{offer}; or use a method that only evaluates, such as shapley_value"


def ask(network: Network, x: Inputs, *, target: Target = None, at: str | Sequence[str] | None = None) -> Question:
    """Pose a question.

    Args:
        network: a traced or opaque network.
        x: a batch of inputs, or one sample without the batch axis.
        target: ``None``: the predicted class of each sample (or the only output); an ``int``: that class; a tensor [B]: a class per sample;
            a tuple of ints: a position in a larger output; ``("layer2", 5)``: a unit of an inner value, averaged over positions.
        at: values or modules to explain; by default all floating inputs, or the first input if none is.

    Raises:
        InvalidInput: NaN or infinite input, a target out of range, an ``at`` without a batch axis.
        UnknownName: ``at`` or the target's layer does not exist.
        NotTraceable: an inner ``at`` or target on an opaque network.
    """
    tensors, single = _add_batch_axis(network, x)
    inputs = network.bind(tensors)
    for value, tensor in zip(network.inputs, inputs, strict=True):
        _check_finite(value.name, tensor)
    names = _resolve_at(network, at)
    end, unit = _resolve_inner_target(network, target)
    present, head, cut = _build_head(network, inputs, names, end)
    rows = torch.arange(len(inputs[0]), device=inputs[0].device)
    with torch.no_grad():
        output = head(present, rows)
    _check_finite("the output", output)
    pick, readable = (
        (TargetSelector(unit=unit), f"{target[0]}[{target[1]}]") if unit and isinstance(target, tuple) else _output_selector(output, target)
    )
    holder = end or (network.model_graph.output if network.model_graph else "")
    return Question(network, names, present, readable, single, inputs, holder, head, pick, pick(output, rows), cut, target)


def to_float64(question: Question, rows: Int[Tensor, " n"] | slice = ALL_SAMPLES) -> Question:
    """The same question in float64, about all samples or some of them; predicted classes stay those that were predicted.

    Raises:
        NotTraceable: the network is opaque.
    """
    network = question.network.cast(torch.float64)
    inputs = tuple(tensor[rows].double() if tensor.is_floating_point() else tensor[rows] for tensor in question.inputs)
    classes = question.pick.classes
    asked = ask(network, inputs, target=question.given_target if classes is None else classes[rows], at=question.at)
    return replace(asked, single=question.single)


def _add_batch_axis(network: Network, x: Inputs) -> tuple[Inputs, bool]:
    """Add the batch axis that a single sample lacks."""
    parts = x.values() if isinstance(x, Mapping) else x if isinstance(x, (tuple, list)) else [x]
    first = next(iter(parts), None)
    if not isinstance(first, Tensor) or first.ndim != len(network.inputs[0].shape) - 1:
        return x, False
    if isinstance(x, Tensor):
        return x[None], True
    if isinstance(x, Mapping):
        return {name: tensor[None] for name, tensor in x.items()}, True
    return tuple(tensor[None] for tensor in x), True


def _check_finite(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point() or bool(tensor.isfinite().all()):
        return
    row = int((~tensor.isfinite()).reshape(len(tensor), -1).any(1).nonzero()[0])
    raise InvalidInput(f"{name!r} holds NaN or infinity, first in sample {row}; clean or drop those samples")


def _resolve_at(network: Network, at: str | Sequence[str] | None) -> tuple[str, ...]:
    names = [value.name for value in network.inputs]
    if at is None:
        return tuple(value.name for value in network.inputs if value.is_floating) or (names[0],)
    asked = (at,) if isinstance(at, str) else tuple(at)
    if all(name in names for name in asked):
        return asked
    sites = tuple(network.resolve(name) for name in asked)
    for site in sites:
        if (value := network.values[site]).batch_axis is None:
            raise InvalidInput(f"{site!r} has shape {list(value.shape)}, in which no axis is the batch; choose a value before or after it")
    return sites


def _resolve_inner_target(network: Network, target: Target) -> tuple[str | None, tuple[int, int] | None]:
    """The inner value a target names, and the unit's axis and position there."""
    if not isinstance(target, tuple) or not target or not isinstance(target[0], str):
        return None, None
    if len(target) != 2 or not isinstance(target[1], int):
        raise InvalidInput(f"an inner target is (layer, unit), such as ('layer2', 5), not {target!r}")
    name = network.resolve(target[0])
    value = network.values[name]
    if value.batch_axis != 0 or len(value.shape) < 2:
        raise InvalidInput(f"{name!r} has shape {list(value.shape)}; a target needs [batch, units, ...]")
    axis = unit_axis(network, name)
    units = value.shape[axis]
    if units is None or not -units <= target[1] < units:
        raise InvalidInput(f"unit {target[1]} is out of range: {name!r} has {units} units")
    return name, (axis, target[1] % units)


def unit_axis(network: Network, name: str) -> int:
    """Axis of units of a value: that of the nearest layer above it with as many axes, else channels first for images and last otherwise."""
    model_graph = network.graph("finding units")
    by_value = {layer.value: layer for layer in network.layers.values()}
    rank = len(model_graph.value(name).shape)
    node = model_graph.nodes[name]
    while "value" in node.meta and len(node.meta["value"].shape) == rank:
        if (layer := by_value.get(node.meta["value"].name)) is not None:
            return layer.unit_axis
        if not node.all_input_nodes:
            break
        node = node.all_input_nodes[0]
    return 1 if rank >= 4 else rank - 1


def _build_head(
    network: Network, inputs: tuple[Tensor, ...], at: tuple[str, ...], end: str | None
) -> tuple[tuple[Tensor, ...], HeadFunction, TargetSubgraph | None]:
    """The explained tensors (batch first), and the function from them to the output."""
    if network.opaque:
        return *_build_opaque_head(network, inputs, at), None
    split = network.split(at, end)
    axes = tuple(network.values[name].batch_axis or 0 for name in (*split.at, *split.context))
    with torch.no_grad():
        found = [tensor.movedim(axis, 0) for tensor, axis in zip(split.front(*inputs), axes, strict=True)]
    program = network.program((*split.at, *split.context), [end or network.graph("running a part of the network").output])
    cut = TargetSubgraph(program, axes, tuple(found[len(at) :]))
    return tuple(found[: len(at)]), cut.head, cut


def _build_opaque_head(network: Network, inputs: tuple[Tensor, ...], at: tuple[str, ...]) -> tuple[tuple[Tensor, ...], HeadFunction]:
    names = [value.name for value in network.inputs]
    places = [names.index(name) for name in at]

    def head(values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Tensor:
        given = dict(zip(places, values, strict=True))
        return network.run([given[i] if i in given else tensor.index_select(0, rows) for i, tensor in enumerate(inputs)])

    return tuple(inputs[place] for place in places), head


def _output_selector(output: Tensor, target: Target) -> tuple[TargetSelector, str]:
    """How to take one number per sample from the network's output."""
    sizes = tuple(output.shape[1:])
    if target is None:
        return _default_selector(output)
    if isinstance(target, Tensor):
        return _class_selector(output, target)
    place = (target,) if isinstance(target, int) else tuple(target)
    if not all(isinstance(i, int) for i in place):
        raise WrongType(f"a target is a class, a tensor of classes, a tuple of ints or (layer, unit), not {target!r}")
    if len(place) != len(sizes):
        raise InvalidInput(f"the output of one sample has shape {list(sizes)}; the target {target!r} does not name one number in it")
    for i, side in zip(place, sizes, strict=True):
        if not -side <= int(i) < side:
            raise InvalidInput(f"target {target!r} is out of range: the output of one sample has shape {list(sizes)}")
    return TargetSelector(index=tuple(int(i) for i in place)), f"class {place[0]}" if len(place) == 1 else f"output {place}"


def _default_selector(output: Tensor) -> tuple[TargetSelector, str]:
    if output[0].numel() == 1:
        return TargetSelector(), "output"
    if output.ndim != 2:
        raise InvalidInput(f"the output of one sample has shape {list(output.shape[1:])}; say which number to explain: target=(i, j, ...)")
    classes = output.argmax(1)
    found = classes.unique().tolist()
    return TargetSelector(classes=classes), f"class {found[0]}" if len(found) == 1 else "predicted class"


def _class_selector(output: Tensor, target: Tensor) -> tuple[TargetSelector, str]:
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise WrongType(f"a tensor of classes is of integers, not {target.dtype}")
    if output.ndim != 2 or target.shape not in ((), (len(output),)):
        raise InvalidInput(f"expected one class for each of {len(output)} samples; the target has shape {list(target.shape)}")
    classes = target.to(output.device).long().expand(len(output))
    if int(classes.min()) < 0 or int(classes.max()) >= output.shape[1]:
        raise InvalidInput(f"a target class is out of range: there are {output.shape[1]} classes, found {classes.unique().tolist()}")
    found = classes.unique().tolist()
    return TargetSelector(classes=classes), f"class {found[0]}" if len(found) == 1 else "class per sample"
