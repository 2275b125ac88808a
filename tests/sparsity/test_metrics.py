"""What a pruned autoencoder is still good for."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from vesalius.core.errors import InvalidInput
from vesalius.models import Autoencoder, AutoencoderTraining, fit
from vesalius.sparsity import Pruning, sparsify
from vesalius.sparsity.metrics import AutoencoderEvaluator, Probe, apply_in_batches, mean_row_error, psnr, reconstruction_error


def clusters(count=600, classes=3, width=8, seed=0):
    """Rows in [0, 1] around a centre per class."""
    draws = torch.Generator().manual_seed(seed)
    centres = torch.rand(classes, width, generator=torch.Generator().manual_seed(7))
    y = torch.randint(classes, (count,), generator=draws)
    return (centres[y] + 0.15 * torch.randn(count, width, generator=draws)).clamp(0, 1), y


def test_error_is_per_element_and_beside_the_mean_rows():
    x, seen = torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.5]])
    assert reconstruction_error(lambda rows: rows + 0.5, x) == 0.25
    assert mean_row_error(x, seen) == pytest.approx((0.25 + 0.5625 + 0.25 + 0.5625) / 4)


def test_a_mean_row_is_the_best_constant():
    x, _ = clusters()
    best = mean_row_error(x, x)
    assert all(reconstruction_error(lambda rows, c=c: torch.full_like(rows, c), x) > best for c in (0.3, 0.5, 0.7))


def test_psnr():
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(100.0, peak=255) == pytest.approx(28.13, abs=0.01)
    assert psnr(0.0) == math.inf
    with pytest.raises(InvalidInput, match="at least 0"):
        psnr(-1.0)


def test_the_probe_is_the_logistic_regression_of_scikit_learn():
    x, y = clusters()
    probe = Probe.fit(x, y, penalty=1e-3, steps=300)
    scale = (x.std(0) + 1e-3 * x.std() + 1e-9).numpy()
    peer = LogisticRegression(C=1 / (2 * 1e-3 * len(x)), tol=1e-8, max_iter=5000).fit((x.numpy() - x.mean(0).numpy()) / scale, y.numpy())
    other, labels = clusters(seed=1)
    ours = ((other - probe.mean) / probe.scale @ probe.weight.T + probe.bias).softmax(1)
    theirs = peer.predict_proba((other.numpy() - x.mean(0).numpy()) / scale)
    torch.testing.assert_close(ours.double(), torch.tensor(theirs, dtype=torch.float64), atol=2e-3, rtol=0)
    assert probe.accuracy(other, labels) == pytest.approx(peer.score((other.numpy() - x.mean(0).numpy()) / scale, labels.numpy()), abs=4e-3)


def test_a_dead_latent_does_no_harm():
    x, y = clusters()
    assert Probe.fit(torch.cat([x, torch.zeros(len(x), 1)], 1), y).accuracy(torch.cat([x, torch.zeros(len(x), 1)], 1), y) > 0.9


def test_a_refitted_probe_hides_what_a_fixed_one_shows():
    """A random mask without refitting: classes can still be told apart, but not by who could before."""
    (x, y), test = clusters(), clusters(seed=1)
    dense = fit(Autoencoder([8, 6], activation="tanh"), x, training=AutoencoderTraining(epochs=20, rate=1e-2, batch=32)).model
    yardstick = AutoencoderEvaluator.of(
        dense, (x, y), test, classifier=lambda rows: -torch.cdist(rows, torch.stack([x[y == c].mean(0) for c in range(3)]))
    )
    whole = yardstick.quality(dense)
    assert whole.fixed_probe == whole.refitted_probe
    assert whole.error < 0.5 * whole.mean_row
    assert whole.on_reconstructions > 0.9
    thin = yardstick.quality(sparsify(dense, x, sparsity=0.7, mode="paper", pruning=Pruning(score="random")).model)
    assert thin.refitted_probe - thin.fixed_probe > 0.1
    assert thin.error > whole.error
    assert thin.psnr == pytest.approx(psnr(thin.error))
    assert "of the mean row" in repr(thin)


def test_measuring_in_parts_changes_nothing(monkeypatch):
    x, _ = clusters()
    model = Autoencoder([8, 4])
    whole = apply_in_batches(model, x)
    monkeypatch.setattr("vesalius.sparsity.metrics.ROWS_AT_ONCE", 7)
    torch.testing.assert_close(apply_in_batches(model, x), whole)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda x, y: Probe.fit(x, y[:5]), "5 labels"),
        (lambda x, y: Probe.fit(x, y * 0), "two classes"),
        (lambda x, y: reconstruction_error(lambda rows: rows[:, :3], x), "gives back"),
        (lambda x, y: apply_in_batches(lambda rows: rows, x[:0]), "no rows"),
        (lambda x, y: AutoencoderEvaluator.of(nn.Linear(8, 8), (x, y), (x, y)), "no encode"),
    ],
)
def test_what_cannot_be_measured(ask, words):
    with pytest.raises(InvalidInput, match=words):
        ask(*clusters(50))
