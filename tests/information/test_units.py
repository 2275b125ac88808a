"""Where units are read: layer by layer, behind their activations, on ordinary networks."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.trace.laid_out_networks import PLACES, laid_out, unit_by_hook
from tests.zoo.catalogue import SPECIMENS, specimen
from tests.zoo.cifar import ResNet20
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName
from vesalius.information.units import find_layer_units, pool_units

POST, PRE = "post_activation", "pre_activation"


class Residual(nn.Module):
    """A residual block with a norm, and a layer without activation."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.norm, self.last = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Linear(4, 3),
        )
        self.shrink = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        h = torch.relu(self.stem(x))
        h = torch.relu(self.norm(self.inner(h)) + h)
        return self.last(h.mean((2, 3))) + self.shrink(h).mean((1, 2, 3))[:, None]


@pytest.fixture(scope="module")
def residual():
    torch.manual_seed(0)
    return vs.trace(Residual().eval(), torch.randn(2, 1, 5, 5))


def test_units_are_read_behind_norm_and_activation_and_a_residual_sum_has_its_own(residual):
    found = {site.name: site for site in find_layer_units(residual, None, POST)}
    assert {"x", "stem", "inner", "relu_1", "last", "shrink"} < set(found) and list(found)[-1] == "output"
    assert residual.values[found["stem"].value].op == residual.values[found["relu_1"].value].op == "relu"
    assert residual.values[found["inner"].value].op == "batch_norm", "before the sum"
    assert found["inner"].kind == found["relu_1"].kind == "channels" and found["relu_1"].units == 4 and found["x"].units == 25
    assert found["shrink"].value == residual.layers["shrink"].value, "no activation follows it"


def test_before_the_activation_the_layer_itself_is_read(residual):
    found = find_layer_units(residual, None, PRE)
    assert [residual.values[site.value].op for site in found if site.name not in residual.layers][1:-1] == ["add"]
    for site in found:
        assert site.name not in residual.layers or site.value == residual.layers[site.name].value


def test_a_resnet_has_all_its_convolutions_and_the_sum_of_each_block():
    net = vs.trace(ResNet20().eval(), torch.randn(2, 3, 32, 32))
    found = find_layer_units(net, None, POST)
    assert [site.kind for site in found] == ["features", *["channels"] * 28, "classes"]
    assert [site.units for site in found[1:-1]] == [16] * 10 + [32] * 9 + [64] * 9
    assert sum(site.name in net.layers for site in found) == 19


def test_of_a_transformer_heads_hidden_units_and_the_residual_stream_are_read():
    chosen = specimen("encoder")
    net = vs.trace(chosen.build().eval(), *chosen.example()[0])
    found = find_layer_units(net, None, POST)
    assert [(site.kind, site.units) for site in found] == [
        ("features", 24),
        *[("heads", 2), ("neurons", 8), ("neurons", 16), ("neurons", 8)] * 2,
        ("classes", 5),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [one for one in SPECIMENS if one.exportable], ids=lambda one: one.name)
def test_every_ordinary_network_has_sites_of_one_row_per_sample(chosen):
    args, kwargs = chosen.example(3)
    net = vs.trace(chosen.build().eval(), *args, kwargs=kwargs, output=chosen.output)
    found = find_layer_units(net, None, POST)
    inputs = [*args, *kwargs.values()]
    values = net.program([value.name for value in net.inputs], [site.value for site in found])(*inputs)
    assert [tuple(rows.shape) for rows in pool_units(found, values, "mean")] == [(3, site.units) for site in found]
    assert found[-1].kind == "classes"


def test_channels_are_pooled_and_heads_have_a_size(residual):
    stem = find_layer_units(residual, ["stem", "output"], POST)[0]
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(stem.read(x, "mean"), x.mean((2, 3)))
    torch.testing.assert_close(stem.read(x, "max"), x.amax((2, 3)))
    heads = next(
        site
        for site in find_layer_units(vs.trace(specimen("encoder").build().eval(), *specimen("encoder").example()[0]), None, POST)
        if site.kind == "heads"
    )
    out = torch.randn(3, 2, 6, 4)
    torch.testing.assert_close(heads.read(out, "mean"), out.square().mean((2, 3)).sqrt())


def test_layers_by_name_values_and_modules(residual):
    found = find_layer_units(residual, ["norm", "x", "last"], POST)
    assert [site.name for site in found] == ["x", "norm", "last"], "in order of computation"
    assert found[1].units == 4 and found[1].kind == "channels"
    assert [site.name for site in find_layer_units(residual, ["input", "output"], POST)] == ["x", "output"]


def test_what_cannot_be_read_is_refused(residual):
    with pytest.raises(UnknownName, match="did you mean 'inner'"):
        find_layer_units(residual, ["iner", "output"], POST)
    with pytest.raises(InvalidInput, match="at least two layers; found stem"):
        find_layer_units(residual, ["stem"], POST)
    with pytest.raises(InvalidInput, match="which is also where"):
        find_layer_units(residual, ["stem", "stem", "output"], POST)
    with pytest.raises(UnknownName, match="post_activation"):
        find_layer_units(residual, None, "activation")
    with pytest.raises(NotTraceable):
        find_layer_units(vs.trace(lambda x: x, torch.ones(1, 2)), None, POST)
    with pytest.raises(InvalidInput, match="'stem' has NaN or infinite values"):
        pool_units(find_layer_units(residual, ["stem", "last"], POST)[:1], [torch.full((1, 4, 5, 5), float("nan"))], "mean")


class Handwritten(nn.Module):
    """Activations written out, one that is none, and a residual sum around a norm."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third, self.norm = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3), nn.LayerNorm(6)

    def forward(self, x):
        h = self.first(x)
        h = h * torch.sigmoid(h)
        g = self.second(h)
        g = 0.5 * g * (1.0 + torch.tanh(0.8 * (g + 0.04 * torch.pow(g, 3.0))))
        z = self.third(g + self.norm(g))
        return z * 2 + z


def test_activations_written_by_hand_are_found():
    torch.manual_seed(0)
    network, x = vs.trace(Handwritten().eval(), torch.randn(2, 4)), torch.randn(5, 4)
    found = {site.name: site.value for site in find_layer_units(network, None, POST)}
    assert list(found) == ["x", "first", "second", "third", "output"]
    values = network.read(x, [*found.values(), *(network.layers[name].value for name in ("first", "second", "third"))])
    first, second, third = (values[network.layers[name].value] for name in ("first", "second", "third"))
    torch.testing.assert_close(values[found["first"]], nn.functional.silu(first))
    torch.testing.assert_close(
        values[found["second"]], 0.5 * second * (1 + torch.tanh(0.8 * (second + 0.04 * second**3))), msg="not behind the residual sum"
    )
    assert torch.equal(values[found["third"]], third), "a sum of multiples is no activation"


def test_a_layer_without_activation_is_read_behind_its_norm():
    network = vs.trace(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 3)).eval(), torch.randn(2, 4))
    first = find_layer_units(network, None, POST)[1]
    assert (first.name, network.values[first.value].op) == ("0", "batch_norm")


def test_hidden_units_of_a_transformer_that_folds_positions_into_the_batch():
    chosen = specimen("gpt2")
    args, kwargs = chosen.example(3)
    network = vs.trace(chosen.build().eval(), *args, kwargs=kwargs, output=chosen.output)
    found = [site for site in find_layer_units(network, None, POST) if site.kind == "neurons"]
    assert found and all(network.values[site.value].batch_axis == 0 and site.axis == 2 for site in found)
    pre, hidden = (
        {site.name: site for site in find_layer_units(network, None, PRE)},
        [site for site in found if site.name in network.layers],
    )
    assert hidden and all(network.values[pre[site.name].value].op == "view" and pre[site.name].units == site.units for site in hidden)


def test_a_sampled_position_is_the_same_place_in_all_layers(residual):
    x = torch.randn(4, 1, 5, 5)
    sites = find_layer_units(residual, ["stem", "inner", "last"], POST)
    values = list(residual.read(x, [site.value for site in sites]).values())
    spots = torch.tensor([[0.0, 0.0, 0.5], [0.99, 0.99, 0.5], [0.2, 0.79, 0.5], [0.5, 0.1, 0.5]])
    read = pool_units(sites, values, "sampled", spots)
    for at, (row, column) in enumerate([(0, 0), (4, 4), (1, 3), (2, 0)]):
        assert torch.equal(read[0][at], values[0][at, :, row, column]) and torch.equal(read[1][at], values[1][at, :, row, column])
    assert torch.equal(read[2], values[2]), "a layer without positions is read as it is"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer"), [place for place in PLACES if place[1] != "norm"])
def test_units_in_any_layout_are_the_means_that_hooks_see(name, layer):
    model, x = laid_out(name)
    network = vs.trace(model, x)
    site = find_layer_units(network, [layer, "output"], PRE)[0]
    (rows,) = pool_units([site], [network.read(x, site.value)[site.value]], "mean")
    expected = torch.stack([unit_by_hook(model, layer, unit, x) for unit in range(site.units)], 1)
    torch.testing.assert_close(rows, expected.float())


@pytest.mark.parametrize("name", ["swin", "steps first", "film", "mixer", "flat"])
def test_the_default_sites_have_a_row_per_sample_in_any_layout(name):
    model, x = laid_out(name)
    network = vs.trace(model, x)
    found = find_layer_units(network, None, POST)
    values = network.read(x, [site.value for site in found])
    assert [tuple(rows.shape) for rows in pool_units(found, list(values.values()), "mean")] == [(3, site.units) for site in found]
    assert {layer for _, layer in PLACES if layer in network.layers and _ == name} <= {site.name for site in found}


def test_a_value_behind_a_permute_has_the_units_of_its_layer():
    """A convolution of a sequence: channels are on the axis that its layer puts them on, whatever the number of axes."""
    torch.manual_seed(0)
    network = vs.trace(nn.Sequential(nn.Conv1d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(20, 2)), torch.randn(2, 3, 6))
    site = find_layer_units(network, ["1", "output"], POST)[0]
    assert (site.units, site.axis, network.values[site.value].op) == (4, 1, "tanh")
