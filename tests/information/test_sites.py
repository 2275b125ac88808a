"""Where units are read: layer by layer, behind their activations, on ordinary networks."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.zoo.catalogue import SPECIMENS, specimen
from tests.zoo.cifar import ResNet20
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName
from vesalius.information.sites import pooled, sites_of

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


def test_units_are_read_behind_norm_residual_and_activation(residual):
    found = {site.name: site for site in sites_of(residual, None, POST)}
    assert list(found) == ["x", "stem", "inner", "last", "shrink", "output"] or list(found) == [
        "x",
        "stem",
        "inner",
        "shrink",
        "last",
        "output",
    ]
    assert residual.values[found["stem"].value].op == residual.values[found["inner"].value].op == "relu"
    assert found["inner"].kind == "channels" and found["inner"].units == 4 and found["x"].units == 25
    assert found["shrink"].value == residual.layers["shrink"].value, "no activation follows it"


def test_before_the_activation_the_layer_itself_is_read(residual):
    for site in sites_of(residual, None, PRE)[1:-1]:
        assert site.value == residual.layers[site.name].value


def test_a_resnet_has_all_its_convolutions():
    net = vs.trace(ResNet20().eval(), torch.randn(2, 3, 32, 32))
    found = sites_of(net, None, POST)
    assert [site.kind for site in found] == ["features", *["channels"] * 19, "classes"]
    assert [site.units for site in found[1:-1]] == [16] * 7 + [32] * 6 + [64] * 6


def test_of_a_transformer_heads_and_hidden_units_are_read():
    chosen = specimen("encoder")
    net = vs.trace(chosen.build().eval(), *chosen.example()[0])
    found = sites_of(net, None, POST)
    assert [(site.kind, site.units) for site in found] == [
        ("features", 24),
        ("heads", 2),
        ("neurons", 16),
        ("heads", 2),
        ("neurons", 16),
        ("classes", 5),
    ]


@pytest.mark.parametrize("chosen", [one for one in SPECIMENS if one.exportable], ids=lambda one: one.name)
def test_every_ordinary_network_has_sites_of_one_row_per_sample(chosen):
    args, kwargs = chosen.example(3)
    net = vs.trace(chosen.build().eval(), *args, kwargs=kwargs, output=chosen.output)
    found = sites_of(net, None, POST)
    inputs = [*args, *kwargs.values()]
    values = net.program([value.name for value in net.inputs], [site.value for site in found])(*inputs)
    assert [tuple(rows.shape) for rows in pooled(found, values, "mean")] == [(3, site.units) for site in found]
    assert found[-1].kind == "classes"


def test_channels_are_pooled_and_heads_have_a_size(residual):
    stem = sites_of(residual, ["stem", "output"], POST)[0]
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(stem.read(x, "mean"), x.mean((2, 3)))
    torch.testing.assert_close(stem.read(x, "max"), x.amax((2, 3)))
    heads = next(
        site
        for site in sites_of(vs.trace(specimen("encoder").build().eval(), *specimen("encoder").example()[0]), None, POST)
        if site.kind == "heads"
    )
    out = torch.randn(3, 2, 6, 4)
    torch.testing.assert_close(heads.read(out, "mean"), out.square().mean((2, 3)).sqrt())


def test_layers_by_name_values_and_modules(residual):
    found = sites_of(residual, ["norm", "x", "last"], POST)
    assert [site.name for site in found] == ["x", "norm", "last"], "in order of computation"
    assert found[1].units == 4 and found[1].kind == "channels"
    assert [site.name for site in sites_of(residual, ["input", "output"], POST)] == ["x", "output"]


def test_what_cannot_be_read_is_refused(residual):
    with pytest.raises(UnknownName, match="did you mean 'inner'"):
        sites_of(residual, ["iner", "output"], POST)
    with pytest.raises(InvalidInput, match="at least two layers; found stem"):
        sites_of(residual, ["stem"], POST)
    with pytest.raises(InvalidInput, match="which is also where"):
        sites_of(residual, ["stem", "stem", "output"], POST)
    with pytest.raises(UnknownName, match="post_activation"):
        sites_of(residual, None, "activation")
    with pytest.raises(NotTraceable):
        sites_of(vs.trace(lambda x: x, torch.ones(1, 2)), None, POST)
    with pytest.raises(InvalidInput, match="'stem' has NaN or infinite values"):
        pooled(sites_of(residual, ["stem", "last"], POST)[:1], [torch.full((1, 4, 5, 5), float("nan"))], "mean")
