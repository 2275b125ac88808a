"""Importance of links over a whole data set: sums over rows of what each link is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core import store
from vesalius.core.names import require_known
from vesalius.scale.aggregate import Aggregate, BlockReader, PlanRows, SumPlan, named_inputs
from vesalius.scale.stream import RowBlock
from vesalius.sparsity.estimators.unit_games import BASELINES
from vesalius.sparsity.importance import ESTIMATORS, LayerQuestion, link_provenance, settle_layer
from vesalius.sparsity.importance_options import ImportanceOptions
from vesalius.sparsity.importance_result import LinkImportance, importance_contents, read_importance
from vesalius.sparsity.link_sums import LinkSums
from vesalius.sparsity.links import Links, check_finite, links_of, read_link_inputs
from vesalius.trace.network import Network


@dataclass(eq=False)
class LinkImportanceSums:
    """Sums of which the result is a :class:`vesalius.sparsity.LinkImportance`.

    Attributes:
        known: what the plan says of the layers.
        sums: over rows.
    """

    known: LinkImportance
    sums: LinkSums

    def add(self, batch: Any) -> None:
        self.sums.add(batch)

    def merge(self, other: LinkImportanceSums) -> None:
        self.sums.merge(other.sums)

    def result(self) -> LinkImportance:
        return replace(self.known, layers=self.sums.result())

    def to_tensors(self) -> dict[str, Tensor]:
        return self.sums.to_tensors()

    def with_sums(self, tensors: Any) -> LinkImportanceSums:
        return LinkImportanceSums(self.known, self.sums.with_sums(tensors))


@dataclass(frozen=True, eq=False, kw_only=True)
class LinkImportances(Aggregate):
    """:func:`vesalius.link_importance` of all rows.

    What an absent link adds is that of the rows which the plan was made on, and so is the choice of the estimator.

    Attributes:
        layers, baseline, estimator, weighing: as :func:`vesalius.link_importance` takes them; ``weighing.rows`` bounds those of the plan.
    """

    name: ClassVar[str] = "link_importance"
    layers: Sequence[str] | None = None
    baseline: str = "data"
    estimator: str = "auto"
    weighing: ImportanceOptions = field(default_factory=ImportanceOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("baseline", self.baseline, BASELINES)
        require_known("estimator", self.estimator, ESTIMATORS)

    def plan(self, given: PlanRows) -> SumPlan:
        assert given.rows is not None
        links, how = links_of(given.network, self.layers), self.weighing
        rows = read_link_inputs(
            links, named_inputs(given.network, given.rows), rows=min(how.rows, self.sample), positions=how.positions, seed=how.seed
        )
        questions = {name: settle_layer(one, rows[name], self.baseline, self.estimator, how) for name, one in links.items()}
        facts = link_provenance(given.network, links, given.names, self.baseline, self.estimator, how)
        tensors, said = importance_contents(
            LinkImportance(layers={name: one.described() for name, one in questions.items()}, provenance=facts)
        )
        settled = [{"estimator": one.estimator, "order": one.order, "error": one.error} for one in questions.values()]
        known = {f"known.{place}": one.known for place, one in enumerate(questions.values())}
        return SumPlan(tensors={**tensors, **known}, facts={**said, "settled": settled, "aggregate": how.aggregate})

    def reader(self, network: Network, plan: SumPlan, asked: Any) -> BlockReader:
        links, how = links_of(network, self.layers), self.weighing
        questions = {
            name: LayerQuestion(links=one, known=plan.tensors[f"known.{place}"].to(one.weight), baseline=self.baseline, how=how, **settled)
            for (place, (name, one)), settled in zip(enumerate(links.items()), plan.facts["settled"], strict=True)
        }
        program = network.program([value.name for value in network.inputs], [source for one in links.values() for source in one.sources])

        def read(block: RowBlock) -> tuple[Any, dict[str, list[Any]]]:
            draws = torch.Generator().manual_seed(how.seed + block.start)
            parts: dict[str, list[Tensor]] = {name: [] for name in links}
            for batch in block.batches(asked.batch_rows):
                with torch.no_grad():
                    values = iter(program(*network.bind(named_inputs(network, batch))))
                for name, one in links.items():
                    parts[name].append(_link_rows(one, values, how, draws))
            return {name: one.sums(torch.cat(parts[name]), how.seed + block.start) for name, one in questions.items()}, {}

        return read

    @staticmethod
    def empty(plan: SumPlan) -> LinkImportanceSums:
        known = read_importance(plan.tensors, plan.facts)
        return LinkImportanceSums(known, LinkSums(known.layers, store.fact(plan.facts, "aggregate", str)))


def _link_rows(links: Links, values: Any, how: ImportanceOptions, draws: torch.Generator) -> Float[Tensor, "N GF"]:
    """The inputs of all uses of a weight."""
    found = torch.cat([links.rows(next(values), use, positions=how.positions, generator=draws) for use in range(len(links.layers))])
    check_finite(links.name, found)
    return found
