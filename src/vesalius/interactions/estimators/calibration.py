"""How wrong the largest interactions of a model are, as coalitions tell that had no say in it.

A Gaussian process expects all pairs of players with like rates to be alike, and takes the largest ones for smaller than they are. With
signs s_i = 1 for present and -1 for absent players, 4 s_i s_j times the error at a uniform coalition is, in the mean, the error of a pair.

Axes: B coalitions left out, P players, Q pairs of players.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.interactions.estimators.estimate import pair_indices

LARGEST = 10  # one pair in so many
PARTS = 5  # parts of the coalitions, left out in turn
FEWEST = 30  # pairs, and coalitions of a part, below which a mean of squares tells too little
CHANCE = 1.0  # standard deviations of noise in the mean square error that are not taken for error


def relative_error_of_largest(
    rows: Bool[Tensor, "B P"],
    weights: Float[Tensor, " B"],
    precision: Float[Tensor, "B B"],
    pairs: Float[Tensor, " Q"],
    variance: Float[Tensor, " Q"],
) -> float:
    """Mean square error of the largest tenth of the pairs beyond what is expected of them and what chance may do, over their mean square.

    Never below 0, and 0 of fewer than 300 pairs or 150 coalitions, which tell too little.

    Args:
        rows: uniform coalitions; each part of them is predicted from all that was observed outside of it.
        weights, precision: K^-1 y and K^-1 of a process, at those coalitions; the errors of a part b are K^-1[b, b]^-1 (K^-1 y)[b].
        pairs: interactions as the process has them, in the unit of y.
        variance: expected of their errors.
    """
    if len(pairs) < LARGEST * FEWEST or len(rows) < PARTS * FEWEST:
        return 0.0
    largest = pairs.abs().topk(len(pairs) // LARGEST).indices
    first, second = pair_indices(rows.shape[1])[:, largest]
    signs = 2 * rows.double() - 1
    found, noise = [], []
    for part in torch.arange(len(rows)).tensor_split(PARTS):
        error = torch.linalg.solve(precision[part][:, part], weights[part])
        shares = 4 * signs[part][:, first] * signs[part][:, second] * error[:, None]
        noise.append(shares.var(0) / len(part))
        found.append(shares.mean(0).square() - noise[-1])
    chance: float = CHANCE * float(torch.stack(noise).mean()) * (2 / (len(largest) * PARTS)) ** 0.5
    beyond = float(torch.stack(found).mean() - variance[largest].mean()) - chance
    return max(0.0, beyond) / max(float(pairs[largest].square().mean()), 1e-300)
