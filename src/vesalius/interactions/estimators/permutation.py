"""Permutation sampling of the Shapley interaction index: unbiased for every game, with an error that needs no model.

Axes: S sweeps, A orders of arrival in a sweep, P players, W neighbours in an order, Q pairs of players.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.games.estimators.estimate import GameLike, empty_and_full_values, estimate_fields, evaluate, make_efficient, require_budget
from vesalius.games.estimators.permutation import prefix_coalitions
from vesalius.interactions.estimators.estimate import (
    coalitions_up_to,
    explained_variance,
    interaction_facts,
    k_sii_from_sii,
    membership_rows,
    pair_indices,
    require_order_two,
)
from vesalius.interactions.estimators.exact import ExactInteractions

FOLDS = 8  # sweeps whose values are predicted from the others


@dataclass(frozen=True, kw_only=True)
class PermutationInteractions:
    """Mean of v(S + i + j) - v(S + i) - v(S + j) + v(S) over random orders in which j follows i and S arrived before.

    Orders come in sweeps of about n / 2 in which every pair is neighbours exactly once: Hamiltonian paths that share no edge, under a
    random naming of the players. Every order is uniformly random by itself, so the mean over sweeps is unbiased, and sweeps are
    independent, so their spread is its error. A sweep costs about n (n - 1) evaluations. A coalition met twice is asked once.

    Reference: Grabisch1999 (the index as a mean over orders); Alspach2008 (the paths are Walecki's zigzags).
    """

    def least(self, players: int, max_order: int | None) -> int:
        """Evaluations it needs: two sweeps, without which there is no spread."""
        return min(2 + 2 * sweep_cost(players), 1 << players)

    def estimate(self, game: GameLike, budget: int, *, max_order: int | None = 2, generator: torch.Generator | None = None) -> Allocation:
        """k-SII of singles and pairs from as many sweeps as the budget allows.

        Args:
            game: the game.
            budget: at most this many evaluations.
            max_order: 2.

        Raises:
            BudgetTooSmall: not even two sweeps fit.
            InvalidInput: another order.
        """
        n = game.players.n
        require_order_two(max_order, "permutation")
        require_budget(budget, self.least(n, max_order), estimator="permutation")
        if n < 3 or budget < 2 + 2 * sweep_cost(n):
            return ExactInteractions().estimate(game, budget)
        base, total = empty_and_full_values(game)
        sweeps = (budget - 2) // sweep_cost(n)
        ranks, kept = neighbour_orders(n, sweeps, generator=generator)
        masks = torch.cat([prefix_coalitions(ranks), skip_coalitions(ranks)], 2)
        rows, place = masks.reshape(-1, n).unique(dim=0, return_inverse=True)
        asked = evaluate(game, rows)
        values = asked[place].view(masks.shape[:3])
        samples = _interactions_per_sweep(ranks, kept, values, (base, total))
        mean = samples.mean(0)
        mean = torch.cat([make_efficient(mean[:n], total - base - float(mean[n:].sum())), mean[n:]])
        return Allocation(
            **estimate_fields(
                game,
                (base, total),
                "permutation",
                generator,
                interaction_facts("k_sii", _explained_by_other_sweeps(samples, masks, values, base)),
            ),
            coalitions=membership_rows(coalitions_up_to(n, 2), n),
            values=mean,
            stderr=samples.std(0) / sweeps**0.5,
            evaluations=torch.tensor(2 + len(rows)),
            stderr_note="" if sweeps >= 20 else f"the spread of {sweeps} sweeps; below 20 it is itself uncertain",
        )


def sweep_cost(players: int) -> int:
    """Evaluations of one sweep beyond the empty and the full coalition, at most."""
    return (players + 1) // 2 * (2 * players - 2)


def hamiltonian_paths(players: int) -> Int[Tensor, "A N"]:
    """Half as many paths through an even number of players as there are players; every pair is neighbours in exactly one."""
    steps = torch.arange(1, players)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), torch.where(steps % 2 == 1, (steps + 1) // 2, -(steps // 2))])
    return (torch.arange(players // 2)[:, None] + offsets) % players


def neighbour_orders(players: int, sweeps: int, *, generator: torch.Generator | None) -> tuple[Int[Tensor, "S A P"], Bool[Tensor, "S A W"]]:
    """Every player's place in the orders of some sweeps, and which neighbours are to be used.

    An odd number of players is made even by one more who is then taken out; those next to it become neighbours, which are not used.
    """
    even = players + players % 2
    naming = torch.rand(sweeps, even, generator=generator).argsort(dim=1, stable=True)
    path = naming[:, hamiltonian_paths(even)]
    if even == players:
        return path.argsort(2), torch.ones(*path.shape[:2], players - 1, dtype=torch.bool)
    real = path < players
    gap = real.long().cumsum(2)[~real].view(path.shape[:2])  # how many came before the one taken out
    order = path[real].view(*path.shape[:2], players)
    return order.argsort(2), torch.arange(1, players) != gap[..., None]


def skip_coalitions(ranks: Int[Tensor, "S A P"]) -> Bool[Tensor, "S A W P"]:
    """For neighbours at places w and w + 1: everybody before them, and the second of the two."""
    place = torch.arange(ranks.shape[-1] - 1)[:, None]
    return (ranks[..., None, :] < place) | (ranks[..., None, :] == place + 1)


def _interactions_per_sweep(
    ranks: Int[Tensor, "S A P"], kept: Bool[Tensor, "S A W"], values: Float[Tensor, "S A V"], limits: tuple[float, float]
) -> Float[Tensor, "S K"]:
    """k-SII of every sweep by itself."""
    n = ranks.shape[2]
    first, last = (torch.full_like(values[..., :1], value) for value in limits)
    chain, skipped = torch.cat([first, values[..., : n - 1], last], 2), values[..., n - 1 :]
    shapley = chain.diff(dim=2).gather(2, ranks).mean(1)
    bend = chain[..., 2:] - chain[..., 1:-1] - skipped + chain[..., :-2]
    order = ranks.argsort(2)
    one, other = order[..., :-1][kept], order[..., 1:][kept]
    number = torch.zeros(n, n, dtype=torch.long)
    number[tuple(pair_indices(n))] = torch.arange(n * (n - 1) // 2)
    pair = number[torch.minimum(one, other), torch.maximum(one, other)].view(len(ranks), -1)
    return k_sii_from_sii(shapley.T, torch.zeros_like(bend[kept]).view(pair.shape).scatter(1, pair, bend[kept].view(pair.shape)).T).T


def _explained_by_other_sweeps(
    samples: Float[Tensor, "S K"], masks: Bool[Tensor, "S A V P"], values: Float[Tensor, "S A V"], base: float
) -> float:
    """How well a sweep's values are predicted by adding up, from the other sweeps, the k-SII of singles and pairs that are present."""
    sweeps, n = len(samples), masks.shape[3]
    first, second = pair_indices(n)
    errors = []
    for at in range(min(sweeps, FOLDS)):
        other = (samples.sum(0) - samples[at]) / (sweeps - 1)
        matrix = torch.zeros(n, n, dtype=torch.float64)
        matrix[first, second] = other[n:]
        present = masks[at].reshape(-1, n).double()
        errors.append(values[at].flatten() - base - present @ other[:n] - ((present @ matrix) * present).sum(1))
    return explained_variance(torch.cat(errors), values[: len(errors)].flatten())
