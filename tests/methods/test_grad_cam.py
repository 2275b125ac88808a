"""Grad-CAM against a peer, on images, sequences and tokens, and what it does to sums."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import EXACT, Function, random, settled
from tests.trace.laid_out_networks import ConvNeXt, hook_axis, laid_out, same_weights
from tests.zoo import cifar_test_images, resnet20, specimen
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName
from vesalius.methods import GradCAM


def opened(name):
    found = specimen(name)
    args, kwargs = found.example(3)
    model = found.build().eval()
    return vs.trace(model, *args, kwargs=kwargs, output=found.output), model, args[0]


@pytest.mark.slow
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("cnn", "conv1"),
        ("cnn", "conv2"),
        ("resnet", "layer1"),
        ("resnet", "conv1"),
        ("mbconv", "stem"),
        ("conv1d", "features.0"),
        ("unet", "bottom"),
    ],
)
def test_matches_captum(name, layer, relu):
    network, model, x = opened(name)
    expected = LayerGradCam(model, model.get_submodule(layer)).attribute(x, target=1, relu_attributions=relu)
    found = vs.attribute(network, x, GradCAM(relu=relu), target=1, at=layer)
    torch.testing.assert_close(found.values, expected[:, 0].detach(), rtol=1e-5, atol=1e-5)
    assert relu or found.values.abs().max() > 1e-3


def test_matches_captum_on_a_pretrained_network_per_sample_and_per_class(data_dir):
    model, images = resnet20(data_dir), cifar_test_images(data_dir)[0][:3]
    network, targets = vs.trace(model, images), torch.tensor([3, 8, 0])
    for layer in ("layer1", "layer3", "layer2.0.conv2"):
        expected = LayerGradCam(model, model.get_submodule(layer)).attribute(images, target=targets)
        found = vs.attribute(network, images, "grad_cam", target=targets, at=layer)
        torch.testing.assert_close(found.values, expected[:, 0].detach(), rtol=1e-5, atol=1e-5)
    default = vs.attribute(network, images, "grad_cam", target=targets)
    torch.testing.assert_close(default.values, vs.attribute(network, images, "grad_cam", target=targets, at="layer3").values)
    assert default.values.shape == (3, 8, 8)
    assert default.provenance["at"] == [network.resolve("layer3")]


def test_tokens_are_positions_and_the_last_axis_is_channels():
    """On a vision transformer: the mean gradient of a channel over tokens, times its value, for every token."""
    found = specimen("vit")
    (x,), _ = found.example(2, torch.float64)
    network = vs.trace(found.build().double().eval(), x)
    place = next(name for name, value in reversed(network.values.items()) if len(value.shape) == 3 and value.op == "layer_norm")
    tokens = network.read(x, place)[place].detach().requires_grad_()
    split = network.split(place)
    context = split.front(x)[1:]
    (slope,) = torch.autograd.grad(split.head(tokens, *context)[:, 1].sum(), tokens)
    expected = (slope.mean(1, keepdim=True) * tokens).sum(2).detach()
    allocation = vs.attribute(network, x, "grad_cam", target=1, at=place)
    torch.testing.assert_close(allocation.values, expected, **EXACT)
    assert allocation.players.kind == "tokens"
    assert vs.attribute(network, x, "grad_cam", target=1).values.shape[1] > 1


def test_with_a_pooled_linear_head_it_is_gradient_x_input_of_the_layer():
    model = settled(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    x = random(2, 2, 5, 5, seed=1)
    network = vs.trace(model, x)
    for baseline in (None, 0.3):
        cam = vs.attribute(network, x, "grad_cam", target=1, at="1", baseline=baseline)
        whole = vs.attribute(network, x, "gradient_x_input", target=1, at="1", baseline=baseline)
        torch.testing.assert_close(cam.values, whole.values.sum(1), **EXACT)
        assert cam.gap.abs().max() < 1e-12  # all is linear from there


@pytest.mark.parametrize("relu", [False, True])
def test_upsampling_keeps_every_samples_sum(relu):
    network, _, x = opened("cnn")
    small, large = (vs.attribute(network, x, GradCAM(relu=relu, upsample=up), target=1, at="conv2") for up in (False, True))
    assert small.values.shape[1:] != large.values.shape[1:] == x.shape[2:]
    torch.testing.assert_close(large.flat.sum(1), small.flat.sum(1), rtol=1e-5, atol=1e-6)
    blown_up = F.interpolate(small.values[:, None], size=x.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    centred = [part.flatten(1) - part.flatten(1).mean(1, keepdim=True) for part in (large.values, blown_up)]
    torch.testing.assert_close(F.cosine_similarity(*centred), torch.ones(3))
    assert large.players.kind == "patches" and large.map.shape == x[:, 0].shape


def test_relu_drops_negative_values_and_the_gap_says_what():
    network, _, x = opened("cnn")
    kept, positive = (vs.attribute(network, x, GradCAM(relu=relu), target=1, at="conv2") for relu in (False, True))
    torch.testing.assert_close(positive.values, kept.values.clamp(min=0))
    torch.testing.assert_close(positive.gap - kept.gap, kept.flat.clamp(max=0).sum(1), rtol=1e-4, atol=1e-5)


def test_an_inner_target():
    network, model, x = opened("cnn")
    found = vs.attribute(network, x, "grad_cam", target=("conv2", 3), at="conv1")
    maps = network.read(x, "conv1")["conv1"].detach().requires_grad_()
    inner = network.split("conv1", "conv2").head(maps)[:, 3].mean((1, 2))
    (slope,) = torch.autograd.grad(inner.sum(), maps)
    torch.testing.assert_close(found.values, (slope.mean((2, 3), keepdim=True) * maps).sum(1).detach(), rtol=1e-5, atol=1e-6)
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_what_cannot_be_asked():
    network, _, x = opened("cnn")
    with pytest.raises(InvalidInput, match=r"grad_cam needs a layer with positions.*choose one with at="):
        vs.attribute(network, x, "grad_cam", target=1, at="fc1")
    with pytest.raises(UnknownName, match="conv2"):
        vs.attribute(network, x, "grad_cam", target=1, at="conv3")
    flat, row = vs.trace(settled(nn.Linear(4, 2)), random(1, 4)), random(2, 4)
    with pytest.raises(InvalidInput, match="grad_cam needs a layer with positions"):
        vs.attribute(flat, row, "grad_cam", target=1)
    steps = specimen("conv1d")
    (series,), _ = steps.example(2)
    with pytest.raises(InvalidInput, match="upsample=True needs a layer with height and width"):
        vs.attribute(vs.trace(steps.build().eval(), series), series, GradCAM(upsample=True), target=1)
    with pytest.raises(InvalidInput, match="looks at one layer, not at 2 tensors"):
        vs.attribute(network, x, "grad_cam", target=1, at=("conv1", "conv2"), direct=True)


def test_an_opaque_network_is_refused_but_for_its_input():
    found = specimen("branching")
    (x,), _ = found.example(2)
    with pytest.raises(NotTraceable):
        vs.attribute(vs.trace(found.build().eval(), x), x, "grad_cam", target=0, at="fc1")


def test_the_default_layer_is_the_last_that_has_positions():
    x = random(2, 2, 6, 6)
    model = Function(lambda x: F.relu(nn.functional.conv2d(x, WEIGHT)).flatten(1).matmul(HEAD))
    network = vs.trace(model, x)
    found = vs.attribute(network, x, "grad_cam", target=0)
    assert found.values.shape == (2, 5, 5)
    assert network.values[found.provenance["at"][0]].op == "relu"


WEIGHT, HEAD = random(3, 2, 2, 2, seed=7), random(75, 2, seed=8)


def test_the_map_does_not_depend_on_the_layout_of_the_memory():
    """The same block with channels last inside, and with channels first throughout."""
    first, x = laid_out("channels first")
    last = same_weights(first, ConvNeXt(last=True))
    one, other = vs.trace(first, x), vs.trace(last, x)
    torch.testing.assert_close(last(x), first(x), **EXACT)
    for layer in ("norm", "wide", "narrow"):
        maps = [vs.attribute(network, x, "grad_cam", target=1, at=layer) for network in (one, other)]
        torch.testing.assert_close(maps[1].values, maps[0].values, **EXACT)
        assert maps[1].values.shape == (3, 3, 3) and maps[1].players.kind == "patches"
    large = [vs.attribute(network, x, GradCAM(upsample=True), target=1, at="wide").values for network in (one, other)]
    torch.testing.assert_close(large[1], large[0], **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer", "shape"), [("swin", "proj", (4, 4)), ("film", "conv", (3, 4, 4)), ("steps first", "fc", (5,))])
def test_positions_that_share_an_axis_with_the_batch(name, layer, shape):
    """Held against hooks, one sample at a time."""
    model, x = laid_out(name)
    network, module = vs.trace(model, x), model.get_submodule(layer)
    found = vs.attribute(network, x, "grad_cam", target=1, at=network.layer(layer).value)
    for place, sample in enumerate(x):
        kept = []
        handle = module.register_forward_hook(lambda _, __, output, kept=kept: kept.append(output))
        score = model(sample[None])[0, 1]
        handle.remove()
        (slope,) = torch.autograd.grad(score, kept[0])
        rows, slopes = (tensor.movedim(hook_axis(module), -1).flatten(0, -2).detach() for tensor in (kept[0], slope))
        torch.testing.assert_close(found.values[place].flatten(), rows @ slopes.mean(0), **EXACT)
    assert found.values.shape == (3, *shape)


def test_units_spread_over_heads_are_no_channels():
    model, x = laid_out("swin")
    with pytest.raises(InvalidInput, match="units are spread over axes 2 and 4"):
        vs.attribute(vs.trace(model, x), x, "grad_cam", target=1, at="unbind.2")


def test_the_default_layer_of_a_network_with_channels_last_has_positions():
    model, x = laid_out("swin")
    network = vs.trace(model, x)
    found = vs.attribute(network, x, "grad_cam", target=1)
    assert found.values.shape == (3, 2, 2) and found.provenance["at"] == ["square"], "the last value before positions are averaged"
