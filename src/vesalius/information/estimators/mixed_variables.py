"""Units split into atoms and a continuous part in normal scores, as the estimators by neighbours and by critics take them.

Axes: N rows, A units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from vesalius.core.lazy import LazyModule
from vesalius.information.estimators.discretization import find_atoms
from vesalius.information.estimators.estimate import is_constant

special, stats = LazyModule("scipy.special"), LazyModule("scipy.stats")

BINS = 16
"""Bins of equal mass that are known of all rows, where neighbours are only looked up at some of them."""
CEILING_SHARE = 0.1
"""Share of points with hardly any neighbour on one axis that is none on both, from which two units are taken to determine each other."""
FEWEST_ON_A_CURVE = 20
"""Points that show it at least."""
COARSE_SHARE = 0.05
"""Share of all rows that an atom has where a table of all levels would be too sparse: the others are spread over their steps at random."""


@dataclass(frozen=True, eq=False)
class MixedVariables:
    """Units of one side.

    Attributes:
        atom: [A N] 0 in the continuous part of a unit, 1, 2, ... for its atoms.
        score: [A N] normal score within the continuous part, 0 elsewhere. No two are the same: ties that are no atom are broken at random.
        order: [A N] rows of the continuous part by rising score; only the first ``size`` of them count.
        size: [A] rows in the continuous part.
        atoms: [A] number of atoms.
        bin: [A N] bin of equal mass, rows with the same value in the same bin.
    """

    atom: NDArray[np.int64]
    score: NDArray[np.float64]
    order: NDArray[np.int64]
    size: NDArray[np.int64]
    atoms: NDArray[np.int64]
    bin: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Float64[Tensor, "N A"], generator: torch.Generator | None, *, coarse: bool = False) -> MixedVariables:
        """Split all units.

        Args:
            rows: the units.
            coarse: take only values that 5 % of all rows share for atoms. Levels that are none are spread at random over the step to the
                next, which leaves the information of levels as it is: which level a row is at can be read off its spread value.
            generator: breaks ties. Both sides draw from it in turn: the same draws on both would make ties agree, which is information.
        """
        n, units = rows.shape
        draws = torch.rand(units, n, dtype=torch.float64, generator=generator).numpy()
        parts = [
            _split_atoms(column, draw, 1 if dead else COARSE_SHARE if coarse else 0)
            for column, draw, dead in zip(rows.T.numpy(), draws, is_constant(rows).tolist(), strict=True)
        ]
        atom, score, order, size, atoms = zip(*parts, strict=True)
        bins = ((stats.rankdata(rows.numpy(), axis=0) - 0.5) * BINS / n).astype(np.int64).T
        return cls(np.stack(atom), np.stack(score), np.stack(order), np.array(size), np.array(atoms), np.ascontiguousarray(bins))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """As the loops over pairs take them."""
        return self.atom, self.score, self.order, self.size, self.atoms, self.bin


def _split_atoms(
    column: NDArray[np.float64], draw: NDArray[np.float64], share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Atom, score and order of one unit, and the sizes of both parts; atoms have at least a share of the rows, 1 for a constant unit."""
    values = column[:1]
    atom = np.ones(len(column), np.int64)
    if share < 1:
        values, counts = find_atoms(column)
        values = values[counts >= share * len(column)]
        nearest = np.minimum(np.searchsorted(values, column), max(len(values) - 1, 0))
        atom = np.where(values[nearest] == column, nearest + 1, 0) if len(values) else np.zeros(len(column), np.int64)
    rest = np.flatnonzero(atom == 0)
    rest = rest[np.lexsort((draw[rest], column[rest]))]
    score, order = np.zeros(len(column)), np.zeros(len(column), np.int64)
    score[rest] = special.ndtri((np.arange(len(rest)) + 0.5) / max(len(rest), 1))
    order[: len(rest)] = rest
    return atom, score, order, len(rest), len(values)


def normal_scores(rows: Float64[Tensor, "N A"]) -> Float64[Tensor, "N A"]:
    """Ranks of each unit as quantiles of the normal distribution, ties at their mean rank; a constant unit is 0."""
    scores = torch.from_numpy(special.ndtri((stats.rankdata(rows.numpy(), axis=0) - 0.5) / len(rows)))
    return torch.where(is_constant(rows), 0.0, scores)
