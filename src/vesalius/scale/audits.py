"""Audits of every row of a data set: how methods keep to the three principles on the mean, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from numpy import ndarray
from torch import Tensor

from vesalius.audit import Audit, audit
from vesalius.audit.method_labels import Methods, label_methods
from vesalius.core import store
from vesalius.methods import METHODS
from vesalius.scale.aggregate import Aggregate, BlockReader, PlanRows, SumPlan, named_inputs
from vesalius.scale.stream import RowBlock
from vesalius.trace.network import Network

MEASURES = ("miss", "over", "reverse", "leak", "completeness_error", "mean_leak", "mean_gap", "gap", "error")
"""Numbers of :class:`vesalius.audit.MethodAudit` of which means are taken."""
PRINCIPLES = ("P1", "P2", "P3")


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditSummary:
    """Methods judged by the three principles on many rows.

    Attributes:
        methods: by label.
        measures: names of the numbers, see :class:`vesalius.audit.MethodAudit`.
        count: [methods measures] rows that have the number: a method that does not apply to a row has none, nor has a sampled audit those
            that are exact only.
        mean: [methods measures] over these rows; NaN of none.
        stderr: [methods measures] its standard error; NaN of fewer than two.
        held: [methods 3] share of the rows on which P1, P2 and P3 are held; where a sample cannot tell, they are not counted as held.
        rows: in all.
    """

    methods: tuple[str, ...]
    measures: tuple[str, ...]
    count: Int64[Tensor, "M K"]
    mean: Float64[Tensor, "M K"]
    stderr: Float64[Tensor, "M K"]
    held: Float64[Tensor, "M 3"]
    rows: int

    def ranking(self) -> list[tuple[str, float, float]]:
        """Methods that apply, with the mean of their error and its standard error, the smallest first."""
        place = self.measures.index("error")
        found = zip(self.methods, self.mean[:, place].tolist(), self.stderr[:, place].tolist(), strict=True)
        return sorted((one for one in found if one[1] == one[1]), key=lambda one: one[1])

    def __repr__(self) -> str:
        lines = [f"Audit of {self.rows:,} rows: mean error with its standard error, and the share of rows on which P1, P2, P3 are held"]
        for method, mean, error in self.ranking():
            shares = "  ".join(f"{share:4.0%}" for share in self.held[self.methods.index(method)].tolist())
            lines.append(f"  {mean:9.4g} \N{PLUS-MINUS SIGN} {error:7.2g}  {shares}  {method}")
        return "\n".join(lines)


@dataclass(eq=False)
class AuditMeans:
    """Means of the numbers of audits, as sums over rows.

    Attributes:
        methods: by label.
        count: rows that have each number.
        mean: of it.
        squares: sums of squared deviations from the mean.
        held: rows on which a principle is held.
        rows: in all.
    """

    methods: tuple[str, ...]
    count: Float64[Tensor, "M K"] = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))
    mean: Float64[Tensor, "M K"] = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))
    squares: Float64[Tensor, "M K"] = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))
    held: Float64[Tensor, "M 3"] = field(default_factory=lambda: torch.zeros(0, 3, dtype=torch.float64))
    rows: int = 0

    def __post_init__(self) -> None:
        if not self.count.numel():
            shape = len(self.methods), len(MEASURES)
            self.count, self.mean, self.squares = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
            self.held = torch.zeros(len(self.methods), len(PRINCIPLES), dtype=torch.float64)

    def add(self, batch: list[Audit]) -> None:
        """Take in the audits of some rows."""
        for one in batch:
            numbers = torch.from_numpy(audit_numbers(one, self.methods))
            known = ~numbers.isnan()
            self._join(known.double(), torch.where(known, numbers, 0.0), torch.zeros_like(numbers))
            for place, method in enumerate(self.methods):
                if method in one:
                    self.held[place] += torch.tensor([one[method].principles[name] is True for name in PRINCIPLES]).double()
        self.rows += len(batch)

    def merge(self, other: AuditMeans) -> None:
        """Take in all rows that others have."""
        self._join(other.count, other.mean, other.squares)
        self.held, self.rows = self.held + other.held, self.rows + other.rows

    def _join(self, count: Tensor, mean: Tensor, squares: Tensor) -> None:
        """Reference: Chan1983."""
        total = self.count + count
        share = torch.where(total > 0, count / total.clamp_min(1), 0.0)
        apart = torch.where(count > 0, mean - self.mean, 0.0)
        self.mean, self.squares = self.mean + apart * share, self.squares + squares + apart.square() * self.count * share
        self.count = total

    def result(self) -> AuditSummary:
        """What is known now."""
        free = (self.count - 1).clamp_min(1)
        return AuditSummary(
            methods=self.methods,
            measures=MEASURES,
            count=self.count.long(),
            mean=torch.where(self.count > 0, self.mean, torch.nan),
            stderr=torch.where(self.count > 1, (self.squares / free / self.count.clamp_min(1)).sqrt(), torch.nan),
            held=self.held / max(self.rows, 1),
            rows=self.rows,
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """The sums."""
        return {name: getattr(self, name) for name in ("count", "mean", "squares", "held")} | {"rows": torch.tensor(self.rows)}

    def with_sums(self, tensors: Mapping[str, Tensor]) -> AuditMeans:
        """The same question with the sums that a file holds.

        Raises:
            ValueError, KeyError: they do not fit.
        """
        found = {name: tensors[name].double() for name in ("count", "mean", "squares", "held")}
        if any(found[name].shape != getattr(self, name).shape for name in found):
            raise ValueError("sums of other methods")
        return AuditMeans(self.methods, **found, rows=int(tensors["rows"]))


def audit_numbers(one: Audit, methods: tuple[str, ...]) -> Float[ndarray, "M K"]:
    """The numbers of an audit; NaN where there is none."""
    rows = [[float(getattr(one[method], name)) if method in one else np.nan for name in MEASURES] for method in methods]
    return np.array(rows, float).reshape(len(methods), len(MEASURES))


@dataclass(frozen=True, eq=False, kw_only=True)
class Audits(Aggregate):
    """:func:`vesalius.audit` of every row; each keeps the error of every method as a column, ``"occlusion error"``.

    Attributes:
        methods: names, instances with options, or a mapping from labels to either.
    """

    name: ClassVar[str] = "audit"
    explains: ClassVar[bool] = True
    settled: ClassVar[bool] = False
    shard_rows: ClassVar[int] = 128
    rows_at_once: ClassVar[int] = 64
    methods: Any = tuple(METHODS)

    def __post_init__(self) -> None:
        super().__post_init__()
        label_methods(self.methods)

    def plan(self, given: PlanRows) -> SumPlan:
        return SumPlan(tensors={}, facts={"methods": list(label_methods(self.methods))})

    def reader(self, network: Network, plan: SumPlan, asked: Any) -> BlockReader:
        methods: Methods = label_methods(self.methods)
        labels = tuple(plan.facts["methods"])

        def read(block: RowBlock) -> tuple[Any, dict[str, list[Any]]]:
            target, found = asked.target_of(block), []
            for row in range(len(block)):
                one = named_inputs(network, block.part(slice(row, row + 1)))
                own = target[row] if isinstance(target, list) else target
                asks = {"target": own, "baseline": asked.baseline, "at": asked.at, "names": asked.names, "classes": asked.classes}
                found.append(audit(network, one, asked.players, methods=methods, **asks))
            errors = {f"{name} error": [one[name].error if name in one else None for one in found] for name in labels}
            return found, errors

        return read

    @staticmethod
    def empty(plan: SumPlan) -> AuditMeans:
        return AuditMeans(tuple(store.words(plan.facts, "methods")))
