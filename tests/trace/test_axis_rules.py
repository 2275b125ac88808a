"""Rules for ops: samples are where they say, for every value of ordinary networks, and axes of single ops one by one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import Function, random
from tests.trace.laid_out_networks import CASES, laid_out
from tests.zoo import SPECIMENS
from vesalius.trace.axes import BATCH, POSITIONS, UNITS, axis_kind


def values_of(network, inputs):
    """All floating values with samples, batch first."""
    names = [name for name, axes in network.axes.values.items() if axes.batch is not None and network.values[name].is_floating]
    found = network.program([value.name for value in network.inputs], names)(*network.bind(inputs))
    return {name: network.axes.batch_layout(name).batch_first(tensor) for name, tensor in zip(names, found, strict=True)}


def assert_samples_are_where_the_axes_say(network, inputs, count):
    """Every value of a batch, sample by sample, is what the sample makes alone."""
    together = values_of(network, inputs)
    assert together
    for place in range(count):
        alone = values_of(network, tuple(tensor[place : place + 1] for tensor in inputs))
        for name, tensor in together.items():
            assert tuple(network.axes.values[name].shape[1:]) == tuple(tensor.shape[1:]), name
            torch.testing.assert_close(alone[name][0], tensor[place], rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [one for one in SPECIMENS if one.exportable], ids=lambda one: one.name)
def test_every_value_of_ordinary_networks(chosen):
    args, kwargs = chosen.example(3)
    network = vs.trace(chosen.build().eval(), *args, kwargs=kwargs, output=chosen.output)
    inputs = (*args, *kwargs.values())
    assert_samples_are_where_the_axes_say(network, inputs, 3)
    lost = [name for name, value in network.values.items() if value.batch_axis is not None and network.axes.values[name].batch is None]
    assert lost == []


@pytest.mark.parametrize("name", CASES)
def test_every_value_of_networks_in_other_layouts(name):
    model, x = laid_out(name)
    network = vs.trace(model, x)
    assert_samples_are_where_the_axes_say(network, (x,), 3)
    assert all(axes.batch is not None for axes in network.axes.values.values())


KERNEL, MATRIX, SQUARE, WIDE = random(5, 4, 3, seed=1), random(4, 6, seed=2), random(7, 7, seed=3), random(6, 5, seed=5)
CONV, LINEAR = (lambda x: F.conv1d(x, KERNEL)), (lambda x: x.transpose(1, 2) @ MATRIX)
"""A convolution of x [B 4 7] to [B 5 5], and a layer of its features to [B 7 6]."""
OPS = {
    "permute": (lambda x: CONV(x).permute(2, 0, 1).tanh(), "bpu"),
    "movedim": (lambda x: LINEAR(x).movedim(-1, 1).tanh(), "bup"),
    "unsqueeze and squeeze": (lambda x: LINEAR(x).unsqueeze(1).tanh().squeeze(1).cos(), "bpu"),
    "select": (lambda x: LINEAR(x)[:, 2].tanh(), "bu"),
    "slice": (lambda x: LINEAR(x)[:, 1:4].tanh(), "bpu"),
    "mean": (lambda x: CONV(x).mean(2).tanh(), "bu"),
    "maximum and its place": (lambda x: CONV(x).max(2)[0].tanh(), "bu"),
    "cat along units": (lambda x: torch.cat([LINEAR(x), LINEAR(x)], 2).tanh(), "bpu"),
    "cat along positions": (lambda x: torch.cat([LINEAR(x), LINEAR(x)], 1).tanh(), "bpu"),
    "stack": (lambda x: torch.stack([LINEAR(x)[:, 0], LINEAR(x)[:, 1]], 1).tanh(), "bpu"),
    "a product with a matrix from the left": (lambda x: (SQUARE @ LINEAR(x)).tanh(), "bpu"),
    "features summed by a matrix from the left": (lambda x: (WIDE @ CONV(x)).tanh(), "bup"),
    "einsum to new features": (lambda x: torch.einsum("bct,dc->btd", CONV(x), WIDE).tanh(), "bpu"),
    "einsum over positions": (lambda x: torch.einsum("btd,ts->bsd", LINEAR(x), SQUARE).tanh(), "bpu"),
    "attention": (lambda x: F.scaled_dot_product_attention(*[LINEAR(x)] * 3).tanh(), "bpu"),
    "a gate per position": (lambda x: (LINEAR(x) * LINEAR(x).mean(2, keepdim=True).sigmoid()).tanh(), "bpu"),
    "a gate per channel": (lambda x: (CONV(x) * (CONV(x).mean(2) @ torch.ones(5, 5).double()).sigmoid()[:, :, None]).tanh(), "bup"),
    "index": (lambda x: LINEAR(x)[:, torch.tensor([3, 1, 0])].tanh(), "bpu"),
    "pool": (lambda x: F.max_pool1d(CONV(x), 2).tanh(), "bup"),
    "unfold": (lambda x: LINEAR(x).unfold(1, 3, 2).tanh(), "bpup"),
    "flip": (lambda x: CONV(x).flip(1).tanh(), "bup"),
}
KINDS = {"b": BATCH, "u": UNITS, "p": POSITIONS}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPS)
def test_axes_of_single_ops(name):
    """b: the batch, u: units, p: positions, batch first."""
    run, kinds = OPS[name]
    x = random(2, 4, 7)
    batch = run(x).shape.index(2)
    network = vs.trace(Function(lambda x: run(x).movedim(batch, 0).flatten(1)), x)
    last = next(axes for value, axes in reversed(network.axes.values.items()) if network.values[value].op in ("tanh", "cos"))
    assert "".join(next(k for k, kind in KINDS.items() if kind == axis_kind(axis)) for axis in last.batch_first) == kinds
    assert last.units == kinds.index("u")


def test_a_flip_of_an_axis_that_holds_the_batch_and_more_loses_the_samples():
    x = random(2, 4, 7)
    network = vs.trace(Function(lambda x: x.flatten(0, 1).flip(0).cos().flip(0).view(-1, 4, 7).mean((1, 2))[:, None]), x)
    assert network.axes.values["flatten"].batch is not None and network.axes.values["flip"].batch is None


def test_an_op_without_a_rule_keeps_the_batch_alone():
    x = random(2, 4, 7)
    network = vs.trace(Function(lambda x: torch.fft.fft(LINEAR(x)).abs().flatten(1)), x)
    axes = next(axes for value, axes in network.axes.values.items() if "fft" in value)
    assert axes.batch is not None and axes.units is None


def test_features_of_an_input_that_two_layers_read_along_two_axes_are_unknown():
    x = random(2, 6, 6)
    weight = random(6, 3, seed=4)
    network = vs.trace(Function(lambda x: (x @ weight).flatten(1) + (x.transpose(1, 2) @ weight).flatten(1)), x)
    assert network.axes.values[network.inputs[0].name].units is None


def test_a_picture_without_channels_has_positions_alone():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Unflatten(1, (1, 6)), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 2)).double(), random(2, 6, 6)
    network = vs.trace(model, x)
    assert network.axes.values[network.inputs[0].name].units is None
    assert [axis_kind(axis) for axis in network.axes.values[network.inputs[0].name].axes] == [BATCH, POSITIONS, POSITIONS]
