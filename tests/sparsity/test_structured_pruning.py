"""Whole units removed: the right ones, with the rest refitted, and a smaller model in the end."""

import copy

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName
from vesalius.sparsity import Pruning
from vesalius.sparsity.structured_pruning import remove_units

X = torch.randn(600, 10, generator=torch.Generator().manual_seed(0))


def mlp(*between):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 24), *between, nn.ReLU(), nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 4)).eval()


def small(result):
    """The smaller model, without measuring."""
    return result.compact(X, batches=(1,)).smallest


def test_half_of_the_units_go_and_the_model_is_smaller():
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    result = remove_units(model, X, share=0.5)
    assert result.provenance["units"] == {"0": [12, 24], "2": [10, 20]}
    found = small(result)
    assert [layer.weight.shape for layer in found if isinstance(layer, nn.Linear)] == [(12, 10), (10, 12), (4, 10)]
    with torch.no_grad():
        torch.testing.assert_close(found(X), result.model(X), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert result.importance["2"].shape == result.masks["2"].shape == (20, 24)


def test_spare_units_go_first_and_nothing_is_lost():
    """Units 0 to 7 are copies of others, or never active: without them a refit finds the same function."""
    model = mlp()
    with torch.no_grad():
        model[0].weight[:4], model[0].bias[:4] = 0, -1
        model[2].weight[:, 4:8] = 0
    result = remove_units(model, X, keep={"0": 16}, pruning=Pruning(ridge=1e-8))
    assert result.provenance["lost"] < 1e-6
    assert [int(unit) for unit in (~result.masks["2"].any(0)).nonzero()] == list(range(8))


def test_a_refit_loses_less_than_a_mask():
    model = mlp()
    result = remove_units(model, X, share=0.3)
    cut = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in result.masks.items():
            cut[int(name)].weight *= mask
        dense, masked, refitted = model(X), cut(X), result.model(X)
    spread = (dense - dense.mean(0)).square().mean()
    assert (refitted - dense).square().mean() < 0.6 * (masked - dense).square().mean()
    assert result.provenance["lost"] == pytest.approx(float((refitted - dense).square().mean() / spread), rel=0.5)


def test_importance_beats_chance():
    lost = {score: remove_units(mlp(), X, share=0.5, pruning=Pruning(score=score)).provenance["lost"] for score in ("gate", "random")}
    assert lost["gate"] < lost["random"]


def test_through_a_batch_norm_and_without_biases():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 24, bias=False), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 3, bias=False))
    model[1].running_mean.normal_(generator=torch.Generator().manual_seed(1))
    result = remove_units(model.eval(), X, keep={"0": 20})
    assert small(result)[1].num_features == 20
    assert result.provenance["lost"] < 0.3


def test_channels_of_convolutions():
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(54, 3),
    )
    model = nn.Sequential(*layers).eval()
    x = torch.randn(200, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    result = remove_units(model, x, share={"0": 0.5, "2": 0.34}, pruning=Pruning(rounds=2))
    found = result.compact(x, batches=(1,)).smallest
    assert (found[0].out_channels, found[2].in_channels, found[2].out_channels, found[6].in_features) == (4, 4, 4, 36)
    with torch.no_grad():
        torch.testing.assert_close(found(x), result.model(x), rtol=1e-5, atol=1e-5)


def test_units_that_are_added_go_together_and_outputs_stay():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.inner, self.back, self.last = nn.Linear(10, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x):
            h = torch.relu(self.first(x))
            return self.last(h + self.back(torch.relu(self.inner(h))))

    torch.manual_seed(0)
    found = remove_units(Residual(), X)
    assert found.provenance["units"] == {"first": [4, 8], "back": [4, 8], "inner": [4, 8]}
    assert found.coverage.left["last"] == (16, "its units are the network's output")
    assert "left alone: last (16 weights): its units are the network's output" in repr(found)
    with pytest.raises(InvalidInput, match="the units of layer 'last' cannot be removed: its units are the network's output; name other"):
        remove_units(Residual(), X, keep={"last": 1})


def test_wrong_questions_are_refused(as_a_user):
    with pytest.raises(InvalidInput, match=r"share is a number of at least 0 and below 1, not 1\.0"):
        remove_units(mlp(), X, share=1.0)
    with pytest.raises(InvalidInput, match="keep of layer '0' is a whole number of at least 1 and of at most 24, not 0"):
        remove_units(mlp(), X, keep={"0": 0})
    with pytest.raises(UnknownName, match="there is no layer '7'"):
        remove_units(mlp(), X, share={"7": 0.5})
    with pytest.raises(InvalidInput, match="9 samples came"):
        remove_units(mlp(), X[:9])
    with pytest.raises(InvalidInput, match="no layer of Linear has units that can be removed"):
        remove_units(nn.Linear(10, 3), X)
    with pytest.raises(NotTraceable):
        remove_units(vs.trace(lambda x: x * 2, X[:2]), X)
