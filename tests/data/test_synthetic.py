"""What the generators claim to be true, against definitions written with loops and against samples."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.core.errors import InvalidInput
from vesalius.data.synthetic import GaussianChannel, Polynomial, UnanimityGame, planted_net, polynomial, unanimity_game
from vesalius.games import moebius

seeds = st.integers(0, 10_000).map(lambda seed: torch.Generator().manual_seed(seed))


def all_masks(players):
    return (torch.arange(1 << players)[:, None] >> torch.arange(players) & 1).bool()


@given(seeds)
def test_a_unanimity_game_has_the_dividends_and_shapley_values_it_says(generator):
    game = unanimity_game(5, 7, generator=generator)
    table = game(all_masks(5))
    torch.testing.assert_close(moebius.dividends(table), game.dividends())
    torch.testing.assert_close(moebius.shapley_values(moebius.dividends(table)), game.shapley())


def test_a_unanimity_game_by_hand():
    game = UnanimityGame(torch.tensor([[True, False, True], [False, True, False]]), torch.tensor([6.0, 1.0], dtype=torch.float64))
    assert game(torch.tensor([[True, True, False], [True, False, True], [True, True, True]])).tolist() == [1, 6, 7]
    assert game.shapley().tolist() == [3, 1, 3]


def test_a_unanimity_game_repeats_with_its_seed_and_its_terms_differ():
    first, again, other = (unanimity_game(6, 20, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert first.members.equal(again.members) and first.weights.equal(again.weights)
    assert not first.weights.equal(other.weights)
    assert len(first.members.unique(dim=0)) == 20


def test_terms_are_no_larger_than_allowed():
    game = unanimity_game(10, 30, largest=2, generator=torch.Generator().manual_seed(0))
    assert set(game.members.sum(1).tolist()) == {1, 2}


def test_more_terms_than_coalitions_are_refused():
    with pytest.raises(InvalidInput, match=r"8 terms.*7 coalitions"):
        unanimity_game(3, 8)


@given(seeds)
def test_a_polynomial_has_the_dividends_it_says(generator):
    function = polynomial(4, 6, degree=3, generator=generator)
    x, baseline = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    table = function(torch.where(all_masks(4), x, baseline))
    torch.testing.assert_close(moebius.dividends(table), function.dividends(x, baseline))


def test_a_polynomial_by_hand():
    function = Polynomial(torch.tensor([[2, 1], [0, 0]]), torch.tensor([3.0, 5.0]))
    assert function(torch.tensor([[2.0, 4.0], [0.0, 1.0]])).tolist() == [3 * 4 * 4 + 5, 5]
    assert function.dividends(torch.tensor([2.0, 4.0]), torch.zeros(2)).tolist() == [5, 0, 0, 48]


def test_a_polynomial_can_be_differentiated_at_zero():
    x = torch.zeros(1, 2, requires_grad=True)
    Polynomial(torch.tensor([[1, 0], [0, 2]]), torch.tensor([3.0, 1.0]))(x).sum().backward()
    assert x.grad.tolist() == [[3, 0]]


def test_a_table_of_too_many_players_is_refused():
    with pytest.raises(InvalidInput, match="21 players"):
        unanimity_game(21, 1).dividends()


def test_one_pair_has_the_same_information_by_both_formulas():
    channel = GaussianChannel(torch.tensor([[1.5]]), noise=0.5)
    assert channel.information() == pytest.approx(0.5 * torch.tensor(1 + 9.0).log().item())
    assert channel.pairwise().item() == pytest.approx(channel.information())


def test_pairwise_information_is_that_of_the_samples_correlations():
    channel = GaussianChannel(torch.tensor([[1.0, 0.5, 0.0], [0.2, -2.0, 1.0]]), noise=0.7)
    x, y = channel.sample(200_000, generator=torch.Generator().manual_seed(0))
    rho = torch.corrcoef(torch.cat([x, y], 1).T)[:3, 3:]
    # standard error of rho is at most 1/sqrt(200,000) = 0.0022; |dI/drho| = rho / (1 - rho^2) is below 1.9 here
    torch.testing.assert_close(-0.5 * torch.log1p(-(rho**2)), channel.pairwise(), atol=4 * 0.0022 * 1.9, rtol=0)


def test_joint_information_is_that_of_the_samples_covariance():
    channel = GaussianChannel(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)))
    x, y = channel.sample(200_000, generator=torch.Generator().manual_seed(0))
    both, sources, sinks = (torch.logdet(torch.cov(part.T)) for part in (torch.cat([x, y], 1), x, y))
    assert float(sources + sinks - both) / 2 == pytest.approx(channel.information(), abs=0.02)


def test_planted_units_are_as_useless_as_they_are_said_to_be():
    net = planted_net(5, 3, plain=6, each=2, generator=torch.Generator().manual_seed(0))
    x = 2 * torch.rand(5000, 5, generator=torch.Generator().manual_seed(1)) - 1
    hidden = net.model[:2](x).detach()
    silent, fires = list(net.silent), [unit for unit in range(12) if unit not in net.silent]
    assert not hidden[:, silent].any() and bool(hidden[:, fires].any(0).all())
    assert not net.model[2].weight[:, list(net.unread)].any()
    for unit, copy in net.twins:
        assert torch.corrcoef(hidden[:, [unit, copy]].T)[0, 1] == pytest.approx(1, abs=1e-5)
    assert len({*net.silent, *net.unread, *(copy for _, copy in net.twins)}) == 6


def test_silent_units_stay_silent_in_the_corners():
    net = planted_net(4, 1, each=3, generator=torch.Generator().manual_seed(2))
    corners = 2 * all_masks(4).float() - 1
    assert not net.model[:2](corners)[:, list(net.silent)].any()


def test_the_order_of_planted_units_is_shuffled():
    assert {planted_net(2, 1, generator=torch.Generator().manual_seed(seed)).silent for seed in range(5)} != {(6, 7)}


def test_more_twins_than_units_are_refused():
    with pytest.raises(InvalidInput, match="3 twins"):
        planted_net(2, 2, plain=2, each=3)


@given(st.integers(1, 8), st.integers(1, 8))
def test_shapley_of_one_term_is_its_share_in_every_order(size, seed):
    game = unanimity_game(4, 1, generator=torch.Generator().manual_seed(seed * 10 + size))
    total = torch.zeros(4, dtype=torch.float64)
    orders = list(permutations(range(4)))
    for order in orders:
        present = torch.zeros(1, 4, dtype=torch.bool)
        for player in order:
            before = game(present)
            present = present.clone()
            present[0, player] = True
            total[player] += (game(present) - before)[0]
    torch.testing.assert_close(total / len(orders), game.shapley())
