"""Weights read off methods: those that theory derives, and those of single monomials."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import vesalius as vs
from reproductions import taylor as reproduction
from tests.reference import black_box
from tests.reference.analytic import KAPPA_WEIGHTS, NEURONS, POLYNOMIALS
from tests.reference.taylor_effects import monomial_weights
from vesalius.core.errors import InvalidInput, TooManyPlayers, WrongType
from vesalius.games.absence import Marginal
from vesalius.interactions.taylor_weights import Scalings, allocation_weights
from vesalius.methods import (
    DeepLIFTRescale,
    GradientXInput,
    IntegratedGradients,
    LRPAlphaBeta,
    LRPEpsilon,
    Occlusion,
    OcclusionPatch,
    ShapleyValue,
    SmoothGrad,
)

P4, U1 = POLYNOMIALS[3], NEURONS[0]
GAUSS = IntegratedGradients(rule="quadrature", steps=8)
PATCHES = [[0, 1], [2]]
METHODS = {
    "gradient_x_input": (GradientXInput(), black_box.gradient_x_input),
    "integrated_gradients": (GAUSS, lambda f, x, b: black_box.integrated_gradients(f, x, b, pieces=1)),
    "occlusion": (Occlusion(), black_box.occlusion),
    "occlusion_patch": (
        OcclusionPatch(patches=vs.Players.segments(torch.tensor([0, 0, 1]))),
        lambda f, x, b: black_box.occlusion_patch(f, x, b, PATCHES),
    ),
    "shapley_value": (ShapleyValue(), black_box.shapley_value),
}


def network(case):
    return vs.trace(case.model.eval(), case.x)


@pytest.mark.parametrize("name", ["gradient_x_input", "integrated_gradients", "occlusion"])
def test_the_known_weights(name):
    found = allocation_weights(METHODS[name][0], network(P4), P4.x[0])
    torch.testing.assert_close(found[1, 2, 1], torch.tensor(KAPPA_WEIGHTS[name]).double(), rtol=1e-9, atol=1e-9)
    assert found.exact and found.misfit < 1e-12
    assert found.constant.abs().max() < 1e-11


def test_noise_is_scaled_along():
    """f o scale_t is what runs, so that SmoothGrad's noise is at x, before the scales; its mean over draws tends to the known weights."""
    found = allocation_weights(SmoothGrad(samples=200, deviation=0.5), network(P4), P4.x[0], scalings=Scalings(low=-1))
    torch.testing.assert_close(found[1, 2, 1], torch.tensor(KAPPA_WEIGHTS["smooth_grad"]).double(), rtol=0, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("baseline", [[0.0, 0.0, 0.0], [0.5, 1.0, -0.5]])
@pytest.mark.parametrize("name", METHODS)
def test_weights_are_those_of_single_monomials(name, baseline):
    method, twin = METHODS[name]
    b = torch.tensor(baseline).double()
    found = allocation_weights(method, network(P4), P4.x[0], baseline=b)
    seen = 0
    for kappa, weights in zip(found.degrees.tolist(), found.weights, strict=True):
        if not weights.isnan().any():
            seen += 1
            torch.testing.assert_close(weights, monomial_weights(twin, kappa, P4.x[0], b), rtol=1e-7, atol=1e-7)
    assert seen == (4 if not any(baseline) else 10)


@pytest.mark.parametrize("name", METHODS)
def test_allocated_effects_are_the_map(name):
    method, _ = METHODS[name]
    found = allocation_weights(method, network(P4), P4.x[0])
    torch.testing.assert_close(found.allocated.sum(0), vs.attribute(network(P4), P4.x[0], method).flat, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("row", reproduction.table(), ids=lambda row: row.label)
def test_the_unification_holds(row):
    """The table of docs/reproductions.md, from the last of its baselines."""
    found = reproduction.measure_weights(replace(row, case=replace(row.case, baselines=row.case.baselines[-1:])))
    assert found.deviation < 1e-6 and found.misfit < 1e-6
    assert len(found.own) + len(found.member) > 0


def test_the_page_has_the_table():
    page = (reproduction.ROOT / "docs" / "reproductions.md").read_text()
    for row in reproduction.table():
        assert f"| {row.number} | {row.label} |" in page
    assert reproduction.format_row(reproduction.measure_weights(reproduction.table()[0])).rpartition("| <")[0] in page


def test_rules_by_sign_have_no_weights_of_single_variables():
    net = network(U1)
    alone = allocation_weights(LRPAlphaBeta(), net, U1.x[0], scalings=Scalings(order=3))
    assert not alone.exact and "NO SUCH WEIGHTS" in repr(alone)
    signs = vs.Players.segments(torch.tensor([0, 1, 0, 1]))
    both = allocation_weights(LRPAlphaBeta(), net, U1.x[0], scalings=Scalings(order=3, players=signs, low=0.05))
    assert both.exact
    torch.testing.assert_close(both[0, 2], torch.tensor([1.6, -1 / 3, 0.4, -2 / 3]).double(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(both.allocated.sum(0), torch.tensor(U1.expected["lrp_alpha_beta"]).double(), rtol=1e-5, atol=1e-5)


def test_a_bias_is_given_out_to_no_one_or_by_lrp_to_all():
    model = nn.Sequential(nn.Linear(2, 1)).double()
    model[0].weight.data, model[0].bias.data = torch.tensor([[2.0, 1.0]]).double(), torch.tensor([3.0]).double()
    x = torch.ones(1, 2).double()
    found = allocation_weights(LRPEpsilon(epsilon=0.0), vs.trace(model, x), x[0], scalings=Scalings(order=2))
    torch.testing.assert_close(found[1, 0], torch.tensor([1.0, 0.0]).double(), rtol=1e-9, atol=1e-9)
    assert not found.constant.round(decimals=9).any()


def test_analytic_networks_that_are_no_polynomials():
    """A small input, so that few orders do: Rescale is IG on one neuron, kappa_i / |kappa|."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 1), nn.Tanh()).double()
    x = torch.tensor([[0.2, -0.15]]).double()
    found = allocation_weights(DeepLIFTRescale(), vs.trace(model, x), x[0], scalings=Scalings(order=8))
    assert found.misfit < 1e-7
    for kappa in [(1, 0), (1, 1), (2, 1)]:
        expected = torch.tensor(kappa).double() / sum(kappa)
        torch.testing.assert_close(found[kappa], expected, rtol=1e-3, atol=1e-3)


def test_groups_and_classes_and_single_precision():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    x = torch.randn(1, 4)
    players = vs.Players.segments(torch.tensor([0, 0, 1, -1]))
    found = allocation_weights(GradientXInput(), vs.trace(model, x), 0.1 * x[0], scalings=Scalings(order=7, players=players))
    assert found.players.n == 2 and found.allocated.shape[1] == 4
    assert found.misfit < 1e-6
    sums = found.weights[:, :3].sum(1)
    kept = ~sums.isnan() & (found.degrees.sum(1) <= 2)
    torch.testing.assert_close(sums[kept], found.degrees.sum(1)[kept].double(), rtol=1e-3, atol=1e-3)


def test_refusals(as_a_user):
    net = network(P4)
    for method in ("occlusion", Occlusion):
        with pytest.raises(WrongType, match=r"METHODS\['occlusion'\]\(\)"):
            allocation_weights(method, net, P4.x[0])
    with pytest.raises(InvalidInput, match="one baseline"):
        allocation_weights(Occlusion(), net, P4.x[0], baseline=Marginal(background=torch.zeros(2, 3).double()))
    with pytest.raises(InvalidInput, match="one sample"):
        allocation_weights(Occlusion(), net, P4.x.expand(2, 3))
    with pytest.raises(InvalidInput, match="at least 1, not 0"):
        allocation_weights(Occlusion(), net, P4.x[0], scalings=Scalings(order=0))
    with pytest.raises(InvalidInput, match="have no scale"):
        parts = vs.Players.components([P4.x[0], P4.x[0]])
        allocation_weights(Occlusion(), net, P4.x[0], scalings=Scalings(players=parts))
    wide = torch.ones(1, 7).double()
    with pytest.raises(TooManyPlayers, match="at most 6"):
        allocation_weights(Occlusion(), vs.trace(nn.Linear(7, 1).double(), wide), wide[0])
