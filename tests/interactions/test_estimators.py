"""What every estimator of interactions promises: known truths, completeness, budgets, errors one can act on, and honest standard errors."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import pytest
import torch

from vesalius.core.errors import BudgetTooSmall, InvalidInput, TooManyPlayers, UnknownName
from vesalius.core.players import Players
from vesalius.games import moebius
from vesalius.games.game import Game
from vesalius.interactions.estimators import (
    ESTIMATORS,
    ExactInteractions,
    LeastSquaresInteractions,
    PermutationInteractions,
    SparseInteractions,
    SurrogateInteractions,
    interactions_of,
)

SAMPLED = ["surrogate", "least_squares", "permutation", "sparse"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def table_game(table):
    players = len(table).bit_length() - 1
    place = 1 << torch.arange(players)
    return Game.of(lambda masks: table[masks.long() @ place], players)


def random_table(players, seed=0):
    return torch.randn(1 << players, dtype=torch.float64, generator=rng(seed))


def smooth_table(players, seed):
    """A random tanh network of the members; its truth is exact."""
    generator = rng(seed)
    weights = torch.randn(players, 6, dtype=torch.float64, generator=generator) * 1.5 / players**0.5
    member = moebius.membership(players).double()
    return torch.tanh(member @ weights + 0.3) @ torch.randn(6, dtype=torch.float64, generator=generator)


def slow_k_sii(table):
    """By the definition: means of differences over all coalitions without the players, all sizes alike."""
    n = len(table).bit_length() - 1

    def mean_difference(players):
        others = [p for p in range(n) if p not in players]
        by_size = []
        for size in range(len(others) + 1):
            found = []
            for s in combinations(others, size):
                start = sum(1 << p for p in s)
                parts = [part for k in range(len(players) + 1) for part in combinations(players, k)]
                found.append(sum((-1) ** (len(players) - len(t)) * float(table[start + sum(1 << p for p in t)]) for t in parts))
            by_size.append(sum(found) / len(found))
        return sum(by_size) / len(by_size)

    pairs = {pair: mean_difference(pair) for pair in combinations(range(n), 2)}
    singles = [mean_difference((i,)) - sum(v for pair, v in pairs.items() if i in pair) / 2 for i in range(n)]
    return torch.tensor([*singles, *pairs.values()], dtype=torch.float64)


def quadratic(players, seed=0):
    """A random polynomial of order 2 in presence: the game, and its dividends of singles and pairs, which every index returns."""
    generator = rng(seed)
    linear = torch.randn(players, dtype=torch.float64, generator=generator)
    pairs = torch.randn(players, players, dtype=torch.float64, generator=generator).triu(1)

    def value(masks):
        m = masks.double()
        return 3 + m @ linear + ((m @ pairs) * m).sum(1)

    return Game.of(value, players), torch.cat([linear, pairs[tuple(torch.triu_indices(players, players, 1))]])


def planted(players, terms, seed, largest=5):
    """Few dividends of up to 5 players, as a mapping from members to values."""
    generator = rng(seed)
    worth = {}
    for _ in range(terms):
        size = int(torch.randint(1, largest + 1, (), generator=generator))
        members = tuple(sorted(torch.randperm(players, generator=generator)[:size].tolist()))
        worth[members] = float(torch.rand((), generator=generator)) + 1.0

    def value(masks):
        return sum(weight * masks[:, list(members)].all(1).double() for members, weight in worth.items())

    return Game.of(value, players), worth


def as_mapping(allocation):
    return {tuple(row.nonzero().flatten().tolist()): float(v) for row, v in zip(allocation.coalitions, allocation.values, strict=True)}


@pytest.mark.parametrize("name", ["auto", "exact", "surrogate", "sparse"])
@pytest.mark.parametrize("players", [1, 2, 3, 6])
def test_all_coalitions_give_the_exact_values(name, players):
    table = random_table(players)
    found = interactions_of(table_game(table), budget=1 << players, estimator=name, generator=rng())
    torch.testing.assert_close(found.values, slow_k_sii(table), atol=1e-10, rtol=0)
    assert (int(found.evaluations), found.provenance["explained"]) == (1 << players, 1.0)


@pytest.mark.parametrize("name", ["least_squares", "sparse", "auto"])
@pytest.mark.parametrize(("players", "budget"), [(9, 300), (14, 700)])
def test_games_of_order_two_are_recovered(name, players, budget):
    game, worth = quadratic(players)
    found = interactions_of(game, estimator=name, budget=budget, generator=rng(1))
    torch.testing.assert_close(found.values, worth, atol=1e-6, rtol=0)
    assert float(found.stderr.max()) < 1e-6
    assert found.provenance["explained"] > 1 - 1e-9


@pytest.mark.parametrize("order", [1, 2, 3])
def test_least_squares_recovers_games_of_its_order(order):
    game, worth = planted(8, 12, 0, largest=order)
    found = as_mapping(interactions_of(game, estimator="least_squares", max_order=order, budget=240, generator=rng()))
    assert len(found) == sum(len(list(combinations(range(8), k))) for k in range(1, order + 1))
    assert max(abs(found[key] - worth.get(key, 0.0)) for key in found) < 1e-9


def test_a_unanimity_game_of_four_is_shared_out_as_known():
    """d(T) = 1, |T| = 4: SII is 1/3 for the six pairs within; the single players get 1/4 - 3/2 * 1/3 = -1/4."""
    game = Game.of(lambda masks: masks[:, :4].all(1).double(), 7)
    found = as_mapping(interactions_of(game, estimator="exact"))
    for key, value in found.items():
        inside = max(key) < 4
        assert value == pytest.approx((1 / 3 if len(key) == 2 else -1 / 4) if inside else 0.0, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SAMPLED, "auto"])
@pytest.mark.parametrize("budget", [302, 377])
def test_budget_is_kept_and_counted_and_values_add_up(name, budget):
    asked = []
    table = smooth_table(12, 0) * 1e3 + 7e5
    game = table_game(table)

    class Spy:
        players = game.players

        def __call__(self, masks):
            asked.extend(map(tuple, masks.tolist()))
            return game(masks)

    found = interactions_of(Spy(), budget=budget, estimator=name, generator=rng())
    assert len(set(asked)) == len(asked) == int(found.evaluations) <= budget
    assert (float(found.base), float(found.total)) == (float(table[0]), float(table[-1]))
    assert abs(float(found.gap)) <= 1e-9 * abs(float(found.total - found.base))
    assert found.stderr.shape == found.values.shape == (78,)


@pytest.mark.parametrize("name", ["surrogate", "permutation", "sparse", "exact"])
def test_shapley_values_follow(name):
    table = smooth_table(9, 1)
    found = interactions_of(table_game(table), budget=512 if name == "exact" else 500, estimator=name, generator=rng())
    close = {"exact": 1e-10, "surrogate": 0.01, "permutation": 0.2, "sparse": 0.1}[name]
    torch.testing.assert_close(found.reduce("shapley").values, moebius.shapley_values(moebius.dividends(table)), atol=close, rtol=0)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("players", [2, 9])
def test_a_constant_game_is_worth_nothing(name, players):
    found = interactions_of(Game.of(lambda masks: torch.full((len(masks),), 0.1), players), budget=512, estimator=name, generator=rng())
    assert float(found.values.abs().max()) < 1e-9
    assert float(found.stderr.max()) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SAMPLED, "auto"])
def test_the_generator_decides(name):
    game = table_game(smooth_table(9, 2))
    first, again, other = (interactions_of(game, budget=200, estimator=name, generator=rng(seed)).values for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "players", "budget", "least"), [
    ("auto", 12, 47, 48), ("surrogate", 12, 47, 48), ("surrogate", 3, 7, 8), ("sparse", 12, 49, 50), ("exact", 5, 31, 32),
    ("permutation", 12, 265, 266), ("permutation", 13, 337, 338), ("least_squares", 12, 157, 158),
])  # fmt: skip
def test_a_budget_that_does_not_identify_is_refused_before_anything_is_asked(name, players, budget, least):
    def never(masks):
        raise AssertionError("asked")

    with pytest.raises(BudgetTooSmall, match=f"budget of {budget} .*at least {least}"):
        interactions_of(Game.of(never, players), budget=budget, estimator=name)


@pytest.mark.parametrize("name", SAMPLED)
def test_the_least_budget_works(name):
    least = ESTIMATORS[name]().least(10, 2)
    found = interactions_of(table_game(smooth_table(10, 0)), budget=least, estimator=name, generator=rng())
    assert bool(found.values.isfinite().all() and found.stderr.isfinite().all())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SAMPLED, "auto"])
def test_without_a_budget_there_is_enough(name):
    found = interactions_of(table_game(smooth_table(6, 0)), estimator=name, generator=rng())
    assert int(found.evaluations) <= 64
    assert int(interactions_of(table_game(smooth_table(13, 0)), estimator=name, generator=rng()).evaluations) <= 1300


def test_coalitions_that_do_not_tell_interactions_apart_are_refused(monkeypatch):
    """Singles and their complements alone, thrice over, know nothing of pairs."""
    alone = torch.eye(6, dtype=torch.bool).repeat(4, 1)
    monkeypatch.setattr("vesalius.games.estimators.coalition_sampling.singles_first_pairs", lambda *_, **__: alone)
    with pytest.raises(BudgetTooSmall, match=r"a budget of 50 .* 'least_squares'"):
        LeastSquaresInteractions().estimate(table_game(random_table(6)), 50)


@pytest.mark.parametrize(("name", "order"), [("surrogate", 3), ("permutation", 1), ("surrogate", None)])
def test_an_order_it_does_not_have_names_those_who_do(name, order):
    with pytest.raises(InvalidInput, match="least_squares"):
        interactions_of(table_game(random_table(6)), max_order=order, estimator=name, budget=64)


def test_other_wrong_questions_are_refused():
    game = table_game(random_table(6))
    with pytest.raises(InvalidInput, match="at least 1, not 0"):
        interactions_of(game, max_order=0)
    with pytest.raises(InvalidInput, match="'sparse' finds dividends of all orders"):
        interactions_of(game, max_order=None, estimator="least_squares")
    with pytest.raises(UnknownName, match="'surrogate'"):
        interactions_of(game, estimator="surogate")
    with pytest.raises(TooManyPlayers, match="21 players, but at most 20"):
        interactions_of(Game.of(lambda masks: masks[:, 0].double(), 21), estimator="exact")
    with pytest.raises(InvalidInput, match="too many for 'least_squares'"):
        interactions_of(Game.of(lambda masks: masks[:, 0].double(), 40), max_order=4, estimator="least_squares")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_values_that_are_not_finite_are_refused(name):
    class Broken:
        players = Game.of(lambda masks: masks, 6).players

        def __call__(self, masks):
            values = masks.double().sum(1)
            values[(masks.sum(1) == 6)] = float("nan")
            return values

    with pytest.raises(InvalidInput, match=r"coalition of players \[0, 1, 2, 3, 4, 5\]"):
        interactions_of(Broken(), budget=64, estimator=name)


@pytest.mark.slow
def test_auto_chooses_by_what_is_asked():
    game = table_game(smooth_table(9, 1))
    asked = [
        ({"budget": 512}, "exact", "k_sii"),
        ({"budget": 300}, "surrogate and sparse", "k_sii"),
        ({"budget": 300, "max_order": 3}, "sparse", "fsii"),
        ({"budget": 512, "max_order": 3}, "exact", "fsii"),
    ]
    asked += [({"budget": 300, "max_order": None}, "sparse", "dividend"), ({"budget": 512, "max_order": None}, "exact", "dividend")]
    for options, estimator, index in asked:
        found = interactions_of(game, generator=rng(), **options)
        assert (found.provenance["estimator"], found.provenance["index"]) == (estimator, index)


def test_players_with_names_are_kept():
    players = Players((torch.arange(3),), (3,), "features", ("a", "b", "c"))
    found = interactions_of(Game.of(lambda masks: masks[:, :2].all(1).double(), players))
    assert found.top(1) == [(("a", "b"), 1.0)]


def test_more_coalitions_than_rows_most_are_not_asked():
    found = SurrogateInteractions(rows_most=120).estimate(table_game(smooth_table(12, 3)), 1000, generator=rng())
    assert found.evaluations == 120


@pytest.mark.slow
def test_permutation_is_unbiased():
    """The mean of many runs is the truth within its own standard error, for an even and an odd number of players."""
    for players in (5, 6):
        table = random_table(players)
        runs = torch.stack([PermutationInteractions().estimate(table_game(table), 100, generator=rng(seed)).values for seed in range(300)])
        score = (runs.mean(0) - slow_k_sii(table)) / (runs.std(0) / 300**0.5)
        assert score.abs().max() < 4.0
        assert 0.5 < float(score.square().mean()) < 2.0


def test_64_players_with_few_dividends_are_recovered():
    game, worth = planted(64, 8, 3)
    found = as_mapping(interactions_of(game, max_order=None, estimator="sparse", budget=800, generator=rng()))
    assert found.keys() == worth.keys()
    assert max(abs(found[key] - worth[key]) for key in worth) < 1e-9


def test_what_sparse_misses_is_said():
    found = interactions_of(table_game(random_table(9)), estimator="sparse", budget=300, generator=rng())
    assert found.provenance["explained"] < 0.5
    assert "does not cover what it misses" in found.stderr_note


@cache
def repeated(estimator, budget):
    """8 games of 10 players, once each: share of intervals that hold the truth, mean square error, mean square standard error."""
    hits, square, claimed = [], [], []
    for seed in range(8):
        table = smooth_table(10, seed)
        found = estimator.estimate(table_game(table), budget, generator=rng(seed))
        truth = (
            LeastSquaresInteractions().estimate(table_game(table), 1024).values
            if found.provenance["index"] == "fsii"
            else ExactInteractions().estimate(table_game(table), 1024).values
        )
        hits.append(((found.values - truth).abs() <= 1.96 * found.stderr + 1e-12).double().mean())
        square.append((found.values - truth).square().mean())
        claimed.append(found.stderr.square().mean())
    return tuple(float(torch.stack(one).mean()) for one in (hits, square, claimed))


CLAIMS = [
    (SurrogateInteractions(), 50),
    (SurrogateInteractions(), 100),
    (SurrogateInteractions(), 400),
    (PermutationInteractions(), 800),
    (LeastSquaresInteractions(), 300),
]


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "budget"), CLAIMS)
def test_intervals_cover_the_truth_about_as_often_as_they_say(estimator, budget):
    """440 intervals, of which those of one game are far from independent: counted as if 1 in 5 were, 95 % less 3 sd is 88 %."""
    assert repeated(estimator, budget)[0] >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "budget"), CLAIMS)
def test_standard_errors_are_no_wider_than_the_errors(estimator, budget):
    """Covering everything is easy with huge intervals: the mean square standard error stays below 3 times the mean square error."""
    _, square, claimed = repeated(estimator, budget)
    assert claimed < 3 * square


def test_the_surrogate_is_the_more_precise_one_on_smooth_games():
    assert repeated(SurrogateInteractions(), 100)[1] < repeated(PermutationInteractions(), 800)[1]
    assert repeated(SurrogateInteractions(), 400)[1] < 0.02 * repeated(PermutationInteractions(), 800)[1]


def test_an_error_that_is_not_honest_says_so():
    few = interactions_of(table_game(smooth_table(12, 0)), budget=50, generator=rng())
    assert "honest from 60" in few.stderr_note
    sweeps = interactions_of(table_game(smooth_table(12, 0)), budget=300, estimator="permutation", generator=rng())
    assert "the spread of 2 sweeps" in sweeps.stderr_note


def test_sparse_terms_end_where_noise_begins():
    """With noise of 1 % of the values on every coalition the terms found are the planted ones and hardly more."""
    game, worth = planted(20, 8, 1, largest=3)
    noise = torch.randn(1 << 20, dtype=torch.float64, generator=rng(5))
    place = 1 << torch.arange(20)
    noisy = Game.of(lambda masks: game(masks) + 0.05 * noise[masks.long() @ place], 20)
    found = SparseInteractions().estimate(noisy, 600, max_order=None, generator=rng())
    got = {tuple(row.nonzero().flatten().tolist()): float(v) for row, v in zip(found.coalitions, found.values, strict=True)}
    assert worth.keys() <= got.keys()
    assert len(got) <= len(worth) + 3
    assert max(abs(got[key] - worth[key]) for key in worth) < 0.15
    assert 0.97 < found.provenance["explained"] < 1


def test_sparse_errors_are_those_of_its_terms():
    """Noise that is none of the model's, and none at the ends, which are taken as they are: 8 terms in each of 4 games."""
    game, worth = planted(20, 8, 1, largest=3)
    place, score = 1 << torch.arange(20), []
    for seed in range(4):
        noise = 0.05 * torch.randn(1 << 20, dtype=torch.float64, generator=rng(seed + 6))
        noise[[0, -1]] = 0
        noisy = Game.of(lambda masks, noise=noise: game(masks) + noise[masks.long() @ place], 20)
        found = SparseInteractions().estimate(noisy, 600, max_order=None, generator=rng(seed + 1))
        truth = [worth.get(tuple(row.nonzero().flatten().tolist()), 0.0) for row in found.coalitions]
        score.append((found.values - torch.tensor(truth).double()) / found.stderr)
    assert 0.5 < float(torch.cat(score).square().mean()) < 3.0


@pytest.mark.slow
def test_sparse_does_not_claim_to_explain_more_than_it_does():
    """Against all coalitions, of which one in thirteen was asked: what it says and what is so, in the median of 48 games."""
    said, found_so = [], []
    every = moebius.membership(10)
    for seed in range(48):
        table = smooth_table(10, seed)
        found = SparseInteractions().estimate(table_game(table), 80, max_order=None, generator=rng(seed))
        inside = (~every).double() @ found.coalitions.double().T == 0
        error = table - found.base - inside.double() @ found.values
        said.append(found.provenance["explained"])
        found_so.append(1 - float(error.square().mean() / table.var(correction=0)))
    assert 0.6 < sorted(said)[24] <= sorted(found_so)[24] + 0.02
