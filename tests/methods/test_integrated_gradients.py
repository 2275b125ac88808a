"""Integrated gradients against the definition, against a peer, and against its own promise to add up."""

import pytest
import torch
from captum.attr import IntegratedGradients as Peer

import vesalius as vs
from tests.reference.black_box import integrated_gradients
from tests.zoo import cifar_test_images, resnet20, specimen
from vesalius.core.errors import InvalidInput, NoRule, UnknownName, WrongType
from vesalius.games.absence import Blur, Marginal, Mean
from vesalius.methods import ExpectedGradients, IntegratedGradients
from vesalius.methods.straight_path import StraightPath
from vesalius.rules.network_contributions import ReferenceComparison


def opened(name, dtype=torch.float32, batch=3):
    found = specimen(name)
    model = found.build().to(dtype).eval()
    args, kwargs = found.example(batch, dtype)
    network = vs.trace(model, *args, kwargs=kwargs, output=found.output)
    x = {**dict(zip([value.name for value in network.inputs], args, strict=False)), **kwargs}
    return network, x


@pytest.mark.parametrize("name", ["mlp", "norm_first"])
def test_matches_the_definition(name):
    network, x = opened(name, torch.float64, batch=1)
    (values,) = x.values()
    found = vs.attribute(network, x, IntegratedGradients(tol=2e-4, max_steps=4000), target=1)
    assert found.converged.all()
    assert (found.map_error <= 2e-4).all()
    flat = values[0].flatten()
    expected = torch.zeros_like(flat)
    for start, end in ((0, 0.02), (0.02, 0.2), (0.2, 1)):  # LayerNorm's gradient at zero is as large as its eps is small
        expected += integrated_gradients(lambda row: network(row.reshape(values.shape))[:, 1:2], end * flat, start * flat)
    assert (found.flat[0] - expected).norm() <= 2e-3 * expected.norm()


@pytest.mark.parametrize("name", ["cnn", "unet", "encoder", "lstm"])
def test_fixed_nodes_match_captum(name):
    network, x = opened(name)
    (images,) = x.values()
    expected = Peer(network).attribute(images, target=2, n_steps=20)
    found = vs.attribute(network, images, IntegratedGradients(steps=20, rule="quadrature"), target=2)
    torch.testing.assert_close(found.values, expected.to(found.values), rtol=1e-4, atol=1e-5)
    assert found.converged is None
    assert found.provenance["rule"] == "quadrature"


@pytest.mark.parametrize(("name", "rule"), [("mlp", "secants"), ("cnn", "secants"), ("mixture", "quadrature"), ("lstm", "quadrature")])
def test_the_map_is_known_to_its_tolerance(name, rule):
    """Against 400 gradients. Estimates of errors are estimates: twice the tolerance is allowed, and thrice the estimate."""
    network, x = opened(name)
    found = vs.attribute(network, x, "integrated_gradients", target=0)
    exact = vs.attribute(network, x, IntegratedGradients(rule="quadrature", steps=400), target=0)
    away = (found.flat - exact.flat).norm(dim=1) / exact.flat.norm(dim=1)
    assert found.provenance["rule"] == rule
    assert found.converged.all()
    assert (away <= 2e-2).all()
    assert (away <= 3 * found.map_error).all()
    assert (found.evaluations <= 521).all()
    assert found.gap.abs().max() <= 1e-5
    assert exact.converged is None


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_both_rules_go_to_the_same_limit(name):
    network, x = opened(name, torch.float64)
    secants, nodes = (
        vs.attribute(network, x, IntegratedGradients(rule=rule, steps=steps), target=1).flat
        for rule, steps in (("secants", 200), ("quadrature", 800))
    )
    assert ((secants - nodes).norm(dim=1) <= 5e-3 * nodes.norm(dim=1)).all()


def test_a_line_that_needs_more_than_it_may_take_is_reported():
    network, x = opened("cnn")
    found = vs.attribute(network, x, IntegratedGradients(tol=1e-4, max_steps=20), target=0)
    assert not found.converged.any()
    assert (found.map_error > 1e-4).all()
    assert found.gap.abs().max() <= 1e-5
    assert "NOT CONVERGED" in repr(found)


def test_a_step_that_no_gradient_sees_is_shared_out_by_secants():
    class Step(torch.nn.Module):
        def forward(self, x):
            return torch.where(x.sum(1) > 1, 1.0, 0.0)

    network = vs.trace(Step(), torch.zeros(1, 2))
    found = vs.attribute(network, torch.tensor([[2.0, 2.0], [0.1, 0.1]]), "integrated_gradients")
    torch.testing.assert_close(found.values, torch.tensor([[0.5, 0.5], [0.0, 0.0]]))
    assert found.gap.tolist() == [0, 0]


def test_where_an_op_has_no_rule_gradients_are_taken_and_that_is_said():
    class Gamma(torch.nn.Module):
        def forward(self, x):
            return torch.special.gammainc(torch.full_like(x, 2.0), x.abs()).sum(1) + x.sum(1)

    network, x = vs.trace(Gamma(), torch.ones(1, 4)), torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    found = vs.attribute(network, x)
    assert found.provenance["rule"] == "quadrature"
    assert "gammainc" in found.provenance["why"]
    assert found.relative_gap.max() <= 1e-2
    with pytest.raises(NoRule, match=r"special_gammainc \(value 'special_gammainc', .*test_integrated_gradients.py:"):
        vs.attribute(network, x, IntegratedGradients(rule="secants"))
    asked = vs.attribute(network, x, IntegratedGradients(rule="quadrature"))
    assert asked.provenance["why"] == "asked for"
    torch.testing.assert_close(asked.values, found.values)
    strict = vs.attribute(network, x, IntegratedGradients(tol=1e-9, max_steps=40))
    assert "has no rule for: special_gammainc (value 'special_gammainc'" in strict.provenance["why"]


def test_an_exact_kink_at_the_baseline_converges():
    network = vs.trace(torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU(), torch.nn.Linear(4, 1)), torch.zeros(1, 3))
    found = vs.attribute(network, torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert found.converged.all()
    assert (found.relative_gap <= 1e-2).all()


def test_a_step_that_no_gradient_sees_is_reported():
    network = vs.trace(lambda x: (x.sum(1) > 1).float() + 0 * x.sum(1), torch.zeros(1, 2))
    found = vs.attribute(network, torch.tensor([[2.0, 2.0], [0.1, 0.1]]), IntegratedGradients(max_steps=40))
    assert found.converged.tolist() == [False, True]
    assert found.gap.tolist() == [1, 0]
    assert found.evaluations[0] <= 41
    assert found.evaluations[1] == 10
    assert "NOT CONVERGED" in repr(found)


@pytest.mark.slow
def test_samples_that_have_converged_stop_costing(data_dir):
    network = vs.trace(resnet20(data_dir), torch.zeros(1, 3, 32, 32))
    images = cifar_test_images(data_dir)[0][:4]
    found = vs.attribute(network, images)
    assert found.converged.all()
    assert found.relative_gap.max() <= 1e-2
    assert found.evaluations.unique().numel() > 1
    alone = vs.attribute(network, images[2], target=int(network(images[2:3]).argmax()))
    assert alone.evaluations == found.evaluations[2]
    torch.testing.assert_close(alone.values, found.values[2], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("at", ["layer2", "layer3.1.conv1", "conv1"])
def test_inner_layers_add_up_too(data_dir, at):
    network = vs.trace(resnet20(data_dir), torch.zeros(1, 3, 32, 32))
    images = cifar_test_images(data_dir)[0][:2]
    found = vs.attribute(network, images, at=at)
    assert found.values.shape == (2, *network.values[network.resolve(at)].shape[1:])
    assert found.converged.all()
    assert found.relative_gap.max() <= 1e-2


@pytest.mark.slow
def test_an_inner_unit_can_be_the_target(data_dir):
    network = vs.trace(resnet20(data_dir), torch.zeros(1, 3, 32, 32))
    images = cifar_test_images(data_dir)[0][:2]
    found = vs.attribute(network, images, target=("layer2", 5))
    inside = network.read(images, "layer2")["layer2"][:, 5].mean((1, 2))
    torch.testing.assert_close(found.total, inside)
    assert found.relative_gap.max() <= 1e-2


def test_baselines_of_every_kind():
    network, x = opened("cnn")
    (images,) = x.values()
    mean = vs.attribute(network, images, target=0, baseline=Mean(data=images))
    tensor = vs.attribute(network, images, target=0, baseline=images.mean(0))
    torch.testing.assert_close(mean.values, tensor.values)
    assert vs.attribute(network, images, target=0, baseline=Blur(sigma=1.0)).relative_gap.max() <= 1e-2
    torch.testing.assert_close(vs.attribute(network, images, target=0, baseline=images[:1]).base[0], network(images)[0, 0])


@pytest.mark.parametrize("rule", ["secants", "quadrature"])
def test_several_baselines_are_averaged(rule):
    network, x = opened("cnn", torch.float64)
    (images,) = x.values()
    method = IntegratedGradients(rule=rule, steps=6)
    several = vs.attribute(network, images, method, target=0, baseline=Marginal(background=images.flip(3)))
    each = [vs.attribute(network, images, method, target=0, baseline=row) for row in images.flip(3)]
    torch.testing.assert_close(several.values, torch.stack([one.values for one in each]).mean(0))
    torch.testing.assert_close(several.base, torch.stack([one.base for one in each]).mean(0))
    expected = vs.attribute(network, images, ExpectedGradients(rule=rule, steps=6), target=0, baseline=Marginal(background=images.flip(3)))
    assert torch.equal(expected.values, several.values)


def test_adaptive_runs_over_several_baselines_know_their_mean():
    network, x = opened("mlp")
    (rows,) = x.values()
    background = Marginal(background=torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(1)))
    found = vs.attribute(network, rows, "expected_gradients", target=0, baseline=background)
    exact = vs.attribute(network, rows, ExpectedGradients(rule="quadrature", steps=200), target=0, baseline=background)
    assert found.converged.all()
    assert ((found.flat - exact.flat).norm(dim=1) <= 2e-2 * exact.flat.norm(dim=1)).all()
    assert found.gap.abs().max() <= 1e-5
    alone = [vs.attribute(network, rows, target=0, baseline=one).evaluations for one in background.background]
    assert found.evaluations.sum() < 0.85 * sum(alone).sum(), "errors of single baselines may be larger than that of their mean"


def test_tokens_are_explained_at_their_embedding():
    network, x = opened("bert")
    with pytest.raises(WrongType, match=r"has no gradient.*explain an embedding instead, at='.*embeddings"):
        vs.attribute(network, x, target=0)
    at = next(layer.value for layer in network.layers.values() if layer.op == "embedding")
    pad = torch.zeros_like(x["input_ids"])
    found = vs.attribute(network, x, target=0, at=at, baseline=vs.Constant(pad))
    replaced = {**x, "input_ids": pad}
    torch.testing.assert_close(found.base, network(**replaced)[:, 0], rtol=1e-4, atol=1e-5)
    assert found.relative_gap.max() <= 1e-2


@pytest.mark.parametrize("options", [{"tol": 0}, {"max_steps": 1}, {"steps": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InvalidInput, match=f"{next(iter(options))} is a .*number (above|of at least) ., not"):
        IntegratedGradients(**options)
    with pytest.raises(UnknownName, match="did you mean 'secants'"):
        IntegratedGradients(rule="secant")


@pytest.mark.parametrize(
    ("rule", "owner", "name", "rows"),
    [
        ("secants", ReferenceComparison, "run", lambda values, rows, state, still=None: rows),
        ("quadrature", StraightPath, "_gradient", lambda rows, times, shift: rows),
    ],
)
def test_few_samples_fit_when_memory_is_short(monkeypatch, rule, owner, name, rows):
    """In double precision: other batch sizes round differently, and quadrature closes in on kinks until rounding decides their side."""
    network, x = opened("cnn", torch.float64)
    method = IntegratedGradients(rule=rule)
    expected = vs.attribute(network, x, method, target=0)
    whole, tried = getattr(owner, name), []

    def cramped(self, *args):
        tried.append(len(rows(*args)))
        if tried[-1] > 2:
            raise torch.OutOfMemoryError("out of memory")
        return whole(self, *args)

    monkeypatch.setattr(owner, name, cramped)
    found = vs.attribute(network, x, method, target=0)
    assert max(tried) > 2
    assert tried[-1] <= 2
    torch.testing.assert_close(found.values, expected.values)


def test_a_gradient_that_is_the_same_everywhere_is_not_written_to():
    """The gradient of a plain sum is one number expanded to the input's shape."""
    network, x = vs.trace(lambda x: x.sum(1), torch.zeros(1, 3)), torch.tensor([[1.0, -2.0, 3.0]])
    found = vs.attribute(network, x, IntegratedGradients(rule="quadrature", steps=8))
    torch.testing.assert_close(found.values, x)


@pytest.mark.parametrize("threshold", [1.0, 20.0])
def test_a_softplus_that_jumps_goes_by_secants(threshold):
    x = torch.tensor([[0.2, 2.0]]).double()
    found = vs.attribute(torch.nn.Softplus(beta=2, threshold=threshold), x, target=lambda y: y.sum(1), baseline=0.3)
    assert found.gap.abs().max() < 1e-6 and bool(found.converged.all())
    assert (found.provenance["rule"] == "quadrature") == (threshold > 15)


class Staircase(torch.nn.Module):
    """A floor, or ramps that come near it, of two inputs."""

    def __init__(self, steepness=None):
        super().__init__()
        self.steepness = steepness

    def forward(self, x):
        z = 3 * x[:, :1] + 0.3 * x[:, 1:]
        steps = z.floor() if self.steepness is None else sum(torch.sigmoid(self.steepness * (z - step)) for step in (1, 2, 3))
        return steps + x[:, 1:] ** 2


def test_a_jump_is_the_limit_of_steep_ramps_and_gradients_alone_say_that_they_miss_it():
    x = torch.tensor([[0.9, 0.8]], dtype=torch.float64)
    jumps = vs.attribute(Staircase(), x, "integrated_gradients", target=0)
    ramps = vs.attribute(Staircase(500.0), x, IntegratedGradients(tol=1e-4, max_steps=2000), target=0)
    torch.testing.assert_close(jumps.values, ramps.values, atol=1e-5, rtol=0)
    gradients = vs.attribute(Staircase(), x, IntegratedGradients(rule="quadrature"), target=0)
    torch.testing.assert_close(gradients.gap, torch.tensor([2.0], dtype=torch.float64), atol=1e-6, rtol=0)
    assert not gradients.converged.any()
