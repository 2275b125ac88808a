"""Interactions of games of few terms, none of which chose a constant: recovery, intervals of what is not zero, explained variance."""

from __future__ import annotations

import pytest
import torch

from vesalius.core.interaction_indices import compute_index
from vesalius.games import moebius
from vesalius.games.game import Game
from vesalius.interactions.estimators import AutoInteractions, SparseInteractions, interactions_of
from vesalius.interactions.estimators.calibration import relative_error_of_largest
from vesalius.interactions.estimators.estimate import pair_indices
from vesalius.interactions.estimators.matching_pursuit import Search, find_terms
from vesalius.interactions.estimators.observations import Observations, draw_uniform, observe
from vesalius.interactions.estimators.sparse_model import JudgedModel, SparseModel, weigh_dividends
from vesalius.interactions.estimators.stacking import Stack
from vesalius.interactions.estimators.surrogate import SurrogateInteractions
from vesalius.interactions.estimators.terms import Terms, complete_terms

SHAPES = {
    "and": lambda x, w: x.all(1).double(),
    "or": lambda x, w: x.any(1).double(),
    "tanh": lambda x, w: torch.tanh(1.5 * (x.double() @ w)),
    "relu": lambda x, w: torch.relu(x.double() @ w - 0.3),
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def sum_of_terms(players, sizes, each, seed, shape="and"):
    """A game that is a sum of functions of a few players: members, worth and weights of each, and the value of coalitions."""
    generator, parts = rng(seed), []
    for size in sizes:
        for _ in range(each):
            members = sorted(torch.randperm(players, generator=generator)[:size].tolist())
            worth = torch.randn((), generator=generator, dtype=torch.float64)
            weights = torch.randn(size, generator=generator, dtype=torch.float64)
            parts.append((members, float(worth + worth.sign()), weights))
    return parts, lambda masks: sum(worth * SHAPES[shape](masks[:, members], weights) for members, worth, weights in parts)


def dividends_of_sum(parts, shape):
    """By members: the Moebius transform of every part by itself."""
    dividends = {}
    for members, worth, weights in parts:
        inside = moebius.membership(len(members))
        for row, value in zip(inside, moebius.dividends(worth * SHAPES[shape](inside, weights)), strict=True):
            key = tuple(members[at] for at in row.nonzero().flatten().tolist())
            dividends[key] = dividends.get(key, 0.0) + float(value)
    return {key: found for key, found in dividends.items() if key and abs(found) > 1e-12}


def with_noise(value, players, share, seed):
    spread, generator = float(value(torch.rand(2000, players, generator=rng(seed)) < 0.5).std()), rng(seed + 1)
    return Game.of(lambda masks: value(masks) + share * spread * torch.randn(len(masks), dtype=torch.float64, generator=generator), players)


def truth_of(coalitions, dividends, index, order):
    """An index of listed coalitions, by its definition on dividends."""
    rows = torch.zeros(len(dividends), coalitions.shape[1], dtype=torch.bool)
    for row, members in zip(rows, dividends, strict=True):
        row[list(members)] = True
    return weigh_dividends(coalitions, rows, index, order) @ torch.tensor(list(dividends.values()), dtype=torch.float64)


def as_mapping(found):
    return {tuple(row.nonzero().flatten().tolist()): float(v) for row, v in zip(found.coalitions, found.values, strict=True)}


def test_dividends_of_terms_are_those_of_the_functions():
    """Of conjunctions and disjunctions, against the Moebius transform of their values at all coalitions."""
    members = torch.rand(9, 5, generator=rng(2)) < 0.5
    members[:, 0] = True
    terms = Terms(members, torch.arange(9) % 2 == 0)
    every = moebius.membership(5)
    rows, weights = terms.dividends()
    place = (rows.long() << torch.arange(5)).sum(1)
    for at, column in enumerate(terms.values(every.T.contiguous()).double()):
        present = every[:, members[at]]
        assert torch.equal(column.bool(), present.any(1) if at % 2 == 0 else present.all(1))
        expected = moebius.dividends(column)
        torch.testing.assert_close(weights[:, at], expected[place])
        assert float(weights[:, at].abs().sum()) == pytest.approx(float(expected.abs().sum()))


@pytest.mark.parametrize(("index", "order"), [("k_sii", 2), ("fsii", 3), ("fsii", 1), ("k_sii", 3)])
def test_indices_of_listed_coalitions_are_those_of_all(index, order):
    dividends = torch.randn(31, dtype=torch.float64, generator=rng(1))
    rows = moebius.membership(5)[1:]
    listed, expected = compute_index(rows, dividends[None], index, order)
    torch.testing.assert_close(weigh_dividends(listed, rows, index, order) @ dividends, expected[0])


def test_terms_that_are_complete():
    assert len(complete_terms(10, 60)) == 55 and len(complete_terms(10, 175)) == 175 and len(complete_terms(4, 1000)) == 15
    assert complete_terms(10, 54) is None


@pytest.mark.parametrize(("players", "sizes", "shape", "budget"), [
    (60, (1, 2), "and", 900), (33, (2, 3, 4), "and", 1200), (40, (1, 2, 3), "or", 1600), (35, (1, 2, 3), "tanh", 1400),
    (40, (1, 3), "relu", 1600), (200, (1, 2, 3), "and", 4000),
])  # fmt: skip
def test_sums_of_functions_of_few_players_are_recovered(players, sizes, shape, budget):
    parts, value = sum_of_terms(players, sizes, 4, 1, shape)
    dividends = dividends_of_sum(parts, shape)
    found = interactions_of(Game.of(value, players), max_order=None, budget=budget, generator=rng())
    got = as_mapping(found)
    assert max(abs(got.get(key, 0.0) - dividends.get(key, 0.0)) for key in got | dividends) < 1e-8
    assert found.provenance["explained"] == 1.0 and not found.stderr_note
    pairs = interactions_of(Game.of(value, players), budget=budget, generator=rng())
    truth = truth_of(pairs.coalitions, dividends, "k_sii", 2)
    assert bool(((pairs.values - truth).abs() <= 1.96 * pairs.stderr + 1e-9).all())


def test_1000_players_and_a_term_of_six():
    def value(masks):
        return masks[:, [3, 700, 999]].all(1).double() + 2 * masks[:, 5].double() - masks[:, [8, 80, 800]].any(1).double()

    found = interactions_of(Game.of(value, 1000), max_order=None, budget=6000, generator=rng())
    got = {key: round(worth, 9) for key, worth in as_mapping(found).items() if abs(worth) > 1e-9}
    assert got.pop((3, 700, 999)) == 1.0 and got.pop((5,)) == 2.0
    assert len(got) == 7 and set(got.values()) == {-1.0, 1.0}


@pytest.mark.slow
def test_order_three_of_60_players_lists_all_and_of_more_what_is_within_a_term():
    def value(masks):
        return masks[:, [3, 30, 59]].all(1).double() + masks[:, [1, 2]].any(1).double()

    for players, listed in ((60, 36050), (300, 10)):
        found = interactions_of(Game.of(value, players), max_order=3, budget=20 * players, generator=rng())
        got = {key: worth for key, worth in as_mapping(found).items() if abs(worth) > 1e-9}
        assert got == pytest.approx({(1,): 1, (2,): 1, (1, 2): -1, (3, 30, 59): 1}, abs=1e-9)
        assert (len(found.coalitions), found.provenance["index"], abs(float(found.gap)) < 1e-9) == (listed, "fsii", True)


NOISY = [
    (60, (1, 2), "and", 1200, 0.1),
    (40, (1, 2), "and", 1200, 0.2),
    (40, (1, 2, 3), "or", 1600, 0.1),
    (40, (1, 2, 3), "tanh", 1600, 0.05),
]


@pytest.mark.slow
@pytest.mark.parametrize(("players", "sizes", "shape", "budget", "share"), NOISY)
def test_intervals_of_what_is_not_zero_hold_it_where_values_are_noisy(players, sizes, shape, budget, share):
    """New noise at every coalition, the ends included: of two games dozens of values; at least 85 in 100, and no huge intervals."""
    inside, claimed, square = [], 0.0, 0.0
    for seed in (40, 41):
        parts, value = sum_of_terms(players, sizes, 6, seed, shape)
        found = SparseInteractions().estimate(with_noise(value, players, share, seed), budget, generator=rng(seed))
        truth = truth_of(found.coalitions, dividends_of_sum(parts, shape), "k_sii", 2)
        nonzero = truth.abs() > 1e-9
        error = (found.values - truth)[nonzero]
        inside.append(error.abs() <= 1.96 * found.stderr[nonzero])
        square, claimed = square + float(error.square().sum()), claimed + float(found.stderr[nonzero].square().sum())
    assert float(torch.cat(inside).double().mean()) >= 0.85
    assert claimed < 6 * square


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "sizes", "share"), [("relu", (30,), 0.0), ("tanh", (2, 30), 0.1)])
def test_what_is_said_to_be_explained_is_so_on_fresh_coalitions(shape, sizes, share):
    """Sparse and dense games: a difference of .02, and twice the standard error of a share that is measured on 300 coalitions."""
    _, value = sum_of_terms(30, sizes, 5, 7, shape)
    game = with_noise(value, 30, share, 3)
    _, model = AutoInteractions().fit(game, 900, 2, rng())
    fresh = torch.rand(4000, 30, generator=rng(9)) < 0.5
    values = game(fresh)
    so = 1 - float((values - model.predict(fresh)).square().mean() / values.var(correction=0))
    assert abs(model.explained - so) <= 0.02 + 2 * (1 - so) * (2 / 300) ** 0.5
    assert AutoInteractions().estimate(game, 900, generator=rng()).provenance["explained"] == pytest.approx(model.explained)


def test_a_fold_is_predicted_by_a_model_that_has_not_seen_it():
    """A game of noise alone: nothing is explained, whatever is found."""
    value = with_noise(lambda masks: masks[:, 0].double(), 20, 30.0, 1)
    found = SparseInteractions().estimate(value, 400, generator=rng())
    assert found.provenance["explained"] < 0.1 and "explains" in found.stderr_note


def test_uniform_coalitions_are_drawn_whatever_else_is_asked():
    seen = observe(Game.of(lambda masks: masks.double().sum(1), 40), 900, generator=rng())
    assert len(seen.rows) == len(seen.rows.unique(dim=0)) == 900
    assert not seen.rows[0].any() and bool(seen.rows[1].all())
    size = seen.rows[seen.uniform].sum(1).double()
    assert int(seen.uniform.sum()) == 299 and abs(float(size.mean()) - 20) < 1 and 2.5 < float(size.std()) < 3.9
    assert sorted(seen.rows[~seen.uniform].sum(1).tolist())[1:41] == [1] * 40
    left = draw_uniform(moebius.membership(5)[:20], 100, generator=rng())
    assert {int((row.long() << torch.arange(5)).sum()) for row in left} == set(range(20, 32))


def test_terms_are_found_without_the_hint_of_a_smaller_one():
    """A disjunction of four is one term, and a conjunction of four another, beside all players."""
    rows = torch.rand(1200, 12, generator=rng(3)) < 0.5
    values = rows.double().sum(1) + 3 * rows[:, :4].any(1) + 4 * rows[:, 4:8].all(1)
    terms = find_terms(rows, values, 1000, most=60, patience=8, rounds=3)
    assert Search(rows, values, 1000).check_error(terms) < 1e-18
    assert len(terms) <= 40


def test_models_are_weighed_by_their_left_out_errors():
    """Against the weight of least squares by hand, and clamped where one model is better everywhere."""
    _, game = sum_of_terms(26, (26,), 6, 2, "relu")
    seen = observe(Game.of(game, 26), 500, generator=rng())
    process, errors = SurrogateInteractions().fit(seen, rng()), torch.zeros(int(seen.uniform.sum()), dtype=torch.float64)
    place = (seen.uniform.long().cumsum(0) - 1)[process.judged]
    model = SparseModel.fit(Terms.conjunctions(torch.eye(26, dtype=torch.bool)), seen.rows, seen.values)
    errors[place] = 2 * torch.randn(len(place), dtype=torch.float64, generator=rng(4)) * process.errors.std()
    best = min(torch.linspace(0, 1, 1001).tolist(), key=lambda w: float((w * process.errors + (1 - w) * errors[place]).square().sum()))
    stack = Stack.of(process, JudgedModel(model, [], errors, 0.0), seen)
    assert 0.6 < stack.weight < 1 and stack.weight == pytest.approx(best, abs=1e-3)
    assert Stack.of(process, JudgedModel(model, [], errors * 1e-9, 0.0), seen).weight == 0.0
    rows = seen.rows[:7]
    torch.testing.assert_close(stack.predict(rows), stack.weight * process.predict(rows) + (1 - stack.weight) * model.predict(rows))


def test_errors_of_the_largest_pairs_are_noticed():
    """Independent errors at coalitions, less what a model has wrong of its largest pairs: a fifth of each."""
    first, second = pair_indices(30)
    pairs = torch.randn(len(first), dtype=torch.float64, generator=rng(5)) ** 3
    rows = torch.rand(1000, 30, generator=rng(6)) < 0.5
    signs = 2 * rows.double() - 1
    for wrong in (0.0, 0.2):
        error = 0.5 * torch.randn(1000, dtype=torch.float64, generator=rng(7)) + wrong / 4 * (signs[:, first] * signs[:, second]) @ pairs
        found = relative_error_of_largest(rows, error, torch.eye(1000, dtype=torch.float64), pairs, torch.zeros_like(pairs))
        assert found == pytest.approx(wrong**2, abs=0.015)


def test_a_part_of_the_uniform_coalitions_has_a_variance():
    seen = Observations(moebius.membership(3), torch.arange(8.0).double(), torch.zeros(8, dtype=torch.bool))
    assert seen.spread == pytest.approx(5.25) and (seen.base, seen.total) == (0.0, 1.0)
