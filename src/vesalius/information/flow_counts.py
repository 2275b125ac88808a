"""Information flow as a sum over rows: joint counts of all pairs of joined layers, in slots that some rows have settled.

Axes: N rows, A units of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.estimators.binned import usual_bins
from vesalius.information.estimators.contingency import JointCounts
from vesalius.information.estimators.discretization import Discretization
from vesalius.information.graph import FlowGraph
from vesalius.information.layers import FlowEdges
from vesalius.information.recorded_activations import ROUNDING

MOST_TABLE_BYTES = 1 << 30
"""Memory that the tables of one part of the data may take."""


@dataclass(eq=False)
class FlowCounts:
    """Joint counts of the units of joined layers.

    Attributes:
        graph: measured on the rows that settled the slots; layers, pairs and provenance are those of the result.
        slots: of each layer.
        weighting: of the result's edges.
        counts: of each pair of layers.
        low: smallest value of each unit, by layer; infinite before there is one.
        high: largest.
    """

    graph: FlowGraph
    slots: tuple[Discretization, ...]
    weighting: EdgeWeighting
    counts: list[JointCounts]
    low: list[Float64[Tensor, "_"]]
    high: list[Float64[Tensor, "_"]]

    @classmethod
    def empty(cls, graph: FlowGraph, slots: Sequence[Discretization], weighting: EdgeWeighting) -> FlowCounts:
        """No rows yet."""
        counts = [JointCounts.empty(slots[first], slots[second]) for first, second in graph.structure.pairs]
        low = [torch.full((len(layer),), torch.inf, dtype=torch.float64) for layer in graph.layers]
        return cls(graph, tuple(slots), weighting, counts, low, [-one for one in low])

    def add(self, batch: Sequence[Float[Tensor, "N _"]]) -> None:
        """Take in the units of some rows, a table per layer.

        Raises:
            InvalidInput: values that are not finite, or other units than the slots are of.
        """
        codes = []
        for place, (rows, slots) in enumerate(zip(batch, self.slots, strict=True)):
            layer = self.graph.layers[place]
            if rows.shape[1] != len(layer):
                raise InvalidInput(f"layer {layer.name!r} has {len(layer)} units, and rows of {rows.shape[1]} came")
            if not bool(rows.isfinite().all()):
                raise InvalidInput(f"units of layer {layer.name!r} are NaN or infinite; clean the data, or look at the network's weights")
            known = snap_to_atoms(rows.double().cpu(), slots)
            codes.append(slots.codes(known))
            self.low[place] = torch.minimum(self.low[place], known.amin(0))
            self.high[place] = torch.maximum(self.high[place], known.amax(0))
        for counts, (first, second) in zip(self.counts, self.graph.structure.pairs, strict=True):
            counts.add_codes(codes[first], codes[second])

    def merge(self, other: FlowCounts) -> None:
        """Take in all rows that others have.

        Raises:
            InvalidInput: their slots are others.
        """
        for mine, theirs in zip(self.counts, other.counts, strict=True):
            mine.merge(theirs)
        self.low = [torch.minimum(*pair) for pair in zip(self.low, other.low, strict=True)]
        self.high = [torch.maximum(*pair) for pair in zip(self.high, other.high, strict=True)]

    def result(self) -> FlowGraph:
        """The graph of all rows.

        Raises:
            InvalidInput: fewer than 16 rows.
        """
        found = [counts.result() for counts in self.counts]
        edges = [FlowEdges.of(one.values, p=one.p, stderr=one.stderr, doubts=one.doubts) for one in found]
        layers = [replace(layer, dead=self._constant(place)) for place, layer in enumerate(self.graph.layers)]
        rows, settled_on = found[0].samples, self.graph.provenance.get("rows")
        facts = {**self.graph.provenance, "rows": rows, "settled_on": settled_on}
        if rows != settled_on:
            facts.pop("few_rows", None)  # it says how stable edges are in the rows that settled the slots
        made = FlowGraph.from_information(layers, edges, self.weighting, pairs=self.graph.joined, provenance=facts)
        return replace(made, unseen=self.graph.unseen)

    def _constant(self, place: int) -> Bool[Tensor, " A"]:
        low, high = self.low[place], self.high[place]
        return high - low <= ROUNDING * torch.maximum(low.abs(), high.abs())

    def to_tensors(self) -> dict[str, Tensor]:
        """The sums, without what is the same for all parts."""
        small = self.counts[0].samples <= torch.iinfo(torch.int16).max  # no count is larger than that of the rows
        found = {f"joint.{place}": one.joint.to(torch.int16 if small else torch.int32) for place, one in enumerate(self.counts)}
        found |= {f"low.{place}": one for place, one in enumerate(self.low)} | {f"high.{place}": one for place, one in enumerate(self.high)}
        return found | {"samples": torch.tensor(self.counts[0].samples)}

    def with_sums(self, tensors: Mapping[str, Tensor]) -> FlowCounts:
        """The same question with the sums that a file holds.

        Raises:
            ValueError, KeyError: they do not fit.
        """
        new = FlowCounts.empty(self.graph, self.slots, self.weighting)
        for place, one in enumerate(new.counts):
            table = tensors[f"joint.{place}"]
            if table.shape != one.joint.shape or table.dtype not in (torch.int16, torch.int32) or bool((table < 0).any()):
                raise ValueError("a table of other slots, or no counts")
            one.joint, one.samples = table.int(), int(tensors["samples"])
        for name, own in (("low", new.low), ("high", new.high)):
            for place, known in enumerate(own):
                if tensors[f"{name}.{place}"].shape != known.shape:
                    raise ValueError("ends of other units")
                own[place] = tensors[f"{name}.{place}"].double()
        return new


def fit_slots(
    rows: Sequence[Float64[Tensor, "N _"]], pairs: Sequence[tuple[int, int]], bins: int | None = None
) -> tuple[Discretization, ...]:
    """Slots of every layer by some rows.

    Args:
        rows: of each layer.
        pairs: of layers that are joined.
        bins: most bins of a unit; by default as many as :class:`vesalius.information.estimators.Binned` takes for so many rows, or half of
            them, where tables would take more than a quarter of a gigabyte.

    Raises:
        InvalidInput: tables would take more than a gigabyte.
    """
    most = bins or usual_bins(len(rows[0]))
    for finest in (most, max(most // 2, 8)):
        slots = tuple(Discretization.fit(part, finest) for part in rows)
        size = sum(4 * len(slots[first]) * len(slots[second]) for first, second in pairs)
        last = finest != most or bins is not None
        if size <= (MOST_TABLE_BYTES if last else MOST_TABLE_BYTES // 4):
            return slots
    raise InvalidInput(
        f"joint counts of so many units would take {size / 2**30:.1f} GiB for each part of the data, at most {MOST_TABLE_BYTES >> 30} is"
        " allowed; name fewer layers"
    )


def snap_to_atoms(rows: Float64[Tensor, "N A"], slots: Discretization) -> Float64[Tensor, "N A"]:
    """Units, with values that are an atom's but for rounding made the atom's: batches of other sizes round otherwise."""
    found = rows.numpy().copy()
    for unit, atoms in enumerate(slots.atoms):
        if not len(atoms):
            continue
        column = found[:, unit]
        after = np.minimum(np.searchsorted(atoms, column), len(atoms) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.abs(atoms[after] - column) <= np.abs(atoms[before] - column), atoms[after], atoms[before])
        reach = ROUNDING * max(float(np.abs(slots.edges[unit]).max(initial=0.0)), float(np.abs(atoms).max()))
        found[:, unit] = np.where(np.abs(nearest - column) <= reach, nearest, column)
    return torch.from_numpy(found)
