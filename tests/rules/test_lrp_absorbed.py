"""What does not reach the explained tensor is accounted for: on every network and every op, and in amounts known by hand."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.reference import convolution, dense_rules
from tests.reference.dense_rules import Options
from tests.rules.layer_rule_networks import EXACT, NETS, Function, everywhere, random
from tests.rules.op_cases import EVERYWHERE, OPS, POSITIVE, drawn
from tests.rules.single_op import Op, readout
from tests.zoo import SPECIMENS, specimen
from vesalius.core.errors import InvalidInput
from vesalius.methods import DeepTaylor, LRPAlphaBeta, LRPEpsilon
from vesalius.rules.composite import epsilon_gamma_box
from vesalius.rules.layer_rules import AlphaBeta, Epsilon

EXPORTABLE = [found.name for found in SPECIMENS if found.exportable]
METHODS = {
    "epsilon": LRPEpsilon(),
    "epsilon .25": LRPEpsilon(epsilon=0.25),
    "gated": LRPEpsilon(gated=True),
    "alpha beta": LRPAlphaBeta(),
    "deep taylor": DeepTaylor(),
    "unbounded": DeepTaylor(domain="unbounded"),
    "epsilon plus": LRPEpsilon(composite="epsilon_plus"),
    "epsilon alpha2 beta1": LRPAlphaBeta(composite="epsilon_alpha2_beta1"),
    "epsilon gamma box": LRPEpsilon(composite=epsilon_gamma_box(-5.0, 5.0)),
}
OF_A_DOMAIN = {"unbounded", "epsilon gamma box"}
WITHOUT_A_FIRST_LAYER = {"norm_first", "lstm", "gru", "bert", "gpt2", "stacked_gru", "bilstm", "rnn"}
"""Specimens that normalise, embed or unroll what they are given before any layer reads it."""


@cache
def traced(name):
    found = specimen(name)
    args, kwargs = found.example(3)
    network = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    return network, network.cast(torch.float64)


def opened(name, dtype):
    found, networks = specimen(name), traced(name)
    args, kwargs = found.example(3, dtype)
    network = networks[dtype == torch.float64]
    return network, {**dict(zip([value.name for value in network.inputs], args, strict=False)), **kwargs}, found.integer_at


def placed(name):
    """The methods that mean something for a network, each once: composites differ from epsilon where there are convolutions."""
    convolutional = any(layer.op.startswith("conv") for layer in traced(name)[0].layers.values())
    without = OF_A_DOMAIN if name in WITHOUT_A_FIRST_LAYER else set()
    without = without if convolutional else without | {"epsilon plus", "epsilon alpha2 beta1"}
    return {key: method for key, method in METHODS.items() if key not in without}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTABLE)
def test_every_network_adds_up_sample_by_sample(name):
    """In either precision; and in double precision, where no rounding hides it, a sample has the accounts that it has alone."""
    for dtype, bound in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        network, x, at = opened(name, dtype)
        for key, method in placed(name).items():
            found = vs.attribute(network, x, method, target=1, at=at)
            assert found.values.isfinite().all(), key
            assert found.values.abs().max() > 0, key
            assert (found.unaccounted.abs() <= bound * found.total.abs()).all(), (key, dtype)
            assert set(found.absorbed) <= {"bias", "stabiliser", "one_sided", "softmax"}
            if dtype == torch.float64 and key in ("gated", "alpha beta"):
                alone = vs.attribute(network, {place: tensor[1] for place, tensor in x.items()}, method, target=1, at=at)
                compared(alone, found, 1)


def compared(alone, batch, row):
    """A sample alone against its row of a batch, as shares of the output."""
    scale = float(batch.total[row].abs())
    torch.testing.assert_close(alone.values / scale, batch.values[row] / scale, **EXACT)
    for account, amount in batch.absorbed.items():
        torch.testing.assert_close(alone.absorbed[account] / scale, amount[row] / scale, **EXACT)


@pytest.mark.parametrize("name", sorted(WITHOUT_A_FIRST_LAYER))
def test_a_rule_for_a_first_layer_that_is_none_is_refused(name):
    network, x, at = opened(name, torch.float64)
    for key in OF_A_DOMAIN:
        with pytest.raises(InvalidInput, match="no layer stands on the explained tensor"):
            vs.attribute(network, x, METHODS[key], target=1, at=at)


# ---- every op


@pytest.mark.slow
@pytest.mark.parametrize("name", OPS)
def test_every_op_adds_up(name):
    function, shapes = OPS[name]
    xs = drawn(shapes, batch=3)
    network = vs.trace(Op(function, readout(function, xs)).double().eval(), *xs)
    for gated in (False, True):
        found = vs.attribute(network, xs, LRPEpsilon(epsilon=0.1, gated=gated))
        assert found.unaccounted.abs().max() < 1e-12
        assert found.values.isfinite().all()


def test_a_layer_that_no_row_was_sent_to_absorbs_nothing():
    """As of a mixture of experts, of which some are not asked."""
    torch.manual_seed(0)
    idle, busy, x = nn.Linear(2, 2).double(), nn.Linear(2, 2).double(), random(3, 2, 2, seed=1)

    def function(z):
        rows = z.flatten(0, 1)
        return torch.cat([idle(rows[:0]), busy(rows)]).reshape(z.shape)

    found = vs.attribute(vs.trace(Op(function, readout(function, (x,))), x), x, "lrp_epsilon")
    assert found.unaccounted.abs().max() < 1e-12
    assert found.absorbed["bias"].abs().min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("positive", [False, True])
def test_every_function_passes_what_it_adds_to_its_value_at_0(positive):
    """A row for each function; where it has no value at 0, all of it."""
    whole = POSITIVE if positive else EVERYWHERE
    functions = {name: each for name, each in whole.items() if "constant" not in name and name != "acosh"}  # that is of a sum there
    m, x = random(7, seed=1), random(3, len(functions), 7, seed=2)
    x = x.abs() + 0.1 if positive else x
    x[0, :, 0] = 1.0 if positive else 0.0
    network = vs.trace(Function(lambda x: sum(each(x[:, i]) for i, each in enumerate(functions.values())) @ m), x)
    found = vs.attribute(network, x, LRPEpsilon(epsilon=0), baseline=vs.Constant(0.5))  # at 0 some have no value to compare it with
    for i, (name, each) in enumerate(functions.items()):
        rest = each(torch.zeros(7).double())
        expected = (each(x[:, i]) - torch.where(rest.isfinite(), rest, 0.0)) * m
        torch.testing.assert_close(found.values[:, i], expected, **EXACT, msg=lambda text, name=name: f"{name}: {text}")
    assert found.unaccounted.abs().max() < 1e-10


class Merged(nn.Module):
    """Batch and steps in one axis, whose rows some function turns into three numbers."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("first", random(4, 6, seed=3))
        self.register_buffer("last", random(6, 3, seed=4))

    def forward(self, x):
        batch, steps, _ = x.shape
        rows = torch.tanh(x.reshape(batch * steps, 4) @ self.first + 0.2)
        found = self.function(rows)
        found = found + 1 if found.ndim == 2 else found[:, None] * self.last[0] + 1
        found = found @ self.last if found.shape[1] == 6 else found
        return found.reshape(batch, steps, 3).mean(1)


KERNEL, VECTOR = random(6, 2, 3, seed=5), random(6, seed=6)
ROWS = {
    "sum": lambda rows: rows.sum(-1) + 1,
    "mean": lambda rows: rows.mean(-1) + 1,
    "largest": lambda rows: rows.amax(-1) + 1,
    "norm": lambda rows: (rows + 0.5).norm(dim=-1) + 1,
    "variance": lambda rows: rows.var(-1) + 1,
    "logsumexp": lambda rows: rows.logsumexp(-1) + 1,
    "product with a vector": lambda rows: torch.mv(rows, VECTOR) + 1,
    "einsum of heads": lambda rows: torch.einsum("nd,dhk->nhk", rows, KERNEL).sigmoid().flatten(1),
    "einsum that turns": lambda rows: (torch.einsum("nd,dk->kn", rows, KERNEL.flatten(1)) + 1).T,
    "matrix from the left": lambda rows: (KERNEL.flatten(1) @ rows.T + 1).T,
    "padding": lambda rows: F.pad(rows[:, 1:5].sigmoid(), (1, 1)),
    "padding with a number": lambda rows: F.pad(rows[:, 1:5], (1, 1), value=0.5),
    "constant columns": lambda rows: torch.cat([rows[:, :5], torch.ones_like(rows[:, :1])], 1),
    "softmax of heads": lambda rows: rows.view(-1, 2, 3).softmax(-1).flatten(1),
    "gate": lambda rows: F.glu(torch.cat([rows, rows], -1)),
    "dot": lambda rows: (rows * rows.sigmoid()).sum(-1) + 1,
    "cumulative": lambda rows: rows.cumsum(-1),
}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [3, 6])
@pytest.mark.parametrize("name", ROWS)
def test_samples_are_told_apart_where_batch_and_steps_are_one_axis(name, batch):
    x = random(batch, 5, 4, seed=7)
    network = vs.trace(Merged(ROWS[name]), x)
    for method in (LRPEpsilon(epsilon=0.25), LRPAlphaBeta()):
        found = vs.attribute(network, x, method, target=1)
        assert found.unaccounted.abs().max() < 1e-10
        alone = vs.attribute(network, x[2], method, target=1)
        torch.testing.assert_close(alone.values, found.values[2], **EXACT)
        torch.testing.assert_close(alone.absorbed, {account: part[2] for account, part in found.absorbed.items()}, **EXACT)


def test_where_samples_are_mixed_it_says_so_and_one_alone_is_explained():
    """Neither rows nor columns are of one sample; s(0) of the cosine is to be booked."""
    x = random(4, 4, seed=8)
    network = vs.trace(Function(lambda x: x.reshape(-1).view(2, -1).cos().reshape(-1, 4)), x)
    with pytest.raises(InvalidInput, match="samples are mixed inside; explain one sample at a time"):
        vs.attribute(network, x, LRPEpsilon(), target=0)
    assert vs.attribute(network, x[2], LRPEpsilon(), target=0).unaccounted.abs() < 1e-12


# ---- known amounts


def accounts(layers, x, target, rule, options):
    """Where relevance of a dense network is left, unit by unit."""
    inputs = dense_rules.activations(layers, x)
    relevance = torch.zeros_like(inputs[-1])
    relevance[target] = inputs[-1][target]
    lost = {"bias": 0.0, "stabiliser": 0.0, "one_sided": 0.0}
    for layer, a in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
        units = dense_rules.units(layer, a, relevance)
        lost["bias"] += float(relevance.sum()) - sum(unit.relevance for unit in units)  # s(0) of a function
        passed = torch.zeros_like(a)
        for unit in units:
            passed += dense_rules.RULES[rule](unit, options)
            for account, amount in of_unit(unit, rule, options).items():
                lost[account] += amount
        relevance = passed
    return lost


def of_unit(unit, rule, o):
    parts = unit.w * unit.a
    if rule == "epsilon":
        z = float(parts.sum()) + unit.c
        share = unit.relevance / (z + dense_rules.signed_stabiliser(o.eps, z))
        return {"bias": unit.c * share, "stabiliser": dense_rules.signed_stabiliser(o.eps, z) * share}
    lost = {"bias": 0.0, "stabiliser": 0.0, "one_sided": 0.0}
    for factor, sign in ((o.alpha, 1), (-o.beta, -1)):
        bias = max(sign * unit.c, 0) * sign
        whole = float((sign * parts).clamp(min=0).sum()) * sign + bias
        share = unit.relevance / (whole + sign * o.stabiliser)
        if whole == 0:
            lost["one_sided"] += factor * unit.relevance
            continue
        lost["bias"] += factor * bias * share
        lost["stabiliser"] += factor * sign * o.stabiliser * share
    return lost


SETTINGS = {
    "epsilon": (Epsilon(epsilon=0.25), "epsilon", Options(eps=0.25)),
    "alpha beta": (AlphaBeta(stabiliser=0.1), "alpha_beta", Options(stabiliser=0.1)),
    "z+": (AlphaBeta(alpha=1, beta=0, stabiliser=0.1), "alpha_beta", Options(alpha=1, beta=0, stabiliser=0.1)),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("net", ["relu", "sigmoid", "no biases", "convolutions"])
def test_accounts_are_those_of_a_loop_over_all_units(net, setting):
    model, shape = NETS[net]()
    layers = convolution.stack(model, shape)
    rule, known_as, options = SETTINGS[setting]
    x = random(2, *shape, seed=11).abs()
    found = vs.attribute(vs.trace(model, x), x, LRPEpsilon(composite=everywhere(rule)), target=1)
    for row in range(2):
        expected = accounts(layers, x[row].flatten(), 1, known_as, options)
        lost = {account: float(found.absorbed[account][row]) if account in found.absorbed else 0.0 for account in expected}
        assert lost == pytest.approx(expected, rel=1e-9, abs=1e-9)


CONSTANTS = {
    "a class token": (lambda x, w, k: torch.cat([k.expand(x.shape[0], 5), x], 1) @ torch.cat([w, w]), lambda w, k: w @ k),
    "positions": (lambda x, w, k: (x + k) @ w, lambda w, k: w @ k),
    "subtracted": (lambda x, w, k: (k - 2 * x) @ w, lambda w, k: w @ k),
    "a filled place": (lambda x, w, k: x.masked_fill(k > 0, 1.5) @ w, lambda w, k: 1.5 * w[k > 0].sum()),
    "where": (lambda x, w, k: torch.where(k > 0, k, x) @ w, lambda w, k: (w * k)[k > 0].sum()),
    "padding": (lambda x, w, k: F.pad(x, (1, 0), value=2.0)[:, :5] @ w, lambda w, k: 2 * w[0]),
    "a bound that holds": (lambda x, w, k: x.clamp(min=10.0) @ w, lambda w, k: 10 * w.sum()),
    "a larger constant": (lambda x, w, k: torch.maximum(x, k + 10) @ w, lambda w, k: w @ (k + 10)),
    "s(0)": (lambda x, w, k: torch.cos(x) @ w, lambda w, k: w.sum()),
    "everything": (lambda x, w, k: (0 * x + k) @ w, lambda w, k: w @ k),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_keep_their_relevance(name):
    function, bias = CONSTANTS[name]
    x, w, k = random(2, 5, seed=12), random(5, seed=13), random(5, seed=14)
    found = vs.attribute(vs.trace(Function(lambda x: function(x, w, k)), x), x, LRPEpsilon(epsilon=0))
    amount = found.absorbed.get("bias", torch.zeros(2).double())
    torch.testing.assert_close(amount, torch.as_tensor(bias(w, k)).double().expand(2), **EXACT)
    assert found.unaccounted.abs().max() < 1e-12
