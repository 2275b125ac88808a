"""How the values of a layer's units are spread over the rows that were read: a histogram of each.

Axes: N rows, A units, K bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

BINS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Histograms:
    """Histograms of units. :meth:`of` makes them of rows.

    Attributes:
        counts: rows in each bin; the bins of a unit have one width and reach from its lowest value to its highest.
        low: lowest value.
        high: highest value.
        zero: share of rows that are exactly 0, as behind a ReLU.
    """

    counts: Int64[Tensor, "A K"]
    low: Float64[Tensor, " A"]
    high: Float64[Tensor, " A"]
    zero: Float64[Tensor, " A"]

    @classmethod
    def of(cls, rows: Float[Tensor, "N A"]) -> Histograms:
        """Histograms of finite values; all rows of a constant unit are in its first bin."""
        low, high = rows.aminmax(dim=0)
        width = torch.where(high > low, high - low, 1)
        bins = ((rows - low) / width * BINS).long().clamp_max(BINS - 1)
        counts = torch.zeros(rows.shape[1], BINS, dtype=torch.long).scatter_add_(1, bins.T, torch.ones_like(bins.T))
        return cls(counts=counts, low=low.double(), high=high.double(), zero=(rows == 0).double().mean(0))

    def __len__(self) -> int:
        return len(self.counts)
