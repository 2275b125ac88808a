"""Audits of real networks: a trained digits CNN on twelve segments, a BERT on its tokens, and a recurrent one."""

from dataclasses import replace

import pytest
import torch

import vesalius as vs
from tests.audit.nets import twelve_segments, unchecked
from tests.audit.test_table import ALL
from tests.zoo import specimen
from vesalius.audit import Auditor, audit
from vesalius.data.models import trained
from vesalius.methods import METHODS, ExpectedGradients, GradCAM, IntegratedGradients, SmoothGrad

QUICK = {name: name for name in METHODS} | {
    "integrated_gradients": IntegratedGradients(steps=2),
    "expected_gradients": ExpectedGradients(steps=2),
    "smooth_grad": SmoothGrad(samples=2),
}
"""All methods; those that are complete at any number of steps with few."""


@pytest.fixture(scope="module")
def case():
    found = trained("digits_cnn")
    return vs.trace(found.model, found.data.test_x[:2]), found.data.test_x[0]


@pytest.fixture(scope="module")
def digits(case):
    """Twelve segments; not the methods that play 4,096 games, which ``benchmarks/audit.py`` adds."""
    games = {"shapley_value", "occlusion", "occlusion_patch", "prediction_difference", "expected_gradients"}
    with unchecked():
        return audit(*case, twelve_segments(), methods={name: QUICK[name] for name in QUICK if name not in games})


@pytest.mark.slow
def test_a_digit_in_twelve_segments(digits):
    assert not digits.skipped and digits.provenance["coalitions"] == 4096
    assert set(digits.tiers[0]) == set(ALL) & set(digits) and all(digits[name].holds for name in digits.tiers[0])
    assert {name for name in digits if not digits[name].principles["P2"]} == {"grad_cam"}
    assert not any(digits[name].principles["P3"] for name in set(digits) - set(ALL))


def test_a_digit_in_six_segments(case):
    twelve = twelve_segments().index[0]
    with unchecked():
        found = audit(*case, vs.Players.segments(twelve // 2), methods=QUICK)
    assert not found.skipped and len(found) == 16
    assert set(found.tiers[0]) == set(ALL) and all(found[name].holds for name in ALL)
    assert {name for name in found if not found[name].principles["P2"]} == {"occlusion_patch", "grad_cam"}
    assert not any(found[name].principles["P3"] for name in set(METHODS) - set(ALL))
    assert found["occlusion"].miss == 0 and found["occlusion"].values == found["prediction_difference"].values
    assert found.agreement.methods == 16 and found.agreement.rho["infidelity"] > 0.5


@pytest.mark.slow
def test_what_grad_cam_gives_to_segments_that_took_no_part(digits):
    leak = digits["grad_cam"].leak
    assert 0.1 < leak < 0.9
    violation = f"null-player violation: {100 * leak:.0f} % of what it allocates goes to segments that took no part"
    assert violation in digits.sentences()["grad_cam"]


def test_positions_that_cross_segments_are_not_divided(case):
    halves = vs.Players.segments((torch.arange(8) >= 3).long())
    small = audit(*case, halves, methods={"coarse": GradCAM(), "pixels": GradCAM(upsample=True)})
    assert "cannot be told apart" in small.skipped["coarse"] and "pixels" in small


@pytest.mark.slow
def test_a_sentence_at_its_embedding():
    one = specimen("bert")
    args, kwargs = one.example(2)
    network = vs.trace(one.build().eval(), *args, kwargs=kwargs, output=one.output)
    x = (args[0][:1], kwargs["attention_mask"][:1])
    tokens = vs.Players.tokens(args[0][0])
    found = Auditor(at=one.integer_at).audit(network, x, replace(tokens, index=(tokens.index[0][:, None],)), methods=QUICK)
    assert not found.skipped and all(found[name].holds for name in ALL)
    assert {name for name in found if not found[name].principles["P2"]} == {"occlusion_patch"}
    assert not any(found[name].principles["P3"] for name in set(METHODS) - set(ALL))
    words = audit(network, x, tokens)
    assert set(words) == {"shapley_value", "occlusion", "occlusion_patch", "prediction_difference", "grad_cam"}
    assert "has no gradient" in words.skipped["deeplift_rescale"]


def test_a_network_of_two_inputs():
    one = specimen("two_input")
    args, _ = one.example(1)
    players = vs.Players((torch.zeros(1, 1, 1, dtype=torch.long), 1 + torch.arange(7) // 3), (4,), "features")
    found = audit(vs.trace(one.build().eval(), *args), args, players, methods=["shapley_value", "deeplift_rescale", "smooth_grad"])
    assert found["deeplift_rescale"].holds and found["smooth_grad"].leak == 0
