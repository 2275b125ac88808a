"""Samples compared with references: multipliers of a whole network, between two ends.

Axes: N rows, M references of each row, D elements of all explained tensors of one row, laid end to end.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.fx import Node

from vesalius.rules.counted_places import INDEX_ARGUMENTS
from vesalius.rules.interpreter import Interpreter, RuleTable
from vesalius.rules.op_kinds import op_kind, op_name
from vesalius.rules.plan import Plan, plan_of
from vesalius.rules.signal import Signal
from vesalius.rules.two_point import Tape, TwoPointState
from vesalius.rules.unit_rules import UnitRule
from vesalius.trace.graph import Value, data_inputs
from vesalius.trace.question import Question, TargetSubgraph


@dataclass(frozen=True)
class Contributions:
    """What was shared out among the elements of each row, and the target at both ends; the mean over references."""

    values: Float[Tensor, "N D"]
    base: Float[Tensor, " N"]
    total: Float[Tensor, " N"]


class ReferenceComparison:
    """The part of a network that a question is about, ready to be run under a table of rules.

    Raises:
        NotTraceable: the network is opaque.
        NoRule: an op has no rule in the table.
        WrongType: an explained tensor is of integers.
    """

    def __init__(self, question: Question, table: RuleTable) -> None:
        question.network.graph(table.name)
        question.require_differentiable(table.name)
        assert question.subgraph is not None
        self.question, self.table = question, table
        self.subgraph: TargetSubgraph = question.subgraph
        self.plan = plan_of(self.subgraph.program, len(question.at))
        table.require_rules(self.plan)
        self.one_row_suffices = not self.subgraph.context and self.plan.remember("one row", _one_row_suffices)

    def rescale(self, rows: Int[Tensor, " N"], fills: Sequence[Shaped[Tensor, "B M ..."]]) -> Contributions:
        """Rescale multipliers against each reference: the rows are run once, a reference once without gradients."""
        here, there, still = Tape(), Tape(), dict[Any, list[Any]]()
        leaves = self.leaves(rows)
        total = self.run(leaves, rows, TwoPointState(here, there), still)
        values, base = torch.zeros(len(rows), self.width, device=total.device, dtype=total.dtype), torch.zeros_like(total)
        count = fills[0].shape[1]
        for m in range(count):
            points = [fill[rows, m] for fill in fills]
            base += self.reference(points, rows, there.rewind(), still).detach() / count
            values += self._shares(total, leaves, points, keep=m + 1 < count) / count
        return Contributions(values, base, total.detach())

    def with_unit_rules(self, rows: Int[Tensor, " N"], fills: Sequence[Shaped[Tensor, "B M ..."]], algebra: UnitRule) -> Contributions:
        """Rules that look at a unit's players; both ends travel side by side, once per reference."""
        count = fills[0].shape[1]
        parts, still = [], dict[Any, list[Any]]()
        for m in range(count):
            leaves, points = self.leaves(rows), [fill[rows, m] for fill in fills]
            signals = [
                Signal(value, base=base)
                for value, base in zip(self.subgraph.arguments(leaves, rows), self.subgraph.arguments(points, rows), strict=True)
            ]
            explained = signals[: len(leaves)]
            found = Interpreter(self.table, algebra).through(
                self.plan, explained, [signal.value for signal in signals[len(leaves) :]], still
            )
            value, other = (found.value, found.base) if isinstance(found, Signal) else (found, found)
            assert other is not None  # both ends of every signal of this pass are there
            total, base = self.question.pick(value, rows), self.question.pick(other, rows)
            parts.append((self._shares(total, leaves, points), base, total.detach()))
        values, base, total = (torch.stack(column).mean(0) for column in zip(*parts, strict=True))
        return Contributions(values, base, total)

    def chain(
        self, rows: Int[Tensor, " N"], ends: tuple[Sequence[Tensor], Sequence[Tensor]], times: Float[Tensor, "N n"]
    ) -> Iterator[tuple[Float[Tensor, "N D"], Float[Tensor, " N"]]]:
        """Rescale along straight lines, secant by secant: each right end is the next left end.

        Args:
            rows: the sample each line belongs to.
            ends: explained tensors at time 0 and at time 1 of each line.
            times: where the lines are cut, in increasing order; the first is where they begin.

        Yields:
            The change of the target over a secant, shared out, and the target at its right end.
        """
        here, there, still = Tape(), Tape(), dict[Any, list[Any]]()
        start = _interpolate(ends, times[:, 0])
        self.reference(start, rows, there, still)
        for place in range(1, times.shape[1]):
            leaves = [point.requires_grad_() for point in _interpolate(ends, times[:, place])]
            total = self.run(leaves, rows, TwoPointState(here.rewind(), there.rewind()), still)
            values = self._shares(total, leaves, start)
            yield values, total.detach()
            here, there, start = there, here, [leaf.detach() for leaf in leaves]

    # ---- pieces -------------------------------------------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """Elements of all explained tensors of one row."""
        return sum(tensor[0].numel() for tensor in self.question.present)

    def leaves(self, rows: Int[Tensor, " N"]) -> list[Tensor]:
        """Explained tensors of some samples, to be differentiated."""
        return [tensor[rows].detach().requires_grad_() for tensor in self.question.present]

    def run(
        self, values: Sequence[Tensor], rows: Int[Tensor, " N"], state: TwoPointState, still: dict[Any, list[Any]] | None = None
    ) -> Float[Tensor, " N"]:
        """One pass; the target of each row. What is the same in every pass over these rows is in ``still``."""
        inputs = self.subgraph.arguments(values, rows)
        explained = [Signal(tensor) for tensor in inputs[: len(values)]]
        with torch.set_grad_enabled(state.there is not None):
            found = Interpreter(self.table, state).through(self.plan, explained, inputs[len(values) :], still)
            output = found.value if isinstance(found, Signal) else found
            return self.question.pick(output.expand(len(rows), *output.shape[1:]), rows)

    def reference(
        self, points: Sequence[Tensor], rows: Int[Tensor, " N"], tape: Tape, still: dict[Any, list[Any]] | None = None
    ) -> Float[Tensor, " N"]:
        """A pass without gradients, of one row where all are the same."""
        alike = self.one_row_suffices and all(bool((point == point[:1]).all()) for point in points)
        return self.run([point[:1] for point in points] if alike else points, rows, TwoPointState(tape), still)

    def _shares(
        self, total: Float[Tensor, " N"], leaves: Sequence[Tensor], points: Sequence[Tensor], *, keep: bool = False
    ) -> Float[Tensor, "N D"]:
        """Multiplier times change, element by element."""
        if not total.requires_grad:
            return torch.zeros(len(total), self.width, device=total.device, dtype=total.dtype)
        found = torch.autograd.grad(total.sum(), leaves, retain_graph=keep, allow_unused=True)
        shares = [
            torch.zeros_like(leaf) if slope is None else slope * (leaf.detach() - point)
            for slope, leaf, point in zip(found, leaves, points, strict=True)
        ]
        return torch.cat([share.reshape(len(share), -1) for share in shares], 1)


def _interpolate(ends: tuple[Sequence[Tensor], Sequence[Tensor]], times: Float[Tensor, " N"]) -> list[Tensor]:
    """Where lines are at some time."""
    return [
        torch.lerp(start, end, times.to(end.dtype).reshape(-1, *[1] * (end.ndim - 1))).detach() for start, end in zip(*ends, strict=True)
    ]


LINEAR_OP_KINDS = frozenset({"move", "add", "scale", "affine"})
BILINEAR_OP_KINDS = frozenset({"map", "multiply", "divide"})
"""Kinds of ops that are linear, whose ends no rule compares; the second where one factor is constant."""


def _index_in(node: Node, traced: Container[Node]) -> bool:
    """Whether an op reads or writes at places that explained tensors reach, so that tables at both ends are compared."""
    where = INDEX_ARGUMENTS.get(op_name(node.target)) if node.op == "call_function" else None
    if where is None or where >= len(node.args):
        return False
    index = node.args[where]
    return any(one in traced for one in (index if isinstance(index, (list, tuple)) else [index]) if isinstance(one, Node))


def _one_row_suffices(plan: Plan) -> bool:
    """Whether one row of a reference can stand for all: the batch is an axis of its own on both sides of every op that is compared."""
    traced = set(plan.traced)
    for node in plan.traced:
        sources = [source for source in data_inputs(node) if source in traced]
        kind = "" if node.op == "placeholder" else op_kind(node.target)
        if (kind in LINEAR_OP_KINDS and not _index_in(node, traced)) or (kind in BILINEAR_OP_KINDS and len(sources) == 1):
            continue
        values: list[Value | None] = [found.meta.get("value") for found in (node, *sources)]
        if any(value is not None and value.batch_axis is None for value in values):
            return False
    return True
