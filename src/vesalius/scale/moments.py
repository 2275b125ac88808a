"""A feature's components over a whole data set: second moments of what the trained disentanglers predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from vesalius.complexity.components import Complexity
from vesalius.complexity.held_out import GROUPS, PredictionMoments, predictions
from vesalius.complexity.result_file import read_result, result_contents
from vesalius.core.errors import InvalidInput
from vesalius.scale.aggregate import Aggregate, BlockReader, PlanRows, SumPlan, named_inputs
from vesalius.scale.stream import RowBlock
from vesalius.trace.network import Network


@dataclass(eq=False)
class ComplexitySums:
    """Moments of which the result is a :class:`vesalius.Complexity`.

    Attributes:
        parts: the trained disentanglers.
        moments: over rows.
    """

    parts: Complexity
    moments: PredictionMoments

    def add(self, batch: Any) -> None:
        self.moments.add(batch)

    def merge(self, other: ComplexitySums) -> None:
        self.moments.merge(other.moments)

    def result(self) -> Complexity:
        count = int(self.moments.count.sum())
        rows = {"all": count, "held": count}
        return replace(self.parts, moments=self.moments.result(), provenance={**self.parts.provenance, "rows": rows})

    def to_tensors(self) -> dict[str, Tensor]:
        return self.moments.to_tensors()

    def with_sums(self, tensors: Mapping[str, Tensor]) -> ComplexitySums:
        return ComplexitySums(self.parts, PredictionMoments().with_sums(tensors))


@dataclass(frozen=True, eq=False, kw_only=True)
class ComponentMoments(Aggregate):
    """The measures of :func:`vesalius.complexity` on all rows, for disentanglers that were trained on some.

    Training is no sum over rows; what trained disentanglers explain is. Rows they were trained on count as well as any other here, so give
    those that they were not.

    Attributes:
        parts: a result of :func:`vesalius.complexity`.
    """

    name: ClassVar[str] = "complexity"
    settled: ClassVar[bool] = False
    rows_at_once: ClassVar[int] = 256
    parts: Complexity

    def plan(self, given: PlanRows) -> SumPlan:
        about = self.parts.provenance.get("digest")
        if about != given.network.digest():
            raise InvalidInput(
                f"these components are of a network with digest {about}, and this one has {given.network.digest()}; take those of this"
                " network: vesalius.complexity(model, sample, at=...)"
            )
        tensors, facts = result_contents(self.parts)
        return SumPlan(tensors=tensors, facts=facts)

    def reader(self, network: Network, plan: SumPlan, asked: Any) -> BlockReader:
        parts = Complexity(**read_result(plan.tensors, plan.facts, network))
        nets, shape, where = [net for row in parts.nets for net in row], parts.shape, parts.reading

        def read(block: RowBlock) -> tuple[Any, dict[str, list[Any]]]:
            seen, feature = where.read(named_inputs(network, block))
            if not bool(feature.isfinite().all()):
                raise InvalidInput(f"the feature {parts.at!r} is NaN or infinite; clean the data, or look at the network's weights")
            with torch.no_grad():
                found = predictions(nets, seen, shape.rows(feature.float()))
            return (found, torch.arange(block.start, block.start + len(block)) % GROUPS), {}

        return read

    @staticmethod
    def empty(plan: SumPlan) -> ComplexitySums:
        return ComplexitySums(Complexity(**read_result(plan.tensors, plan.facts, None)), PredictionMoments())
