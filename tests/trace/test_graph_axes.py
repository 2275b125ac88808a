"""Units and samples in the middle of a network, held against forward hooks, whatever the layout they are kept in."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import EXACT, Function, random
from tests.trace.laid_out_networks import (
    PLACES,
    Dealt,
    StepsFirst,
    hook_axis,
    laid_out,
    output_without_unit,
    relevance_by_hook,
    unit_by_hook,
)
from vesalius.core.errors import InvalidInput
from vesalius.trace.question import ask

UNIT = 3


@pytest.fixture(scope="module")
def traced():
    """Networks, traced once."""
    found = {}

    def get(name):
        if name not in found:
            model, x = laid_out(name)
            found[name] = (vs.trace(model, x), model, x)
        return found[name]

    return get


@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_an_inner_target_is_the_mean_of_a_unit(traced, name, layer):
    network, model, x = traced(name)
    torch.testing.assert_close(ask(network, x, target=(layer, UNIT)).total, unit_by_hook(model, layer, UNIT, x), **EXACT)


@pytest.mark.parametrize(("name", "layer"), [place for place in PLACES if place[1] != "norm"])
def test_a_game_without_a_unit_is_the_model_without_it(traced, name, layer):
    network, model, x = traced(name)
    players = vs.Players.units(network, layer)
    masks = torch.ones(2, players.n, dtype=torch.bool)
    masks[1, UNIT] = False
    found = vs.Game.on(network, x[1:2], players, target=2)(masks)
    expected = torch.stack([model(x[1:2])[0].detach(), output_without_unit(model, layer, UNIT, x[1])])[:, 2]
    torch.testing.assert_close(found, expected, **EXACT)
    assert (expected[0] - expected[1]).abs() > 1e-6


@pytest.mark.parametrize("method", ["gradient_x_input", "lrp_epsilon", "deeplift_rescale"])
@pytest.mark.parametrize(
    ("name", "layer"), [("flat", "fc"), ("swin", "proj"), ("steps first", "fc"), ("film", "conv"), ("convnext", "wide")]
)
def test_attributions_at_a_layer_that_sees_samples_and_positions_as_one_batch(traced, name, layer, method):
    """Each sample has its own values, as if it had come alone."""
    network, _, x = traced(name)
    layer = network.layer(layer).value
    together = vs.attribute(network, x, method, target=1, at=layer)
    for place, sample in enumerate(x):
        alone = vs.attribute(network, sample[None], method, target=1, at=layer)
        torch.testing.assert_close(together.values[place], alone.values[0], **EXACT)
        torch.testing.assert_close(together.gap[place], alone.gap[0], **EXACT)


@pytest.mark.parametrize(("name", "layer"), PLACES)
def test_gradient_times_value_of_a_unit(traced, name, layer):
    network, model, x = traced(name)
    at = next((one.value for one in network.layers.values() if one.name == layer), layer)
    values = vs.attribute(network, x, "gradient_x_input", target=1, at=at).values
    by_unit = values.movedim(network.axes.unit_axis(network.resolve(at)), 1).flatten(2).sum(2)
    torch.testing.assert_close(by_unit, torch.stack([relevance_by_hook(model, layer, sample, 1) for sample in x]), **EXACT)


def test_a_position_of_a_unit_behind_a_permute(traced):
    network, _, x = traced("convnext")
    maps = network.read(x, "norm")["norm"]
    torch.testing.assert_close(ask(network, x, target=("norm", UNIT, 1, 2)).total, maps[:, 1, 2, UNIT], **EXACT)


def test_a_background_of_inputs_is_read_where_units_share_the_axis_of_the_batch(traced):
    """Absent units are averaged over the background, held against a loop of single forward passes."""
    network, model, x = traced("flat")
    players, module = vs.Players.units(network, "fc"), model.get_submodule("fc")
    masks = torch.ones(1, players.n, dtype=torch.bool)
    masks[0, UNIT] = False
    found = vs.Game.on(network, x[:1], players, target=0, baseline=vs.Marginal(x[1:]))(masks)
    outputs = []
    for other in x[1:]:
        seen = []
        handle = module.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output[..., UNIT]))
        model(other[None])
        handle.remove()

        def swap(_, __, output, seen=seen):
            return torch.cat([output[..., :UNIT], seen[0][..., None], output[..., UNIT + 1 :]], -1)

        handle = module.register_forward_hook(swap)
        outputs.append(model(x[:1])[0, 0])
        handle.remove()
    torch.testing.assert_close(found[0], torch.stack(outputs).mean().detach(), **EXACT)


def test_axes_survive_a_file(traced, tmp_path):
    network, _, x = traced("swin")
    again = vs.Network.load(network.save(tmp_path / "net.safetensors"))
    assert {name: axes.units for name, axes in again.axes.values.items()} == {
        name: axes.units for name, axes in network.axes.values.items()
    }
    torch.testing.assert_close(ask(again, x, target=("proj", UNIT)).total, ask(network, x, target=("proj", UNIT)).total, **EXACT)


# ---- refusals ------------------------------------------------------------------------------------------------------------------------


def test_units_that_are_spread_over_heads_are_refused_with_a_value_that_has_them(traced):
    network, _, x = traced("swin")
    heads = next(name for name, value in network.values.items() if value.op == "unbind" or name.startswith("unbind"))
    with pytest.raises(InvalidInput, match=r"units are spread over axes 2 and 4; choose a value before or after it, such as 'qkv/linear'"):
        ask(network, x, target=(heads, 1))


def test_an_axis_as_long_as_the_batch_that_is_not_the_batch():
    """Rows of [T*B] dealt out as [B, T]."""
    model, x = Dealt().double().eval(), random(2, 5, 4)
    network = vs.trace(model, x)
    with pytest.raises(InvalidInput, match=r"in which no axis is the batch; choose a value before or after it, such as 'reshape'"):
        ask(network, x, target=0, at="view")
    torch.testing.assert_close(ask(network, x, target=("fc", UNIT)).total, unit_by_hook(model, "fc", UNIT, x), **EXACT)


def test_where_the_graph_says_nothing_there_is_no_guess():
    """Two axes that no layer reads: neither need be units."""
    x = random(2, 3, 4)
    network = vs.trace(Function(lambda x: x.exp().sum((1, 2))[:, None] * torch.ones(3).double()), x)
    with pytest.raises(InvalidInput, match=r"shape \[batch, 3, 4\]: nothing in the graph says which axis runs over units"):
        ask(network, x, target=("exp", 1))


def test_what_reads_an_input_says_where_its_features_are():
    x = random(2, 4, 7)
    first = vs.trace(nn.Sequential(nn.Tanh(), nn.Conv1d(4, 3, 2), nn.Flatten(), nn.Linear(18, 2)).double(), x)
    last = vs.trace(nn.Sequential(nn.Tanh(), nn.Linear(7, 3), nn.Flatten(), nn.Linear(12, 2)).double(), x)
    torch.testing.assert_close(ask(first, x, target=("0", 1)).total, x.tanh()[:, 1].mean(1), **EXACT)
    torch.testing.assert_close(ask(last, x, target=("0", 1)).total, x.tanh()[:, :, 1].mean(1), **EXACT)


def test_a_recurrent_layer_that_takes_steps_first():
    torch.manual_seed(0)
    model, x = StepsFirst().double().eval(), random(3, 5, 4)
    network = vs.trace(model, x)
    states = model.lstm(x.transpose(0, 1))[0]
    value = next(name for name in network.values if name.startswith("lstm") and name.endswith(".0"))
    assert network.values[value].batch_axis == 1
    torch.testing.assert_close(ask(network, x, target=(value, UNIT)).total, states[..., UNIT].mean(0), **EXACT)
    torch.testing.assert_close(ask(network, x, target=(value, UNIT, 4)).total, states[4, :, UNIT], **EXACT)


def test_embeddings_of_positions_have_units_but_no_samples(traced):
    table, x = nn.Embedding(5, 6).double(), random(2, 5, 6)
    network = vs.trace(Function(lambda x: (x + table(torch.arange(5))).tanh().mean(1)), x)
    name = next(layer.name for layer in network.layers.values() if layer.op == "embedding")
    assert network.unit_index(name).flatten().tolist() == list(range(6))
    with pytest.raises(InvalidInput, match="in which no axis is the batch"):
        vs.Game.on(network, x[:1], vs.Players.units(network, name), target=0)


def test_hooks_see_what_the_network_sees(traced):
    """The truth of these tests: a module's output has as many units as the module makes."""
    network, model, _ = traced("swin")
    assert hook_axis(model.get_submodule("patch")) == 1 and hook_axis(model.get_submodule("proj")) == -1
    assert network.layer("proj").units == model.proj.out_features and network.values[network.layer("proj").value].batch_axis is None


@pytest.mark.parametrize(("name", "first", "second"), [("flat", "fc", "proj"), ("swin", "qkv", "proj"), ("film", "conv", "relu")])
def test_two_explained_values_of_which_one_is_computed_from_the_other(traced, name, first, second):
    """A unit of each is held at zero by hooks at the same time, so that the second sees the first without it."""
    network, model, x = traced(name)
    at = (network.layers[first].value, network.layers[second].value if second in network.layers else second)
    sides = [network.axes.values[value] for value in at]
    masks, hooks = [], []
    for side in sides:
        index = torch.arange(int(side.shape[side.units])).reshape([-1 if axis == side.units else 1 for axis in range(1, len(side.shape))])
        masks.append(index)
    count = int(sides[0].shape[sides[0].units])
    players = vs.Players((masks[0], masks[1] + count), (count + int(sides[1].shape[sides[1].units]),), "channels")
    present = torch.ones(1, players.n, dtype=torch.bool)
    present[0, UNIT] = present[0, count + 1] = False
    found = vs.Game.on(network, x[:1], players, target=2, at=at)(present)

    def without(unit, axis):
        return lambda _, __, output: output.index_fill(axis, torch.tensor([unit]), 0)

    if second in network.layers:
        for layer, unit in ((first, UNIT), (second, 1)):
            module = model.get_submodule(layer)
            hooks.append(module.register_forward_hook(without(unit, hook_axis(module))))
        expected = model(x[:1])[0, 2]
    else:  # the relu of Film: both are zero where either is
        hooks.append(model.conv.register_forward_hook(lambda _, __, output: output.index_fill(1, torch.tensor([UNIT, 1]), 0)))
        expected = model(x[:1])[0, 2]
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(found[0], expected.detach(), **EXACT)
