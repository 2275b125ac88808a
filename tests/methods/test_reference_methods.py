"""How rule-based methods are asked: where, about what, in which batches, and what they refuse."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.zoo import TWINS, specimen
from vesalius.core.errors import MemoryExhausted, NoRule, NotTraceable, UnknownName, WrongType
from vesalius.games.absence import Blur, Marginal, Mean
from vesalius.methods import DeepLIFTRescale, DeepLIFTRevealCancel, DeepSHAP, double_precision
from vesalius.rules.network_contributions import ReferenceComparison
from vesalius.rules.two_point import TwoPointState

METHODS = [DeepLIFTRescale(), DeepLIFTRevealCancel(), DeepSHAP(variant="exact")]
each = pytest.mark.parametrize("method", METHODS, ids=["rescale", "revealcancel", "deep_shap exact"])
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def opened(batch=4):
    pair = next(pair for pair in TWINS if pair.name == "cnn")
    model, x = pair.modules().double().eval(), pair.inputs(batch, torch.float64, torch.Generator().manual_seed(0))
    return model, vs.trace(model, x), x


@each
def test_an_inner_value_is_explained_as_the_input_of_what_follows(method):
    model, network, x = opened()
    with torch.no_grad():
        inner, other = model[:3](x), model[:3](torch.ones_like(x[:1]))
    whole = vs.attribute(network, x, method, at="2", target=1, baseline=other[0])
    alone = vs.attribute(vs.trace(model[3:], inner), inner, method, target=1, baseline=other[0])
    torch.testing.assert_close(whole.values, alone.values, **EXACT)
    torch.testing.assert_close(whole.total, model(x)[:, 1], **EXACT)


@each
def test_an_inner_unit_is_a_target_like_any_other(method):
    model, network, x = opened()
    found = vs.attribute(network, x, method, target=("3", 5))
    torch.testing.assert_close(found.total, model[:4](x)[:, 5].mean((1, 2)), **EXACT)
    torch.testing.assert_close(found.gap, torch.zeros(4).double(), **EXACT)
    front = nn.Sequential(model[:4], nn.AvgPool2d(4), nn.Flatten())
    torch.testing.assert_close(found.values, vs.attribute(vs.trace(front, x), x, method, target=5).values, **EXACT)


@each
def test_every_sample_may_have_a_class_of_its_own(method):
    _, network, x = opened()
    classes = torch.tensor([4, 0, 2, 2])
    found = vs.attribute(network, x, method, target=classes)
    for row, target in enumerate(classes.tolist()):
        alone = vs.attribute(network, x[row], method, target=target)
        torch.testing.assert_close(found.values[row], alone.values, **EXACT)
        torch.testing.assert_close(found.total[row], network(x)[row, target], **EXACT)


@each
def test_baselines_of_every_kind(method):
    _, network, x = opened()
    mean, tensor = (vs.attribute(network, x, method, target=0, baseline=b).values for b in (Mean(data=x), x.mean(0)))
    torch.testing.assert_close(mean, tensor, **EXACT)
    blurred = vs.attribute(network, x, method, target=0, baseline=Blur(sigma=1.0))
    torch.testing.assert_close(blurred.gap, torch.zeros(4).double(), **EXACT)
    itself = vs.attribute(network, x, method, target=0, baseline=vs.Constant(x))
    assert itself.values.abs().max() == 0
    background, rows = (vs.attribute(network, x, method, target=0, baseline=b).values for b in (Marginal(x), x))
    torch.testing.assert_close(rows, background, **EXACT)


@each
def test_batches_of_any_size_give_the_same_values(method, monkeypatch):
    """Small batches, and none that was planned but does not fit."""
    _, network, x = opened(5)
    background = Marginal(background=torch.stack([x[0] / 2, x[1]]))
    expected = vs.attribute(network, x, method, target=1, baseline=background)
    name = "rescale" if isinstance(method, DeepLIFTRescale) else "with_unit_rules"
    whole, tried = getattr(ReferenceComparison, name), []

    def cramped(self, rows, *args):
        tried.append(len(rows))
        if tried[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return whole(self, rows, *args)

    monkeypatch.setattr(ReferenceComparison, name, cramped)
    found = vs.attribute(network, x, method, target=1, baseline=background)
    assert tried == [5, 2, 2, 1]
    torch.testing.assert_close(found.values, expected.values, **EXACT)
    tried.clear()
    monkeypatch.setattr(double_precision, "batch_size", lambda network, device: 2 * double_precision.COMPARISON_COST)
    found = vs.attribute(network, x, method, target=1, baseline=background)
    assert tried == [2, 2, 1]
    torch.testing.assert_close(found.values, expected.values, **EXACT)
    monkeypatch.setattr(ReferenceComparison, name, lambda self, rows, *args: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory")))
    with pytest.raises(MemoryExhausted, match="the comparison of one sample does not fit"):
        vs.attribute(network, x, method, target=1)


@pytest.mark.parametrize("name", ["cnn", "sequence_first", "two_input", "rotary"])
def test_a_reference_that_all_samples_share_is_run_once(name, monkeypatch):
    found = specimen(name)
    args, kwargs = found.example(3, torch.float64)
    network = vs.trace(found.build().double().eval(), *args, kwargs=kwargs)
    sizes, run = [], ReferenceComparison.run

    def watched(self, values, *rest):
        sizes.append(len(values[0]))
        return run(self, values, *rest)

    monkeypatch.setattr(ReferenceComparison, "run", watched)
    shared = vs.attribute(network, args, "deeplift_rescale", target=0)
    assert sizes == [3, 1]
    monkeypatch.setattr(
        ReferenceComparison, "reference", lambda self, points, rows, tape, *rest: self.run(points, rows, TwoPointState(tape))
    )
    apart = vs.attribute(network, args, "deeplift_rescale", target=0)
    assert sizes[2:] == [3, 3]
    torch.testing.assert_close(shared.values, apart.values, **EXACT)


@pytest.mark.slow
@each
def test_tokens_are_explained_at_their_embedding(method):
    found = specimen("bert")
    args, kwargs = found.example(2)
    network = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    x = {**dict(zip([value.name for value in network.inputs], args, strict=False)), **kwargs}
    with pytest.raises(WrongType, match=r"has no gradient.*explain an embedding instead, at='.*embeddings"):
        vs.attribute(network, x, method, target=0)
    at = next(layer.value for layer in network.layers.values() if layer.op == "embedding")
    pad = torch.zeros_like(x["input_ids"])
    explained = vs.attribute(network, x, method, target=0, at=at, baseline=vs.Constant(pad))
    torch.testing.assert_close(explained.base, network(**{**x, "input_ids": pad})[:, 0], rtol=1e-4, atol=1e-5)
    assert explained.relative_gap.max() <= 1e-4
    seen = x["attention_mask"].bool()
    assert not seen.all()
    assert explained.values[~seen].abs().max() == 0


class NoRules(nn.Module):
    """Two ops that no table has a rule for, in a module and outside one."""

    def __init__(self):
        super().__init__()
        self.inner = Inverse()

    def forward(self, x):
        return self.inner(x).sum(2).mode(1)[0]


class Inverse(nn.Module):
    def forward(self, x):
        return torch.cholesky_inverse(torch.diag_embed(torch.relu(x) + 1))


@each
def test_ops_without_a_rule_are_all_listed_with_their_places(method):
    network = vs.trace(NoRules(), torch.zeros(2, 4))
    with pytest.raises(NoRule) as caught:
        vs.attribute(network, torch.ones(2, 4), method)
    text = str(caught.value)
    assert text.startswith(
        f"{'deeplift_rescale' if method.name == 'deep_shap' and method.variant == 'rescale' else method.name} has no rule for: "
    )
    assert "cholesky_inverse (value 'inner/cholesky_inverse', in module 'inner', test_reference_methods.py:" in text
    assert "mode (value" in text.partition("; ")[2]
    assert "test_reference_methods.py:" in text.partition("; ")[2]
    assert "shapley_value" in text
    after = vs.attribute(network, torch.ones(2, 4), "integrated_gradients")
    assert after.provenance["rule"] == "quadrature"


@each
def test_an_opaque_network_is_refused_with_the_reason(method):
    found = specimen("branching")
    args, _ = found.example(2)
    with pytest.raises(NotTraceable, match=r"dense.py:\d+"):
        vs.attribute(vs.trace(found.build().eval(), *args), args[0], method)


def test_variants_are_named():
    with pytest.raises(UnknownName, match="did you mean 'exact'"):
        DeepSHAP(variant="exakt")


def test_one_convolution_is_split_or_not():
    """The authors' own package splits dense layers only."""
    _, network, x = opened()
    both, dense, neither = (
        vs.attribute(network, x, DeepLIFTRevealCancel(convolutions=c, dense=d), target=1).values
        for c, d in ((True, True), (False, True), (False, False))
    )
    rescale = vs.attribute(network, x, "deeplift_rescale", target=1).values
    torch.testing.assert_close(neither, rescale, **EXACT)
    assert min(float((both - dense).norm()), float((dense - rescale).norm())) > 1e-2 * float(rescale.norm())
