"""Features: where they are read, what bypasses them, and rows that outgrow memory."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vesalius as vs
from tests.rules.layer_rule_networks import Function, random
from tests.trace.laid_out_networks import ConvNeXt, laid_out, same_weights
from tests.zoo.catalogue import SPECIMENS
from vesalius.complexity.features import cache_rows, cut_at, feature_source, resolve_feature
from vesalius.core.errors import InvalidInput, UnknownName

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))


class Skip(nn.Module):
    """A residual block and what follows."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = torch.relu(self.a(x))
        h = torch.relu(h + self.b(h))
        return self.out(torch.relu(self.c(h)))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return vs.trace(Skip(), X[:3])


def test_the_value_before_an_activation_is_taken(network):
    assert resolve_feature(network, "relu_1") == "add"
    assert resolve_feature(network, "relu_1", pre_activation=False) == "relu_1"
    assert resolve_feature(network, "c") == "c/linear"


def test_a_bypassed_value_is_refused_with_the_next_cut(network):
    with pytest.raises(InvalidInput, match=r"'b/linear' is bypassed.*'relu'.*nothing bypasses is 'add'"):
        cut_at(network, "b")


def test_a_cut_makes_the_output(network):
    split = cut_at(network, "relu_1")
    torch.testing.assert_close(split.head(*split.front(X)), network(X), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("found", [one for one in SPECIMENS if one.exportable], ids=lambda one: one.name)
def test_heads_of_zoo_models_equal_the_model(found):
    args, kwargs = found.example(3)
    net = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    inputs = net.bind([*args, *kwargs.values()])
    usable = [value for value, facts in net.values.items() if facts.is_floating and facts.batch_axis == 0 and len(facts.shape) > 1]
    for value in usable[1 :: max(1, len(usable) // 4)]:
        try:
            split = cut_at(net, value)
        except InvalidInput as error:
            split = cut_at(net, str(error).rsplit("at=", 1)[1].strip("'"), pre_activation=False)
        torch.testing.assert_close(split.head(*split.front(*inputs)), net.run(inputs), rtol=1e-6, atol=1e-6)


def test_an_unknown_value_has_near_matches(network):
    with pytest.raises(UnknownName, match="relu"):
        resolve_feature(network, "relu_9")


def test_integers_are_embedded_by_the_network_itself():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    ids = torch.randint(0, 9, (20, 6))
    net = vs.trace(model, ids[:2])
    where = feature_source(net, "1")
    x, f = where.read(ids)
    torch.testing.assert_close(x, model[0].weight[ids])
    assert f.shape == (20, 6, 3)


@pytest.mark.parametrize("form", ["tensor", "tuple", "loader", "labelled"])
def test_rows_come_in_all_forms(network, form):
    data = {
        "tensor": X,
        "tuple": (X,),
        "loader": DataLoader(X, batch_size=7),
        "labelled": DataLoader(TensorDataset(X, torch.arange(40) % 3), batch_size=7),
    }[form]
    with cache_rows(feature_source(network, "relu_1"), data, limit=1 << 20) as rows:
        assert torch.equal(rows.x, X)
        torch.testing.assert_close(rows.f, network.read(X, "add")["add"])
        assert not rows.mapped


def test_large_rows_go_to_a_file_that_is_removed(network):
    batches = DataLoader(X, batch_size=7)
    with cache_rows(feature_source(network, "relu_1"), batches, limit=600) as rows:
        assert rows.mapped
        torch.testing.assert_close(rows.f, network.read(X, "add")["add"])
        assert torch.equal(rows.x, X)
        file = Path(rows.f.numpy().base.filename if hasattr(rows.f.numpy().base, "filename") else "")
    assert not file.is_file()


@pytest.mark.parametrize("bad, message", [(float("nan"), "first in row 9"), (float("inf"), "NaN or infinity")])
def test_rows_that_are_no_numbers_are_named(network, bad, message):
    x = X.clone()
    x[9, 2] = bad
    with (
        pytest.raises(InvalidInput, match=message),
        cache_rows(feature_source(network, "relu_1"), DataLoader(x, batch_size=7), limit=1 << 20),
    ):
        pass


def test_no_rows(network):
    with pytest.raises(InvalidInput, match="no rows"), cache_rows(feature_source(network, "relu_1"), [], limit=1 << 20):
        pass


def test_a_feature_is_read_by_position_in_any_layout():
    first, x = laid_out("channels first")
    networks = [vs.trace(model, x) for model in (first, same_weights(first, ConvNeXt(last=True)))]
    rows = []
    for network in networks:
        where = feature_source(network, "wide")
        seen, feature = where.read(x)
        assert (where.shape.kind, where.shape.channels, where.shape.grid) == ("map", 8, (3, 3))
        rows.append((where.shape.inputs(seen), where.shape.rows(feature)))
    torch.testing.assert_close(rows[1], rows[0], rtol=0, atol=1e-12)
    assert [network.values[feature_source(network, "wide").at].event for network in networks] == [(8, 3, 3), (3, 3, 8)]


def test_a_sequence_is_read_along_the_axis_of_its_features():
    """Steps come last in the network, whose input has features last."""
    model, x = Function(lambda x: nn.functional.conv1d(x.transpose(1, 2), WEIGHT).relu().mean(2)), random(3, 9, 4)
    shape = feature_source(vs.trace(model, x), "conv1d").shape
    assert (shape.kind, shape.entering, shape.channels, shape.sides, shape.grid) == ("map", 4, 5, (1, 9), (1, 8))


def test_a_feature_that_shares_an_axis_with_the_batch_is_refused():
    model, x = laid_out("flat")
    with pytest.raises(InvalidInput, match="with the batch as its first axis"):
        feature_source(vs.trace(model, x), "fc/addmm")


WEIGHT = random(5, 4, 2, seed=3)
