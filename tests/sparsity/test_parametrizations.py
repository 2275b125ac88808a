"""Weights that are computed from others: layers like any other, pruned as plain weights, under the masks that were there."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import vesalius as vs
from vesalius.sparsity import Finetune, Pruning
from vesalius.sparsity.links import links_of
from vesalius.sparsity.parametrizations import bounds_of, computed_weights, copy_with_plain_weights
from vesalius.sparsity.pruning_options import MODES

X = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))


def masked(layer):
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


WRAPPERS = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight norm": torch.nn.utils.weight_norm,
    "old spectral norm": torch.nn.utils.spectral_norm,
    "mask": masked,
}


def build(wrap):
    torch.manual_seed(0)
    return nn.Sequential(wrap(nn.Linear(6, 8)), nn.ReLU(), wrap(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 3)).eval()


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", WRAPPERS)
def test_layers_have_their_names_weights_and_links(name):
    model = build(WRAPPERS[name])
    network = vs.trace(model, X[:2])
    assert list(network.layers) == ["0", "2", "4"]
    assert list(links_of(network)) == ["0", "2", "4"]
    with torch.no_grad():
        model(X)
        for layer in ("0", "2"):
            torch.testing.assert_close(links_of(network)[layer].weight, model[int(layer)].weight.detach())
    found = vs.link_importance(network, X)
    assert found["2"].values.shape == (8, 8)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", WRAPPERS)
def test_pruning_makes_plain_weights_of_them_in_its_copy_alone(name):
    model = build(WRAPPERS[name])
    before = copy.deepcopy(model.state_dict())
    thin = vs.sparsify(model, X, sparsity=0.6)
    assert set(thin.masks) == {"0", "2", "4"}
    assert 0.5 < thin.sparsity < 0.75
    assert {leaf for leaf in thin.model.state_dict() if leaf.startswith("0.")} == {"0.weight_orig", "0.weight_mask", "0.bias"}
    with torch.no_grad():
        torch.testing.assert_close(thin.network(X), thin.model(X))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert computed_weights(model)
    with torch.no_grad():
        assert model(X).isfinite().all(), "the user's model still runs"


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_plain_copy_computes_the_same_on_trainable_parameters(name):
    model = build(WRAPPERS[name])
    plain = copy_with_plain_weights(model)
    assert not computed_weights(plain)
    assert {leaf for leaf, one in plain.named_parameters() if one.requires_grad} == {
        f"{at}.{leaf}" for at in (0, 2, 4) for leaf in ("weight", "bias")
    }
    with torch.no_grad():
        torch.testing.assert_close(plain(X), model(X))


def test_what_masks_had_cut_stays_cut():
    model = build(masked)
    bounds = bounds_of(vs.trace(model, X[:2]))
    assert set(bounds) == {"0.weight", "2.weight"}
    for mode in MODES:
        thin = vs.sparsify(model, X, sparsity=0.6, mode=mode)
        assert not any(bool((thin.masks[name] & ~bounds[f"{name}.weight"]).any()) for name in ("0", "2"))


@pytest.mark.parametrize("train", [False, True])
def test_training_brings_nothing_back_that_was_cut_before_elsewhere(train):
    model = build(masked)
    cut = ~bounds_of(vs.trace(model, X[:2]))["0.weight"]
    how = Pruning(layers=["2"], finetune=Finetune(epochs=3, rate=0.1, train=train))
    thin = vs.sparsify(model, X, sparsity=0.6, pruning=how)
    weight = thin.network.parameters["0.weight"]
    assert bool(cut.any()) and not bool(weight[cut].any()) and bool(weight[~cut].all())
    with torch.no_grad():
        torch.testing.assert_close(thin.network(X), thin.model(X))


def test_what_a_weight_is_computed_from_counts_as_looked_at():
    found = vs.link_importance(build(nn.utils.parametrizations.weight_norm), X)
    assert not found.coverage.left and found.coverage.share == 1


def test_a_weight_that_forward_computes_has_links_and_is_left_out_with_the_reason():
    class Standardised(nn.Conv2d):
        def forward(self, x):
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return nn.functional.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)

    torch.manual_seed(0)
    model = nn.Sequential(Standardised(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()
    x = torch.randn(50, 1, 3, 3)
    network = vs.trace(model, x[:2])
    assert list(network.layers) == ["0", "3"]
    assert vs.link_importance(network, x)["0"].values.shape == (4, 1, 2, 2)
    thin = vs.sparsify(network, x, sparsity=0.5)
    assert list(thin.masks) == ["3"]
    assert "left alone: 0.weight (16 weights): part of a weight that is computed whenever the model is called" in repr(thin)


def test_a_pruned_network_follows_its_model_through_training_and_copies():
    thin = vs.sparsify(build(lambda layer: layer), X, sparsity=0.5)
    held = thin.network
    with torch.no_grad():
        for parameter in thin.model.parameters():
            parameter.add_(torch.randn(parameter.shape))
    other = copy.deepcopy(thin)
    again = pickle.loads(pickle.dumps(thin))
    for one in (thin, other, again):
        with torch.no_grad():
            torch.testing.assert_close(one.network(X), thin.model(X))
            assert not bool(one.network.parameters["2.weight"][~one.masks["2"]].any())
    assert thin.network is held
