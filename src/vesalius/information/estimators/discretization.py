"""What values a unit takes: atoms, which many rows share exactly, and a continuous rest.

A ReLU has an atom at 0, a clipped value one at each end, a class label nothing but atoms. An atom gets a slot of its own in every table,
so that bins never cut through it and ties are never broken by the order of rows, which would invent information. The rest is cut into bins
of equal mass. Bins come in multiples of 8, so that pooling neighbours by 2, 4 and 8 nests exactly.

Axes: N rows, A units, S slots of all units in turn: of each unit first its bins from low to high, then its atoms from low to high.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from vesalius.information.estimators.estimate import is_constant

ATOM_ROWS = 8
"""Rows that share a value exactly, for the value to be an atom."""
ATOM_SHARE = 0.01
"""Share of all rows that an atom has besides, in a unit that is not discrete throughout."""


def find_atoms(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values [K] that are atoms of a unit [N], ascending, and how many rows have each.

    A value is an atom if 8 rows share it, and 1 % of all rows. In a discrete unit, one whose values are shared by 8 rows on average, the
    1 % is not asked.
    """
    found, counts = np.unique(values, return_counts=True)
    discrete = len(values) >= ATOM_ROWS * len(found)
    least = ATOM_ROWS if discrete else max(ATOM_ROWS, int(ATOM_SHARE * len(values)))
    return found[counts >= least], counts[counts >= least]


@dataclass(frozen=True, eq=False)
class Discretization:
    """Where the values of the units of one side go.

    Attributes:
        edges: inner edges between the bins of each unit.
        atoms: atoms of each unit.
        centres: [S] a value within each slot, by which the slots of a unit are ordered; a bin that was empty has its edge.
        bins: bins of each unit, at least 1, since a value that was never seen before must go somewhere.
    """

    edges: tuple[np.ndarray, ...]
    atoms: tuple[np.ndarray, ...]
    centres: Float64[Tensor, " S"]
    bins: Int64[Tensor, " A"]

    @classmethod
    def fit(cls, rows: Float64[Tensor, "N A"], bins: int) -> Discretization:
        """Slots by the quantiles and the ties of some rows.

        Args:
            rows: a sample of the units; it need not be all rows that will be counted.
            bins: most bins of a unit, a multiple of 8. A unit with atoms has a share of them by the mass that is no atom.
        """
        dead = is_constant(rows).tolist()
        fits = [_fit_unit(column, bins, dead=gone) for column, gone in zip(rows.T.numpy(), dead, strict=True)]
        edges, atoms, centres = zip(*fits, strict=True)
        return cls(edges, atoms, torch.from_numpy(np.concatenate(centres)), torch.tensor([len(edge) + 1 for edge in edges]))

    @cached_property
    def width(self) -> Int64[Tensor, " A"]:
        """Slots of each unit."""
        return self.bins + torch.tensor([len(atoms) for atoms in self.atoms])

    @cached_property
    def owner(self) -> Int64[Tensor, " S"]:
        """Unit of each slot."""
        return torch.arange(len(self.width)).repeat_interleave(self.width)

    @cached_property
    def start(self) -> Int64[Tensor, " A"]:
        """First slot of each unit."""
        return self.width.cumsum(0) - self.width

    def __len__(self) -> int:
        return len(self.centres)

    def to_tensors(self) -> dict[str, Tensor]:
        """What a file holds of it."""
        edges, atoms = (torch.from_numpy(np.concatenate(parts).astype(np.float64)) for parts in (self.edges, self.atoms))
        return {"edges": edges, "atoms": atoms, "centres": self.centres, "bins": self.bins, "width": self.width}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Discretization:
        """Slots that a file holds.

        Raises:
            ValueError: tensors that do not fit each other.
        """
        bins, width = tensors["bins"].long(), tensors["width"].long()
        inner, many = (bins - 1).tolist(), (width - bins).tolist()
        ends, atoms, centres = (tensors[name].double() for name in ("edges", "atoms", "centres"))
        if min([*inner, *many], default=0) < 0 or (sum(inner), sum(many), int(width.sum())) != (len(ends), len(atoms), len(centres)):
            raise ValueError("slots of units that do not add up")
        if not all(bool(part.isfinite().all()) for part in (ends, atoms, centres)):
            raise ValueError("slots that are not finite")
        return cls(tuple(part.numpy() for part in ends.split(inner)), tuple(part.numpy() for part in atoms.split(many)), centres, bins)

    def equals(self, other: Discretization) -> bool:
        """Whether every value goes to the same slot."""
        mine, theirs = (*self.edges, *self.atoms), (*other.edges, *other.atoms)
        return len(mine) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))

    def part(self, first: int, last: int) -> Discretization:
        """The slots of the units from first up to last, which is not included."""
        start, stop = int(self.start[first]), int(self.start[last - 1] + self.width[last - 1])
        return Discretization(self.edges[first:last], self.atoms[first:last], self.centres[start:stop], self.bins[first:last])

    def codes(self, rows: Float64[Tensor, "N A"]) -> Int64[Tensor, "N A"]:
        """Slot of every value."""
        found = np.empty(rows.shape, np.int64)
        columns = zip(rows.T.numpy(), self.edges, self.atoms, self.start.tolist(), strict=True)
        for unit, (column, edges, atoms, start) in enumerate(columns):
            slot = np.searchsorted(edges, column, side="right")
            if len(atoms):
                nearest = np.minimum(np.searchsorted(atoms, column), len(atoms) - 1)
                slot = np.where(atoms[nearest] == column, len(edges) + 1 + nearest, slot)
            found[:, unit] = start + slot
        return torch.from_numpy(found)

    def halve_bins(self) -> tuple[Discretization, Int64[Tensor, " S"]]:
        """Slots with neighbouring bins pooled by two, atoms as they were, and the new slot of each of the old ones."""
        pooled = Discretization(tuple(edges[1::2] for edges in self.edges), self.atoms, self.centres, (self.bins + 1) // 2)
        within = torch.arange(len(self)) - self.start[self.owner]
        bins = self.bins[self.owner]
        new = pooled.start[self.owner] + torch.where(within < bins, within // 2, within - bins + pooled.bins[self.owner])
        centres = torch.empty(int(pooled.width.sum()), dtype=torch.float64)
        centres[new.flip(0)] = self.centres.flip(0)
        return Discretization(pooled.edges, self.atoms, centres, pooled.bins), new


def _fit_unit(values: np.ndarray, most: int, *, dead: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, atoms and centres of one unit."""
    atoms, counts = (np.empty(0), np.empty(0)) if dead else find_atoms(values)
    atoms = np.sort(atoms[np.argsort(-counts, kind="stable")[:most]])
    rest = np.sort(values[~np.isin(values, atoms)])
    bins = int(min(most, max(8, 8 * round(most * len(rest) / len(values) / 8)))) if len(rest) >= 16 and not dead else 1
    edges = rest[np.arange(1, bins) * len(rest) // bins]
    middles = rest[((np.arange(bins) + 0.5) * len(rest) / bins).astype(int)] if len(rest) else np.full(1, values[0])
    return edges, atoms, np.concatenate([middles, atoms])
