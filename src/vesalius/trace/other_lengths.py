"""One network for inputs of any length: what it is at each, found when it is first asked for, and kept.

Where the graph holds at any length, the one at a certain length is made of it, which costs about as much as a call. Elsewhere the model is
traced again, once for each length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from vesalius.core.errors import InvalidInput, VesaliusError
from vesalius.core.rows import read_rows
from vesalius.core.store import DAMAGE
from vesalius.trace.any_length import AnyLength
from vesalius.trace.binding import bind_inputs
from vesalius.trace.graph import ModelGraph, Value
from vesalius.trace.sequence_axes import sequence_axes
from vesalius.trace.vocabulary import check_positions

if TYPE_CHECKING:
    from vesalius.trace.network import Network

MOST_KEPT = 32
"""Networks at other lengths that are kept where making one again is cheap."""
EXAMPLE_ROWS = 2
"""Rows that a model is traced on at a further length."""

Run = Callable[[Sequence[Tensor]], Tensor]
"""A model as a function of its inputs."""
Sides = tuple[tuple[int, ...], ...]
"""Shapes of one sample of each input."""


@dataclass(eq=False)
class LengthFamily:
    """The networks of one model, by the shapes of their inputs.

    Attributes:
        made: those whose graph was made of one that holds at any length; the last to be used come last.
        traced: those for which the model was traced.
    """

    made: dict[Sides, Network] = field(default_factory=dict)
    traced: dict[Sides, Network] = field(default_factory=dict)

    def find(self, network: Network, x: Any) -> Network:
        """The network at the lengths of some inputs; the given one where they are its own, or where no length is what is wrong with them.

        Raises:
            InvalidInput: the model does not take that length, or the network cannot be had at it.
        """
        shapes = _shapes_of(network, x)
        if shapes is None or not _differ_in_length(network.inputs, shapes):
            return network
        sides: Sides = tuple(tuple(shape[1:]) for shape in shapes.values())
        self.note(network)
        found = self.traced.get(sides) or self.made.pop(sides, None) or self._make(network, shapes)
        if found is None:
            found = self.traced[sides] = self._trace(network, x, shapes)
        elif sides not in self.traced:
            self.made[sides] = found
            for oldest in list(self.made)[:-MOST_KEPT]:
                del self.made[oldest]
        return found

    def note(self, network: Network) -> None:
        """Keep the network that the family begins with."""
        if network._whole is None:
            self.traced.setdefault(tuple(tuple(int(side or 0) for side in value.shape[1:]) for value in network.inputs), network)

    def find_holder(self, network: Network, names: Sequence[str], tensors: Sequence[Tensor]) -> Network:
        """The network at the lengths at which some of its values have some shapes; the given one where there is none."""
        self.note(network)
        for known in (network, *self.traced.values(), *self.made.values()):
            if known.model_graph is not None and set(names) <= set(known.model_graph.nodes):
                sides = [known.model_graph.value(name).shape for name in names]
                if all(_is_of_shape(tensor, shape) for tensor, shape in zip(tensors, sides, strict=True)):
                    return known
        whole: AnyLength | None = None if network.model_graph is None else network.model_graph.any_length
        if whole is None:
            return network
        lengths = whole.lengths_at(names, [tensor.shape for tensor in tensors])
        if lengths is None or not whole.allows(lengths):
            return network
        return self._make(network, whole.shapes_at(lengths)) or network

    def _make(self, network: Network, shapes: Mapping[str, Sequence[int]]) -> Network | None:
        """The network at other lengths, of a graph that holds at them."""
        for known in (network, *self.traced.values()):
            whole: AnyLength | None = None if known.model_graph is None else known.model_graph.any_length
            if known.model_graph is None or whole is None or (lengths := whole.find_lengths(shapes)) is None:
                continue
            try:
                model_graph = whole.at(lengths, known.model_graph.tensors, known.model_graph.output)
            except DAMAGE as error:
                raise InvalidInput(f"{describe_lengths(network, shapes)}, and the file it is from does not hold for it: {error}") from error
            check_positions(model_graph, describe_lengths(network, shapes))
            program = whole.program(known.model_graph.tensors, known.model_graph.inputs, [known.model_graph.output])
            inputs = tuple(model_graph.value(name) for name in model_graph.inputs)
            found = replace(known, inputs=inputs, model_graph=model_graph, _programs={}, _casts={}, _family=self, _whole=program)
            if all({lookup.table, f"{lookup.table}.weight"} & set(model_graph.tensors) for lookup in known.lookups):
                found.__dict__["lookups"] = known.lookups  # of parameters, which have as many rows at any length
            return found
        return None

    def _trace(self, network: Network, x: Any, shapes: Mapping[str, Sequence[int]]) -> Network:
        """The network at other lengths, traced anew."""
        words = describe_lengths(network, shapes)
        if network.retrace is None or network.call is None:
            raise InvalidInput(f"{words}, and its graph holds for no other; trace the model again with an example of the new length")
        inputs = tuple(replace(value, shape=(None, *shapes[value.name][1:])) for value in network.inputs)
        batched = read_rows(x)
        if batched.parts[0].ndim < len(network.inputs[0].shape):
            batched = batched.map(lambda tensor: tensor[None])
        rows = tuple(tensor[:EXAMPLE_ROWS] for tensor in bind_inputs(network.name, inputs, batched, network.devices))
        call = replace(network.call, writes=False, draws=False, random=False, one_by_one=False)
        try:
            found = network.retrace((call, rows))
        except VesaliusError as error:
            raise InvalidInput(f"{words}, and the model does not take that: {error}") from error
        return replace(found, name=network.name, features=network.features, classes=network.classes, _family=self)

    def describe(self, network: Network) -> str:
        """What there is beside a network, in words; empty where there is one length alone."""
        self.note(network)
        wholes = [one.model_graph.any_length for one in self.traced.values() if one.model_graph is not None and one.model_graph.any_length]
        spans = dict.fromkeys(str(whole) for whole in wholes)
        traced = f"{len(self.traced)} lengths traced apart" if len(self.traced) > 1 else ""
        return ", ".join(filter(None, [*spans, traced]))


def describe_lengths(network: Network, shapes: Mapping[str, Sequence[int]]) -> str:
    """Which input came in another shape than the network was traced for."""
    value = next(value for value in network.inputs if tuple(value.shape[1:]) != tuple(shapes[value.name][1:]))
    wanted = ", ".join(["batch", *map(str, value.shape[1:])])
    return f"input {value.name!r} has shape {list(shapes[value.name])}; the network was traced for [{wanted}]"


def _shapes_of(network: Network, x: Any) -> dict[str, tuple[int, ...]] | None:
    """Shapes of inputs by name, batched; ``None`` where they are not all there, which is for others to say."""
    names = [value.name for value in network.inputs]
    given = read_rows(x).tensors
    if isinstance(given, Tensor):
        given = (given,)
    if isinstance(given, dict):
        if not set(names) <= set(given):
            return None
        given = tuple(given[name] for name in names)
    if len(given) < len(names):
        return None
    found = dict(zip(names, (tuple(tensor.shape) for tensor in given), strict=False))
    ranks = [len(found[value.name]) - len(value.shape) for value in network.inputs]
    if set(ranks) == {-1}:
        return {name: (1, *shape) for name, shape in found.items()}
    return found if set(ranks) == {0} else None


def _differ_in_length(inputs: Sequence[Value], shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether shapes are other than those of a network along axes that may be of sequences, and along no others."""
    changed = False
    for value, moving in zip(inputs, sequence_axes(inputs), strict=True):
        for axis, (side, came) in enumerate(zip(value.shape, shapes[value.name], strict=True)):
            if axis > 0 and side != came:
                changed = True
                if axis not in moving:
                    return False
    return changed


def _is_of_shape(tensor: Tensor, shape: Sequence[int | None]) -> bool:
    return tensor.ndim == len(shape) and all(side is None or side == came for side, came in zip(shape, tensor.shape, strict=True))


def hold_at_other_lengths(
    model_graph: ModelGraph,
    tensors: Sequence[Tensor],
    evaluate: Run,
    close: Callable[[Tensor, Tensor], bool],
) -> ModelGraph:
    """A graph that is said to hold at any length only where that was seen at a shorter or a longer one than the example's.

    Args:
        model_graph: which was found to do what the model does on the example.
        tensors: the example.
        evaluate: the model.
        close: whether two outputs are the same but for rounding.
    """
    whole: AnyLength | None = model_graph.any_length
    if whole is None:
        return model_graph
    named = dict(zip(model_graph.inputs, tensors, strict=True))
    lengths = whole.find_lengths({name: tuple(tensor.shape) for name, tensor in named.items()})
    program = whole.program(model_graph.tensors, model_graph.inputs, [model_graph.output])
    assert lengths is not None and program is not None, "the graph was checked on the example"
    outcomes = [_same_output(whole.resize(named, other), evaluate, program, close) for other in whole.others(lengths)]
    return model_graph if True in outcomes and False not in outcomes else replace(model_graph, any_length=None)


def _same_output(rows: list[Tensor], evaluate: Run, program: GraphModule, close: Callable[[Tensor, Tensor], bool]) -> bool | None:
    """Whether model and graph have the same output; ``None`` where neither has one, since that length is too much for both."""
    found: list[Tensor | None] = []
    with torch.no_grad():
        for run in (evaluate, lambda given: program(*given)[0]):
            try:
                found.append(run([tensor.clone() for tensor in rows]))
            except Exception:  # a user's model may raise anything
                found.append(None)
    theirs, ours = found
    if theirs is None or ours is None:
        return None if theirs is ours else False
    return close(ours, theirs)
