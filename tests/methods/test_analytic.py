"""Every method on functions small enough to be attributed by hand: all rows of the analytic tables, to their six decimals."""

import pytest
import torch

import vesalius as vs
from tests.reference.analytic import GRAD_CAM, NETS, NEURONS, POLYNOMIALS
from vesalius.games.absence import Marginal
from vesalius.methods import (
    DeepSHAP,
    DeepTaylor,
    ExpectedGradients,
    GradCAM,
    IntegratedGradients,
    LRPAlphaBeta,
    LRPEpsilon,
    OcclusionPatch,
    SmoothGrad,
)

CASES = [*POLYNOMIALS, *NEURONS, *NETS]
ROWS = [(case, row) for case in CASES for row in case.expected if row != "smooth_grad"]
SIX_DECIMALS = {"rtol": 0, "atol": 1e-6}


def opened(case):
    return vs.trace(case.model, case.x)


def windows(case, row):
    """Windows that share no feature are players; those that do are all windows of two features in a row."""
    patches = case.patches[row]
    if sum(len(patch) for patch in patches) > case.x.shape[1]:
        assert patches == [[0, 1], [1, 2]]
        return OcclusionPatch(size=2, stride=1)
    labels = [next(place for place, patch in enumerate(patches) if i in patch) for i in range(case.x.shape[1])]
    return OcclusionPatch(patches=vs.Players.segments(torch.tensor(labels)))


def asked(case, row):
    """The method and the baseline that a row is about."""
    polynomial = case in POLYNOMIALS
    nodes = {"rule": "quadrature", "steps": 8} if polynomial else {"steps": 1}  # of one unit, one secant is the integral
    background = Marginal(background=torch.tensor(case.background, dtype=torch.float64))
    options = case.options.get(row, {})
    if row.startswith("occlusion_patch"):
        return windows(case, row), case.baseline
    return {
        "raw_gradient_x_input": ("gradient_x_input", 0.0),
        "prediction_difference": ("prediction_difference", Marginal(background=torch.tensor(case.replacements, dtype=torch.float64).T)),
        "integrated_gradients": (IntegratedGradients(**nodes), case.baseline),
        "expected_gradients": (ExpectedGradients(**nodes), background),
        "deep_shap_rescale": (DeepSHAP(), background),
        "deep_shap_exact": (DeepSHAP(variant="exact"), case.baseline),
        "lrp_0": (LRPEpsilon(epsilon=0.0), case.baseline),
        "lrp_epsilon": (LRPEpsilon(epsilon=options.get("eps", 0.0)), case.baseline),
        "lrp_alpha_beta": (LRPAlphaBeta(**{key: value for key, value in options.items() if key in ("alpha", "beta")}), case.baseline),
        "deep_taylor": (DeepTaylor(), case.baseline),
    }.get(row, (row, case.baseline))


@pytest.mark.slow
@pytest.mark.parametrize(("case", "row"), ROWS, ids=[f"{case.name}-{row}" for case, row in ROWS])
def test_every_row_of_the_tables(case, row):
    method, baseline = asked(case, row)
    found = vs.attribute(opened(case), case.x, method, baseline=baseline)
    torch.testing.assert_close(found.values[0], torch.tensor(case.expected[row], dtype=torch.float64), **SIX_DECIMALS)


@pytest.mark.parametrize("case", POLYNOMIALS, ids=lambda case: case.name)
def test_secants_come_near_the_integral_of_a_polynomial_and_add_up(case):
    found = vs.attribute(opened(case), case.x, IntegratedGradients(steps=800), baseline=case.baseline)
    expected = torch.tensor(case.expected["integrated_gradients"], dtype=torch.float64)
    torch.testing.assert_close(found.values[0], expected, rtol=1e-5, atol=1e-5)
    assert found.gap.abs().max() <= 1e-12


@pytest.mark.parametrize("case", POLYNOMIALS, ids=lambda case: case.name)
def test_noisy_gradients_are_within_their_standard_errors(case):
    """P1's gradient is linear: what opposite noise adds cancels, and its row is met to six decimals."""
    found = vs.attribute(
        opened(case), case.x, SmoothGrad(samples=400, deviation=case.options["smooth_grad"]["std"]), baseline=case.baseline
    )
    away = (found.values - torch.tensor([case.expected["smooth_grad"]], dtype=torch.float64)).abs()
    assert (away <= 4 * found.stderr + 1e-6).all()
    assert (found.stderr <= 0.1 * found.values.abs().max()).all()
    assert (found.stderr.max() < 1e-6) == (case.name == "P1")


def test_grad_cam_of_two_maps():
    network = vs.trace(GRAD_CAM.model, GRAD_CAM.x)
    found = vs.attribute(network, GRAD_CAM.x, "grad_cam", at="features")
    assert found.values.shape == (1, 2, 2)
    torch.testing.assert_close(found.values.flatten(), torch.tensor(GRAD_CAM.expected["grad_cam"], dtype=torch.float64), **SIX_DECIMALS)
    assert torch.equal(vs.attribute(network, GRAD_CAM.x, "grad_cam").values, found.values)
    assert torch.equal(vs.attribute(network, GRAD_CAM.x, GradCAM(relu=True)).values, found.values)


@pytest.mark.parametrize("row", ["gradient_x_input", "integrated_gradients"])
def test_maps_of_two_channels(row):
    method = IntegratedGradients(rule="quadrature", steps=4) if row == "integrated_gradients" else row
    found = vs.attribute(vs.trace(GRAD_CAM.model, GRAD_CAM.x), GRAD_CAM.x, method).values.sum(1).flatten()
    torch.testing.assert_close(found, torch.tensor(GRAD_CAM.expected[f"{row}_over_channels"], dtype=torch.float64), **SIX_DECIMALS)
