"""DeepLIFT and Deep SHAP against their twins, neuron by neuron, and against a peer where the peer can follow."""

import pytest
import torch
from captum.attr import DeepLift, DeepLiftShap
from torch import nn

import vesalius as vs
from tests.reference import convolution, dense_rules
from tests.reference.dense_rules import Layer
from tests.zoo import TWINS
from vesalius.games.absence import Marginal
from vesalius.methods import DeepLIFTRescale, DeepLIFTRevealCancel, DeepSHAP

EXACT = {"rtol": 1e-9, "atol": 1e-10}
RULES = {
    "rescale": DeepLIFTRescale(),
    "reveal_cancel": DeepLIFTRevealCancel(),
    "deep_shap_exact": DeepSHAP(variant="exact"),
}


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().double().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.weight)  # of either sign
                nn.init.normal_(module.bias)
    return model


def mlp(sigma):
    return lambda: nn.Sequential(nn.Linear(5, 4), sigma(), nn.Linear(4, 6), sigma(), nn.Linear(6, 3))


def normed():
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))


def convnet():
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(3, 2, 2, 2), nn.ReLU()),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3)),
    )


def mapped(model, x, b, method, target=1):
    return vs.attribute(vs.trace(model, x), x, method, target=target, baseline=b).flat[0]


SIGMAS = [nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.Softplus]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sigma", SIGMAS, ids=lambda sigma: sigma.__name__)
def test_dense_nets(rule, sigma):
    model, x, b = seeded(mlp(sigma)), random(1, 5, seed=1), random(1, 5, seed=2)
    expected = dense_rules.two_point(convolution.stack(model, (5,)), (x[0], b[0]), 1, rule)
    torch.testing.assert_close(mapped(model, x, b, RULES[rule]), expected, **EXACT)


@pytest.mark.parametrize("rule", RULES)
def test_inputs_that_do_not_change(rule):
    """A player without a change has no effect, and takes none from the others."""
    model, x, b = seeded(mlp(nn.ReLU)), random(1, 5, seed=1), random(1, 5, seed=2)
    b[0, 2:4] = x[0, 2:4]
    found = mapped(model, x, b, RULES[rule])
    torch.testing.assert_close(found, dense_rules.two_point(convolution.stack(model, (5,)), (x[0], b[0]), 1, rule), **EXACT)
    assert found[2:4].tolist() == [0, 0]


@pytest.mark.parametrize("rule", RULES)
def test_batch_norms_of_either_sign_are_folded(rule):
    model, x, b = seeded(normed), random(1, 5, seed=3), random(1, 5, seed=4)
    assert model[1].weight.min() < 0 < model[1].weight.max()
    expected = dense_rules.two_point(convolution.stack(model, (5,)), (x[0], b[0]), 1, rule)
    torch.testing.assert_close(mapped(model, x, b, RULES[rule]), expected, **EXACT)


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
@pytest.mark.parametrize("baseline", ["random", "zero"])
def test_convolutional_nets(rule, baseline):
    model, x = seeded(convnet), random(1, 1, 4, 4, seed=5)
    b = random(1, 1, 4, 4, seed=6) if baseline == "random" else torch.zeros_like(x)
    expected = dense_rules.two_point(convolution.stack(model, (1, 4, 4)), (x.flatten(), b.flatten()), 1, rule)
    torch.testing.assert_close(mapped(model, x, b, RULES[rule]), expected, **EXACT)


def folded(model):
    """A sequence with every batch norm multiplied into the layer before it."""
    layers = []
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            scale = module.weight / (module.running_var + module.eps).sqrt()
            before = layers[-1]
            before.weight.data = before.weight * scale[:, None, None, None]
            before.bias.data = (before.bias - module.running_mean) * scale + module.bias
        else:
            layers.append(module)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_norm_is_as_good_as_none(rule):
    x, b = random(1, 1, 4, 4, seed=7), random(1, 1, 4, 4, seed=8)
    whole, without = seeded(convnet), folded(seeded(convnet))
    torch.testing.assert_close(whole(x), without(x), **EXACT)
    torch.testing.assert_close(*(mapped(model, x, b, RULES[rule]) for model in (whole, without)), **EXACT)


class Residual(nn.Module):
    """y = A relu(W relu(V x) + x)."""

    def __init__(self):
        super().__init__()
        self.v, self.w, self.a = nn.Linear(5, 3), nn.Linear(3, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.a(torch.relu(self.w(torch.relu(self.v(x))) + x))


@pytest.mark.parametrize("rule", RULES)
def test_what_a_residual_sum_adds_is_a_player_too(rule):
    """In the twin x reaches the sum through ReLUs of its own, which do nothing to positive numbers."""
    model, x, b = seeded(Residual), random(1, 5, seed=9).abs(), random(1, 5, seed=10).abs()
    eye, none = torch.eye(5).double(), torch.zeros(5).double()
    layers = [
        Layer(torch.cat([model.v.weight, eye]).detach(), torch.cat([model.v.bias, none]).detach(), torch.relu),
        Layer(torch.cat([model.w.weight, eye], 1).detach(), model.w.bias.detach(), torch.relu),
        Layer(model.a.weight.detach(), model.a.bias.detach()),
    ]
    found, expected = mapped(model, x, b, RULES[rule]), dense_rules.two_point(layers, (x[0], b[0]), 1, rule)
    if rule == "deep_shap_exact":  # a map and a sum are not enumerated together: they count as many players
        assert (found - expected).norm() < 0.1 * expected.norm()
    else:
        torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [nn.ReLU, nn.Tanh, nn.GELU], ids=lambda sigma: sigma.__name__)
def test_many_players_are_near_their_shapley_values_and_nearer_than_rescale(sigma):
    """11 players: beyond those that are enumerated, few enough for the twin."""
    model = seeded(lambda: nn.Sequential(nn.Linear(11, 4), sigma(), nn.Linear(4, 3)))
    errors = {}
    for rule in ("deep_shap_exact", "rescale"):
        for seed in range(3):
            x, b = random(1, 11, seed=20 + seed), random(1, 11, seed=30 + seed)
            expected = dense_rules.two_point(convolution.stack(model, (11,)), (x[0], b[0]), 1, "deep_shap_exact")
            away = (mapped(model, x, b, RULES[rule]) - expected).norm() / expected.norm()
            errors.setdefault(rule, []).append(float(away))
    assert sum(errors["deep_shap_exact"]) < sum(errors["rescale"]) / 2


@pytest.mark.parametrize(("options", "hidden"), [({"dense": False}, "dense"), ({"convolutions": False}, "convolution")])
def test_units_that_are_not_split_follow_rescale(options, hidden):
    x, b = random(1, 1, 4, 4, seed=7), random(1, 1, 4, 4, seed=8)
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3)))
    layers = convolution.stack(model, (1, 4, 4))
    chosen = ["rescale", "reveal_cancel"] if hidden == "convolution" else ["reveal_cancel", "rescale"]
    ends, m = [dense_rules.activations(layers, end.flatten()) for end in (x, b)], torch.tensor([0.0, 1, 0]).double()
    for place, rule in ((2, "rescale"), (1, chosen[1]), (0, chosen[0])):
        m = dense_rules.SLOPES[rule](layers[place], ends[0][place], ends[1][place]).T @ m
    torch.testing.assert_close(mapped(model, x, b, DeepLIFTRevealCancel(**options)), m * (x - b).flatten(), **EXACT)


# ---- a peer


def twin(name):
    return next(pair for pair in TWINS if pair.name == name)


def drawn(pair, batch=3, seed=0):
    return pair.inputs(batch, torch.float64, torch.Generator().manual_seed(seed))


def averaged():
    """No maximum in it: at those that are won by different elements at the two ends, every library has a rule of its own."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 6), nn.Tanh(), nn.Linear(6, 5)
    )


PEER = [*((pair.name, pair.modules, pair, "zero") for pair in TWINS), ("averaged", lambda: seeded(averaged), twin("cnn"), "random")]
PEER.append(("mlp", twin("mlp").modules, twin("mlp"), "random"))


@pytest.mark.parametrize("name, build, pair, baseline", PEER, ids=[f"{name}-{baseline}" for name, _, _, baseline in PEER])
def test_matches_captum_where_every_step_is_a_module(name, build, pair, baseline):
    model, x = build().double().eval(), drawn(pair)
    b = torch.zeros_like(x[:1]) if baseline == "zero" else drawn(pair, 1, 7)
    expected = DeepLift(model).attribute(x, baselines=b, target=2).detach()
    found = vs.attribute(vs.trace(model, x), x, "deeplift_rescale", target=2, baseline=b[0])
    torch.testing.assert_close(found.values, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", ["mlp", "averaged"])
def test_matches_captums_deep_shap(name):
    build, pair = next((build, pair) for given, build, pair, _ in PEER if given == name)
    model, x, background = build().double().eval(), drawn(pair), drawn(pair, 4, 7)
    expected = DeepLiftShap(model).attribute(x, baselines=background, target=2).detach()
    found = vs.attribute(vs.trace(model, x), x, "deep_shap", target=2, baseline=Marginal(background=background))
    torch.testing.assert_close(found.values, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pair", TWINS, ids=lambda pair: pair.name)
def test_functions_and_modules_are_the_same_network(pair, rule):
    x = drawn(pair)
    maps = [
        vs.attribute(vs.trace(build().double().eval(), x), x, RULES[rule], target=2).values for build in (pair.functional, pair.modules)
    ]
    torch.testing.assert_close(*maps, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pair", TWINS, ids=lambda pair: pair.name)
def test_the_peer_does_not_see_functions(pair):
    """The same network written with ``F.relu`` or one ReLU used twice: hooks miss the steps, and the map is another or none."""
    x = drawn(pair)
    expected = vs.attribute(vs.trace(pair.functional().double().eval(), x), x, "deeplift_rescale", target=2)
    try:
        found = DeepLift(pair.functional().double().eval()).attribute(x, target=2).detach()
    except (AssertionError, RuntimeError):
        return
    assert (found - expected.values).norm() > 0.05 * expected.values.norm()
    assert expected.gap.abs().max() < 1e-5
    assert (found.flatten(1).sum(1) - (expected.total - expected.base)).abs().max() > 0.01
