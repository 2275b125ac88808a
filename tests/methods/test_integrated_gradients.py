"""Integrated gradients against the definition, against a peer, and against its own promise to add up."""

import pytest
import torch
from captum.attr import IntegratedGradients as Peer

import vesalius as vs
from tests.reference.integrated_gradients import integrated_gradients
from tests.zoo import SPECIMENS, cifar_test_images, resnet20, specimen
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.games.absence import Blur, Marginal, Mean
from vesalius.methods import IntegratedGradients


def opened(name, dtype=torch.float32, batch=3):
    found = specimen(name)
    model = found.build().to(dtype).eval()
    args, kwargs = found.example(batch, dtype)
    network = vs.trace(model, *args, kwargs=kwargs, output=found.output)
    x = {**dict(zip([value.name for value in network.inputs], args, strict=False)), **kwargs}
    return network, x


@pytest.mark.parametrize("name", ["mlp", "norm_first"])
def test_matches_the_definition(name):
    """4,000 midpoints are themselves .0003 (mlp) and .0014 (norm_first) away from 16,000 of them."""
    network, x = opened(name, torch.float64, batch=1)
    (values,) = x.values()
    found = vs.attribute(network, x, IntegratedGradients(tol=1e-4, floor=0, max_steps=2000), target=1)
    assert found.converged.all()
    expected = integrated_gradients(lambda point: network(point)[0, 1], values[0], torch.zeros_like(values[0]), 4000)
    assert (found.values[0] - expected).norm() <= 3e-3 * expected.norm()


@pytest.mark.parametrize("name", ["cnn", "unet", "encoder", "lstm"])
def test_fixed_steps_match_captum(name):
    network, x = opened(name)
    (images,) = x.values()
    expected = Peer(network).attribute(images, target=2, n_steps=20)
    found = vs.attribute(network, images, IntegratedGradients(steps=20), target=2)
    torch.testing.assert_close(found.values, expected.to(found.values), rtol=1e-4, atol=1e-5)
    assert found.converged is None


@pytest.mark.parametrize("name", [found.name for found in SPECIMENS])
def test_adds_up_within_its_tolerance_on_the_whole_zoo(name):
    network, x = opened(name)
    at = None
    if specimen(name).integer_at is not None:
        at = next(layer.value for layer in network.layers.values() if layer.op == "embedding")
    found = vs.attribute(network, x, target=0, at=at)
    excursion_allowed = (found.relative_gap <= 1e-2) | (found.gap.abs() <= 1e-3)
    assert (excursion_allowed | ~found.converged).all()
    assert found.converged.float().mean() >= 2 / 3
    assert (found.evaluations <= 514).all()


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
    assert found.evaluations.tolist() == [42, 7]
    assert "NOT CONVERGED" in repr(found)


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


@pytest.mark.parametrize("at", ["layer2", "layer3.1.conv1", "conv1"])
def test_inner_layers_add_up_too(data_dir, at):
    network = vs.trace(resnet20(data_dir), torch.zeros(1, 3, 32, 32))
    images = cifar_test_images(data_dir)[0][:2]
    found = vs.attribute(network, images, at=at)
    assert found.values.shape == (2, *network.values[network.resolve(at)].shape[1:])
    assert found.converged.all()
    assert found.relative_gap.max() <= 1e-2


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
    assert vs.attribute(network, images, target=0, baseline=images[:1]).base[0] == network(images)[0, 0]
    with pytest.raises(InvalidInput, match="compares with one baseline, and average over 3 background samples gives 3"):
        vs.attribute(network, images, target=0, baseline=Marginal(background=images))


def test_tokens_are_explained_at_their_embedding():
    network, x = opened("bert")
    with pytest.raises(WrongType, match=r"has no gradient.*explain an embedding instead, at='.*embeddings"):
        vs.attribute(network, x, target=0)
    at = next(layer.value for layer in network.layers.values() if layer.op == "embedding")
    pad = torch.zeros_like(x["input_ids"])
    found = vs.attribute(network, x, target=0, at=at, baseline=pad)
    replaced = {**x, "input_ids": pad}
    torch.testing.assert_close(found.base, network(**replaced)[:, 0], rtol=1e-4, atol=1e-5)
    assert found.relative_gap.max() <= 1e-2


@pytest.mark.parametrize("options", [{"tol": 0}, {"max_steps": 1}, {"steps": 0}, {"floor": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InvalidInput, match="must be"):
        IntegratedGradients(**options)


def test_few_samples_fit_when_memory_is_short(monkeypatch):
    network, x = opened("cnn")
    (images,) = x.values()
    expected = vs.attribute(network, images, target=0)
    program = network.program
    tried = []

    def cramped(inputs, outputs):
        whole = program(inputs, outputs)

        def run(*tensors):
            tried.append(len(tensors[0]))
            if len(tensors[0]) > 4:
                raise torch.OutOfMemoryError("out of memory")
            return whole(*tensors)

        return run

    monkeypatch.setattr(network, "program", cramped)
    found = vs.attribute(network, images, target=0)
    assert max(tried) > 4
    torch.testing.assert_close(found.values, expected.values)
