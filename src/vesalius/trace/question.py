"""What is asked of a network: *where* the explanation lives (``at``) and *what* it explains (``target``).

Axes: B batch of samples asked about, N rows evaluated (any number per sample).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.fx import GraphModule

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import place_names
from vesalius.core.random_state import RandomState
from vesalius.core.rows import Tensors, read_rows
from vesalius.trace.axes import BatchLayout
from vesalius.trace.compose import compose
from vesalius.trace.default_inputs import default_inputs
from vesalius.trace.network import Inputs, Network
from vesalius.trace.sites import DependentSites, check_distinct, find_dependent_sites
from vesalius.trace.target import Target, TargetSelector, is_linear, plain_target, select_target
from vesalius.trace.vocabulary import WHOLE_NAMES, explain_index_errors

HeadFunction = Callable[[Sequence[Tensor], Int[Tensor, " N"]], Tensor]
ALL_SAMPLES = slice(None)


@dataclass(frozen=True, eq=False)
class TargetSubgraph:
    """The part of a graph that a question is about.

    Attributes:
        build: makes the program, see :attr:`program`.
        run: the same for those who look at no shapes in it, which may be that of any length.
        layouts: where the samples are in each of its inputs.
        context: what the program reads besides, of all samples, batch first.
    """

    build: Callable[[], GraphModule]
    run: GraphModule
    layouts: tuple[BatchLayout, ...]
    context: tuple[Tensor, ...]

    @cached_property
    def program(self) -> GraphModule:
        """From the explained tensors, then the context, to the output that holds the target; its values have the shapes they have here."""
        return self.build()

    def arguments(self, values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> list[Tensor]:
        """Inputs of the program as it wants them, from explained tensors that are batch first."""
        known = [*values, *(tensor.index_select(0, rows) for tensor in self.context)]
        return [layout.restore(tensor) for tensor, layout in zip(known, self.layouts, strict=True)]

    def head(self, values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Tensor:
        """The output for other values of the explained tensors."""
        output: Tensor = self.run(*self.arguments(values, rows))[0]
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
        subgraph: the program behind ``head``; ``None`` on an opaque network, and where gates are explained.
        given_target: the target as it was given.
        direct: whether values that are computed from other explained ones stay as they are when those change.
        dependent: how the explained values depend on each other; ``None`` where they do not, or direct effects are asked for.
        row_bytes: memory that one evaluation takes, where it is not that of the network.
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
    direct: bool = False
    dependent: DependentSites | None = None
    row_bytes: int | None = None

    @property
    def batch(self) -> int:
        """Number of samples asked about."""
        return len(self.present[0])

    @property
    def gated(self) -> bool:
        """Whether what is explained are gates of parts of the network's inside."""
        return self.subgraph is None and not self.network.opaque

    def score(self, values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """The explained output for other values of the explained tensors.

        Args:
            values: [N *event] per explained tensor.
            rows: which sample each row is a variant of; what is not explained is taken from there.

        Raises:
            InvalidInput: the explained tensors depend on each other, so that they have no values of their own.
        """
        self.require_independent("this method")
        with explain_index_errors([value.name for value in self.network.inputs if value.dtype in WHOLE_NAMES]):
            return self.pick(self.head(values, rows), rows)

    def score_overwritten(
        self, values: Sequence[Tensor], presence: Sequence[Tensor], absent: Sequence[Tensor], rows: Int[Tensor, " N"]
    ) -> Float[Tensor, " N"]:
        """The explained output where absent elements of dependent tensors are overwritten, and what lies behind them is computed anew.

        Args:
            values, presence, absent: see :meth:`vesalius.trace.sites.DependentSites.head`.
            rows: which sample each row is a variant of.
        """
        assert self.dependent is not None
        return self.pick(self.dependent.head(values, presence, absent, rows), rows)

    def require_independent(self, method: str) -> None:
        """Refuse explained tensors of which one is computed from another, where they would have to be variables of their own.

        Raises:
            InvalidInput: they are.
        """
        if self.dependent is not None:
            raise InvalidInput(
                f"{self.dependent}, and {method} takes them for variables that change on their own; ask for direct effects (direct=True),"
                " explain one place at a time, or use a method that plays games and computes anew what lies behind, such as shapley_value"
                " or occlusion"
            )

    def require_differentiable(self, method: str) -> None:
        """Refuse tensors that have no gradient.

        Raises:
            WrongType: an explained tensor is of integers.
            InvalidInput: one is computed from another.
        """
        self.require_independent(method)
        for name, tensor in zip(self.at, self.present, strict=True):
            if not tensor.is_floating_point():
                raise WrongType(f"{name!r} is {tensor.dtype} and has no gradient, which {method} needs; {self._suggest_alternative()}")
        if not self.network.differentiable:
            why = self.network.reason or "an op of it has no derivative"
            raise WrongType(
                f"no gradient reaches the input of {self.network.name} ({why}), which {method} needs; use a method that only evaluates,"
                " such as shapley_value or occlusion"
            )

    def _suggest_alternative(self) -> str:
        if self.network.opaque:
            return "use a method that only evaluates, such as shapley_value"
        layers = [layer for layer in self.network.layers.values() if layer.op == "embedding"]
        embeddings = [layer.value for layer in sorted(layers, key=lambda layer: layer.source not in self.at)]
        offer = f"explain an embedding instead, at={embeddings[0]!r}" if embeddings else "explain an inner value instead, with at="
        return f"{offer}; or use a method that only evaluates, such as shapley_value"


def ask(network: Network, x: Inputs, *, target: Target = None, at: str | Sequence[str] | None = None, direct: bool = False) -> Question:
    """Pose a question.

    Args:
        network: a traced or opaque network.
        x: a batch of inputs, or one sample without the batch axis.
        target: ``None``: the predicted class of each sample (or the only output); an integer: that class; a list, array or tensor [B]: a
            class per sample; a tuple of K integers: a position in an output [B, ...] of K more axes, of which each may be a list or tensor
            [B] where samples differ (``(-1, next_tokens)``), or a list of such tuples; ``("layer2", 5)``: a unit of an inner value,
            averaged over positions, ``("layer2", 5, 0, 3)`` at one of them; a function of the output, [N, ...] -> [N].
        at: values or modules to explain, in any order; by default all floating inputs, or ids where there are none (but a mask), see
            :func:`vesalius.trace.default_inputs.default_inputs`.
        direct: ask for direct effects alone, where one explained value is computed from another: the later one stays as it is when the
            earlier one changes. Otherwise it is computed anew.

    Raises:
        InvalidInput: NaN or infinite input, ids out of the vocabulary, a target out of range, an ``at`` without a batch axis, or twice.
        UnknownName: ``at`` or the target's layer does not exist.
        NotTraceable: an inner ``at`` or target on an opaque network.
    """
    tensors, single = _add_batch_axis(network, x)
    network = network.at_lengths_of(tensors)
    inputs = network.bind(tensors)
    for value, tensor in zip(network.inputs, inputs, strict=True):
        _check_finite(value.name, tensor)
    names = default_inputs(network, inputs) if at is None else _resolve_at(network, at)
    end, inner = _resolve_inner_target(network, target)
    present, head, cut = _build_head(network, inputs, names, end)
    rows = torch.arange(len(inputs[0]), device=inputs[0].device)
    with torch.no_grad(), RandomState() if network.random else nullcontext():
        output = head(present, rows)
    _check_finite("the output", inner[0].layout.batch_first(output) if inner else output)
    pick, readable = inner or select_target(output, target)
    if output.is_complex() and pick.function is None:
        raise WrongType(f"the output is complex ({output.dtype}); explain a real number made of it: target=lambda out: out.abs()")
    if pick.function is not None and not network.opaque and not is_linear(pick.function, output):
        if (inside := compose(network, pick.function, inputs)) is None:
            raise InvalidInput(
                "the target is not linear in the output, and the graph of the network cannot be continued by it; put it into the model's"
                " forward, or trace the model itself rather than load a saved network"
            )
        return replace(ask(inside, inputs, at=names, direct=direct), target=readable, single=single)
    holder = end or (network.model_graph.output if network.model_graph else "")
    dependent = None if direct else find_dependent_sites(network, inputs, names, end)
    total = pick(output, rows)
    return Question(network, names, present, readable, single, inputs, holder, head, pick, total, cut, target, direct, dependent)


def to_float64(question: Question, rows: Int[Tensor, " n"] | slice = ALL_SAMPLES) -> Question:
    """The same question in float64, about all samples or some of them; predicted classes stay those that were predicted.

    Raises:
        NotTraceable: the network is opaque.
    """
    network = question.network.cast(torch.float64)
    inputs = tuple(tensor[rows].double() if tensor.is_floating_point() else tensor[rows] for tensor in question.inputs)
    positions = question.pick.positions
    target = question.given_target if positions is None else positions[rows]
    asked = ask(network, inputs, target=target, at=question.at, direct=question.direct)
    return replace(asked, single=question.single)


def _add_batch_axis(network: Network, x: Inputs) -> tuple[Tensors, bool]:
    """Rows as tensors, with the batch axis that a single sample lacks, and whether it lacked it."""
    rows = read_rows(x)
    first = network.inputs[0]
    shown = rows.tensors.get(first.name, rows.parts[0]) if isinstance(rows.tensors, dict) else rows.parts[0] if rows.parts else None
    single = rows.single or (shown is not None and shown.ndim == len(first.shape) - 1)
    return rows.map(lambda tensor: tensor[None]).tensors if single else rows.tensors, single


def _check_finite(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point() or bool(tensor.isfinite().all()):
        return
    row = int((~tensor.isfinite()).reshape(len(tensor), -1).any(1).nonzero()[0])
    raise InvalidInput(f"{name!r} holds NaN or infinity, first in sample {row}; clean or drop those samples")


def _resolve_at(network: Network, at: str | Sequence[str]) -> tuple[str, ...]:
    names = [value.name for value in network.inputs]
    asked = place_names(at)
    among_inputs = all(name in names for name in asked)
    sites = asked if among_inputs else tuple(network.resolve(name) for name in asked)
    check_distinct(asked, sites)
    for site in () if among_inputs else sites:
        network.axes.batch_layout(site)
    return sites


def _resolve_inner_target(network: Network, target: Target) -> tuple[str | None, tuple[TargetSelector, str] | None]:
    """The inner value a target names, how to take the unit from it, and what that is called."""
    if not isinstance(target, tuple) or not target or not isinstance(target[0], str):
        return None, None
    unit, *place = plain_target(target)[1:] or (None,)
    if not isinstance(unit, int) or not all(isinstance(part, int) for part in place):
        raise InvalidInput(f"an inner target is (layer, unit) or (layer, unit, *position), such as ('layer2', 5), not {target!r}")
    name = network.resolve(target[0])
    layout, axis, shape = network.axes.batch_layout(name), network.axes.unit_axis(name), network.axes.values[name].shape
    units, others = shape[axis], [side for at, side in enumerate(shape) if at not in (0, axis)]
    if units is None or not -units <= unit < units:
        raise InvalidInput(f"unit {unit} is out of range: {name!r} has {units} units")
    if place and (
        len(place) != len(others) or any(side is not None and not -side <= i < side for i, side in zip(place, others, strict=True))
    ):
        raise InvalidInput(f"{name!r} has {units} units at positions of shape {others}; {tuple(place)} is not one of them")
    selector = TargetSelector(unit=(axis, unit % units), place=tuple(place) or None, layout=layout)
    return name, (selector, f"{target[0]}[{', '.join(map(str, (unit, *place)))}]")


def _build_head(
    network: Network, inputs: tuple[Tensor, ...], at: tuple[str, ...], end: str | None
) -> tuple[tuple[Tensor, ...], HeadFunction, TargetSubgraph | None]:
    """The explained tensors (batch first), and the function from them to the output."""
    if network.opaque:
        return *_build_opaque_head(network, inputs, at), None
    split = network.split(at, end)
    layouts = tuple(network.axes.batch_layout(name) for name in (*split.at, *split.context))
    with torch.no_grad():
        found = [layout.batch_first(tensor) for tensor, layout in zip(split.front(*inputs), layouts, strict=True)]
    given, asked = (*split.at, *split.context), [end or network.graph("running a part of the network").output]
    cut = TargetSubgraph(partial(network.program, given, asked), network.function(given, asked), layouts, tuple(found[len(at) :]))
    return tuple(found[: len(at)]), cut.head, cut


def _build_opaque_head(network: Network, inputs: tuple[Tensor, ...], at: tuple[str, ...]) -> tuple[tuple[Tensor, ...], HeadFunction]:
    names = [value.name for value in network.inputs]
    places = [names.index(name) for name in at]

    def head(values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Tensor:
        given = dict(zip(places, values, strict=True))
        return network.run([given[i] if i in given else tensor.index_select(0, rows) for i, tensor in enumerate(inputs)])

    return tuple(inputs[place] for place in places), head
