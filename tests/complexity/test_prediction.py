"""Prediction of accuracy: the published table of 25 CIFAR-10 networks, scikit-learn as a peer, and every row left out by hand.

The table (``published.csv``) is Ren2021's own result files, decoded: significances, reliabilities of the sums of components, accuracies.
"""

import csv
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LinearRegression

from tests.reference import complexity as slow
from vesalius.complexity.prediction import least_squares, predict_accuracy
from vesalius.core.errors import InvalidInput

TABLE = list(csv.DictReader((Path(__file__).parent / "published.csv").read_text().splitlines()))
SIGNIFICANCE = ["rho_4", "rho_7", "rho_13", "rho_25"]
RELIABILITY = ["reliability_4", "reliability_7", "reliability_13", "reliability_25"]


def columns(*names):
    return torch.tensor([[float(row[name]) for name in names] for row in TABLE], dtype=torch.float64)


ACCURACY = columns("accuracy")[:, 0]
SAMPLES = columns("samples")[:, 0]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_published_table_is_predicted_better_by_the_number_of_samples_alone():
    found = predict_accuracy(columns(*SIGNIFICANCE, *RELIABILITY), ACCURACY, samples=SAMPLES)
    assert found.samples.r2 == pytest.approx(0.974, abs=1e-3)  # .9735: accuracies of the table are rounded to a tenth
    assert found.samples.left_out_r2 == pytest.approx(0.968, abs=5e-4)
    assert found.samples.left_out_mae == pytest.approx(1.94, abs=1e-2)  # 1.945
    assert not found.beats_baseline


def test_eight_published_features():
    """The paper's own eight, variances of reliable parts (left-out R^2 .944, error 2.51), are not in the table; these eight are."""
    fit = predict_accuracy(columns(*SIGNIFICANCE, *RELIABILITY), ACCURACY, samples=SAMPLES).features
    assert (fit.r2, fit.left_out_r2) == pytest.approx((0.984, 0.944), abs=1e-3)
    assert fit.left_out_mae == pytest.approx(2.40, abs=5e-3)


def test_other_published_fits():
    assert least_squares(columns(*SIGNIFICANCE), ACCURACY).left_out_r2 == pytest.approx(0.80, abs=5e-3)
    logs = SAMPLES.log()
    size_and_depth = least_squares(torch.stack([logs, logs**2, columns("depth")[:, 0].log()], 1), ACCURACY)
    assert (size_and_depth.left_out_r2, size_and_depth.left_out_mae) == pytest.approx((0.987, 1.21), abs=1e-3)
    loss = least_squares(torch.stack([logs, columns("depth")[:, 0].log()], 1), columns("test_loss")[:, 0])
    assert loss.left_out_r2 == pytest.approx(0.76, abs=5e-3)


def test_the_table_is_whole():
    """Facts about it that were published beside it: what components explain, and what the second order gains."""
    rho = columns(*SIGNIFICANCE, "rho_49", "rho_97")
    total = rho.sum(1) + columns("residual")[:, 0]
    assert len(TABLE) == 25 and float(total.mean()) == pytest.approx(0.961, abs=1e-3)
    gain = columns("accuracy_phi_7")[:, 0] - ACCURACY
    assert float(gain.mean()) == pytest.approx(2.57, abs=0.02) and float(gain.max()) == pytest.approx(5.48, abs=0.05)


def test_the_fit_is_scikit_learns():
    x, y = draw(20, 3) * torch.tensor([0.1, 1.0, 10.0]) + 5, draw(20, seed=1)
    fit, peer = least_squares(x, y), LinearRegression().fit(x.numpy(), y.numpy())
    assert fit.weights.tolist() == pytest.approx(peer.coef_.tolist(), rel=1e-7)
    assert fit.intercept == pytest.approx(peer.intercept_, rel=1e-7)
    assert fit.r2 == pytest.approx(peer.score(x.numpy(), y.numpy()))


def test_leaving_out_in_closed_form_is_leaving_out():
    x, y = draw(12, 4), draw(12, seed=1)
    fit = least_squares(x, y)
    assert fit.left_out.tolist() == pytest.approx(slow.leave_one_out(x, y))
    assert fit.left_out_mae == pytest.approx(float((y - fit.left_out).abs().mean()))
    assert fit.left_out_r2 == pytest.approx(float(1 - (y - fit.left_out).square().sum() / (y - y.mean()).square().sum()))


def test_noise_predicts_nothing_that_was_left_out_and_truth_beats_the_baseline():
    assert least_squares(draw(30, 10), draw(30, seed=1)).left_out_r2 < 0
    x = draw(30, 2)
    found = predict_accuracy(x, x @ torch.tensor([1.0, -2.0], dtype=torch.float64) + 3, samples=torch.arange(1, 31))
    assert found.beats_baseline and found.features.left_out_r2 > 0.999999


REFUSED = [
    (lambda: least_squares(draw(5, 4), draw(5)), "at least 6 networks"),
    (lambda: least_squares(draw(5, 1), draw(4)), "each with a target"),
    (lambda: least_squares(draw(9, 2) / 0, draw(9)), "NaN or infinite"),
    (lambda: least_squares(draw(9, 2), torch.ones(9)), "same for all"),
    (lambda: least_squares(torch.cat([draw(9, 1), torch.full((9, 1), 0.1)], 1), draw(9)), "same for all"),
    (lambda: least_squares(draw(9, 1).repeat(1, 2), draw(9)), "sums of others"),
    (lambda: least_squares(torch.eye(9)[:, :1], draw(9)), "network 0 alone"),
    (lambda: predict_accuracy(draw(9, 2), draw(9), samples=torch.zeros(9)), "above 0"),
    (lambda: predict_accuracy(draw(9, 2), draw(9), samples=torch.ones(8)), "each of 9 networks"),
]


@pytest.mark.parametrize(("ask", "message"), REFUSED, ids=[message for _, message in REFUSED])
@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_fitted_is_refused(ask, message):
    with pytest.raises(InvalidInput, match=message):
        ask()
