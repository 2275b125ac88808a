"""Values that a model cuts from its gradient: what they are counts where values are compared; what would have passed is booked by LRP."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.single_op import EXACT, TABLES, multipliers, random
from vesalius.rules.plan import Plan
from vesalius.trace.question import ask

CUTS = {
    "gate": lambda h: h * h.detach().sigmoid(),
    "normalised": lambda h: h / h.norm(dim=1, keepdim=True).detach(),
    "straight through": lambda h: h + (torch.round(h) - h).detach(),
    "straight through a sign": lambda h: torch.tanh(h) + (torch.sign(h) - torch.tanh(h)).detach(),
    "cut off": lambda h: torch.cat([h.detach().exp(), h], 1),
    "twice": lambda h: h * h.detach().detach(),
}


class Cut(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.first, self.last = function, nn.Linear(4, 6), nn.LazyLinear(2)

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def built(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Cut(CUTS[name])
        model(torch.randn(1, 4))
        return model.double()


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", CUTS)
def test_rules_that_compare_values_see_the_function(name, table):
    """As if nothing had been cut."""
    x, b = random(2, 4, seed=1), random(2, 4, seed=2)
    weight = random(6, 4, seed=3)
    uncut = {
        "gate": lambda h: h * h.sigmoid(),
        "normalised": lambda h: h / h.norm(dim=1, keepdim=True),
        "straight through": lambda h: h + (torch.round(h) - h),
        "straight through a sign": lambda h: torch.tanh(h) + (torch.sign(h) - torch.tanh(h)),
        "cut off": lambda h: torch.cat([h.exp(), h], 1),
        "twice": lambda h: h * h.clone(),
    }[name]
    m = random(*uncut(x @ weight.T).shape[1:], seed=4)
    cut, whole = (multipliers(lambda z, f=f: f(z @ weight.T), (x,), (b,), m, table)[0] for f in (CUTS[name], uncut))
    torch.testing.assert_close(cut, whole, **EXACT)


@pytest.mark.parametrize("name", CUTS)
def test_methods_that_claim_to_add_up_do(name):
    network = vs.trace(built(name), random(2, 4))
    for method in ("integrated_gradients", "expected_gradients", "deeplift_rescale", "deeplift_revealcancel", "deep_shap"):
        found = vs.attribute(network, random(3, 4, seed=5), method, target=0, baseline=vs.Constant(0.2))
        assert found.relative_gap.max() < 1e-10, method


@pytest.mark.parametrize("name", CUTS)
def test_relevance_that_was_cut_is_booked(name):
    network = vs.trace(built(name), random(2, 4))
    x = random(3, 4, seed=5)
    found = vs.attribute(network, x, "lrp_epsilon", target=0)
    assert (found.unaccounted.abs() < 1e-10 * found.total.abs().clamp_min(1)).all()
    if name == "normalised":
        return  # denominators count as constants in LRP: nothing arrives there
    assert (found.absorbed["detached"].abs() > 1e-6).any()
    alone = vs.attribute(network, x[1], "lrp_epsilon", target=0)
    torch.testing.assert_close(alone.absorbed["detached"], found.absorbed["detached"][1], **EXACT)


def test_the_account_holds_what_would_have_passed():
    """x + c(x), with c cut: both terms have multiplier 1, so that the account is c(x)."""

    class Sum(nn.Module):
        def forward(self, x):
            return (x + (x**3).detach()).sum(1, keepdim=True)

    x = random(2, 4, seed=6)
    found = vs.attribute(vs.trace(Sum(), x), x, "lrp_epsilon")
    torch.testing.assert_close(found.values, x, **EXACT)
    torch.testing.assert_close(found.absorbed["detached"], (x**3).sum(1), **EXACT)


@pytest.mark.parametrize("name", CUTS)
def test_a_method_that_follows_gradients_says_that_it_does_not_add_up(name):
    network, x = vs.trace(built(name), random(2, 4)), random(3, 4, seed=5)
    for method in ("integrated_gradients", "expected_gradients"):
        found = vs.attribute(network, x, vs.METHODS[method](rule="quadrature"), target=0, baseline=vs.Constant(0.2))
        assert (found.converged == (found.relative_gap <= 1e-2)).all(), method
        assert not found.converged.all()


def test_relevance_reaches_what_is_cut_but_the_graph_is_the_models():
    """The plan follows values; gradients are those of the model itself."""
    network, x = vs.trace(built("gate"), random(2, 4)), random(2, 4, seed=1)
    question = ask(network, x, target=0)
    plan = Plan(question.subgraph.program, 1)
    assert any("detach" in node.name for node in plan.traced)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(built("gate")(leaf)[:, 0].sum(), leaf)
    torch.testing.assert_close(vs.attribute(network, x, "gradient_x_input", target=0).values, slope * x, **EXACT)
