"""The pieces of the estimators against their definitions: read-off of the process, polynomials, paths, chosen coalitions."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from vesalius.core.interaction_indices import compute_index
from vesalius.games import moebius
from vesalius.games.estimators.adaptive import DESIGN_GRID, select_most_informative
from vesalius.games.estimators.gaussian_process.covariance import Covariance
from vesalius.games.estimators.gaussian_process.posterior import observed_covariance
from vesalius.games.game import Game
from vesalius.interactions.estimators import adaptive, gaussian_process
from vesalius.interactions.estimators.estimate import coalitions_up_to
from vesalius.interactions.estimators.permutation import hamiltonian_paths, neighbour_orders, skip_coalitions, sweep_cost
from vesalius.interactions.estimators.polynomial import dividends_of_polynomial, monomial_columns
from vesalius.interactions.estimators.surrogate import leave_one_out_errors, precision_block


def some_covariance(players, centre):
    parameters = torch.randn(6 + players, generator=torch.Generator().manual_seed(players), dtype=torch.float64)
    parameters[4] = torch.tensor(centre).logit()
    return Covariance(parameters, odd=False)


def functional(players):
    """k-SII as a matrix on tables of all values."""
    dividends = moebius.dividends(torch.eye(1 << players, dtype=torch.float64))[1:]
    return compute_index(moebius.membership(players)[1:], dividends.T, "k_sii", min(2, players))[1].T


@pytest.mark.parametrize("centre", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("players", [1, 2, 3, 4, 5])
def test_read_off_is_the_index_of_the_covariance(players, centre):
    """Quadrature, closed forms and noise terms against the index of k(., T), T by T, and against the index in both arguments."""
    covariance, rows = some_covariance(players, centre), moebius.membership(players).double()
    full = covariance.between(rows, rows) + torch.diag(covariance.noise_at(rows))
    index = functional(players)
    torch.testing.assert_close(gaussian_process.interaction_covariance(covariance, rows), index @ full)
    torch.testing.assert_close(gaussian_process.interaction_variance(covariance), (index @ full @ index.T).diagonal())


def test_large_rates_are_clamped_as_in_the_covariance():
    covariance, rows = some_covariance(4, 0.5), moebius.membership(4).double()
    covariance.parameters[6:] = 3.0
    full = covariance.between(rows, rows) + torch.diag(covariance.noise_at(rows))
    torch.testing.assert_close(gaussian_process.interaction_covariance(covariance, rows), functional(4) @ full)
    torch.testing.assert_close(gaussian_process.interaction_variance(covariance), (functional(4) @ full @ functional(4).T).diagonal())


def test_left_out_errors_are_those_of_leaving_out():
    covariance, rows = some_covariance(4, 0.4), moebius.membership(4).double()[[0, 15, 1, 6, 7, 12, 9]]
    y = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    full = observed_covariance(covariance, rows)
    factor = torch.linalg.cholesky(full)
    some = torch.tensor([5, 2, 6, 3])
    errors, variances = leave_one_out_errors(precision_block(factor, some), torch.cholesky_solve(y[:, None], factor)[some, 0])
    expected = []
    for at in some.tolist():
        keep = [row for row in range(7) if row != at]
        gain = full[at, keep] @ torch.linalg.inv(full[keep][:, keep])
        expected.append((float(y[at] - gain @ y[keep]), float(full[at, at] - gain @ full[keep, at])))
    torch.testing.assert_close(torch.stack([errors, variances], 1), torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=1e-9)


def variance_with(covariance, rows):
    """Summed posterior variance of the pairs of five players once some coalitions are known."""
    cross = gaussian_process.interaction_covariance(covariance, rows)[5:]
    return float(
        (
            gaussian_process.interaction_variance(covariance)[5:]
            - (cross @ torch.linalg.inv(observed_covariance(covariance, rows)) * cross).sum(1)
        ).sum()
    )


def test_chosen_coalitions_lower_the_variance_most():
    """The first choice against conditioning on every coalition of the pool in turn; later ones differ from each other."""
    covariance, every = some_covariance(5, 0.3), moebius.membership(5)
    known, pool = every[[0, 31, 1, 30]].double(), every[[3, 5, 7, 11, 21, 25, 28, 14]].double()
    chosen = select_most_informative(covariance, known, pool, 3, about=adaptive.pair_covariance)
    assert chosen[0] == min(range(8), key=lambda at: variance_with(covariance, torch.cat([known, pool[at : at + 1]])))
    assert len(set(chosen)) == 3


@pytest.mark.parametrize("centre", [0.02, 0.9])
def test_what_is_collected_tells_of_pairs(centre):
    """Here the best coalition for Shapley values is another."""
    covariance, every = some_covariance(5, centre).rounded(DESIGN_GRID), moebius.membership(5)
    game, generator = Game.of(lambda masks: masks.double().sum(1), 5), torch.Generator().manual_seed(0)
    seen = adaptive.observe_adaptively(game, 18, fit=lambda *_: covariance, growth=1.0, generator=generator)
    known = seen.rows[:-1]
    left = [row for row in every if not (known == row).all(1).any()]
    least = min(float(variance_with(covariance, torch.cat([known, row[None]]).double())) for row in left)
    assert float(variance_with(covariance, seen.rows.double())) == pytest.approx(least, rel=1e-9)  # players alike tie, so several are best
    assert torch.equal(seen.values, seen.rows.double().sum(1))
    assert len(seen.rows) == 18 and not seen.uniform[:2].any() and int(seen.uniform.sum()) == 5


@pytest.mark.parametrize("order", [1, 2, 3])
def test_coefficients_of_products_become_dividends(order):
    monomials = [(), *coalitions_up_to(5, order)]
    coefficients = torch.randn(len(monomials), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    table = monomial_columns(moebius.membership(5), monomials) @ coefficients
    place = [sum(1 << p for p in members) for members in coalitions_up_to(5, order)]
    torch.testing.assert_close(dividends_of_polynomial(monomials, coefficients, order), moebius.dividends(table)[place])


@pytest.mark.parametrize("players", [3, 4, 7, 8])
def test_every_pair_is_neighbours_once_in_a_sweep(players):
    ranks, kept = neighbour_orders(players, 5, generator=torch.Generator().manual_seed(0))
    order = ranks.argsort(2)
    for sweep in range(5):
        neighbours = torch.stack([order[sweep, :, :-1], order[sweep, :, 1:]], -1)[kept[sweep]].sort(1).values
        assert sorted(map(tuple, neighbours.tolist())) == [(i, j) for i in range(players) for j in range(i + 1, players)]
    assert ranks.sort(2).values.unique(dim=0).shape[0] == 1
    assert 2 * ranks.shape[1] * (players - 1) == sweep_cost(players)


def test_zigzags_share_no_edge():
    edges = {frozenset(edge) for path in hamiltonian_paths(10).tolist() for edge in pairwise(path)}
    assert len(edges) == 45


def test_skips_are_those_before_and_the_second():
    ranks = torch.tensor([[[2, 0, 1, 3]]])  # order of arrival: 1, 2, 0, 3
    assert skip_coalitions(ranks)[0, 0].tolist() == [[False, False, True, False], [True, True, False, False], [False, True, True, True]]
