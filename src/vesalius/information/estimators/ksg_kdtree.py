"""Local information of pairs by nearest neighbours with k-d trees: where numba is not installed, and a check on the compiled loops.

Axes: N rows, M points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vesalius.core.lazy import LazyModule
from vesalius.information.estimators.mixed_variables import CEILING_SHARE, FEWEST_ON_A_CURVE

spatial = LazyModule("scipy.spatial")

SideArrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""The arrays of a :class:`~vesalius.information.estimators.mixed_variables.MixedVariables`: atom, score, order, size, atoms, bin."""
SHRINKAGE = 1 - 1e-13
"""Distances are shrunk by this, so that rounding does not count the k-th neighbour as nearer than itself."""


def ksg1_terms(x: NDArray[np.float64], y: NDArray[np.float64], k: int, psi: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Local terms of KSG-1 of points without ties, and how many are at the ceiling. Reference: Kraskov2004, equation 8."""
    points = np.stack([x, y], 1)
    eps: NDArray[np.float64] = spatial.cKDTree(points).query(points, k=[k + 1], p=np.inf)[0][:, 0] * SHRINKAGE
    near_x, near_y = _count_within(x, eps), _count_within(y, eps)
    found: NDArray[np.float64] = psi[k] + psi[len(x)] - psi[near_x] - psi[near_y]
    return found, int((near_x + near_y <= 4 * k).sum())


def ross_terms(x: NDArray[np.float64], classes: NDArray[np.int64], k: int, psi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Local terms of a continuous variable and a class; classes of at most k members say nothing. Reference: Ross2014."""
    local = np.zeros(len(x))
    found, counts = np.unique(classes, return_counts=True)
    if len(found) < 2 or len(x) <= 4 * k:
        return local
    for which, size in zip(found, counts, strict=True):
        if size > k:
            members = classes == which
            own = x[members, None]
            eps = spatial.cKDTree(own).query(own, k=[k + 1])[0][:, 0] / SHRINKAGE
            ordered = np.sort(x)
            near = np.searchsorted(ordered, own[:, 0] + eps, "right") - np.searchsorted(ordered, own[:, 0] - eps, "left")
            local[members] = psi[len(x)] + psi[k] - psi[size] - psi[near - 1]
    return local


def pair_terms(
    x: SideArrays, y: SideArrays, units: NDArray[np.int64], k: int, psi: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Local terms [N] of one pair, by the chain rule over atoms and continuous parts; then the bias of the table of atoms, whether the
    continuous part is more than points can show, and the value of that table."""
    (atom_x, score_x), (atom_y, score_y) = ([part[unit] for part in side[:2]] for side, unit in zip((x, y), units, strict=True))
    n = len(atom_x)
    table = np.zeros((atom_x.max() + 1, atom_y.max() + 1))
    np.add.at(table, (atom_x, atom_y), 1)
    rows, columns = table.sum(1), table.sum(0)
    local = np.log(table[atom_x, atom_y] * n / (rows[atom_x] * columns[atom_y]))
    bias = ((table > 0).sum() - (rows > 0).sum() - (columns > 0).sum() + 1) / (2 * n)
    alone = local.mean() - bias
    for atom, score, other in ((atom_x, score_x, atom_y), (atom_y, score_y, atom_x)):
        rest = atom == 0
        local[rest] += ross_terms(score[rest], other[rest], k, psi)
    both, infinite = (atom_x == 0) & (atom_y == 0), False
    if both.sum() > 4 * k:
        terms, ceiling = ksg1_terms(score_x[both], score_y[both], k, psi)
        local[both] += terms
        near = (np.abs(np.diff(np.argsort(np.argsort(score_x[both]))[np.argsort(score_y[both])])) <= k).mean()
        determined = terms.mean() > 0.5 * np.log(len(terms)) or ceiling > CEILING_SHARE * len(terms) or near > 0.5
        infinite = bool(len(terms) >= FEWEST_ON_A_CURVE and determined)
    return local, np.array([bias, infinite, alone])


def estimate_pairs(
    x: SideArrays,
    y: SideArrays,
    chosen: NDArray[np.int64],
    queries: NDArray[np.int64],
    how: tuple[int, NDArray[np.float64]],
    found: NDArray[np.float64],
) -> None:
    """Into ``found`` [6, pairs]: the value, the variance of the local terms, the bias taken off, 0, 1 where the continuous part is more
    than points can show, and the value of the table of atoms alone.

    Args:
        x: units of one side.
        y: units of the other.
        chosen: [2, pairs] units of each pair.
        queries: rows asked for; trees read all rows, as reading some saves them little, and the error is that of all.
        how: k neighbours, and the digamma of 0, 1, 2, ...
        found: where to write.
    """
    for at, units in enumerate(chosen.T):
        local, (bias, infinite, table) = pair_terms(x, y, units, *how)
        found[:, at] = local.mean() - bias, local.var(), bias, 0.0, infinite, table


def _count_within(values: NDArray[np.float64], eps: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each value, how many, itself included, are nearer than its eps."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, values + eps, "left") - np.searchsorted(ordered, values - eps, "right")
