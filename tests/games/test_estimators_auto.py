"""What ``auto`` chooses, and when an estimator stops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.games.test_estimators import rng, smooth_table, table_game
from vesalius.core.errors import InvalidInput
from vesalius.games.estimators import (
    ESTIMATORS,
    AdaptiveShapley,
    AutoShapley,
    KernelShapley,
    PermutationShapley,
    PolynomialShapley,
    SurrogateShapley,
    algebra,
    shapley,
)
from vesalius.games.estimators.coalition_sampling import balanced_pairs
from vesalius.games.estimators.tolerance import is_precise
from vesalius.games.game import Game

GROWING = [AdaptiveShapley(), SurrogateShapley(), PolynomialShapley(), KernelShapley(), PermutationShapley()]


def pair_game(players, seed=0):
    """Single effects and effects of pairs, and the Shapley values."""
    alone = torch.randn(players, dtype=torch.float64, generator=rng(seed))
    pairs = torch.randn(players, players, dtype=torch.float64, generator=rng(seed + 1)).triu(1)
    game = Game.of(lambda masks: masks.double() @ alone + ((masks.double() @ pairs) * masks).sum(1), players)
    return game, alone + (pairs + pairs.T).sum(1) / 2


def mixed_game(players, seed=0):
    """A tanh network of the members; its values are not known, and not needed."""
    weights = torch.randn(players, 8, dtype=torch.float64, generator=rng(seed)) / players**0.5
    return Game.of(lambda masks: torch.tanh(masks.double() @ weights * 2).sum(1), players)


@pytest.mark.parametrize("players", [14, 30])
@pytest.mark.parametrize("more", [0, 2, 40])
def test_auto_is_exact_on_games_of_pairs_from_two_evaluations_per_player_on(players, more):
    game, values = pair_game(players)
    estimate = shapley(game, budget=2 * players + more, generator=rng())
    torch.testing.assert_close(estimate.values, values, atol=1e-7, rtol=0)


def test_a_game_of_triples_is_not_taken_for_one_of_pairs():
    game = Game.of(lambda masks: masks[:, :3].all(1).double() + masks[:, 3:6].all(1) - masks[:, 6:9].all(1).double(), 13)
    expected = torch.tensor([1.0] * 6 + [-1.0] * 3 + [0.0] * 4, dtype=torch.float64) / 3
    estimate = shapley(game, budget=130, generator=rng())
    torch.testing.assert_close(estimate.values, expected, atol=0.1, rtol=0)
    assert estimate.stderr.max() > 1e-4


def test_what_an_evaluation_costs_is_counted():
    small, large = (nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 1)) for width in (10, 2_000))
    games = [Game.on(model, torch.zeros(20)) for model in (small, large)]
    counted = [game.nominal_seconds() for game in games]
    assert counted == [game.nominal_seconds() for game in games]
    assert counted[1] - counted[0] == pytest.approx(2 * 21 * 1_990 / 1e10)
    assert Game.of(lambda masks: masks.sum(1), 3).nominal_seconds() is None


def test_stand_ins_are_counted_too():
    model = nn.Linear(4, 1000)
    one, ten = (Game.on(model, torch.zeros(4), target=0, baseline=vs.Marginal(torch.zeros(rows, 4))) for rows in (1, 10))
    assert ten.nominal_seconds() - one.nominal_seconds() == pytest.approx(9 * 8000 / 1e10)


def test_dear_evaluations_get_processes_and_cheap_ones_the_regression():
    kinds = {}
    for seconds in (4e-6, 1e-4, 1e-1):
        game = mixed_game(30)
        kinds[seconds] = shapley(game, tol=0.05, estimator=AutoShapley(evaluation_seconds=seconds), generator=rng()).provenance["estimator"]
    assert kinds == {4e-6: "kernel", 1e-4: "polynomial", 1e-1: "adaptive"}
    cheap = AutoShapley(evaluation_seconds=1e-6)
    assert shapley(mixed_game(400), tol=0.5, estimator=cheap, generator=rng()).provenance["estimator"] == "permutation"


@pytest.mark.parametrize(("seconds", "players", "estimator"), [
    (1e-6, 49, PermutationShapley()), (4e-6, 49, KernelShapley(balanced=False)), (1e-4, 196, KernelShapley()),
    (1e-6, 196, PermutationShapley()),
    (1e-6, 1000, PermutationShapley()), (1e-4, 30, PolynomialShapley()), (1e-1, 30, AdaptiveShapley()),
])  # fmt: skip
def test_what_is_precise_soonest(seconds, players, estimator):
    assert AutoShapley().soonest(players, 20 * players, seconds) == estimator


def test_evaluations_that_are_of_no_use_to_the_next_estimator_are_counted():
    """Above twice ``adaptive_most`` the surrogate takes over, which wants pairs of complements."""
    auto, game, generator = AutoShapley(evaluation_seconds=10.0, adaptive_most=40), mixed_game(13), rng()
    first, known = auto.extend(game, 70, None, generator=generator)
    second, _ = auto.extend(game, 90, known, generator=generator)
    assert [one.provenance["estimator"] for one in (first, second)] == ["adaptive", "surrogate"]
    assert second.evaluations == 70 + 90


@pytest.mark.parametrize(("seconds", "players", "budget", "estimator"), [
    (1e-6, 14, 256, "polynomial"), (1e-6, 14, 1400, "polynomial"), (1e-6, 48, 4800, "kernel"),
    (1e-6, 1000, 10_000, "permutation"), (1e-1, 10_000, 30_000, "permutation"),
    (1e-3, 14, 420, "surrogate"), (1e-1, 14, 100, "adaptive"),
])  # fmt: skip
def test_the_algebra_takes_no_longer_than_the_evaluations(seconds, players, budget, estimator):
    chosen = AutoShapley()._choose_estimator(players, budget, seconds)
    assert type(chosen) is ESTIMATORS[estimator]


def test_what_an_evaluation_costs_is_counted_once_for_a_batch(monkeypatch):
    counted = []
    count = Game.nominal_seconds
    monkeypatch.setattr(Game, "nominal_seconds", lambda game: counted.append(game) or count(game))
    vs.attribute(nn.Linear(14, 1), torch.randn(3, 14, generator=rng()), vs.METHODS["shapley_value"](budget=40))
    assert len(counted) == 1


@pytest.mark.parametrize("rows", [50, 3000, 100_000])
@pytest.mark.parametrize("seconds", [0.06, 2.0, 300.0])
def test_what_fits_into_a_time_takes_no_longer(rows, seconds):
    inducing = algebra.inducing_rows(rows, seconds)
    taken = algebra.INDUCING_SECONDS * rows * inducing**2 + algebra.COVARIANCE_SECONDS * rows * inducing
    assert inducing == 100 or taken <= seconds / 2 * (1 + 1e-9)
    assert algebra.DENSE_SECONDS * algebra.dense_rows(seconds) ** 3 <= seconds / 2


@pytest.mark.parametrize("estimator", GROWING, ids=lambda one: type(one).__name__)
def test_an_estimator_goes_on_with_what_it_knows(estimator):
    asked = []
    game = mixed_game(13)
    spy = Game.of(lambda masks: asked.extend(map(tuple, masks.tolist())) or game(masks), 13)
    generator, known = rng(), None
    for budget in (66, 100, 150):
        found, known = estimator.extend(spy, budget, known, generator=generator)
        assert found.evaluations <= budget
    assert len(set(asked)) == len(asked)
    assert abs(float(found.values.sum() - found.total + found.base)) < 1e-9


@pytest.mark.parametrize("estimator", ["auto", "surrogate", "polynomial", "kernel", "permutation", "adaptive"])
def test_a_tolerance_is_reached_or_said_to_be_missed(estimator):
    game = mixed_game(14, seed=3)
    found = shapley(game, tol=0.05, budget=6000 if estimator != "adaptive" else 150, estimator=estimator, generator=rng())
    limit = 0.05 * float((found.total - found.base).abs())
    assert bool(found.converged) == (float(found.stderr.max()) <= limit and not found.stderr_note)
    assert bool(found.converged)
    missed = shapley(game, tol=1e-7, budget=150, estimator=estimator, generator=rng())
    assert not missed.converged
    assert missed.evaluations <= 150


def test_an_error_that_is_not_to_be_trusted_is_not_small():
    found = shapley(mixed_game(14), budget=200, estimator="kernel", generator=rng())
    assert is_precise(replace(found, stderr_note=""), 1e9)
    assert not is_precise(replace(found, stderr_note="few evaluations"), 1e9)


def test_a_smaller_tolerance_takes_more_evaluations():
    game = mixed_game(25, seed=5)
    spent = [int(shapley(game, tol=tol, estimator="kernel", generator=rng()).evaluations) for tol in (0.1, 0.01, 0.003)]
    assert spent[0] < spent[1] < spent[2]


def test_an_estimator_that_cannot_go_on_is_asked_once():
    class Once:
        def estimate(self, game, budget, *, generator=None):
            return KernelShapley().estimate(game, budget, generator=generator)

    found = shapley(mixed_game(13), tol=0.5, budget=400, estimator=Once(), generator=rng())
    assert found.evaluations == 400
    assert bool(found.converged)


def test_a_tolerance_is_a_number_above_zero():
    with pytest.raises(InvalidInput, match="tol is a number above 0"):
        shapley(mixed_game(13), tol=0.0)


def test_samples_say_each_whether_they_converged():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(15, 8), nn.Tanh(), nn.Linear(8, 1))
    method = vs.METHODS["shapley_value"](tol=0.05)
    found = vs.attribute(model, torch.randn(3, 15), method, target=0)
    assert found.converged.tolist() == [True] * 3
    alone = [vs.attribute(model, found.explained[0][at : at + 1], method, target=0) for at in range(3)]
    torch.testing.assert_close(torch.cat([one.values for one in alone]), found.values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("players", [70, 200])
def test_many_players_are_drawn_one_by_one_and_sizes_are_spread(players):
    rows = balanced_pairs(players, 600, generator=rng())
    size = rows.sum(1).double() / players
    assert len({tuple(row) for row in torch.cat([rows, ~rows]).tolist()}) == 1200
    assert all(abs(float((size < share).double().mean()) - share) < 0.06 for share in (0.1, 0.25, 0.5, 0.75, 0.9))
    assert rows.double().mean(0).sub(0.5).abs().max() < 0.12


def test_permutations_of_thousands_of_players_are_walked_in_parts():
    """Additive, so that one pair of orders is exact."""
    worth = torch.arange(3000, dtype=torch.float64)
    found = shapley(Game.of(lambda masks: masks.double() @ worth, 3000, batch=4096), budget=12_100, generator=rng())
    assert found.provenance["estimator"] == "permutation"
    torch.testing.assert_close(found.values, worth, atol=1e-6, rtol=0)


def test_sums_of_permutations_join_as_all_at_once():
    table = smooth_table(8, 0)
    whole = PermutationShapley().estimate(table_game(table), 14 * 30 + 2, generator=rng())
    known, generator = None, rng()
    for budget in (14 * 10 + 2, 14 * 30 + 2):
        parts, known = PermutationShapley().extend(table_game(table), budget, known, generator=generator)
    torch.testing.assert_close(parts.values, whole.values)
    torch.testing.assert_close(parts.stderr, whole.stderr)
