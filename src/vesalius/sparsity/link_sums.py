"""Sums over rows from which the importance of links is read: those of parts of the data add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.sparsity.estimators.permutation import SampledSums
from vesalius.sparsity.importance_result import LayerImportance


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerSums:
    """Sums over some rows of the inputs of one layer.

    Attributes:
        total: of what each link is worth (its size, its square or with its sign, as the aggregate says), in the shape of the values.
        variance: of the sums that sampled orders leave; ``None`` where nothing is sampled.
        degrees: of freedom of the variance.
        rows: how many.
    """

    total: Float64[Tensor, "..."]
    variance: Float64[Tensor, "..."] | None
    degrees: int
    rows: int


@dataclass(eq=False)
class LinkSums:
    """The importance of links as a sum over rows.

    Attributes:
        layers: what is known of each layer beforehand, with its shape; the values there are not read.
        aggregate: of :class:`vesalius.sparsity.ImportanceOptions`.
        sums: of each layer, by name.
    """

    layers: Mapping[str, LayerImportance]
    aggregate: str
    sums: dict[str, LayerSums] = field(default_factory=dict)

    def add(self, batch: Mapping[str, LayerSums]) -> None:
        """Take in the sums over some more rows, by layer."""
        for name, one in batch.items():
            known = self.sums.get(name)
            self.sums[name] = one if known is None else _joined(known, one)

    def merge(self, other: LinkSums) -> None:
        """Take in all rows that other sums have.

        Raises:
            InvalidInput: they are of other layers, or of another aggregate.
        """
        if other.aggregate != self.aggregate or list(other.layers) != list(self.layers):
            raise InvalidInput("these sums are of other layers or of another aggregate; begin all parts from one question")
        self.add(other.sums)

    def result(self) -> dict[str, LayerImportance]:
        """The importance of every layer.

        Raises:
            InvalidInput: nothing was added.
        """
        if not self.sums:
            raise InvalidInput("no rows: the importance of a link is a mean over rows")
        return {name: self._layer(one, self.sums[name]) for name, one in self.layers.items()}

    def to_tensors(self) -> dict[str, Tensor]:
        """The sums, without what is the same for all parts."""
        found: dict[str, Tensor] = {}
        for place, name in enumerate(self.layers):
            one = self.sums[name]
            found |= {f"{place}.total": one.total, f"{place}.counts": torch.tensor([one.rows, one.degrees])}
            found |= {} if one.variance is None else {f"{place}.variance": one.variance}
        return found

    def with_sums(self, tensors: Mapping[str, Tensor]) -> LinkSums:
        """The same question with the sums that a file holds.

        Raises:
            ValueError, KeyError: they do not fit.
        """
        new = LinkSums(self.layers, self.aggregate)
        for place, (name, known) in enumerate(self.layers.items()):
            total, variance, (rows, degrees) = (
                tensors[f"{place}.total"],
                tensors.get(f"{place}.variance"),
                tensors[f"{place}.counts"].tolist(),
            )
            if any(part.shape != known.values.shape for part in (total, variance) if part is not None) or rows < 1:
                raise ValueError("sums of other links")
            new.sums[name] = LayerSums(
                total=total.double(), variance=None if variance is None else variance.double(), degrees=int(degrees), rows=int(rows)
            )
        return new

    def _layer(self, known: LayerImportance, sums: LayerSums) -> LayerImportance:
        dtype = known.values.dtype
        made = SampledSums(total=sums.total, variance=sums.variance, degrees=sums.degrees).importance(sums.rows, self.aggregate)
        sized = self.aggregate == "mean_abs" and known.estimator in ("gaussian", "linear")
        values = made.values.clamp_min(0) if sized else made.values  # an expansion may make less than nothing of a size
        return replace(known, values=values.to(dtype), stderr=None if made.stderr is None else made.stderr.to(dtype), rows=sums.rows)


def _joined(one: LayerSums, other: LayerSums) -> LayerSums:
    variance = None if one.variance is None or other.variance is None else one.variance + other.variance
    return LayerSums(total=one.total + other.total, variance=variance, degrees=one.degrees + other.degrees, rows=one.rows + other.rows)
