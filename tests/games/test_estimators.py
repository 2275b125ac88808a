"""What every estimator promises: known truths, efficiency, budgets, errors one can act on, and honest standard errors."""

from __future__ import annotations

from functools import cache

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from tests.reference import shapley as slow
from vesalius.core.errors import BudgetTooSmall, InvalidInput, TooManyPlayers, UnknownName
from vesalius.games import moebius
from vesalius.games.estimators import (
    ESTIMATORS,
    AdaptiveShapley,
    AutoShapley,
    KernelShapley,
    PermutationShapley,
    PolynomialShapley,
    SurrogateShapley,
    shapley,
)
from vesalius.games.estimators.coalition_sampling import balanced_pairs
from vesalius.games.estimators.kernel_regression import KernelRegression, kernel_weights, pseudo_inverse
from vesalius.games.game import Game

SAMPLED = ["adaptive", "surrogate", "polynomial", "kernel", "permutation"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def table_game(table):
    players = len(table).bit_length() - 1
    place = 1 << torch.arange(players)
    return Game.of(lambda masks: table[masks.long() @ place], players)


def random_table(players, seed=0):
    return torch.randn(1 << players, dtype=torch.float64, generator=rng(seed))


def smooth_table(players, seed):
    """A random tanh network of the members, with pairwise terms; its truth is exact."""
    generator = rng(seed)
    weights = torch.randn(players, 6, dtype=torch.float64, generator=generator) * 1.5 / players**0.5
    member = moebius.membership(players).double()
    return torch.tanh(member @ weights + 0.3) @ torch.randn(6, dtype=torch.float64, generator=generator)


def truth(table):
    return moebius.shapley_values(moebius.dividends(table))


@pytest.mark.parametrize(("name", "players"), [
    *[(name, players) for name in ("auto", "exact", "adaptive", "surrogate", "polynomial", "kernel") for players in (1, 2, 3, 6)],
    *[("permutation", players) for players in (1, 2)],  # sampling of orders does not end with the coalitions
])  # fmt: skip
def test_all_coalitions_give_the_exact_values(name, players):
    table = random_table(players)
    estimate = shapley(table_game(table), budget=1 << players, estimator=name, generator=rng())
    torch.testing.assert_close(estimate.values, truth(table), atol=1e-10, rtol=0)
    assert estimate.evaluations == 1 << players


@pytest.mark.parametrize("name", [*SAMPLED, "auto"])
@pytest.mark.parametrize("budget", [24, 25, 61, 120, 600])
def test_budget_is_kept_and_counted_and_values_add_up(name, budget):
    asked = []
    table = smooth_table(12, 0) * 1e3 + 7e5
    game = table_game(table)
    spy = Game.of(lambda masks: asked.extend(map(tuple, masks.tolist())) or game(masks), 12)
    estimate = shapley(spy, budget=budget, estimator=name, generator=rng())
    assert len(set(asked)) == len(asked) == estimate.evaluations <= budget
    assert estimate.base == table[0]
    assert estimate.total == table[-1]
    gain = estimate.total - estimate.base
    assert abs(float(estimate.values.sum()) - gain) <= 1e-9 * abs(gain)


@pytest.mark.parametrize("name", SAMPLED)
def test_an_additive_game_is_known_from_few_coalitions(name):
    worth = torch.arange(1.0, 9, dtype=torch.float64)
    estimate = shapley(Game.of(lambda masks: masks.double() @ worth - 3, 8), budget=60, estimator=name, generator=rng())
    torch.testing.assert_close(estimate.values, worth, atol=1e-9 if name in ("kernel", "permutation") else 2e-3, rtol=0)


@pytest.mark.parametrize("name", SAMPLED)
def test_dummies_get_nothing_and_twins_the_same(name):
    """max(x0, x1) + 2 x2 x3, four dummies: 1/2, 1/2, 1, 1, 0, 0, 0, 0."""
    game = Game.of(lambda masks: masks[:, :2].any(1).double() + 2 * masks[:, 2:4].all(1), 8)
    estimate = shapley(game, budget=180, estimator=name, generator=rng(3))
    close = 1e-9 if name == "permutation" else 0.02
    torch.testing.assert_close(estimate.values[4:], torch.zeros(4, dtype=torch.float64), atol=close, rtol=0)
    torch.testing.assert_close(estimate.values[:4], torch.tensor([0.5, 0.5, 1, 1], dtype=torch.float64), atol=0.2, rtol=0)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("players", [1, 2, 9])
def test_a_constant_game_is_worth_nothing(name, players):
    estimate = shapley(Game.of(lambda masks: torch.full((len(masks),), 0.1), players), budget=600, estimator=name, generator=rng())
    torch.testing.assert_close(estimate.values, torch.zeros(players, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(estimate.stderr, torch.zeros(players, dtype=torch.float64), atol=1e-6, rtol=0)


@settings(max_examples=15)
@given(st.integers(2, 7), st.integers(0, 1000), st.floats(-1e3, 1e3), st.floats(0.01, 100), st.sampled_from(SAMPLED))
def test_values_follow_shift_and_scale_of_the_game(players, seed, shift, scale, name):
    table = random_table(players, seed)
    one, other = (shapley(table_game(t), budget=4 * players, estimator=name, generator=rng(seed)) for t in (table, scale * table + shift))
    close = 1e-7 if name in ("kernel", "permutation") else 2e-3  # the fit stops at a slightly different place
    torch.testing.assert_close(other.values / scale, one.values, atol=close, rtol=close)


@pytest.mark.parametrize("name", [*SAMPLED, "auto"])
def test_the_generator_decides(name):
    game = table_game(random_table(9))
    first, again, other = (shapley(game, budget=90, estimator=name, generator=rng(seed)).values for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "players", "budget", "least"), [
    ("auto", 5, 3, 4), ("auto", 1, 1, 2), ("kernel", 5, 3, 4), ("surrogate", 5, 2, 4), ("polynomial", 5, 2, 4), ("adaptive", 5, 2, 4),
    ("permutation", 5, 9, 10), ("exact", 5, 31, 32),
])  # fmt: skip
def test_a_budget_that_is_too_small_is_refused_before_anything_is_asked(name, players, budget, least):
    def never(masks):
        raise AssertionError("asked")

    with pytest.raises(BudgetTooSmall, match=f"budget of {budget} .*at least {least}"):
        shapley(Game.of(never, players), budget=budget, estimator=name)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(name, bad):
    class Broken:
        players = Game.of(lambda masks: masks, 6).players

        def __call__(self, masks):
            values = masks.double().sum(1)
            values[(masks.sum(1) == 6)] = bad
            return values

    with pytest.raises(InvalidInput, match=r"coalition of players \[0, 1, 2, 3, 4, 5\]"):
        shapley(Broken(), budget=64, estimator=name)


def test_a_game_of_the_wrong_shape_is_refused():
    class Wrong:
        players = Game.of(lambda masks: masks, 3).players

        def __call__(self, masks):
            return masks.double()

    with pytest.raises(InvalidInput, match=r"shape \(2, 3\) for 2 coalitions"):
        shapley(Wrong(), budget=6, estimator="kernel")


def test_an_unknown_name_offers_the_near_ones():
    with pytest.raises(UnknownName, match="'kernel'"):
        shapley(table_game(random_table(3)), estimator="kernal")


def test_exact_refuses_what_cannot_be_enumerated():
    with pytest.raises(TooManyPlayers, match="21 players, but at most 20"):
        shapley(Game.of(lambda masks: masks[:, 0].double(), 21), estimator="exact")


def test_auto_enumerates_when_it_may_chooses_coalitions_where_they_are_dear_and_regresses_when_there_is_plenty():
    game, dear = table_game(smooth_table(10, 1)), AutoShapley(evaluation_seconds=0.1)
    assert shapley(game, budget=1024).provenance["estimator"] == "exact"
    assert shapley(game, budget=120, generator=rng()).provenance["estimator"] == "polynomial"
    assert shapley(game, budget=120, estimator=dear, generator=rng()).provenance["estimator"] == "adaptive"
    assert shapley(game, budget=121, estimator=dear, generator=rng()).provenance["estimator"] == "surrogate"
    many, cheap = table_game(smooth_table(12, 1)), AutoShapley(evaluation_seconds=1e-6)
    assert cheap.estimate(many, 2002, generator=rng()).provenance["estimator"] == "kernel"


def test_permutation_pairs_are_averaged_over_orders_and_unbiased():
    """The mean over many estimates is the truth within its own standard error; one game, all players at once by chi square."""
    table = random_table(5)
    runs = torch.stack([PermutationShapley().estimate(table_game(table), 10, generator=rng(seed)).values for seed in range(600)])
    score = (runs.mean(0) - truth(table)) / (runs.std(0) / 600**0.5)
    assert score.abs().max() < 4.0


@pytest.mark.parametrize("seed", range(3))
def test_kernel_is_the_constrained_regression(seed):
    generator = rng(seed)
    rows = torch.rand(40, 7, generator=generator) < 0.5
    rows = rows[(rows.sum(1) > 0) & (rows.sum(1) < 7)]
    odd = torch.randn(len(rows), dtype=torch.float64, generator=generator)
    expected = slow.constrained_least_squares(rows.double().tolist(), kernel_weights(rows)[0].tolist(), odd.tolist(), 1.5)
    torch.testing.assert_close(KernelRegression.of(rows).estimate(odd, 1.5)[0], expected)


@cache
def repeated(estimator, budget):
    """24 games of 10 players, once each: share of intervals that hold the truth, mean square error, mean square standard error, notes."""
    hits, square, claimed, notes = [], [], [], set()
    for seed in range(24):
        table = smooth_table(10, seed)
        estimate = estimator.estimate(table_game(table), budget, generator=rng(seed))
        error = estimate.values - truth(table)
        hits.append((error.abs() <= 1.96 * estimate.stderr + 1e-12).double().mean())
        square.append(error.square().mean())
        claimed.append(estimate.stderr.square().mean())
        notes.add(estimate.stderr_note)
    hit, square, claimed = (float(torch.stack(found).mean()) for found in (hits, square, claimed))
    return hit, square, claimed, notes


CLAIMS = [
    (AdaptiveShapley(), 100),
    (SurrogateShapley(), 100),
    (PolynomialShapley(), 50),
    (PolynomialShapley(), 150),
    (KernelShapley(), 150),
    (PermutationShapley(), 500),
]


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "budget"), CLAIMS)
def test_intervals_cover_the_truth_as_often_as_they_say(estimator, budget):
    """Intervals of one game are not independent: counted as if 1 in 3 were, so 80 draws, 95 % less 3 sd is 87.7 %."""
    hit, _, _, notes = repeated(estimator, budget)
    assert notes == {""}
    assert hit >= 0.877


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "budget"), CLAIMS)
def test_standard_errors_are_no_wider_than_the_errors(estimator, budget):
    """Covering everything is easy with huge intervals: the mean square standard error stays below 2.5 times the mean square error."""
    _, square, claimed, _ = repeated(estimator, budget)
    assert claimed < 2.5 * square


@pytest.mark.parametrize("name", SAMPLED)
def test_an_error_that_is_not_honest_says_so(name):
    estimate = shapley(table_game(smooth_table(12, 0)), budget=30, estimator=name, generator=rng())
    assert estimate.stderr_note != ""


def test_the_processes_are_more_precise_than_regression_on_smooth_games():
    _, regression, _, _ = repeated(KernelShapley(), 100)
    assert repeated(SurrogateShapley(), 100)[1] < 0.75 * regression
    assert repeated(AdaptiveShapley(), 100)[1] < 0.5 * regression


@pytest.mark.parametrize("name", ["surrogate", "polynomial", "kernel", "permutation"])  # the others do not ask in pairs
@pytest.mark.parametrize("budget", [24, 60, 200])
def test_complements_of_equal_value_leave_nothing_to_share(name, budget):
    """As in a game of how evenly players are parted, which is far from constant."""
    estimate = ESTIMATORS[name]().estimate(Game.of(lambda masks: (masks.sum(1) * (~masks).sum(1)).double(), 12), budget, generator=rng())
    torch.testing.assert_close(estimate.values, torch.zeros(12, dtype=torch.float64), atol=1e-6 * 36, rtol=0)
    assert estimate.stderr is None or bool(estimate.stderr.isfinite().all())


@pytest.mark.parametrize("name", SAMPLED)
def test_values_whose_squares_overflow_are_refused_and_those_whose_squares_vanish_are_nothing(name):
    table = smooth_table(9, 0)
    with pytest.raises(InvalidInput, match=r"at most 1e\+140"):
        ESTIMATORS[name]().estimate(table_game(table * 1e200), 60, generator=rng())
    found = ESTIMATORS[name]().estimate(table_game(table * 1e-200), 60, generator=rng())
    assert not bool(found.values.any())


@pytest.mark.parametrize("name", ["surrogate", "polynomial", "auto"])
def test_an_error_is_no_smaller_than_what_the_algebra_resolves(name):
    """One product of three players, which a process fits to the last digit that it has."""
    game = Game.of(lambda masks: masks[:, [3, 7, 9]].all(1).double(), 12)
    truth = torch.zeros(12, dtype=torch.float64)
    truth[[3, 7, 9]] = 1 / 3
    found = ESTIMATORS[name]().estimate(game, 240, generator=rng())
    assert bool(((found.values - truth).abs() <= 4 * found.stderr).all())


def test_the_factor_of_a_regression_is_its_pseudo_inverse():
    rows = balanced_pairs(12, 80, generator=rng())
    found = KernelRegression.of(rows)
    torch.testing.assert_close(found.inverse, found.left @ pseudo_inverse(found.left.T @ found.left))
    few = KernelRegression.of(rows[:7])
    torch.testing.assert_close(few.inverse, few.left @ pseudo_inverse(few.left.T @ few.left))
