"""Units split into atoms and a continuous part in normal scores, as the estimators by neighbours and by critics take them.

Axes: N rows, A units.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from vesalius.core.lazy import LazyModule
from vesalius.information.estimators.discretization import are_atoms
from vesalius.information.estimators.estimate import is_constant
from vesalius.information.estimators.levels import MOST_UNSHARED

special, stats = LazyModule("scipy.special"), LazyModule("scipy.stats")

BINS = 16
"""Bins of equal mass that are known of all rows, where neighbours are only looked up at some of them."""
CEILING_SHARE = 0.1
"""Share of points with hardly any neighbour on one axis that is none on both, from which two units are taken to determine each other."""
FEWEST_ON_A_CURVE = 20
"""Points that show it at least."""
COARSE_SHARE = 0.05
"""Share of all rows that an atom has where a table of all levels would be too sparse: the others are spread over their steps at random."""
FEWEST_OF_A_LEVEL = 5
"""Rows of a level whose neighbours are looked for within it."""


class AtomRule(Enum):
    """Which values are atoms.

    Attributes:
        SHARED: as :func:`~vesalius.information.estimators.discretization.are_atoms` says.
        COARSE: of these, values that 5 % of all rows share. Levels that are none are spread at random over the step to the next, which
            leaves the information of levels as it is: which level a row is at can be read off its spread value.
        LEVELS: all levels with 5 rows or more of a unit that consists of levels; of others as ``SHARED``.
    """

    SHARED = 1
    COARSE = 2
    LEVELS = 3


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
    def of(cls, rows: Float64[Tensor, "N A"], generator: torch.Generator | None, atoms: AtomRule = AtomRule.SHARED) -> MixedVariables:
        """Split all units.

        Args:
            rows: the units.
            generator: breaks ties, for all units of a side in one order. Both sides draw in turn: the same order on both would make ties
                agree, which is information.
            atoms: which values are.
        """
        n, units = rows.shape
        mixed = torch.randperm(n, generator=generator)
        columns = rows[mixed].T.contiguous().numpy()
        found = cls(
            atom=np.zeros((units, n), np.int64),
            score=np.zeros((units, n)),
            order=np.zeros((units, n), np.int64),
            size=np.zeros(units, np.int64),
            atoms=np.zeros(units, np.int64),
            bin=np.zeros((units, n), np.int64),
        )
        scores: dict[int, NDArray[np.float64]] = {}
        for unit, (column, dead) in enumerate(zip(columns, is_constant(rows).tolist(), strict=True)):
            order = _argsort(column)
            found._split_atoms(unit, column[order], mixed.numpy()[order], None if dead else atoms, scores)
        return found

    def _split_atoms(
        self,
        unit: int,
        values: NDArray[np.float64],
        order: NDArray[np.int64],
        atoms: AtomRule | None,
        scores: dict[int, NDArray[np.float64]],
    ) -> None:
        """Write one unit, given by its ascending values and the rows that they are of; None for a constant one, which is one atom.

        Scores depend on the size of the continuous part alone, and are kept.
        """
        n = len(values)
        first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])) if atoms else np.zeros(1, np.int64)
        counts = np.diff(first, append=n)
        chosen = np.ones(1, np.bool_) if atoms is None else _atoms_by_rule(counts, atoms)
        number = np.repeat(np.where(chosen, chosen.cumsum(), 0), counts)
        rest = order[number == 0]
        if len(rest) not in scores:
            scores[len(rest)] = special.ndtri((np.arange(len(rest)) + 0.5) / max(len(rest), 1))
        self.atom[unit, order] = number
        self.score[unit, rest] = scores[len(rest)]
        self.order[unit, : len(rest)] = rest
        self.size[unit], self.atoms[unit] = len(rest), chosen.sum()
        self.bin[unit, order] = np.repeat(((first + counts / 2) * BINS / n).astype(np.int64), counts)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """As the loops over pairs take them."""
        return self.atom, self.score, self.order, self.size, self.atoms, self.bin


def _argsort(column: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places by ascending value, equal values in their order: by the faster sort, which has no such order, where none are equal."""
    order = column.argsort()
    ordered = column[order]
    return column.argsort(kind="stable") if (ordered[1:] == ordered[:-1]).any() else order


def _atoms_by_rule(counts: NDArray[np.int64], rule: AtomRule) -> NDArray[np.bool_]:
    """Which values are atoms, by how many rows have each."""
    if rule is AtomRule.LEVELS and counts[counts == 1].sum() <= MOST_UNSHARED * counts.sum():
        return counts >= FEWEST_OF_A_LEVEL
    return are_atoms(counts) & (counts >= (COARSE_SHARE * counts.sum() if rule is AtomRule.COARSE else 0))


def normal_scores(rows: Float64[Tensor, "N A"]) -> Float64[Tensor, "N A"]:
    """Ranks of each unit as quantiles of the normal distribution, ties at their mean rank; a constant unit is 0."""
    scores = torch.from_numpy(special.ndtri((stats.rankdata(rows.numpy(), axis=0) - 0.5) / len(rows)))
    return torch.where(is_constant(rows), 0.0, scores)
