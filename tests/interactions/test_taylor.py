"""Taylor effects: exact on polynomials, autograd's on tanh networks, and honest where the series does not represent the function."""

import math
from itertools import combinations

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.reference import taylor_effects as twin
from tests.reference.analytic import NEURONS, POLYNOMIALS
from vesalius.core.errors import InvalidInput, NotTraceable, TooManyPlayers, UnknownName
from vesalius.games.absence import Marginal
from vesalius.interactions.convergence import root_test
from vesalius.interactions.taylor import order_totals, subset_orders, taylor_profile, taylor_terms

CLOSE = {"rtol": 1e-8, "atol": 1e-8}
TERMS = {
    "P1": {(1, 1, 0): 6, (0, 0, 2): 16},
    "P2": {(2, 1): 12},
    "P3": {(1, 0): 2, (0, 1): 2, (2, 0): 1, (1, 1): 4, (2, 1): 2},
    "P4": {(1, 0, 0): 1, (0, 2, 0): 8, (1, 0, 1): -3, (1, 2, 1): 36},
}
U1, R1, R2, R3, R4 = NEURONS


def network(case):
    return vs.trace(case.model.eval(), case.x)


def features(x):
    return vs.Players.features(x[0])


def tanh_net(seed=0, inputs=3, scale=1.0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).double().eval()
    x = scale * torch.randn(1, inputs).double()
    return model, vs.trace(model, x), x


class Geometric(nn.Module):
    """1 / (R - mean of x): the radius is R where x is 1."""

    def __init__(self, radius):
        super().__init__()
        self.radius = radius

    def forward(self, x):
        return 1 / (self.radius - x.mean(1, keepdim=True))


# ---- polynomials: exact -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", POLYNOMIALS, ids=lambda case: case.name)
def test_polynomials_are_exact(case):
    net, terms = network(case), TERMS[case.name]
    whole = order_totals(net, case.x[0], baseline=case.baseline[0], order=5)
    expected = [sum(effect for kappa, effect in terms.items() if sum(kappa) == k) for k in range(1, 6)]
    torch.testing.assert_close(whole.totals, torch.tensor(expected).double(), rtol=1e-13, atol=1e-13)
    assert whole.errors[3:].max() < 1e-13
    assert whole.convergence.radius == math.inf and bool(whole.convergence.represents)
    found = taylor_terms(net, case.x[0], features(case.x), baseline=case.baseline[0], order=5)
    for kappa, effect in zip(found.degrees.tolist(), found.effects.tolist(), strict=True):
        assert abs(effect - terms.get(tuple(kappa), 0)) < 1e-11
    assert found.misfit < 1e-13


@pytest.mark.parametrize("case", POLYNOMIALS, ids=lambda case: case.name)
def test_profiles_of_polynomials_are_exact(case):
    profile = taylor_profile(network(case), case.x[0], features(case.x), baseline=case.baseline[0], order=4)
    expected = torch.zeros_like(profile.effects)
    for kappa, effect in TERMS[case.name].items():
        expected[sum(k > 0 for k in kappa) - 1, sum(kappa) - 1] += effect
    torch.testing.assert_close(profile.effects, expected, rtol=1e-12, atol=1e-12)
    assert profile.remainder.abs().max() < 1e-12
    torch.testing.assert_close(profile.shares.sum(), torch.tensor(1.0).double())
    assert "represents f at x" in repr(profile)


def test_effects_of_coalitions_add_up_to_dividends():
    case = POLYNOMIALS[3]
    found = subset_orders(network(case), case.x[0], features(case.x), order=4)
    torch.testing.assert_close(found.effects.sum(1), found.dividends, rtol=1e-12, atol=1e-12)
    for members, dividend in case.dividends.items():
        assert abs(float(found.dividends[sum(1 << i for i in members)]) - dividend) < 1e-12


def test_a_neuron_has_the_known_effects_of_its_signs():
    profile = taylor_terms(network(U1), U1.x[0], vs.Players.segments(torch.tensor([0, 1, 0, 1])), order=3)
    sums = {"positive": 0.0, "negative": 0.0, "mixed": 0.0}
    for (up, down), effect in zip(profile.degrees.tolist(), profile.effects.tolist(), strict=True):
        sums["mixed" if up and down else "positive" if up else "negative"] += effect
    assert sums == pytest.approx(U1.effects, abs=1e-10)


# ---- tanh networks: against autograd ----------------------------------------------------------------------------------------------


def test_order_totals_are_autograds():
    model, net, x = tanh_net()
    b = torch.tensor([0.3, -0.2, 0.1]).double()
    found = order_totals(net, x[0], baseline=b, order=9)
    expected = twin.taylor_coefficients(lambda z: model(z[None]), b, x[0] - b, 9)
    torch.testing.assert_close(found.totals, expected[1:], **CLOSE)
    assert float(found.base) == pytest.approx(float(expected[0]))
    change = float((model(x) - model(b[None])).detach())
    errors = [abs(float(expected[1 : k + 1].sum()) - change) / abs(change) for k in range(1, 10)]
    torch.testing.assert_close(found.errors, torch.tensor(errors).double(), **CLOSE)


def test_coalitions_are_the_loops():
    model, net, x = tanh_net(1)
    found = subset_orders(net, x[0], features(x), order=4)
    zero = torch.zeros(3).double()
    for size in (1, 2, 3):
        for members in combinations(range(3), size):
            row = sum(1 << i for i in members)
            for k in range(1, 5):
                assert float(found.effects[row, k - 1]) == pytest.approx(twin.subset_order(model, x[0], zero, members, k), abs=1e-9)
            assert float(found.effects[row, 3]) == pytest.approx(twin.masked_order(model, x[0], zero, members, 4), abs=1e-9)


def test_single_terms_are_partial_derivatives():
    model, net, x = tanh_net(2)
    b = torch.tensor([0.1, 0.2, -0.3]).double()
    found = taylor_terms(net, x[0], features(x), baseline=b, order=4)
    assert len(found.effects) == sum(len(twin.degrees(3, k)) for k in range(1, 5)) == 34
    for kappa in found.degrees.tolist():
        assert found[kappa] == pytest.approx(twin.taylor_effect(model, x[0], b, kappa), abs=1e-9)
    with pytest.raises(UnknownName, match="Taylor term"):
        found[9, 0, 0]


def test_terms_of_six_players_and_order_six():
    _, net, x = tanh_net(3, inputs=6)
    found = taylor_terms(net, x[0], features(x), order=6)
    whole = order_totals(net, x[0], order=6)
    orders = found.degrees.sum(1)
    sums = torch.stack([found.effects[orders == k].sum() for k in range(1, 7)])
    torch.testing.assert_close(sums, whole.totals, rtol=1e-9, atol=1e-9)


def test_groups_are_scaled_as_a_whole_and_bystanders_stay():
    model, net, x = tanh_net(4, inputs=4)
    players = vs.Players.segments(torch.tensor([0, 1, 0, -1]))
    found = taylor_terms(net, x[0], players, order=3)
    start = torch.tensor([0.0, 0, 0, x[0, 3]]).double()

    def scaled(s):
        return model(start[None] + torch.stack([s[:, 0] * x[0, 0], s[:, 1] * x[0, 1], s[:, 0] * x[0, 2], 0 * s[:, 0]], 1))

    for kappa in found.degrees.tolist():
        assert found[kappa] == pytest.approx(twin.taylor_effect(scaled, torch.ones(2).double(), torch.zeros(2).double(), kappa), abs=1e-9)


def test_batches_and_single_precision():
    model, net, x = tanh_net(5)
    several = torch.cat([x, 0.5 * x, -x])
    found = order_totals(net, several, order=4)
    for i in range(3):
        one = order_totals(net, several[i], order=4)
        torch.testing.assert_close(found.totals[i], one.totals)
        torch.testing.assert_close(found.convergence.radius[i], one.convergence.radius)
    light = vs.trace(model.float(), x.float())
    torch.testing.assert_close(order_totals(light, several.float(), order=4).totals, found.totals, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(order_totals(light, several[1].float(), order=4).totals, found.totals[1], rtol=1e-4, atol=1e-6)
    assert "batch of 3" in repr(found)


def test_several_baselines_are_averaged():
    _, net, x = tanh_net(6)
    rows = 0.3 * torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    each = [taylor_profile(net, x[0], features(x), baseline=row, order=3) for row in rows]
    mean = taylor_profile(net, x[0], features(x), baseline=Marginal(background=rows), order=3)
    torch.testing.assert_close(mean.effects, sum(one.effects for one in each) / 3)
    assert mean.base == pytest.approx(sum(one.base for one in each) / 3)
    assert float(mean.convergence.radius) == pytest.approx(min(float(one.convergence.radius) for one in each), rel=1e-9)
    totals = order_totals(net, x[0], baseline=Marginal(background=rows), order=3)
    torch.testing.assert_close(totals.totals, mean.effects.sum(0))


# ---- where the series does not represent the function -----------------------------------------------------------------------------


def test_the_radius_of_a_layer_of_tanh_is_known():
    """Its nearest singularity is where a unit reaches i pi / 2."""
    for seed in range(6):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        model[0].weight.data *= 2
        x = torch.randn(1, 6).double()
        slope, start = (model[0](x)[0] - model[0].bias).detach(), model[0].bias.detach()
        exact = float(((1j * math.pi / 2 - start) / slope).abs().min())
        assert float(order_totals(vs.trace(model, x), x[0]).convergence.radius) == pytest.approx(exact, rel=0.13)


def test_the_root_test():
    assert root_test([2.0**-k for k in range(1, 21)]) == pytest.approx(2)
    assert root_test([math.cos(1.3 * k) * 0.5**-k for k in range(1, 21)]) == pytest.approx(0.5, rel=0.03)
    assert root_test([1.0, 2.0, 3.0, *[0.0] * 17]) == math.inf
    assert root_test([1.0, 2.0, 3.0, *[1e-15] * 17], floor=1e-13) == math.inf


def test_a_divergent_series_says_so():
    _, net, x = tanh_net(7, scale=1.0)
    far, near = order_totals(net, 12 * x[0], order=12), order_totals(net, 0.3 * x[0], order=12)
    assert far.convergence.radius < 1 and not bool(far.convergence.represents)
    assert "DOES NOT REPRESENT" in repr(far)
    assert far.errors[-1] > 10 * far.errors[0]
    assert near.convergence.radius > 2 and bool(near.convergence.represents)
    assert near.errors[-1] < 1e-6


def test_too_close_to_call():
    """A radius of 1.05 is not told from one below 1; agreement all the way is."""
    model = Geometric(1.05)
    found = order_totals(vs.trace(model, torch.ones(1, 2).double()), torch.ones(2).double())
    assert float(found.convergence.radius) == pytest.approx(1.05, rel=0.01)
    assert not bool(found.convergence.represents) and "MAY NOT" in repr(found)
    near = order_totals(vs.trace(model, torch.ones(1, 2).double()), 0.5 * torch.ones(2).double())
    assert bool(near.convergence.represents)


def test_a_profile_adds_up_even_where_the_series_diverges():
    model, net, x = tanh_net(7)
    profile = taylor_profile(net, 12 * x[0], features(x), order=8)
    assert not bool(profile.convergence.represents)
    assert float(profile.effects.sum() + profile.remainder.sum()) == pytest.approx(
        float((model(12 * x) - model(0 * x)).detach()), rel=1e-6, abs=1e-6
    )
    assert "DOES NOT REPRESENT" in repr(profile)
    for size in range(1, 4):
        assert bool((profile.effects[size - 1, : size - 1].abs() < 1e-9).all())
    assert bool((profile.strength >= profile.effects.abs() - 1e-9).all())


def test_the_worst_line_counts():
    """Two tanh units that cancel where both players come together: the line to x is short, that to one player long."""
    model = nn.Sequential(nn.Linear(2, 1), nn.Tanh()).double()
    model[0].weight.data, model[0].bias.data = torch.tensor([[4.0, -3.9]]).double(), torch.zeros(1).double()
    x = torch.ones(1, 2).double()
    net = vs.trace(model, x)
    assert order_totals(net, x[0]).convergence.radius > 1
    assert float(subset_orders(net, x[0], features(x)).convergence.radius) == pytest.approx(math.pi / 8, rel=0.1)


def test_a_network_of_pieces_is_followed_to_its_first_kink():
    found = order_totals(network(R3), R3.x[0], order=2)
    assert found.convergence.pieces == ("relu",) and found.convergence.reach == 0.5
    assert not bool(found.convergence.represents) and not found.totals.any()
    assert "nor beyond t = 0.5" in repr(found)
    profile = taylor_profile(network(R3), R3.x[0], features(R3.x), order=2)
    assert float(profile.remainder.sum()) == 2


def test_a_function_that_comes_back_to_its_series_has_left_it():
    """x between 0 and 1, with a tent upon it from 1/4 to 3/4."""
    tent = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1, bias=False)).double()
    tent[0].weight.data.fill_(1)
    tent[0].bias.data = torch.tensor([0, -0.25, -0.5, -0.75]).double()
    tent[2].weight.data = torch.tensor([[1.0, 1, -2, 1]]).double()
    x = torch.ones(1, 1).double()
    found = order_totals(vs.trace(tent, x), x[0], order=2)
    assert found.totals.tolist() == [1, 0] and float(found.total) == 1
    assert found.convergence.reach == 0.25 and not bool(found.convergence.represents)


def test_a_network_of_pieces_without_a_kink_is_represented():
    for case in (R1, R4):
        found = order_totals(network(case), case.x[0], order=2)
        assert bool(found.convergence.represents) and found.convergence.pieces == ("relu",)
        torch.testing.assert_close(found.totals, torch.tensor([4.0, 0.0]).double())


def test_no_terms_where_the_baseline_sits_on_a_kink():
    with pytest.raises(InvalidInput, match="kink of relu"):
        taylor_terms(network(R1), R1.x[0], features(R1.x))
    assert taylor_terms(network(R4), R4.x[0], features(R4.x), order=2)[0, 1, 0] == pytest.approx(-1)


def test_no_change_is_shown_as_effects():
    profile = taylor_profile(network(R2), R2.x[0], features(R2.x), order=2)
    assert profile.total == profile.base
    assert "effects by interaction size" in repr(profile) and "+2.000" in repr(profile)


# ---- refusals ---------------------------------------------------------------------------------------------------------------------


def test_refusals():
    model, net, x = tanh_net(0, inputs=13)
    with pytest.raises(TooManyPlayers, match="13 players, but at most 12"):
        taylor_profile(net, x[0], features(x))
    with pytest.raises(TooManyPlayers, match="at most 6"):
        taylor_terms(net, x[0], features(x))
    with pytest.raises(InvalidInput, match="lower the order"):
        taylor_terms(net, x[0], vs.Players.segments(torch.arange(13) % 6), order=30)
    with pytest.raises(InvalidInput, match="links"):
        taylor_profile(network(U1), U1.x[0], vs.Players.links(network(U1), "linear"))
    with pytest.raises(InvalidInput, match="one sample"):
        taylor_profile(net, x.expand(2, 13), vs.Players.segments(torch.arange(13) % 3))
    with pytest.raises(NotTraceable):
        order_totals(vs.trace(lambda z: model(z).sin(), x), x[0])
    with pytest.raises(InvalidInput, match="at least 1"):
        subset_orders(net, x[0], vs.Players.segments(torch.arange(13) % 3), order=0)


def test_units_are_expanded_where_they_live():
    model, net, x = tanh_net(8)
    players = vs.Players.units(net, "2")
    profile = taylor_profile(net, x[0], players, order=2)
    hidden = model[:3](x)[0].detach()
    assert profile.total == pytest.approx(float(model(x).detach()))
    expected = twin.taylor_coefficients(lambda z: model[3:](z[None]), torch.zeros(4).double(), hidden, 2)
    torch.testing.assert_close(profile.effects.sum(0), expected[1:], **CLOSE)
