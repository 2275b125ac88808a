"""Labels reach the loss of fine-tuning and of scores by gradients, in whatever form data and loss have them."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from vesalius.core.errors import InvalidInput
from vesalius.sparsity import Finetune, Pruning, remove_units, sparsify
from vesalius.sparsity.pruning.loss import evaluate_loss

X = torch.randn(240, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] + X[:, 1] > 0).long() + (X[:, 2] > 0.5).long()
DATA = {
    "rows": (X, Y),
    "by name": {"x": X, "labels": Y},
    "batches": [(X[at : at + 60], Y[at : at + 60]) for at in range(0, 240, 60)],
    "loader": DataLoader(TensorDataset(X, Y), 60),
}
LOSSES = {
    "own": lambda output, inputs, labels: functional.cross_entropy(output, labels),
    "function": functional.cross_entropy,
    "module": nn.CrossEntropyLoss(),
    "any number": lambda output, *rest: functional.cross_entropy(output, rest[-1]),
}


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x):
        return self.layers(x)


def entropy(model):
    with torch.no_grad():
        return float(functional.cross_entropy(model(X), Y))


@pytest.mark.parametrize(("data", "loss"), [*((data, "own") for data in DATA), *(("batches", loss) for loss in LOSSES)])
def test_fine_tuning_learns_the_labels(data, loss):
    how = Pruning(finetune=Finetune(epochs=40, rate=1e-2, batch=60, loss=LOSSES[loss]))
    tuned = sparsify(Named(), DATA[data], sparsity=0.5, mode="paper", pruning=how)
    plain = sparsify(Named(), DATA[data], sparsity=0.5, mode="paper")
    assert entropy(tuned.model) < 0.8 * entropy(plain.model)


@pytest.mark.parametrize("data", DATA)
def test_taylor_is_of_the_loss_on_labels(data):
    model = Named()
    found = sparsify(model, DATA[data], sparsity=0.5, mode="paper", pruning=Pruning(score="taylor", loss=LOSSES["own"]))
    total = torch.zeros(16, 6)
    for x, y in zip(X.split(100), Y.split(100), strict=True):
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        total += model.layers[0].weight.grad.abs()
    torch.testing.assert_close(found.importance["layers.0"], model.layers[0].weight.detach().abs() * total)


def test_units_are_tuned_on_labels_too():
    how = Pruning(finetune=Finetune(epochs=8, rate=1e-2, loss=LOSSES["own"]))
    assert entropy(remove_units(Named(), DATA["rows"], share=0.5, pruning=how).model) < entropy(Named())


def test_labels_may_be_anything():
    """Such as two real numbers per row."""
    target = torch.stack([X[:, 0], X[:, 1]], 1)
    data = [(X[at : at + 60], target[at : at + 60]) for at in range(0, 240, 60)]
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    how = Pruning(finetune=Finetune(epochs=20, rate=1e-2, loss=functional.mse_loss))
    tuned = sparsify(model, data, sparsity=0.3, pruning=how).model
    assert float((tuned(X).detach() - target).square().mean()) < 0.5 * float((model(X).detach() - target).square().mean())


def test_an_autoencoder_on_labelled_data_is_told_its_input():
    output, inputs = X + 1, (X,)
    assert float(evaluate_loss(functional.mse_loss, output, inputs, Y)) == pytest.approx(1.0)
    assert float(evaluate_loss(lambda out, seen: (out - seen).abs().mean(), output, inputs, Y)) == pytest.approx(1.0)
    assert float(evaluate_loss(functional.mse_loss, output, inputs, None)) == pytest.approx(1.0)


def test_a_loss_that_asks_for_labels_in_vain():
    with pytest.raises(InvalidInput, match=r"takes output, inputs, labels, and this data has no labels; give rows as \(x, y\)"):
        sparsify(Named(), X, sparsity=0.5, pruning=Pruning(finetune=Finetune(loss=LOSSES["own"])))
