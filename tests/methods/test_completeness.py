"""Methods that claim to add up do, on every network of the zoo, to rounding."""

from functools import cache

import pytest
import torch

import vesalius as vs
from tests.zoo import SPECIMENS, specimen
from vesalius.games.absence import Marginal
from vesalius.methods import (
    DeepLIFTRescale,
    DeepLIFTRevealCancel,
    DeepSHAP,
    ExpectedGradients,
    IntegratedGradients,
    Occlusion,
    ShapleyValue,
    double_precision,
)
from vesalius.rules.deep_shap import DEEP_SHAP
from vesalius.rules.network_contributions import ReferenceComparison
from vesalius.rules.rescale import RESCALE
from vesalius.rules.reveal_cancel import REVEAL_CANCEL
from vesalius.trace.question import ask

EXPORTABLE = [found.name for found in SPECIMENS if found.exportable]
FLOATING = [name for name in EXPORTABLE if specimen(name).integer_at is None]
METHODS = {
    "deeplift_rescale": DeepLIFTRescale(),
    "deeplift_revealcancel": DeepLIFTRevealCancel(),
    "deep_shap exact": DeepSHAP(variant="exact"),
    "integrated_gradients": IntegratedGradients(steps=3),
}


@cache
def traced(name):
    found = specimen(name)
    args, kwargs = found.example(2)
    network = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    at = next((layer.value for layer in network.layers.values() if layer.op == "embedding"), None) if found.integer_at else None
    return network, network.cast(torch.float64), at


def opened(name, dtype):
    single, double, at = traced(name)
    args, kwargs = specimen(name).example(2, dtype)
    network = single if dtype == torch.float32 else double
    return network, {**dict(zip([value.name for value in network.inputs], args, strict=False)), **kwargs}, at


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTABLE)
def test_adds_up(name):
    """All methods on one specimen: in single precision to 1e-5 of the change, in double to 1e-10 of it."""
    for dtype, share, rounding in ((torch.float32, 1e-5, 1e-6), (torch.float64, 1e-10, 1e-12)):
        network, x, at = opened(name, dtype)
        for method in METHODS.values():
            found = vs.attribute(network, x, method, target=1, at=at)
            assert found.values.dtype == dtype
            assert found.values.isfinite().all()
            assert found.provenance.get("rule", "secants") == "secants"
            largest = torch.maximum(found.total.abs(), found.base.abs())
            assert (found.gap.abs() <= share * (found.total - found.base).abs() + rounding * largest).all(), method


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTABLE)
def test_every_op_has_a_rule(name):
    """No specimen falls back to quadrature, under any table."""
    network, x, at = opened(name, torch.float32)
    question = ask(network, x, target=0, at=at)
    for table in (RESCALE, REVEAL_CANCEL, DEEP_SHAP):
        ReferenceComparison(question, table)


@pytest.mark.parametrize("name", ["cnn", "encoder", "where_gate", "extremes"])
@pytest.mark.parametrize("method", [DeepLIFTRescale(), DeepLIFTRevealCancel(), DeepSHAP(variant="exact"), ExpectedGradients(steps=2)])
def test_adds_up_over_a_background_too(name, method):
    network, x, _ = opened(name, torch.float64)
    (rows,) = x.values()
    background = Marginal(background=torch.randn(3, *rows.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(5)))
    found = vs.attribute(network, x, method, target=1, baseline=background)
    assert (found.gap.abs() <= 1e-10 * (found.total - found.base).abs()).all()
    each = [vs.attribute(network, x, method, target=1, baseline=row) for row in background.background]
    torch.testing.assert_close(found.values, torch.stack([one.values for one in each]).mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.base, torch.stack([one.base for one in each]).mean(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "cnn", "vit", "two_input"])
def test_shapley_values_of_few_players_add_up(name):
    network, x, _ = opened(name, torch.float64)
    sample = [rows[0] for rows in x.values()]
    players = vs.Players.patches(sample[0], 4) if len(sample) == 1 and sample[0].ndim == 3 else None
    found = vs.attribute(network, x, ShapleyValue(players=players, budget=200), target=1)
    assert (found.gap.abs() <= 1e-10 * found.flat.abs().sum(1)).all()
    alone = vs.attribute(network, x, Occlusion(players=players), target=1)
    assert (alone.gap.abs() > 1e-3 * alone.flat.abs().sum(1)).any()


def test_the_rescale_variant_of_deep_shap_is_rescale():
    network, x, _ = opened("cnn", torch.float64)
    assert torch.equal(*(vs.attribute(network, x, method, target=1).values for method in ("deep_shap", "deeplift_rescale")))


@pytest.mark.parametrize("baseline", [0.0, 100.0])
def test_single_precision_that_cancels_is_computed_again_in_double(baseline, monkeypatch):
    """A norm's effects from a far constant row are larger than what they add up to; stored in single precision they round once more."""
    again, double = [], double_precision.to_float64
    monkeypatch.setattr(double_precision, "to_float64", lambda question, rows: again.append(len(rows)) or double(question, rows))
    network, x, _ = opened("norm_first", torch.float32)
    found = vs.attribute(network, x, "deeplift_rescale", target=0, baseline=baseline)
    size = torch.maximum(found.total.abs(), found.base.abs()) + found.flat.abs().sum(1)
    assert (found.gap.abs() <= 1e-5 * (found.total - found.base).abs() + 5e-7 * size).all()
    assert bool(again) == (baseline == 100)
    exact = vs.attribute(traced("norm_first")[1], x["x"].double(), "deeplift_rescale", target=0, baseline=baseline)
    torch.testing.assert_close(found.values.double(), exact.values, rtol=1e-5, atol=1e-5 * float(exact.values.abs().max()))


def test_single_precision_alone_would_not_do(monkeypatch):
    monkeypatch.setattr(double_precision, "adds_up", lambda found, **_: torch.ones(len(found.total), dtype=torch.bool))
    network, x, _ = opened("norm_first", torch.float32)
    found = vs.attribute(network, x, "deeplift_rescale", target=0, baseline=100.0)
    assert (found.gap.abs() > 1e-5 * (found.total - found.base).abs() + 1e-6 * found.total.abs()).any()


class Offset(torch.nn.Module):
    """Outputs far larger than their changes."""

    def forward(self, x):
        return (x @ torch.tensor([[1.0, -1.0], [0.5, 2.0], [-0.7, 0.3]], dtype=x.dtype)).tanh() + 1000


@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_revealcancel", "deep_shap", "integrated_gradients", "expected_gradients"])
def test_a_change_that_is_small_beside_its_ends_is_shared_out_too(method):
    """Single precision rounds such ends by 6e-5, a share of 1e-4 of the change; the values are those of double precision to that."""
    x = torch.tensor([[0.3, -0.2, 0.9], [0.4, 0.1, -0.3]])
    background = Marginal(background=torch.tensor([[0.0, 0.1, 0.0], [-0.2, 0.0, 0.1]]))
    found = vs.attribute(Offset(), x, method, target=0, baseline=background)
    exact = vs.attribute(Offset(), x.double(), method, target=0, baseline=Marginal(background=background.background.double()))
    assert found.values.dtype == torch.float32
    assert (found.relative_gap <= 1e-5).all()
    torch.testing.assert_close(found.values.double(), exact.values, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("missed", [0.0, 1e-3])
def test_only_what_rounding_loses_is_taken_up(missed):
    """Of a true error nothing is, or completeness would say nothing of a rule."""
    values = torch.tensor([[100.0, 0.01, 3.0, 0.0]])
    total = torch.tensor([103.01001 + missed])
    found = double_precision.Contributions(values, torch.zeros(1), total)
    taken = double_precision.take_up_rounding(found, torch.tensor([0]))
    if missed:
        assert torch.equal(taken.values, values)
        return
    assert abs(float(taken.values.double().sum()) - float(total)) < 0.1 * abs(float(values.double().sum()) - float(total))
    assert torch.equal(taken.values[:, [0, 1, 3]], values[:, [0, 1, 3]])
