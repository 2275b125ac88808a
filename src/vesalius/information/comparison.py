"""Two flow graphs of the same layers side by side: edges and units that differ by more than their errors.

For training and test rows, before and after pruning or fine-tuning, or two seeds of one network. The errors are taken as those of
independent rows; where both graphs are of the same rows they are larger than need be.

Axes: A units of a layer, B units of one that reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import Limit, real_number
from vesalius.information.estimators.estimate import adjusted

if TYPE_CHECKING:
    from vesalius.information.graph import FlowGraph

SHOWN = 5


class EdgeDifference(NamedTuple):
    """An edge that differs.

    Attributes:
        source: unit that is read, as (layer, position).
        target: unit that reads it.
        before: its information in the first graph, in nats.
        after: in the second.
        stderr: standard error of the difference.
        p: chance of such a difference where there is none, adjusted for the number of edges.
    """

    source: tuple[str, int]
    target: tuple[str, int]
    before: float
    after: float
    stderr: float
    p: float

    @property
    def difference(self) -> float:
        """What the second graph has more, in nats."""
        return self.after - self.before


class UnitDifference(NamedTuple):
    """A unit that differs: the information of all its edges together, in and out.

    Attributes:
        unit: as (layer, position).
        before: the sum in the first graph, in nats.
        after: in the second.
        stderr: the largest standard error that the difference can have; edges of a unit share their rows, so their errors may add up.
        p: as of an edge, adjusted for the number of units.
    """

    unit: tuple[str, int]
    before: float
    after: float
    stderr: float
    p: float

    @property
    def difference(self) -> float:
        """What the second graph has more, in nats."""
        return self.after - self.before


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowComparison:
    """What differs between two graphs.

    Attributes:
        edges: that differ, the largest difference first.
        units: that differ, likewise.
        tested: edges that at least one graph has and whose errors are known in both.
        untested: such edges without an error in one of them.
        only_first: layers and layer pairs that the second graph does not have, by name.
        only_second: those that the first does not have.
        rate: expected share of false ones among the edges listed, and among the units.
        names: how units are called.
    """

    edges: tuple[EdgeDifference, ...]
    units: tuple[UnitDifference, ...]
    tested: int
    untested: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    rate: float
    names: Mapping[tuple[str, int], str]

    def __repr__(self) -> str:
        head = f"FlowComparison: {len(self.edges)} of {self.tested} edges and {len(self.units)} units differ at a rate of {self.rate:g}"
        lines = [head + (f"; {self.untested} edges without an error were not tested" if self.untested else "")]
        for title, edges in (("edges (nats, second - first)", self.edges), ("units (nats of all their edges, second - first)", self.units)):
            lines += [title] if edges else []
            for one in edges[:SHOWN]:
                ends = (one.source, one.target) if isinstance(one, EdgeDifference) else (one.unit,)
                name = " -> ".join(self.names[unit] for unit in ends)
                lines.append(f"  {one.difference:+.3g} +- {one.stderr:.2g}  {name}: {one.before:.3g} to {one.after:.3g}")
        for which, parts in (("first", self.only_first), ("second", self.only_second)):
            lines += [f"only in the {which}: {', '.join(parts)}"] if parts else []
        return "\n".join(lines)


def compare_graphs(first: FlowGraph, second: FlowGraph, rate: float) -> FlowComparison:
    """What differs between two graphs, see :meth:`vesalius.information.FlowGraph.compare`.

    Args:
        first: a graph.
        second: one with units of the same labels in the layers of the same names.
        rate: false discovery rate in (0, 1).

    Raises:
        InvalidInput: a layer with other units in the second graph; no layer pair in common.
    """
    rate = real_number("rate", rate, Limit(above=0, below=1))
    shared = [name for name in first.names if name in second.names]
    for name in shared:
        one, other = first.layers[first.place(name)], second.layers[second.place(name)]
        if one.units != other.units:
            raise InvalidInput(
                f"layer {name!r} has {len(one)} units in one graph and {len(other)} in the other, or they are called otherwise"
            )
    pairs = [pair for pair in first.joined if pair in second.joined]
    if not pairs:
        raise InvalidInput("the graphs have no layer pair in common, so there is nothing to compare")
    tables = {pair: _DifferenceTable.of(first, second, pair) for pair in pairs}
    edges = _differing_edges(tables, rate)
    units = [unit for name in shared for unit in _unit_sums(name, tables)]
    sure = adjusted(torch.tensor([unit.p for unit in units], dtype=torch.float64)).tolist()
    units = [unit._replace(p=p) for unit, p in zip(units, sure, strict=True) if p <= rate]
    return FlowComparison(
        edges=tuple(sorted(edges, key=lambda edge: -abs(edge.difference))),
        units=tuple(sorted(units, key=lambda unit: -abs(unit.difference))),
        tested=sum(int(table.tested.sum()) for table in tables.values()),
        untested=sum(int((table.kept & ~table.tested).sum()) for table in tables.values()),
        only_first=_missing(first, second),
        only_second=_missing(second, first),
        rate=rate,
        names={(name, at): first.title((name, at)) for name in shared for at in range(len(first.layers[first.place(name)]))},
    )


@dataclass(frozen=True, eq=False)
class _DifferenceTable:
    """The edges of a layer pair in both graphs.

    Attributes:
        before: information in the first graph.
        after: in the second.
        stderr: of the difference; NaN where it is not known.
        kept: edges that at least one of the graphs has.
    """

    before: Float64[Tensor, "A B"]
    after: Float64[Tensor, "A B"]
    stderr: Float64[Tensor, "A B"]
    kept: Bool[Tensor, "A B"]

    @classmethod
    def of(cls, first: FlowGraph, second: FlowGraph, pair: tuple[str, str]) -> _DifferenceTable:
        one, other = first.between(*pair), second.between(*pair)
        unknown = torch.full_like(one.information, torch.nan)
        errors = [unknown if part.stderr is None else part.stderr for part in (one, other)]
        return cls(one.information, other.information, torch.hypot(*errors), one.kept | other.kept)

    @property
    def tested(self) -> Bool[Tensor, "A B"]:
        return self.kept & (self.stderr > 0)

    def sums(self, axis: int) -> Float64[Tensor, "3 _"]:
        """Of the units of one side: the information of all tested edges before and after, and the sum of their errors."""
        return torch.stack([torch.where(self.tested, part, 0).sum(axis) for part in (self.before, self.after, self.stderr)])


def _differing_edges(tables: Mapping[tuple[str, str], _DifferenceTable], rate: float) -> list[EdgeDifference]:
    """Edges that differ, of all layer pairs together."""
    p = adjusted(
        torch.cat([two_sided_p((table.after - table.before)[table.tested], table.stderr[table.tested]) for table in tables.values()])
    )
    found, done = [], 0
    for pair, table in tables.items():
        for i, j in table.tested.nonzero().tolist():
            before, after, stderr = (float(part[i, j]) for part in (table.before, table.after, table.stderr))
            if p[done] <= rate:
                found.append(EdgeDifference((pair[0], i), (pair[1], j), before, after, stderr, float(p[done])))
            done += 1
    return found


def _unit_sums(name: str, tables: Mapping[tuple[str, str], _DifferenceTable]) -> list[UnitDifference]:
    """The units of a layer, each with the chance of its difference, not adjusted."""
    near = [table.sums(1 if pair[0] == name else 0) for pair, table in tables.items() if name in pair]
    if not near:
        return []
    before, after, stderr = torch.stack(near).sum(0)
    p = torch.where(stderr > 0, two_sided_p(after - before, stderr), 1)
    return [UnitDifference((name, at), *(float(part[at]) for part in (before, after, stderr, p))) for at in range(len(p))]


def two_sided_p(difference: Float64[Tensor, "..."], stderr: Float64[Tensor, "..."]) -> Float64[Tensor, "..."]:
    """Chance of a normal number at least so far from 0."""
    found: Tensor = torch.special.erfc((difference / stderr).abs() / 2**0.5)
    return found


def _missing(one: FlowGraph, other: FlowGraph) -> tuple[str, ...]:
    layers = [name for name in one.names if name not in other.names]
    pairs = [
        f"{first} -> {second}" for first, second in one.joined if (first, second) not in other.joined and not {first, second} & set(layers)
    ]
    return (*layers, *pairs)
