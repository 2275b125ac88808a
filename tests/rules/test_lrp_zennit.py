"""zennit on networks of modules gives the same relevance; where a step is a function, zennit does not see it and ours does."""

import sys

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.peers import zennit
from tests.peers.zennit import composites, rules, types
from tests.zoo import TWINS
from vesalius.methods import LRPEpsilon
from vesalius.rules.composite import Composite, epsilon_gamma_box
from vesalius.rules.layer_rules import AlphaBeta, Box, Epsilon, Gamma, WSquare

STILL = rules.Norm(stabilizer=1e-20)
"""An average pool in zennit is a layer of its own, whose stabiliser shifts what passes by some 1e-5."""
AROUND = [(types.Activation, rules.Pass()), (types.AvgPool, STILL), (types.BatchNorm, rules.Pass())]
LOW, HIGH = -4.0, 4.0
EVERYWHERE = {
    "Epsilon": (Epsilon(), rules.Epsilon()),
    "Epsilon .25": (Epsilon(epsilon=0.25), rules.Epsilon(epsilon=0.25)),
    "AlphaBeta": (AlphaBeta(stabiliser=1e-6), rules.AlphaBeta()),
    "ZPlus": (AlphaBeta(alpha=1, beta=0, stabiliser=1e-6), rules.ZPlus()),
    "Gamma": (Gamma(), rules.Gamma()),
}
AT_THE_INPUT = {
    "ZBox": (Box(low=LOW, high=HIGH), rules.ZBox(LOW, HIGH)),
    "WSquare": (WSquare(), rules.WSquare(zero_params=["bias"])),
    "Flat": (WSquare(flat=True), rules.Flat()),
}
"""Without zero_params, zennit counts the squared bias among the inputs."""
PRESETS = {
    "EpsilonPlus": ("epsilon_plus", composites.EpsilonPlus(layer_map=AROUND)),
    "EpsilonAlpha2Beta1": ("epsilon_alpha2_beta1", composites.EpsilonAlpha2Beta1(layer_map=AROUND)),
    "EpsilonGammaBox": (
        epsilon_gamma_box(LOW, HIGH),
        composites.EpsilonGammaBox(LOW, HIGH, layer_map=AROUND, first_map=[(types.Linear, rules.ZBox(LOW, HIGH))]),
    ),
}
"""zennit's own box is for a first convolution; ours is for a first layer of any kind."""
CASES = {
    **{
        name: (Composite(dense=ours, convolution=ours), composites.LayerMapComposite([*AROUND, (types.Linear, theirs)]))
        for name, (ours, theirs) in EVERYWHERE.items()
    },
    **{
        name: (
            Composite(first=ours),
            composites.SpecialFirstLayerMapComposite([*AROUND, (types.Linear, rules.Epsilon())], [(types.Linear, theirs)]),
        )
        for name, (ours, theirs) in AT_THE_INPUT.items()
    },
    **PRESETS,
}
PLAIN = [twins for twins in TWINS if twins.name in ("mlp", "cnn")]


def opened(twins, dtype):
    x = twins.inputs(3, dtype, torch.Generator().manual_seed(1))
    return *(build().to(dtype).eval() for build in (twins.modules, twins.functional)), x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("twins", PLAIN, ids=lambda twins: twins.name)
def test_networks_of_modules_have_zennits_relevance_and_so_have_their_functional_twins(twins, dtype):
    modules, functional, x = opened(twins, dtype)
    networks = [vs.trace(model, x) for model in (modules, functional)]
    for name, (ours, theirs) in CASES.items():
        expected = zennit.relevance(modules, x, 2, theirs)
        for network in networks:
            found = vs.attribute(network, x, LRPEpsilon(composite=ours), target=2)
            torch.testing.assert_close(found.values, expected, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
            assert (found.values - expected).abs().max() <= 1e-5 * expected.abs().max(), name


@pytest.mark.parametrize("twins", TWINS, ids=lambda twins: twins.name)
def test_zennit_does_not_see_functions(twins):
    """Kept to say why rules are read off the graph here.

    Between its modules zennit leaves relevance to the gradient, which is the rule of a ReLU and a concatenation, but an average pool then
    hands equal parts to all of a window, and a sum hands all relevance to both of its terms.
    """
    modules, functional, x = opened(twins, torch.float64)
    theirs = composites.LayerMapComposite([*AROUND, (types.Linear, rules.ZPlus())])
    ours = LRPEpsilon(composite=Composite(dense=AlphaBeta(alpha=1, beta=0), convolution=AlphaBeta(alpha=1, beta=0)))
    by_us = [vs.attribute(vs.trace(model, x), x, ours, target=2).values for model in (modules, functional)]
    torch.testing.assert_close(*by_us, rtol=1e-10, atol=1e-10)
    by_zennit = [zennit.relevance(model, x, 2, theirs) for model in (modules, functional)]
    apart = float((by_zennit[0] - by_zennit[1]).abs().max() / by_zennit[0].abs().max())
    assert apart > 0.05 if twins.name in ("cnn", "residual") else apart < 1e-10


def test_the_stub_is_gone_and_nothing_stays_on_the_model():
    assert "torchvision" not in sys.modules
    model = nn.Sequential(nn.Linear(3, 2))
    zennit.relevance(model, torch.ones(1, 3), 0, composites.EpsilonPlus())
    assert not any(module._forward_hooks or module._backward_hooks or module._forward_pre_hooks for module in model.modules())
