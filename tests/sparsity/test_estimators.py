"""Shapley values of links: axioms, agreement of all estimators with enumeration, and of enumeration with a slow twin and a peer."""

from dataclasses import replace

import pytest
import shapiq
import torch

from tests.reference import link_importance as twin
from vesalius.core.errors import InvalidInput, TooManyPlayers, UnknownName
from vesalius.sparsity.activations import FUNCTIONS, Activation
from vesalius.sparsity.estimators import permutation, unit_games
from vesalius.sparsity.estimators.enumeration import exact_elements, exact_values, rescale_values
from vesalius.sparsity.estimators.gaussian import SumMoments, closed_form_importance, full_values, gauss_legendre, gaussian_importance
from vesalius.sparsity.estimators.permutation import marginal_contributions, sample_importance
from vesalius.sparsity.estimators.unit_games import UnitGames, importance_by_chunks

ALL = slice(None)
EVERY = ["relu", "leaky_relu", "gelu", "silu", "sigmoid", "tanh", "softplus"]


def layer(players=5, rows=12, count=3, *, act="relu", baseline="data", kernel=1):
    """A random layer with correlated inputs, a constant input (1) and a link of weight 0 (2)."""
    draws = torch.Generator().manual_seed(0)
    weight = torch.randn(count, players, kernel, generator=draws, dtype=torch.float64) * (2.5 / (players * kernel)) ** 0.5
    x = torch.randn(rows, players, kernel, generator=draws, dtype=torch.float64)
    x = (x + 0.5 * x.roll(1, 1) + 0.3).relu()
    x[:, 1] = 1.7
    weight[:, 2] = 0
    bias = torch.randn(count, generator=draws, dtype=torch.float64) * 0.4
    return UnitGames(weight=weight, bias=bias, rows=x, activation=Activation(act), baseline=baseline)


def exactly(game, aggregate="mean_abs"):
    return importance_by_chunks(game, exact_values, aggregate, exact_elements(game))


def off(found, truth):
    return float((found - truth).norm() / truth.norm())


def change(game):
    """Output less the output with all links absent."""
    z = game.base + game.contributions(game.moved(ALL)).sum(2)
    absent = game.base + game.contributions(game.others).sum(2) if game.baseline == "data" else game.bias[None]
    return game.activation(z) - game.activation(absent).mean(0)


ESTIMATORS = {"exact": exact_values, "rescale": rescale_values, "full": full_values}


@pytest.mark.parametrize("baseline", ["data", "zero"])
@pytest.mark.parametrize("act", ["relu", "leaky_relu", "gelu", "tanh"])
def test_enumeration_equals_its_twin(act, baseline):
    game = layer(4, 6, 2, act=act, baseline=baseline)
    expected = twin.importance(
        lambda z: game.activation(torch.tensor(z)), game.weight[..., 0].tolist(), game.bias.tolist(), game.rows[..., 0].tolist(), baseline
    )
    torch.testing.assert_close(exactly(game), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-7)


def test_enumeration_equals_shapiq():
    game = layer(7, 4, 1)
    found = exact_values(game, ALL, ALL)[:, 0]
    x, other, w, b = game.rows[..., 0], game.rows[..., 0], game.weight[0, :, 0], game.bias[0]
    for row in range(2):

        def v(masks, row=row):
            seen = torch.where(torch.as_tensor(masks, dtype=torch.bool)[:, None], x[row], other)
            return (seen @ w + b).relu().mean(1).numpy()

        values = shapiq.ExactComputer(v, n_players=7)("SV")
        expected = torch.tensor([values[(j,)] for j in range(7)], dtype=torch.float64)
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("baseline", ["data", "zero"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("name", ["exact", "rescale"])
def test_values_add_up_to_the_change_of_the_output(name, kernel, baseline):
    game = layer(6, 9, act="gelu", baseline=baseline, kernel=kernel)
    torch.testing.assert_close(ESTIMATORS[name](game, ALL, ALL).sum(2), change(game), rtol=0, atol=1e-12)


def test_every_order_adds_up_to_the_change_of_the_output():
    game = layer(30, 9, act="silu", baseline="zero")
    torch.testing.assert_close(marginal_contributions(game, ALL, ALL, torch.Generator()).sum(2), change(game), rtol=0, atol=1e-12)
    game = layer(30, 9, act="silu")
    steps_of = torch.stack([marginal_contributions(game, ALL, ALL, torch.Generator().manual_seed(seed)).sum(2) for seed in range(400)])
    assert off(steps_of.mean(0), change(game)) < 0.1


@pytest.mark.parametrize(("baseline", "bound"), [("zero", 2e-3), ("data", 0.05)])
@pytest.mark.parametrize("act", ["relu", "sigmoid"])
def test_the_gaussian_gap_is_small(act, baseline, bound):
    game = layer(200, 40, act=act, baseline=baseline)
    gap = (full_values(game, ALL, ALL).sum(2) - change(game)).abs() / game.contributions(game.moved(ALL)).abs().sum(2)
    assert float(gap.mean()) < bound


@pytest.mark.parametrize("baseline", ["data", "zero"])
@pytest.mark.parametrize("kernel", [1, 2])
def test_dummies_constants_and_twins(kernel, baseline):
    """A link of weight 0 is worth nothing; nor is a constant input if absent links carry data; equal links are worth the same."""
    game = layer(8, 15, baseline=baseline, kernel=kernel)
    game.weight[:, 4], game.rows[:, 4] = game.weight[:, 3], game.rows[:, 3]
    everyone = [importance_by_chunks(game, run, "mean_abs") for run in ESTIMATORS.values()]
    everyone += [closed_form_importance(game, aggregate="mean_abs", order=1)]
    for found in everyone:
        assert float(found[:, 2].abs().max()) == 0
        assert (float(found[:, 1].abs().max()) < 1e-15) == (baseline == "data")
        torch.testing.assert_close(found[:, 3], found[:, 4], rtol=1e-9, atol=1e-12)
        assert float(found[:, 3].max()) > 0
    assert float(sample_importance(game, "mean_abs", 4, 0).values[:, 2].abs().max()) == 0


@pytest.mark.parametrize("baseline", ["data", "zero"])
@pytest.mark.parametrize("aggregate", ["mean_abs", "rms", "signed"])
def test_without_activation_the_closed_form_is_exact(aggregate, baseline):
    game = layer(6, 20, act="identity", baseline=baseline)
    x = game.rows[..., 0] - (game.rows[..., 0].mean(0) if baseline == "data" else 0)
    spread = {"mean_abs": x.abs().mean(0), "rms": x.square().mean(0).sqrt(), "signed": x.mean(0)}[aggregate]
    weight = game.weight[..., 0]
    expected = weight * spread if aggregate == "signed" else weight.abs() * spread
    for found in (
        closed_form_importance(game, aggregate=aggregate, order=1),
        exactly(game, aggregate),
        importance_by_chunks(game, rescale_values, aggregate),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("act", EVERY)
@pytest.mark.parametrize(
    ("baseline", "order", "bound"), [("zero", 2, 0.07), ("zero", "full", 0.045), ("data", "full", 0.07), ("data", 1, 0.2)]
)
def test_the_gaussian_form_against_enumeration(act, baseline, order, bound):
    game = layer(10, 40, 4, act=act, baseline=baseline)
    assert off(closed_form_importance(game, aggregate="mean_abs", order=order), exactly(game)) < bound


@pytest.mark.parametrize("baseline", ["data", "zero"])
def test_means_and_variances_are_those_of_all_coalitions(baseline):
    """The Gaussian form of a link, and the gate of a unit, from moments that are counted."""
    game = layer(4, 6, 2, act="sigmoid", baseline=baseline)
    rows, others = game.rows[..., 0].tolist(), game.rows[..., 0].tolist() if baseline == "data" else []
    full, gates = full_values(game, ALL, ALL), SumMoments(game).gates(ALL, 1, 8)[0]
    for u in range(2):
        facts = (game.weight[u, :, 0].tolist(), float(game.bias[u]), rows[0], others)
        value = gate = torch.zeros((), dtype=torch.float64)
        for q, share in gauss_legendre(8):
            pair = [torch.tensor(twin.moments(*facts, q, (3, here)), dtype=torch.float64) for here in (1, 0)]
            value = value + share * (
                game.activation.mean(pair[0][0], pair[0][1].sqrt()) - game.activation.mean(pair[1][0], pair[1][1].sqrt())
            )
            mean, variance = torch.tensor(twin.moments(*facts, q), dtype=torch.float64)
            gate = gate + share * game.activation.mean_slope(mean, variance.sqrt())
        torch.testing.assert_close(full[0, u, 3], value, rtol=0, atol=1e-12)
        torch.testing.assert_close(gates[0, u], gate, rtol=0, atol=1e-12)


def test_the_mean_of_a_constant_is_the_constant():
    rows = torch.full((7, 3), 0.1, dtype=torch.float64)
    game = UnitGames.of(torch.ones(1, 3, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), rows, Activation("tanh"), "data")
    assert float(rows.sum(0)[0] / 7) != 0.1, "else there is nothing to test"
    assert float(game.moved(ALL).abs().max()) == 0


@pytest.mark.parametrize("aggregate", ["rms", "signed"])
@pytest.mark.parametrize("kernel", [1, 2])
def test_other_aggregates_against_enumeration(aggregate, kernel):
    game = layer(9, 30, 4, baseline="zero", kernel=kernel)
    assert off(closed_form_importance(game, aggregate=aggregate, order=2), exactly(game, aggregate)) < 0.06
    assert off(closed_form_importance(game, aggregate=aggregate, order="full"), exactly(game, aggregate)) < 0.06


@pytest.mark.parametrize("kernel", [1, 2])
@pytest.mark.parametrize(("baseline", "order"), [("data", 1), ("zero", 2)])
def test_products_of_matrices_are_the_expansion_link_by_link(order, baseline, kernel):
    game = layer(9, 30, 4, baseline=baseline, kernel=kernel)
    first, second = SumMoments(game).gates(ALL, order, 8)
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    c = game.contributions(game.moved(ALL))
    values = c * first[..., None] + (0 if second is None else c.square() * second[..., None])
    signed = closed_form_importance(game, aggregate="signed", order=order)
    torch.testing.assert_close(signed, values.mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        closed_form_importance(game, aggregate="rms", order=order), values.square().mean(0).sqrt(), rtol=1e-9, atol=1e-12
    )
    assert float(((c * values) < 0).double().mean()) < 0.05, "values of a ReLU have the sign of their contribution"


def test_eight_nodes_are_enough():
    game = layer(60, 50)
    few, many = (closed_form_importance(game, aggregate="mean_abs", order=1, nodes=nodes) for nodes in (8, 64))
    assert off(few, many) < 1e-3


@pytest.mark.parametrize("aggregate", ["mean_abs", "signed", "rms"])
@pytest.mark.parametrize(("act", "baseline"), [("relu", "zero"), ("relu", "data"), ("silu", "zero"), ("gelu", "data")])
def test_orders_agree_with_enumeration_within_their_error(act, baseline, aggregate):
    game = layer(7, 40, act=act, baseline=baseline)
    found, truth = sample_importance(game, aggregate, 200, 0), exactly(game, aggregate)
    if aggregate == "rms":
        assert found.stderr is None and off(found.values, truth) < 0.03
        return
    assert float((found.values - truth).norm()) < 3 * float(found.stderr.norm()) + 0.002 * float(truth.norm())
    assert float(found.stderr.norm()) < 0.05 * float(exactly(game).norm())


@pytest.mark.parametrize("aggregate", ["mean_abs", "rms"])
def test_the_noise_of_few_orders_is_not_counted_as_size(aggregate):
    game = layer(10, 30)
    found = torch.stack([sample_importance(game, aggregate, 4, seed).values for seed in range(20)])
    mean = found.square().mean(0).sqrt() if aggregate == "rms" else found.mean(0)
    assert float(mean.sum() / exactly(game, aggregate).sum()) == pytest.approx(1, abs=0.04)


def test_what_wrong_signs_lose_is_given_back():
    game = layer(6, 60, 6, act="tanh")
    found = torch.stack([sample_importance(game, "mean_abs", 16, seed).values.sum() for seed in range(12)]).mean()
    assert float(found / exactly(game).sum()) == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize("baseline", ["zero", "data"])
@pytest.mark.parametrize(("rows", "orders"), [(30, 16), (30, 40), (150, 40)])
def test_the_error_holds_the_exact_value_nineteen_times_in_twenty(rows, orders, baseline):
    """With few rows, which share orders, as with many, where what wrong signs lose would show."""
    scores = []
    for seed in range(8):
        game = layer(6, rows, 6, act="tanh", baseline=baseline)
        game = replace(game, weight=game.weight * torch.randn(6, 6, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
        found = sample_importance(game, "mean_abs", orders, seed)
        scores.append(((found.values - exactly(game)) / found.stderr)[:, [0, 3, 4, 5]])  # 1 and 2 may be worth exactly nothing
    inside = (torch.stack(scores).abs() <= 1.96).double().mean()
    assert inside >= 0.9
    assert torch.stack(scores).square().median() > 0.02


def test_the_standard_error_is_the_spread_of_repetitions():
    game = layer(20, 640, 2, baseline="zero")
    runs = [sample_importance(game, "mean_abs", 2, seed) for seed in range(12)]
    spread = torch.stack([run.values for run in runs]).std(0).mean()
    assert 0.7 < float(torch.stack([run.stderr for run in runs]).mean() / spread) < 1.4


def test_chunks_change_nothing(monkeypatch):
    game = layer(8, 50, 6)
    whole = [importance_by_chunks(game, run, "mean_abs") for run in ESTIMATORS.values()] + [
        closed_form_importance(game, aggregate="mean_abs", order=1)
    ]
    monkeypatch.setattr(unit_games, "WORKING_ELEMENTS", 512)
    monkeypatch.setattr("vesalius.sparsity.estimators.gaussian.WORKING_ELEMENTS", 512)
    parts = [importance_by_chunks(game, run, "mean_abs") for run in ESTIMATORS.values()] + [
        closed_form_importance(game, aggregate="mean_abs", order=1)
    ]
    for one, two in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_orders_work_in_small_pieces(monkeypatch):
    game = layer(12, 20, 3, baseline="zero")
    truth = sample_importance(game, "mean_abs", 40, 0).values
    monkeypatch.setattr(permutation, "CHUNK_ELEMENTS", 40)
    assert off(sample_importance(game, "mean_abs", 40, 1).values, truth) < 0.1


def test_a_dead_unit_has_links_worth_nothing():
    game = layer(6, 20)
    game.bias[0] = -1000
    assert float(closed_form_importance(game, aggregate="mean_abs", order=1)[0].max()) < 1e-12
    assert float(exactly(game)[0].max()) == 0


def test_a_unit_without_weights_is_worth_nothing_without_nan():
    game = layer(6, 20, baseline="zero")
    game.weight[0] = 0
    for order in (1, 2, "full"):
        assert float(closed_form_importance(game, aggregate="mean_abs", order=order)[0].abs().max()) == 0


@pytest.mark.parametrize("baseline", ["data", "zero"])
def test_plain_matrices(baseline):
    game = layer(9, 30, baseline=baseline)
    plain = gaussian_importance(game.weight[..., 0], game.bias, game.rows[..., 0], game.activation, baseline=baseline)
    torch.testing.assert_close(plain, closed_form_importance(game, aggregate="mean_abs", order=1 if baseline == "data" else 2))


def test_single_precision_is_close_to_double():
    game = layer(60, 100)
    double = gaussian_importance(game.weight[..., 0], game.bias, game.rows[..., 0], game.activation)
    single = gaussian_importance(game.weight[..., 0].float(), game.bias.float(), game.rows[..., 0].float(), game.activation)
    assert single.dtype == torch.float32 and off(single.double(), double) < 1e-5


def test_errors(as_a_user):
    game = layer(6, 20)
    weight, bias, rows, act = game.weight[..., 0], game.bias, game.rows[..., 0], game.activation
    with pytest.raises(InvalidInput, match=r"\[3, 6\], \[3\] and \[20, 5\]"):
        gaussian_importance(weight, bias, rows[:, 1:], act)
    with pytest.raises(InvalidInput, match="no rows"):
        gaussian_importance(weight, bias, rows[:0], act)
    with pytest.raises(InvalidInput, match="weight holds NaN"):
        gaussian_importance(weight * torch.nan, bias, rows, act)
    with pytest.raises(UnknownName, match="there is no baseline 'mean'"):
        gaussian_importance(weight, bias, rows, act, baseline="mean")
    with pytest.raises(UnknownName, match="there is no aggregate"):
        gaussian_importance(weight, bias, rows, act, aggregate="max")
    with pytest.raises(InvalidInput, match="order 2 is for baseline='zero'"):
        closed_form_importance(game, aggregate="mean_abs", order=2)
    with pytest.raises(InvalidInput, match="order is 1, 2 or 'full', not 3"):
        closed_form_importance(game, aggregate="mean_abs", order=3)
    with pytest.raises(InvalidInput, match="2 or more, not 1"):
        sample_importance(game, "mean_abs", 1, 0)
    with pytest.raises(TooManyPlayers, match="at most 20"):
        exact_values(layer(21, 3), ALL, ALL)


def test_every_activation_is_tried():
    assert {*EVERY, "identity", "gelu_tanh"} == set(FUNCTIONS)
