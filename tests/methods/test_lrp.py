"""LRP as a method: presets and options, what is explained and where, errors, and that it leaves nothing behind."""

import copy
import os
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import EXACT, Function, everywhere, random, settled
from tests.zoo import specimen
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName, WrongType
from vesalius.methods import DeepTaylor, LRPAlphaBeta, LRPEpsilon
from vesalius.rules.composite import Composite, epsilon_gamma_box
from vesalius.rules.layer_rules import AlphaBeta, Box, Epsilon, Gamma, WSquare

METHODS = [LRPEpsilon(), LRPAlphaBeta(), DeepTaylor(), DeepTaylor(domain="box", low=-5.0, high=5.0)]


SERIES = torch.ones(1, 1, 5).double()


def opened(name, dtype=torch.float64, batch=3):
    found = specimen(name)
    (x,), _ = found.example(batch, dtype)
    return vs.trace(found.build().to(dtype).eval(), x), x


def small():
    """Two convolutions and two dense layers."""
    return settled(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))


def values(network, x, composite, target=1):
    return vs.attribute(network, x, LRPEpsilon(composite=composite), target=target).values


# ---- composites


def test_presets_are_their_rules_layer_by_layer():
    x = random(2, 2, 4, 4)
    network = vs.trace(small(), x)
    z_plus, dense = AlphaBeta(alpha=1, beta=0), {"5": Epsilon(), "7": Epsilon()}
    spelled = {
        "epsilon_plus": {"0": z_plus, "2": z_plus, **dense},
        "epsilon_alpha2_beta1": {"0": AlphaBeta(), "2": AlphaBeta(), **dense},
        epsilon_gamma_box(-4.0, 4.0): {"0": Box(low=-4.0, high=4.0), "2": Gamma(), **dense},
    }
    for preset, layers in spelled.items():
        torch.testing.assert_close(values(network, x, preset), values(network, x, Composite(layers=layers)), **EXACT)


def test_the_methods_are_composites_too():
    """Alpha-beta and Deep Taylor leave the top layer, after which nothing bends, to LRP-0."""
    x = random(2, 2, 4, 4)
    network, z_plus, top = vs.trace(small(), x), AlphaBeta(alpha=1, beta=0), {"7": Epsilon(epsilon=0)}
    spelled = {
        LRPAlphaBeta(alpha=3.0, beta=2.0): Composite(**vars(everywhere(AlphaBeta(alpha=3.0, beta=2.0))) | {"layers": top}),
        DeepTaylor(): Composite(**vars(everywhere(z_plus)) | {"layers": top}),
        DeepTaylor(domain="unbounded"): Composite(**vars(everywhere(z_plus)) | {"layers": {"0": WSquare(), **top}}),
        DeepTaylor(domain="box", low=-3.0, high=4.0): Composite(
            **vars(everywhere(z_plus)) | {"layers": {"0": Box(low=-3.0, high=4.0), **top}}
        ),
        LRPEpsilon(epsilon=0.25): everywhere(Epsilon(epsilon=0.25)),
    }
    for method, composite in spelled.items():
        found = vs.attribute(network, x, method, target=2).values
        torch.testing.assert_close(found, values(network, x, composite, target=2), **EXACT)


def test_the_later_word_counts():
    """Kind of layer, then first, then last, then a layer's own."""
    model, x = settled(nn.Linear(4, 3)), random(2, 4, seed=1)
    network = vs.trace(model, x)
    gamma, z_plus = Gamma(), AlphaBeta(alpha=1, beta=0)
    order = [{"dense": z_plus}, {"first": WSquare()}, {"last": gamma}, {"layers": {"0": Epsilon(epsilon=0.5)}}]
    given, alone = {}, []
    for each in order:
        given |= each
        (rule,) = each.values()
        rule = rule["0"] if isinstance(rule, dict) else rule
        alone.append(values(network, x, Composite(layers={"0": rule})))
        torch.testing.assert_close(values(network, x, Composite(**given)), alone[-1], **EXACT)
    assert min(float((one - other).abs().max()) for one, other in pairwise(alone)) > 1e-3


def test_last_layers_are_those_after_which_all_is_linear():
    """Two dense layers in a row with a pool between, behind the only ReLU."""
    model = settled(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 1), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(4, 2))
    x = random(2, 1, 6, seed=2)
    network = vs.trace(model, x)
    by_place = values(network, x, Composite(dense=AlphaBeta(), convolution=AlphaBeta(), last=Epsilon(epsilon=0.3)))
    by_name = {"0": AlphaBeta(), "2": Epsilon(epsilon=0.3), "5": Epsilon(epsilon=0.3)}
    torch.testing.assert_close(by_place, values(network, x, Composite(layers=by_name)), **EXACT)


def test_provenance_says_which_rules():
    x = random(1, 2, 4, 4)
    found = vs.attribute(vs.trace(small(), x), x, LRPEpsilon(composite=epsilon_gamma_box(-1.0, 1.0)), target=0)
    assert "Gamma" in found.provenance["options"]["composite"] and "Box" in found.provenance["options"]["composite"]


# ---- what is explained, and where


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_every_sample_has_its_own_target(method):
    network, x = opened("cnn")
    targets = torch.tensor([4, 0, 2])
    together = vs.attribute(network, x, method, target=targets)
    for row in range(3):
        alone = vs.attribute(network, x[row], method, target=int(targets[row]))
        torch.testing.assert_close(alone.values, together.values[row], **EXACT)
        torch.testing.assert_close(alone.absorbed, {name: part[row] for name, part in together.absorbed.items()}, **EXACT)


def test_an_inner_layer_is_explained_as_the_network_behind_it_would_be():
    model, x = small(), random(2, 2, 4, 4, seed=3)
    network, behind = vs.trace(model, x), model[2:]
    inner = model[:2](x).detach()
    for method in METHODS:
        found = vs.attribute(network, x, method, target=1, at="1")
        expected = vs.attribute(vs.trace(behind, inner), inner, method, target=1)
        torch.testing.assert_close(found.values, expected.values, **EXACT)
        torch.testing.assert_close(found.absorbed, expected.absorbed, **EXACT)


def test_an_inner_unit_is_explained_as_a_network_that_ends_there_would_be():
    model, x = small(), random(2, 2, 4, 4, seed=4)
    network, front = vs.trace(model, x), Function(lambda x: model[:3](x).mean((2, 3)))
    for method in (LRPEpsilon(epsilon=0.1), LRPEpsilon(composite=everywhere(AlphaBeta()))):
        found = vs.attribute(network, x, method, target=("2", 3))
        expected = vs.attribute(vs.trace(front, x), x, method, target=3)
        torch.testing.assert_close(found.values, expected.values, **EXACT)
        torch.testing.assert_close(found.absorbed, expected.absorbed, **EXACT)


def test_several_inputs_share_the_relevance():
    found = specimen("two_input")
    (image, row), _ = found.example(3, torch.float64)
    network = vs.trace(found.build().double().eval(), image, row)
    both = vs.attribute(network, (image, row), LRPEpsilon(epsilon=0), target=1)
    one = vs.attribute(network, (image, row), LRPEpsilon(epsilon=0), target=1, at="row")
    torch.testing.assert_close(both.values[:, image[0].numel() :], one.values, **EXACT)
    assert one.unaccounted.abs().max() < 1e-12


def test_a_baseline_changes_the_gap_alone():
    network, x = opened("cnn")
    zero, other = (vs.attribute(network, x, LRPEpsilon(), target=1, baseline=baseline) for baseline in (None, 0.5))
    assert torch.equal(zero.values, other.values)
    assert (zero.gap - other.gap).abs().max() > 1e-3


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_half_precision_is_explained_in_single(method):
    model, x = small().bfloat16(), random(2, 2, 4, 4, seed=5).bfloat16()
    found = vs.attribute(vs.trace(model, x), x, method, target=1)
    expected = vs.attribute(vs.trace(copy.deepcopy(model).float(), x.float()), x.float(), method, target=1)
    torch.testing.assert_close(found.values, expected.values)
    assert found.values.dtype == torch.float32


# ---- errors


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        (LRPEpsilon(composite="epsilon_pluss"), UnknownName, "there is no composite 'epsilon_pluss'; did you mean 'epsilon_plus'"),
        (LRPEpsilon(composite="epsilon_gamma_box"), InvalidInput, r"composite=epsilon_gamma_box\(low, high\)"),
        (LRPEpsilon(composite=Composite(layers={"4.0": Epsilon()})), UnknownName, "there is no layer '4.0'"),
        (LRPEpsilon(composite=Composite(layers={"1": Epsilon()})), UnknownName, "there is no layer '1'"),
        (LRPEpsilon(composite=Composite(layers={"2": Box()})), InvalidInput, "Box is for layers that stand on the explained tensor"),
        (LRPEpsilon(composite=everywhere(WSquare())), InvalidInput, "Square is for layers that stand on the explained tensor"),
    ],
)
def test_composites_that_do_not_fit(method, error, message):
    x = random(1, 2, 4, 4)
    with pytest.raises(error, match=message):
        vs.attribute(vs.trace(small(), x), x, method, target=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LRPAlphaBeta(alpha=2.0, beta=0.5).rules(), "alpha - beta must be 1"),
        (lambda: DeepTaylor(domain="boxed"), "there is no domain 'boxed'; did you mean 'box'"),
        (lambda: LRPEpsilon(epsilon=-1.0).rules(), "epsilon is a number of at least 0"),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises((InvalidInput, UnknownName), match=message):
        make()


def test_an_opaque_network_is_refused_by_name():
    found = specimen("branching")
    (x,), _ = found.example(2)
    network = vs.trace(found.build().eval(), x)
    for method in METHODS:
        with pytest.raises(NotTraceable, match="layer-wise relevance propagation needs the graph of the model"):
            vs.attribute(network, x, method, target=0)


def test_integers_and_statistics_of_the_batch_are_refused():
    found = specimen("bert")
    args, kwargs = found.example(2)
    network = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    with pytest.raises(WrongType, match=r"has no gradient.*explain an embedding instead"):
        vs.attribute(network, {**dict(zip([value.name for value in network.inputs], args, strict=False)), **kwargs}, LRPEpsilon())
    model = settled(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten(), nn.Linear(27, 2))
    with pytest.raises(InvalidInput, match="a batch norm without running statistics"):
        vs.attribute(model, random(2, 2, 4, 4), LRPEpsilon(), target=0)


def test_of_a_kernel_that_depends_on_the_input_over_a_constant_all_is_passed_on():
    """A linear map of the kernel: each gets its summand."""
    x = random(3, 2)
    found = vs.attribute(Function(lambda z: nn.functional.conv1d(SERIES, z[:, None])[0].sum(1, keepdim=True)), x, LRPEpsilon(), target=0)
    weights = torch.stack([SERIES[0, 0, :-1].sum(), SERIES[0, 0, 1:].sum()])
    torch.testing.assert_close(found.values, x * weights, rtol=1e-5, atol=1e-8)
    assert found.unaccounted.abs().max() < 1e-12


# ---- nothing is left behind


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_model_is_as_it_was_and_the_numbers_are_the_same_again(method):
    found = specimen("cnn")
    (x,), _ = found.example(3)
    model = found.build().train()
    before, attributes = copy.deepcopy(model.state_dict()), {name: set(vars(part)) for name, part in model.named_modules()}
    given = x.clone()
    network = vs.trace(model, x)
    once, again = (vs.attribute(network, x, method, target=1) for _ in range(2))
    assert torch.equal(once.values, again.values)
    assert all(torch.equal(part, again.absorbed[name]) for name, part in once.absorbed.items())
    assert torch.equal(vs.attribute(vs.trace(found.build(), x), x, method, target=1).values, once.values)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {name: set(vars(part)) for name, part in model.named_modules()} == attributes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in model.modules())
    assert model.training and torch.equal(x, given) and not x.requires_grad
    assert not once.values.requires_grad and not any(part.requires_grad for part in once.absorbed.values())


CALLS = """
import gc, sys, torch, vesalius as vs
from vesalius.methods import LRPAlphaBeta

torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 2), torch.nn.BatchNorm1d(2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 2))
network, x = vs.trace(model.eval(), torch.ones(1, 1, 3)), torch.ones(2, 1, 3)

def blocks(calls):
    for _ in range(calls):
        vs.attribute(network, x, LRPAlphaBeta(), target=1)
    gc.collect()
    return sys.getallocatedblocks()

blocks(60)
print(-blocks(1) + blocks(300))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_calls():
    """Blocks of Python's memory that are alive, in a process without the checks that tests have.

    Free lists grow by some 500 in 300 calls, ever more slowly; a program compiled anew at every call, which torch keeps, by 2,000.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", CALLS], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 900
