"""Importance of the links of a network: shapes, choices, results and errors; on real digits, the error of the closed form."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vesalius as vs
from tests.zoo.catalogue import specimen
from vesalius.core.errors import ForeignFile, InvalidInput, NotTraceable, TooManyPlayers, UnknownName, WrongType
from vesalius.data import load
from vesalius.sparsity import ImportanceOptions, LinkImportance, link_importance
from vesalius.sparsity.activations import Activation
from vesalius.sparsity.estimators.enumeration import exact_elements, exact_values
from vesalius.sparsity.estimators.gaussian import closed_form_importance
from vesalius.sparsity.estimators.permutation import sample_importance
from vesalius.sparsity.estimators.unit_games import UnitGames, importance_by_chunks

X = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))


def dense(*sizes, act=nn.ReLU, x=X):
    torch.manual_seed(1)
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), act())][:-1]
    return vs.trace(nn.Sequential(*layers), x[:2])


@pytest.fixture(scope="module")
def network():
    return dense(6, 5, 30, 4)


def test_values_have_the_shape_of_each_weight_and_layers_their_estimator(network):
    found = link_importance(network, X)
    assert {name: tuple(one.values.shape) for name, one in found.layers.items()} == {"0": (5, 6), "2": (30, 5), "4": (4, 30)}
    assert [one.estimator for one in found.layers.values()] == ["exact", "exact", "linear"]
    assert [found[name].rows for name in found] == [60] * 3 and len(found) == 3


@pytest.mark.parametrize("baseline", ["data", "zero"])
def test_enumeration_is_that_of_the_layer(network, baseline):
    found = link_importance(network, X, baseline=baseline, estimator="exact", layers=["2"])["2"].values
    weight, bias = network.parameters["2.weight"], network.parameters["2.bias"]
    game = UnitGames.of(weight, bias, network.read(X, "1")["1"], Activation("relu"), baseline)
    torch.testing.assert_close(found, importance_by_chunks(game, exact_values, "mean_abs", exact_elements(game)))


def test_the_sum_before_the_activation_is_linear(network):
    found = link_importance(network, X, layers=["0"], weighing=ImportanceOptions(output="pre"))["0"]
    expected = network.parameters["0.weight"].abs() * (X - X.mean(0)).abs().mean(0)
    torch.testing.assert_close(found.values, expected)
    assert (found.estimator, found.activation, found.error) == ("linear", "identity", 0)


def test_unit_importance_is_the_mean_of_outgoing_links(network):
    found = link_importance(network, X)["2"]
    torch.testing.assert_close(found.unit_importance, found.values.mean(0))
    torch.testing.assert_close(found.variance, found.values.var(0, correction=0))
    assert found.total == pytest.approx(float(found.values.sum()), rel=1e-6)


def test_constant_inputs_are_worth_nothing_if_absent_links_carry_data(network):
    x = X.clone()
    x[:, 3] = 0.7
    assert float(link_importance(network, x, layers=["0"])["0"].unit_importance[3]) < 1e-7
    assert float(link_importance(network, x, layers=["0"], baseline="zero")["0"].unit_importance[3]) > 0.01


def test_data_in_batches_is_the_same_data(network):
    whole = link_importance(network, X)
    parts = link_importance(network, DataLoader(TensorDataset(X, torch.zeros(60)), batch_size=7))
    for name in whole:
        torch.testing.assert_close(parts[name].values, whole[name].values, rtol=1e-5, atol=1e-6)


def test_rows_are_limited(network):
    found = link_importance(network, X.repeat(5, 1), weighing=ImportanceOptions(rows=40, checked=0))
    assert {one.rows for one in found.layers.values()} == {40}


def test_the_network_is_left_as_it_was(network):
    before = network.digest()
    link_importance(network, X)
    assert network.digest() == before


def test_weights_stored_the_other_way_round_have_their_own_shape():
    found = specimen("gpt2")
    args, kwargs = found.example(8)
    net = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    inputs = dict(zip((value.name for value in net.inputs), net.bind([*args, *kwargs.values()]), strict=True))
    name = "transformer.h.0.mlp.c_proj"
    one = link_importance(net, inputs, layers=[name])[name]
    assert one.values.shape == net.parameters[f"{name}.weight"].shape == (64, 16)
    assert one.unit_importance.shape == (64,)
    torch.testing.assert_close(one.unit_importance, one.values.mean(1))


def test_kernel_slices_are_players_of_their_own():
    torch.manual_seed(2)
    x = torch.randn(9, 4, 5, 5)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU())
    net = vs.trace(model, x[:2])
    weights = link_importance(net, x, baseline="zero", weighing=ImportanceOptions(positions=None))["0"]
    slices = link_importance(net, x, baseline="zero", weighing=ImportanceOptions(positions=None, granularity="channel"))["0"]
    assert weights.values.shape == (6, 2, 3, 3) and slices.values.shape == (6, 2, 1, 1)
    assert weights.unit_importance.shape == slices.unit_importance.shape == slices.variance.shape == (4,)
    assert slices.rows == 81 and slices.estimator == "exact"
    torch.testing.assert_close(slices.unit_importance[2:], slices.values[3:].mean(0).flatten())
    model[0].weight.data[4] = 0
    silent = link_importance(net, x, baseline="zero", weighing=ImportanceOptions(granularity="channel"))["0"].values
    assert float(silent[4].abs().max()) == 0 and float(silent[3].min()) > 0


def test_two_channels_share_what_they_do_together():
    """Of two kernel slices, each gets the mean of what it adds alone and what it adds last."""
    torch.manual_seed(3)
    x = torch.randn(4, 2, 3, 3)
    conv = nn.Conv2d(2, 1, 3)
    net = vs.trace(nn.Sequential(conv, nn.ReLU()), x[:2])
    found = link_importance(net, x, baseline="zero", weighing=ImportanceOptions(granularity="channel"))["0"].values.flatten()
    c = torch.stack([(x[:, k] * conv.weight[0, k]).sum((1, 2)) for k in range(2)], 1)
    one, both, none = (conv.bias + c).relu(), (conv.bias + c.sum(1, keepdim=True)).relu(), conv.bias.relu()
    torch.testing.assert_close(found, ((one - none + both - one.flip(1)) / 2).abs().mean(0).detach())


def test_a_batch_norm_belongs_to_the_links():
    torch.manual_seed(4)
    fc, norm = nn.Linear(6, 5), nn.BatchNorm1d(5)
    norm.running_mean.uniform_()
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.uniform_(0.5, 2)
    folded_model = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded_model[0].weight.data = fc.weight.data * scale[:, None]
    folded_model[0].bias.data = (fc.bias - norm.running_mean) * scale + norm.bias
    normed = link_importance(vs.trace(nn.Sequential(fc, norm, nn.ReLU()).eval(), X[:2]), X)["0"].values
    plain = link_importance(vs.trace(folded_model, X[:2]), X)["0"].values
    torch.testing.assert_close(normed, plain)


def test_a_weight_used_twice_counts_the_rows_of_both_uses():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x):
            return torch.relu(self.fc(torch.relu(self.fc(x))))

    assert link_importance(vs.trace(Twice(), X[:2]), X)["fc"].rows == 120


def test_the_error_is_that_against_enumeration():
    x = torch.randn(250, 14, generator=torch.Generator().manual_seed(1)).relu()
    net = dense(14, 4, 2, x=x)
    gauss = link_importance(net, x, baseline="zero", estimator="gaussian", layers=["0"])["0"]
    exact = link_importance(net, x, baseline="zero", estimator="exact", layers=["0"])["0"]
    true = float((gauss.values - exact.values).norm() / exact.values.norm())
    assert 0.005 < true < 0.1 and gauss.error == pytest.approx(true, abs=0.01)
    assert exact.error == 0


def test_a_form_that_does_not_fit_is_reported():
    """Four links that are rarely on, and never together, add up to nothing Gaussian."""
    x = torch.eye(4).repeat(15, 1) * 3
    net = dense(4, 3, 2, x=x)
    net.parameters["0.bias"].fill_(-2)
    with pytest.warns(UserWarning, match=r"layer '0': the Gaussian form is \d+% off permutations"):
        link_importance(net, x, estimator="gaussian", layers=["0"], weighing=ImportanceOptions(order=1))


def test_where_it_does_not_fit_orders_are_sampled_by_themselves():
    x = torch.eye(24).repeat(5, 1) * 3
    net = dense(24, 3, 2, x=x)
    net.parameters["0.bias"].fill_(-2)
    found = link_importance(net, x, layers=["0"])["0"]
    assert found.estimator == "permutation" and found.stderr is not None and found.rows == 120
    truth = link_importance(net, x, estimator="permutation", layers=["0"], weighing=ImportanceOptions(permutations=600, seed=1))["0"].values
    gauss = link_importance(net, x, estimator="gaussian", layers=["0"], weighing=ImportanceOptions(checked=0))["0"].values
    assert float((found.values - truth).norm()) < 0.5 * float((gauss - truth).norm())


def test_orders_have_standard_errors(network):
    found = link_importance(network, X, estimator="permutation", layers=["0"], weighing=ImportanceOptions(permutations=20))["0"]
    exact = link_importance(network, X, estimator="exact", layers=["0"])["0"]
    assert found.stderr.shape == found.values.shape and found.error != found.error
    assert float((found.values - exact.values).norm()) < 3 * float(found.stderr.norm()) + 0.01 * float(exact.values.norm())


def test_all_estimators_rank_links_alike(network):
    truth = link_importance(network, X, estimator="exact", layers=["2"])["2"].values.flatten()
    for estimator in ("gaussian", "permutation", "rescale"):
        found = link_importance(network, X, estimator=estimator, layers=["2"])["2"].values.flatten()
        assert float(torch.corrcoef(torch.stack([truth, found]))[0, 1]) > 0.98


def test_half_precision_is_weighed_in_single():
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU()).bfloat16()
    found = link_importance(vs.trace(model, X[:2].bfloat16()), X.bfloat16())["0"]
    assert found.values.dtype == torch.float32 and bool(found.values.isfinite().all())


def test_a_result_is_kept(network, tmp_path):
    found = link_importance(network, X, estimator="permutation", weighing=ImportanceOptions(permutations=4))
    again = LinkImportance.load(found.save(tmp_path / "importance.safetensors"))
    assert repr(again) == repr(found) and [*again] == [*found]
    for name in found:
        assert torch.equal(again[name].values, found[name].values)
        assert (again[name].stderr is None) == (found[name].stderr is None)
        torch.testing.assert_close(again[name].unit_importance, found[name].unit_importance)
    assert again.provenance["digest"] == network.digest() and again.provenance["options"]["permutations"] == 4
    with pytest.raises(ForeignFile):
        LinkImportance.load(network.save(tmp_path / "network.safetensors"))


def test_the_table_names_every_layer(network):
    lines = repr(link_importance(network, X)).splitlines()
    assert lines[0] == "Importance of links, baseline data, mean_abs"
    assert [line.split()[:4] for line in lines[2:]] == [
        ["0", "30", "relu", "exact"],
        ["2", "150", "relu", "exact"],
        ["4", "120", "identity", "linear"],
    ]


def test_what_is_no_function_of_one_unit_is_told():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = nn.Linear(6, 5), nn.Linear(10, 2)

        def forward(self, x):
            h = self.fc(x)
            return self.out(torch.cat([h, torch.relu(h)], 1))

    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="followed by relu, which is no function of one unit alone, or not all that reads it"):
        found = link_importance(vs.trace(Both(), X[:2]), X)["fc"]
    assert found.activation == "identity" and found.error != found.error


def test_errors(network, as_a_user):
    with pytest.raises(UnknownName, match="there is no layer '9'"):
        link_importance(network, X, layers=["9"])
    with pytest.raises(UnknownName, match="there is no baseline 'mean'"):
        link_importance(network, X, baseline="mean")
    with pytest.raises(UnknownName, match="there is no estimator 'kernel'"):
        link_importance(network, X, estimator="kernel")
    with pytest.raises(UnknownName, match="there is no output 'mid'"):
        ImportanceOptions(output="mid")
    with pytest.raises(InvalidInput, match="permutations is a whole number of at least 2, not 1"):
        ImportanceOptions(permutations=1)
    with pytest.raises(InvalidInput, match="order 2 is for baseline='zero'"):
        link_importance(network, X, weighing=ImportanceOptions(order=2))
    with pytest.raises(TooManyPlayers, match="30 players, but at most 20"):
        link_importance(network, X, layers=["4"], estimator="exact")
    with pytest.raises(InvalidInput, match="hold NaN"):
        link_importance(network, X.masked_fill(X > 2, torch.nan))
    with pytest.raises(InvalidInput, match="holds no rows"):
        link_importance(network, [])
    with pytest.raises(WrongType, match="a function or an estimator"):
        link_importance("model", X)
    with pytest.raises(UnknownName, match="there is no layer 'fc'"):
        link_importance(network, X)["fc"]


def test_broken_weights_are_found(as_a_user):
    net = dense(6, 3, 2)
    net.parameters["2.weight"][0, 0] = torch.nan
    with pytest.raises(InvalidInput, match="weights of layer '2' hold NaN"):
        link_importance(net, X)


def test_an_opaque_network_says_why():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum().item() > 0 else -x

    with pytest.raises(NotTraceable, match="needs the graph"):
        link_importance(vs.trace(Branching(), X), X)


def test_the_closed_form_on_real_digits(data_dir):
    """Six units of a 784-32-784 autoencoder; the whole layer against more orders is in benchmarks/link_importance.py."""
    x = load("mnist").train_x[:6000].flatten(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 784), nn.Sigmoid())
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for rows in x.split(128) * 2:
        optimiser.zero_grad()
        (model(rows) - rows).square().mean().backward()
        optimiser.step()
    rows, weight, bias = x[:120], model[0].weight.detach()[:6], model[0].bias.detach()[:6]
    for baseline, order, bound in (("data", 1, 0.02), ("zero", 2, 0.01)):
        game = UnitGames.of(weight, bias, rows, Activation("relu"), baseline)
        ours = closed_form_importance(game, aggregate="mean_abs", order=order)
        one, two = (sample_importance(game, "mean_abs", 24, seed).values for seed in range(2))
        assert float(((ours - one) * (ours - two)).sum() / (one * two).sum()) < bound**2
        top = ours.numel() // 10
        kept = [set(table.flatten().topk(top).indices.tolist()) for table in (ours, (one + two) / 2)]
        assert len(kept[0] & kept[1]) / top > 0.95
