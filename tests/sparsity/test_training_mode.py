"""Fine-tuning in training mode, batch norms measured anew, and pruning in steps."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import vesalius as vs
from vesalius.core.errors import InvalidInput
from vesalius.sparsity import Finetune, Pruning, cubic_schedule, sparsify, sparsify_gradually

X = torch.randn(256, 6, generator=torch.Generator().manual_seed(0)) + 0.5
Y = (X[:, 0] * X[:, 1] > 0.2).long()
BATCHES = [(X[at : at + 64], Y[at : at + 64]) for at in range(0, 256, 64)]


def normed():
    torch.manual_seed(0)
    layers = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 12), nn.BatchNorm1d(12), nn.ReLU()
    model = nn.Sequential(*layers, nn.Linear(12, 2))
    with torch.no_grad():
        model.train()
        for _ in range(30):
            model(X)
    return model.eval()


def entropy(model):
    with torch.no_grad():
        return float(functional.cross_entropy(model(X), Y))


def test_batch_norms_have_the_statistics_of_what_the_pruned_layers_give():
    model = normed()
    plain, anew = (sparsify(model, X, sparsity=0.7, mode="paper", pruning=Pruning(batch_norm=kind)) for kind in (False, True))
    z = (X @ anew.model[0].weight.T + anew.model[0].bias).detach()
    parts = torch.stack([torch.stack([part.mean(0), part.var(0)]) for part in z.split(128)]).mean(0)
    torch.testing.assert_close(anew.model[1].running_mean, parts[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(anew.model[1].running_var, parts[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain.model[1].running_var, parts[1], rtol=1e-2)
    torch.testing.assert_close(anew.network(X), anew.model(X).detach())


def test_training_mode_trains_norms_and_moves_their_statistics():
    model = normed()
    how = Finetune(epochs=15, rate=1e-2, train=True, loss=functional.cross_entropy)
    tuned = sparsify(model, BATCHES, sparsity=0.5, pruning=Pruning(finetune=how))
    plain = sparsify(model, BATCHES, sparsity=0.5)
    assert entropy(tuned.model) < 0.8 * entropy(plain.model)
    assert not torch.equal(tuned.model[1].running_mean, plain.model[1].running_mean)
    assert not torch.equal(tuned.model[1].weight, plain.model[1].weight)
    for name, mask in tuned.masks.items():
        assert not tuned.network.parameters[f"{name}.weight"][~mask].any()
    assert not tuned.model.training
    torch.testing.assert_close(tuned.network(X), tuned.model(X).detach())


def test_training_mode_draws_by_its_seed_and_leaves_the_global_generator():
    how = Finetune(epochs=2, rate=1e-2, train=True, loss=functional.cross_entropy, seed=3)

    def tuned():
        return sparsify(model, BATCHES, sparsity=0.5, pruning=Pruning(finetune=how)).network(X)

    model = normed()
    before = torch.get_rng_state()
    one = tuned()
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(tuned(), one)


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_trained_or_measured_is_told():
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    with pytest.raises(InvalidInput, match="has no batch norm"):
        sparsify(plain, X, sparsity=0.5, pruning=Pruning(batch_norm=True))
    with pytest.raises(InvalidInput, match="none does; use train=False"):
        sparsify(plain.requires_grad_(False), X, sparsity=0.5, pruning=Pruning(finetune=Finetune(train=True)))


@pytest.mark.parametrize("mode", ["refit", "paper"])
def test_what_was_cut_in_a_step_stays_cut(mode):
    model, told = normed(), []
    how = Pruning(rounds=2, finetune=Finetune(epochs=2, loss=functional.cross_entropy, report=lambda done, of: told.append(done)))
    steps = cubic_schedule(0.8, 3)
    found = sparsify_gradually(model, BATCHES, sparsity=steps, mode=mode, pruning=how)
    assert found.sparsity == pytest.approx(0.8, abs=0.02) and told == [1, 2] * 3
    assert found.provenance["steps"] == steps
    torch.testing.assert_close(found.network(X), found.model(X).detach())
    first = sparsify(model, BATCHES, sparsity=steps[0], mode=mode, pruning=how)
    assert all(bool((mask <= first.masks[name]).all()) for name, mask in found.masks.items())


def test_pruning_in_steps_with_training_between_is_better_than_at_once():
    how = Pruning(score="magnitude", finetune=Finetune(epochs=6, rate=1e-2, loss=functional.cross_entropy))
    at_once = sparsify(normed(), BATCHES, sparsity=0.9, mode="paper", pruning=how)
    gradually = sparsify_gradually(normed(), BATCHES, sparsity=cubic_schedule(0.9, 4), mode="paper", pruning=how)
    assert entropy(gradually.model) < entropy(at_once.model)


def test_a_model_of_two_inputs_is_tuned_too():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(6, 8), nn.Linear(6, 8)
            self.norm, self.out = nn.BatchNorm1d(8), nn.Linear(8, 2)

        def forward(self, x, y):
            return self.out(torch.relu(self.norm(self.a(x) + self.b(y))))

    network = vs.trace(Two().eval(), X[:2], X[:2])
    how = Pruning(batch_norm=True, finetune=Finetune(epochs=1, train=True))
    found = sparsify(network, (X, X.flip(1)), sparsity=0.5, pruning=how)
    torch.testing.assert_close(found.network(X, X.flip(1)), found.model(X, X.flip(1)).detach())
