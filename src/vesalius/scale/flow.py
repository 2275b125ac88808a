"""Information flow over a whole data set: joint counts of all pairs of units, which add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import torch

from vesalius.core import store
from vesalius.core.errors import InvalidInput
from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.estimators import Binned
from vesalius.information.estimators.discretization import Discretization
from vesalius.information.estimators.estimate import require_rows
from vesalius.information.flow import information_flow, joined_layers, one_vs_rest
from vesalius.information.flow_counts import FlowCounts, fit_slots
from vesalius.information.graph import FlowGraph
from vesalius.information.graph_file import graph_contents, read_graph
from vesalius.information.options import MeasurementOptions
from vesalius.information.recorded_activations import record_activations
from vesalius.information.text_masks import text_mask
from vesalius.information.units import draw_positions, pool_units
from vesalius.scale.aggregate import Aggregate, BlockReader, PlanRows, SumPlan, class_labels, named_inputs
from vesalius.scale.stream import RowBlock, class_numbers
from vesalius.trace.network import Network


@dataclass(frozen=True, eq=False, kw_only=True)
class InformationFlow(Aggregate):
    """:func:`vesalius.information_flow` of all rows, by tables of counts.

    Information is that of the estimator ``"binned"``, which is a sum over rows; neighbours and critics are none, and are for a sample.
    Edges of bins, what units of one layer say of each other, and histograms are those of the rows that the plan was made on.

    Attributes:
        layers: as :func:`vesalius.information_flow` takes them.
        labels: whether the rows' classes are the last layer.
        weighting: how information becomes the weight of an edge.
        measuring: how units are read; ``rows`` and ``batch`` are not asked.

    Raises:
        InvalidInput: an estimator that is no sum over rows.
    """

    name: ClassVar[str] = "information_flow"
    layers: Sequence[str] | None = None
    labels: bool = False
    weighting: EdgeWeighting = field(default_factory=EdgeWeighting)
    measuring: MeasurementOptions = field(default_factory=lambda: MeasurementOptions(estimator="binned"))
    sample: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        how = self.measuring.estimator
        if self.measuring.relevance == "layer" or not (how == "binned" or isinstance(how, Binned)):
            raise InvalidInput(
                f"the estimator {how!r} of information is no sum over rows, so that shards of it cannot be added; take"
                " MeasurementOptions(estimator='binned'), or vesalius.information_flow on a sample of the rows"
            )

    def plan(self, given: PlanRows) -> SumPlan:
        network, rows = given.network, given.rows
        assert rows is not None
        told = class_labels(rows, class_numbers(rows.labels, given.classes)) if self.labels else None
        require_rows(len(rows))
        x, how = named_inputs(network, rows), replace(self.measuring, rows=len(rows))
        classes = given.classes if self.labels and told is not None and len(given.classes) == int(told.max()) + 1 else None
        graph = information_flow(
            network, x, layers=self.layers, labels=told, names=None, classes=classes, weighting=self.weighting, measuring=how
        )
        sites, pairs, *_ = joined_layers(network, self.layers, how, labelled=self.labels)
        units = [part.double() for part in record_activations(network, x, None, sites, how).units]
        own = self.measuring.estimator.bins if isinstance(self.measuring.estimator, Binned) else None
        slots = fit_slots(units if told is None else [*units, one_vs_rest(told)], pairs, own)
        tensors, facts = graph_contents(graph)
        for place, one in enumerate(slots):
            tensors |= {f"slots.{place}.{name}": tensor for name, tensor in one.to_tensors().items()}
        return SumPlan(tensors=tensors, facts={**facts, "weighting": asdict(self.weighting), "slots": len(slots)})

    def reader(self, network: Network, plan: SumPlan, asked: Any) -> BlockReader:
        how = self.measuring
        sites, *_ = joined_layers(network, self.layers, how, labelled=self.labels)
        program = network.program([value.name for value in network.inputs], [site.value for site in sites])
        kinds = len(self.empty(plan).graph.layers[-1]) if self.labels else 0

        def read(block: RowBlock) -> tuple[Any, dict[str, list[Any]]]:
            draws = torch.Generator().manual_seed(how.seed + block.start)
            parts = []
            for batch in block.batches(asked.batch_rows):
                with torch.no_grad():
                    inputs = network.bind(named_inputs(network, batch))
                    spots, mask = draw_positions(len(batch), draws), text_mask(network, inputs)
                    parts.append(pool_units(sites, program(*inputs), how.pool, spots, mask))
            units = [torch.cat(same) for same in zip(*parts, strict=True)]
            if not self.labels:
                return units, {}
            told = class_labels(block, class_numbers(block.labels, asked.classes))
            if int(told.max()) >= kinds:
                raise InvalidInput(
                    f"a label is {int(told.max())}, and the rows that settled the classes have 0 to {kinds - 1}; take a larger sample="
                )
            return [*units, torch.nn.functional.one_hot(told, kinds).double()], {}

        return read

    @staticmethod
    def empty(plan: SumPlan) -> FlowCounts:
        graph = FlowGraph(**read_graph(plan.tensors, plan.facts))
        own: list[dict[str, torch.Tensor]] = [{} for _ in range(store.fact(plan.facts, "slots", int))]
        for name, tensor in plan.tensors.items():
            if name.startswith("slots."):
                _, place, part = name.split(".")
                own[int(place)][part] = tensor
        slots = [Discretization.of_tensors(one) for one in own]
        return FlowCounts.empty(graph, slots, EdgeWeighting(**store.fact(plan.facts, "weighting", dict)))
