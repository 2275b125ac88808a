"""Norms under layer rules: batch norms folded or not, and norms that are written out, against the fused ones."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.reference import convolution, dense_rules
from tests.reference.dense_rules import Options
from tests.rules.layer_rule_networks import AT_THE_INPUT, EVERYWHERE, EXACT, at_the_input, everywhere, random, settled
from vesalius.methods import LRPEpsilon
from vesalius.rules.composite import Composite
from vesalius.rules.layer_rules import AlphaBeta, Epsilon

Z_PLUS = AlphaBeta(alpha=1, beta=0)
RULES = {
    **{name: everywhere(rule) for name, (rule, _, _) in EVERYWHERE.items()},
    **{name: at_the_input(rule) for name, (rule, _, _) in AT_THE_INPUT.items()},
}


def relevance(model, x, composite=None, **options):
    return vs.attribute(
        vs.trace(model.eval(), x), x, LRPEpsilon(composite=composite or everywhere(Epsilon(epsilon=0)), **options), target=1
    )


# ---- batch norm


def folded_by_hand(layer, norm, turned=False):
    """The layer that computes both."""
    layer = copy.deepcopy(layer)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    place = [1] * layer.weight.ndim
    place[1 if turned else 0] = -1
    bias = 0 if layer.bias is None else layer.bias
    layer.bias = nn.Parameter((bias - norm.running_mean) * scale + norm.bias)
    layer.weight = nn.Parameter(layer.weight * scale.reshape(place))
    return layer


PAIRS = {
    "linear": (lambda: (nn.Linear(4, 6), nn.BatchNorm1d(6)), (4,)),
    "conv1d": (lambda: (nn.Conv1d(2, 6, 3, padding=1), nn.BatchNorm1d(6)), (2, 5)),
    "conv2d without bias": (lambda: (nn.Conv2d(2, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6)), (2, 5, 5)),
    "grouped": (lambda: (nn.Conv2d(4, 6, 3, groups=2, padding=1), nn.BatchNorm2d(6)), (4, 3, 3)),
    "transposed": (lambda: (nn.ConvTranspose2d(2, 6, 2, stride=2), nn.BatchNorm2d(6)), (2, 2, 2)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_batch_norm_behind_a_layer_is_part_of_it(pair):
    """Whichever the sign of its weight: the map is that of the network whose weights were folded by hand."""
    make, shape = PAIRS[pair]
    layer, norm = settled(*make(), seed=3)
    assert norm.weight.min() < 0 < norm.weight.max()
    x = random(2, *shape, seed=4)
    wide = norm(layer(x)).flatten(1).shape[1]
    tail = settled(nn.ReLU(), nn.Flatten(), nn.Linear(wide, 3), seed=5)
    whole, merged = nn.Sequential(layer, norm, tail), nn.Sequential(folded_by_hand(layer, norm, pair == "transposed"), tail)
    torch.testing.assert_close(whole.eval()(x), merged.eval()(x), **EXACT)
    networks = [vs.trace(model, x) for model in (whole, merged)]
    for name, composite in RULES.items():
        one, other = (vs.attribute(network, x, LRPEpsilon(composite=composite), target=1) for network in networks)
        torch.testing.assert_close(one.values, other.values, **EXACT, msg=lambda text, name=name: f"{name}: {text}")
        torch.testing.assert_close(one.absorbed, other.absorbed, **EXACT, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("before", ["nothing", "relu"])
def test_a_batch_norm_without_a_layer_before_it_scales(before):
    """First of all, or behind a ReLU (pre-activation): R = a c s, and the shift keeps its part."""
    front = [] if before == "nothing" else [nn.Conv2d(2, 2, 1), nn.ReLU()]
    tail = [nn.BatchNorm2d(2), nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)]
    model, x = settled(*front, *tail, seed=6), random(2, 2, 3, 3, seed=7)
    found = relevance(model, x, everywhere(Z_PLUS))
    layers = convolution.stack(model, (2, 3, 3))
    norm = len(layers) - 3
    names = ["epsilon" if place == norm else "z_plus" for place in range(len(layers))]
    expected = [dense_rules.lrp(layers, row.flatten(), 1, names, Options(stabiliser=1e-9)).reshape(2, 3, 3) for row in x]
    torch.testing.assert_close(found.values, torch.stack(expected), **EXACT)
    assert found.unaccounted.abs().max() < 1e-12


class TwoReaders(nn.Module):
    """A convolution that is read with and without the norm behind it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = settled(nn.Conv2d(2, 4, 2), nn.BatchNorm2d(4), seed=8)
        self.head = settled(nn.Linear(16, 3), seed=9)[0]

    def forward(self, x):
        y = self.conv(x)
        return self.head((F.relu(self.norm(y)) + y).flatten(1))


def test_a_layer_with_two_readers_keeps_its_weights():
    model, x = TwoReaders().eval(), random(1, 2, 3, 3, seed=10)
    rules = Composite(dense=Epsilon(epsilon=0), convolution=AlphaBeta())
    found = relevance(model, x, rules)
    torch.testing.assert_close(found.total, model(x)[:, 1].detach(), **EXACT)
    y = model.conv(x).detach().requires_grad_()
    (c,) = torch.autograd.grad(model.head((F.relu(model.norm(y)) + y).flatten(1))[0, 1], y)
    layer = convolution.layer(model.conv, (2, 3, 3))
    expected = torch.zeros(18).double()
    for j, r in enumerate((y * c).detach().flatten()):
        unit = dense_rules.Unit(layer.weight[j], layer.linked[j], x.flatten(), float(layer.bias[j]), float(r))
        expected += dense_rules.alpha_beta(unit, Options(stabiliser=1e-9))
    torch.testing.assert_close(found.values.flatten(), expected, **EXACT)
    assert found.unaccounted.abs().max() < 1e-12


def test_a_norm_of_two_layers_in_a_row_is_folded_into_the_second_only():
    model, x = settled(nn.Linear(4, 5), nn.Linear(5, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)), random(2, 4, seed=11)
    merged = nn.Sequential(model[0], folded_by_hand(model[1], model[2]), *model[3:])
    found = [relevance(net, x, everywhere(AlphaBeta())).values for net in (model, merged)]
    torch.testing.assert_close(*found, **EXACT)


# ---- norms written out


class Around(nn.Module):
    """A layer, some norm of it, and a network behind."""

    def __init__(self, norm, shape):
        super().__init__()
        self.norm = norm
        self.first = settled(nn.Linear(shape[-1], shape[-1]), seed=12)[0]
        self.tail = settled(nn.GELU(), nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 3), seed=13)

    def forward(self, x):
        return self.tail(self.norm(self.first(x)))


WEIGHT, BIAS = random(6, seed=14), random(6, seed=15)


def by_root(x):
    d = x - x.mean(-1, keepdim=True)
    return d / torch.sqrt((d * d).mean(-1, keepdim=True) + 1e-3) * WEIGHT + BIAS


def by_rsqrt(x):
    d = x - x.mean(-1, keepdim=True)
    return WEIGHT * (d * torch.rsqrt(d.pow(2).mean(-1, keepdim=True) + 1e-3)) + BIAS


def by_variance(x):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-3) ** 0.5 * WEIGHT + BIAS


def by_power(x):
    d = x - x.mean(-1, keepdim=True)
    return d * (x.var(-1, unbiased=False, keepdim=True) + 1e-3) ** -0.5 * WEIGHT + BIAS


def by_groups(x):
    parts = x.reshape(x.shape[0], 2, -1)
    d = parts - parts.mean(-1, keepdim=True)
    whole = (d * ((d * d).mean(-1, keepdim=True) + 1e-3).rsqrt()).reshape(x.shape)
    return whole * WEIGHT[None, :4, None] + BIAS[None, :4, None]


SPELLINGS = {
    "layer norm, sqrt": (by_root, lambda x: F.layer_norm(x, (6,), WEIGHT, BIAS, 1e-3), (2, 6)),
    "layer norm, rsqrt": (by_rsqrt, lambda x: F.layer_norm(x, (6,), WEIGHT, BIAS, 1e-3), (2, 6)),
    "layer norm, var": (by_variance, lambda x: F.layer_norm(x, (6,), WEIGHT, BIAS, 1e-3), (2, 6)),
    "layer norm, power": (by_power, lambda x: F.layer_norm(x, (6,), WEIGHT, BIAS, 1e-3), (2, 6)),
    "rms norm, rsqrt": (
        lambda x: WEIGHT * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3)),
        lambda x: F.rms_norm(x, (6,), WEIGHT, 1e-3),
        (2, 6),
    ),
    "rms norm, sqrt": (
        lambda x: x / ((x * x).mean(-1, keepdim=True) + 1e-3).sqrt() * WEIGHT,
        lambda x: F.rms_norm(x, (6,), WEIGHT, 1e-3),
        (2, 6),
    ),
    "group norm": (by_groups, lambda x: F.group_norm(x, 2, WEIGHT[:4], BIAS[:4], 1e-3), (4, 3)),
    "l2 norm": (lambda x: x / (x * x).sum(-1, keepdim=True).sqrt(), lambda x: F.normalize(x, dim=-1), (2, 6)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_norm_written_out_is_the_fused_one(spelling):
    written, fused, shape = SPELLINGS[spelling]
    x = random(3, *shape, seed=16)
    torch.testing.assert_close(written(x), fused(x), **EXACT)
    one, other = (relevance(Around(norm, shape), x, everywhere(Epsilon(epsilon=0.1))) for norm in (written, fused))
    torch.testing.assert_close(one.values, other.values, **EXACT)
    torch.testing.assert_close(one.absorbed, other.absorbed, **EXACT)
    assert one.unaccounted.abs().max() < 1e-12


def test_a_norm_passes_relevance_as_if_its_deviation_were_constant():
    """With the deviation held, x (c - mean c) / deviation; its shift is a bias."""
    x, w = random(2, 6, seed=17), random(6, seed=18)
    model = Around.__new__(Around)
    nn.Module.__init__(model)
    model.first, model.norm, model.tail = (
        nn.Identity(),
        lambda x: F.layer_norm(x, (6,), WEIGHT, BIAS),
        lambda y: torch.stack([0 * y @ w, y @ w], 1),
    )
    found = relevance(model, x)
    deviation = (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    c = w * WEIGHT / deviation
    torch.testing.assert_close(found.values, x * (c - c.mean(1, keepdim=True)), **EXACT)
    torch.testing.assert_close(found.absorbed["bias"], (w * BIAS).sum().expand(2), **EXACT)
