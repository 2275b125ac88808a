"""Every layer rule against its slow twin, on dense and convolutional networks."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import AT_THE_INPUT, EVERYWHERE, EXACT, NETS, at_the_input, everywhere, random, settled, twin
from tests.zoo import TWINS, cifar_test_images, resnet20, specimen
from vesalius.core.errors import InvalidInput
from vesalius.methods import DeepTaylor, LRPAlphaBeta, LRPEpsilon
from vesalius.rules.composite import Composite
from vesalius.rules.layer_rules import AlphaBeta, Box, Epsilon, Gamma, WSquare


def mapped(model, x, composite, target=1):
    return vs.attribute(vs.trace(model, x), x, LRPEpsilon(composite=composite), target=target)


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_every_rule_on_all_layers_equals_its_twin(net):
    model, shape = NETS[net]()
    x = random(2, *shape, seed=1)
    network = vs.trace(model, x)
    for name, (rule, known_as, options) in EVERYWHERE.items():
        found = vs.attribute(network, x, LRPEpsilon(composite=everywhere(rule)), target=1)
        expected = twin(model, shape, x, known_as, options)
        torch.testing.assert_close(found.values, expected, **EXACT, msg=lambda text, name=name: f"{name}: {text}")
        assert found.unaccounted.abs().max() < 1e-12, name


@pytest.mark.parametrize("net", NETS)
def test_every_rule_of_a_first_layer_equals_its_twin(net):
    model, shape = NETS[net]()
    x = random(2, *shape, seed=2)
    network = vs.trace(model, x)
    for name, (rule, known_as, options) in AT_THE_INPUT.items():
        found = vs.attribute(network, x, LRPEpsilon(composite=at_the_input(rule)), target=0)
        expected = twin(model, shape, x, (known_as, "epsilon"), options, target=0)
        torch.testing.assert_close(found.values, expected, **EXACT, msg=lambda text, name=name: f"{name}: {text}")
        assert found.unaccounted.abs().max() < 1e-12, name


def test_bounds_of_a_box_may_differ_between_elements():
    """A neuron's own bounds, against one neuron written out."""
    model, low, high = settled(nn.Linear(4, 1)), -random(4, seed=5).abs() - 2, random(4, seed=6).abs() + 2
    x = random(2, 4, seed=7)
    found = mapped(model, x, Composite(first=Box(low=low, high=high)), target=0)
    weight = model[0].weight.detach()[0]
    for row, value in zip(x, found.values, strict=True):
        parts = weight * row - weight.clamp(min=0) * low - weight.clamp(max=0) * high
        torch.testing.assert_close(value, parts / parts.sum() * model(row).detach(), rtol=1e-5, atol=1e-5)


def test_neurons_without_contributions_of_a_sign_pass_nothing_of_it():
    """All of the first layer is positive, so that beta's side is empty: alpha arrives, -beta is one-sided."""
    model = settled(nn.Linear(3, 2, bias=False))
    model[0].weight.data = model[0].weight.data.abs()
    x = random(2, 3, seed=8).abs()
    found = mapped(model, x, everywhere(AlphaBeta()))
    torch.testing.assert_close(found.values.sum(1), 2 * found.total, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found.absorbed["one_sided"], -found.total, **EXACT)


def test_zeros_everywhere_are_no_trouble():
    """A dead network: no rule divides by its zeros."""
    model = settled(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    for rule in [entry[0] for entry in EVERYWHERE.values()]:
        assert mapped(model, torch.zeros(1, 3).double(), everywhere(rule)).values.abs().max() == 0
    for rule in (Box(low=0.0, high=0.0), WSquare(), WSquare(flat=True)):
        assert mapped(model, torch.zeros(1, 3).double(), at_the_input(rule)).values.abs().max() == 0


@pytest.mark.parametrize("name", ["cnn", "resnet", "resnet20", "conv1d", "conv3d"])
def test_without_epsilon_it_is_gradient_x_input_on_networks_of_relus(name):
    found = specimen(name)
    args, _ = found.example(2, torch.float64)
    network = vs.trace(found.build().double().eval(), *args)
    values = [vs.attribute(network, args, method, target=1).values for method in (LRPEpsilon(epsilon=0), "gradient_x_input")]
    torch.testing.assert_close(*values, **EXACT)


@pytest.mark.parametrize("twins", TWINS, ids=lambda twins: twins.name)
def test_spelling_does_not_matter(twins):
    x = twins.inputs(3, torch.float64, torch.Generator().manual_seed(0))
    methods = [LRPEpsilon(epsilon=0.25), LRPAlphaBeta(), DeepTaylor(domain="unbounded"), LRPEpsilon(composite="epsilon_plus")]
    networks = [vs.trace(build().double().eval(), x) for build in (twins.functional, twins.modules)]
    for method in methods:
        one, other = (vs.attribute(network, x, method, target=2) for network in networks)
        torch.testing.assert_close(one.values, other.values, **EXACT)
        torch.testing.assert_close(one.absorbed, other.absorbed, **EXACT)


@pytest.mark.slow
def test_relevance_does_not_explode_in_deep_networks(data_dir):
    """20 layers, 9 residual sums: relevance that is divided at every sum grows by 20 orders of magnitude (layer_rules.md)."""
    images = cifar_test_images(data_dir)[0][:4]
    for model, x in ((resnet20(data_dir), images), (specimen("resnet20").build().eval(), specimen("resnet20").example(4)[0][0])):
        network = vs.trace(model, x)
        sizes = {}
        for method in ("gradient_x_input", LRPEpsilon(), LRPEpsilon(epsilon=0.25), DeepTaylor(), LRPAlphaBeta()):
            found = vs.attribute(network, x, method, target=1)
            sizes[repr(method)] = found.flat.abs().sum(1) / found.total.abs()
        gradient, epsilon, shrunk, taylor, both = sizes.values()
        assert (epsilon <= 1.01 * gradient).all()
        assert (shrunk <= epsilon).all()
        assert (taylor <= 2).all()
        assert (both <= 10).all()


def test_rules_meet_at_their_limits():
    model, shape = NETS["relu"]()
    x = random(2, *shape, seed=9)
    network = vs.trace(model, x)
    pairs = [(Gamma(gamma=0.0), Epsilon()), (AlphaBeta(alpha=1, beta=0), AlphaBeta(alpha=1 + 1e-12, beta=1e-12))]
    for one, other in pairs:
        found = [vs.attribute(network, x, LRPEpsilon(composite=everywhere(rule)), target=1).values for rule in (one, other)]
        torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Epsilon(epsilon=-0.1), "epsilon is a number of at least 0, not -0.1"),
        (lambda: AlphaBeta(alpha=2, beta=2), "alpha - beta must be 1 and alpha at least 1, not 2 and 2"),
        (lambda: AlphaBeta(alpha=0.5, beta=-0.5), "alpha at least 1"),
        (lambda: Gamma(gamma=-1), "gamma is a number of at least 0"),
        (lambda: Gamma(gamma=float("nan")), "gamma is a number of at least 0"),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_the_twin_is_another_program():
    """The twin must be sensitive to its options, or it would prove nothing."""
    model, shape = NETS["relu"]()
    x = random(1, *shape, seed=10)
    maps = [twin(model, shape, x, name, options) for _, name, options in EVERYWHERE.values()]
    for i, one in enumerate(maps):
        for other in maps[:i]:
            assert (one - other).abs().max() > 1e-8
