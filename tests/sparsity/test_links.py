"""Links: the uniform form of weights, their inputs, and the activation that follows."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.zoo.catalogue import SPECIMENS, specimen
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName, WrongType
from vesalius.sparsity.links import ReservoirSample, links_of, read_link_inputs

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))


def traced(*layers, x=X):
    torch.manual_seed(0)
    return vs.trace(nn.Sequential(*layers).eval(), x[:2])


class Twice(nn.Module):
    """One module called twice, and its weight once more the other way round."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 5)

    def forward(self, x):
        h = torch.relu(self.fc(torch.relu(self.fc(x))))
        return h @ self.fc.weight


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["two_input", "tied_autoencoder", "unet", "resnet", "mobilenet_v3", "conv1d", "conv3d", "encoder", "bert", "gpt2"]
)
def test_rows_times_links_are_the_layer(name):
    found = specimen(name)
    args, kwargs = found.example(3)
    net = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    x = net.bind([*args, *kwargs.values()])
    for one in links_of(net).values():
        value, z = net.read(x, [one.sources[0], one.layer.value]).values()
        made = torch.cat([part @ one.weight[units].T + one.bias[units] for units, part in one.split(one.rows(value))], 1)
        torch.testing.assert_close(made, z.movedim(one.layer.unit_axis, -1).reshape(-1, one.units), rtol=1e-5, atol=1e-5)
        assert torch.equal(one.to_weight_shape(one.weight), net.parameters[one.layer.weight])


@pytest.mark.parametrize("found", [one for one in SPECIMENS if one.name in ("resnet", "conv1d", "two_input")], ids=lambda one: one.name)
def test_the_activation_takes_what_links_say(found):
    """Through batch norms, the argument's weight and bias give what the activation reads."""
    args, kwargs = found.example(3)
    net = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    x = net.bind([*args, *kwargs.values()])
    normed = [one for one in links_of(net).values() if one.after.scale is not None]
    assert normed
    for one in normed:
        reader = next(iter(net.model_graph.nodes[one.layer.value].users)).meta["value"].name
        value, z = net.read(x, [one.sources[0], reader]).values()
        weight, bias = one.argument()
        made = one.rows(value) @ weight.T + bias
        torch.testing.assert_close(made, z.movedim(one.layer.unit_axis, -1).reshape(-1, one.units), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "name", "parameter"),
    [
        (nn.ReLU(), "relu", 0.0),
        (nn.LeakyReLU(0.2), "leaky_relu", 0.2),
        (nn.GELU(), "gelu", 0.0),
        (nn.GELU("tanh"), "gelu_tanh", 0.0),
        (nn.SiLU(), "silu", 0.0),
        (nn.Sigmoid(), "sigmoid", 0.0),
        (nn.Tanh(), "tanh", 0.0),
        (nn.Softplus(2), "softplus", 2.0),
        (nn.Sequential(nn.Dropout(), nn.Unflatten(1, (2, 2)), nn.ReLU()), "relu", 0.0),
        (nn.Softmax(1), "identity", 0.0),
    ],
    ids=str,
)
def test_the_activation_is_read_off_the_graph(layer, name, parameter):
    found = links_of(traced(nn.Linear(5, 4), layer))["0"]
    assert (found.activation.name, found.activation.parameter, found.after.unread) == (name, parameter, "")


def test_an_activation_without_a_closed_form_is_read_as_it_is():
    found = links_of(traced(nn.Linear(5, 4), nn.Hardswish()))["0"]
    assert (found.activation.name, found.after.unread) == ("hardswish", "")


def test_a_bias_added_on_its_own_belongs_to_the_sum():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.b = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(4))

        def forward(self, x):
            return torch.relu(x @ self.w + self.b)

    model = Product()
    (found,) = links_of(vs.trace(model, X[:2])).values()
    assert found.activation.name == "relu"
    assert torch.equal(found.argument()[1], model.b) and torch.equal(found.weight, model.w.T)


def test_a_weight_used_twice_is_listed_once_with_the_rows_of_both_uses():
    net = vs.trace(Twice(), X[:2])
    found = links_of(net)
    assert [len(one.layers) for one in found.values()] == [2, 1]
    both, back = found.values()
    assert both.name == "fc" and both.tied == (back.name,) and back.tied == ("fc",)
    assert len(read_link_inputs(found, X)["fc"]) == 2 * len(X)
    assert links_of(net, [both.layers[1].name]).keys() == {"fc"}


def test_grouped_convolutions_have_inputs_of_their_own():
    net = traced(nn.Conv1d(4, 6, 3, padding="same", groups=2, dilation=2), x=torch.randn(3, 4, 9))
    found = links_of(net)["0"]
    assert (found.units, found.fan_in, found.kernel) == (6, 6, 3)
    assert [units for units, _ in found.split(torch.zeros(1, 12))] == [slice(0, 3), slice(3, 6)]


def test_positions_are_a_sample_of_all_positions():
    x = torch.randn(5, 2, 6, 6)
    found = links_of(traced(nn.Conv2d(2, 3, 3, stride=2), x=x))["0"]
    every = found.rows(x).reshape(5, 4, -1)
    some = found.rows(x, positions=3, generator=torch.Generator().manual_seed(1)).reshape(5, 3, -1)
    for sample in range(5):
        matches = (some[sample][:, None] == every[sample]).all(2)
        assert matches.sum().item() == 3 and matches.sum(0).max().item() == 1


def test_rows_beyond_the_limit_are_a_uniform_sample():
    sample = ReservoirSample(2000, 0)
    for start in range(0, 20_000, 64):
        sample.add(torch.arange(start, min(start + 64, 20_000), dtype=torch.float64)[:, None])
    rows = sample.tensor()[:, 0]
    assert len(rows) == len(rows.unique()) == 2000
    assert abs(float(rows.mean()) - 10_000) < 4 * 20_000 / 12**0.5 / 2000**0.5


def test_few_rows_are_all_kept_in_order_whatever_the_batches():
    net = traced(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    whole, parts = read_link_inputs(links_of(net), X), read_link_inputs(links_of(net), [X[:5], X[5:]])
    assert torch.equal(whole["0"], X)
    torch.testing.assert_close(parts["2"], whole["2"])


def test_errors(as_a_user):
    net = traced(nn.Embedding(9, 5), nn.Linear(5, 4), x=torch.zeros(4, 3, dtype=torch.long))
    with pytest.raises(UnknownName, match="there is no layer '11'"):
        links_of(net, ["11"])
    with pytest.raises(InvalidInput, match="kind embedding; links are of"):
        links_of(net, ["0"])
    with pytest.raises(WrongType, match="a Network was expected"):
        links_of(nn.Linear(2, 2))
    with pytest.raises(InvalidInput, match="no linear layer"):
        links_of(traced(nn.ReLU()))
    dense = links_of(traced(nn.Linear(5, 4)))
    with pytest.raises(InvalidInput, match="layer '0' hold NaN"):
        read_link_inputs(dense, X.masked_fill(X > 1, torch.nan))
    with pytest.raises(InvalidInput, match="no rows"):
        read_link_inputs(dense, [])
    with pytest.raises(InvalidInput, match="1 or more, not 0"):
        read_link_inputs(dense, X, rows=0)


def test_an_opaque_network_says_why():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum().item() > 0 else -x

    with pytest.raises(NotTraceable, match="needs the graph"):
        links_of(vs.trace(Branching(), X))
