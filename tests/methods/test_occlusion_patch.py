"""Windows that are taken away, and players that are replaced, against a peer and against loops."""

import math

import pytest
import torch
from captum.attr import Occlusion as Peer
from torch import nn

import vesalius as vs
from tests.reference.black_box import prediction_difference
from tests.rules.layer_rule_networks import EXACT, Function, random, settled
from tests.zoo import cifar_test_images, resnet20, specimen
from vesalius.core.errors import InvalidInput
from vesalius.games.absence import Marginal
from vesalius.methods import Occlusion, OcclusionPatch, PredictionDifference


def opened(name, batch=2):
    found = specimen(name)
    args, kwargs = found.example(batch)
    model = found.build().eval()
    return vs.trace(model, *args, kwargs=kwargs, output=found.output), model, args[0]


@pytest.mark.parametrize(("size", "stride"), [(4, None), (4, 4), (5, 3), ((3, 6), (2, 5)), (16, 1), ((1, 16), 1)])
def test_windows_match_captum(size, stride):
    """Those that stand over the edge included; captum too takes the mean of all windows over a pixel."""
    network, model, images = opened("cnn")
    found = vs.attribute(network, images, OcclusionPatch(size=size, stride=stride), target=1)
    high, wide = (size, size) if isinstance(size, int) else size
    steps = (max(1, high // 2), max(1, wide // 2)) if stride is None else (stride, stride) if isinstance(stride, int) else stride
    expected = Peer(model).attribute(images, sliding_window_shapes=(1, high, wide), strides=(1, *steps), target=1)
    torch.testing.assert_close(found.values, expected[:, 0].to(found.values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_windows_match_captum_over_all_channels_of_real_images(data_dir, baseline):
    model, images = resnet20(data_dir), cifar_test_images(data_dir)[0][:2]
    targets = torch.tensor([3, 8])
    found = vs.attribute(vs.trace(model, images), images, OcclusionPatch(size=8, stride=8), target=targets, baseline=baseline)
    peer = Peer(model).attribute(images, sliding_window_shapes=(3, 8, 8), strides=(3, 8, 8), target=targets, baselines=baseline)
    torch.testing.assert_close(found.values, peer[:, 0].to(found.values), rtol=1e-5, atol=1e-5)
    assert torch.equal(found.values[:, :8, :8], found.values[:, :1, :1].expand(2, 8, 8))


def test_one_player_at_a_time_matches_captum_too():
    network, model, images = opened("cnn")
    found = vs.attribute(network, images, Occlusion(players=vs.Players.patches(images[0], 4)), target=1)
    expected = Peer(model).attribute(images, sliding_window_shapes=(1, 4, 4), strides=(1, 4, 4), target=1)
    torch.testing.assert_close(found.values, expected[:, 0, ::4, ::4].to(found.values), rtol=1e-5, atol=1e-5)


def test_windows_of_steps_and_of_columns():
    network, model, series = opened("lstm")
    found = vs.attribute(network, series, OcclusionPatch(size=2, stride=1), target=1)
    expected = Peer(model).attribute(series, sliding_window_shapes=(2, 4), strides=(1, 4), target=1)
    torch.testing.assert_close(found.values, expected[..., 0].to(found.values), rtol=1e-5, atol=1e-5)
    net, x = settled(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)), random(2, 5, seed=1)
    columns = vs.attribute(vs.trace(net, x), x, OcclusionPatch(size=3, stride=2), target=0)
    peer = Peer(net).attribute(x, sliding_window_shapes=(3,), strides=(2,), target=0)
    torch.testing.assert_close(columns.values, peer.double(), rtol=1e-5, atol=1e-5)


def test_a_window_of_any_shape_gives_its_loss_to_each_of_its_pixels():
    network, _, images = opened("cnn")
    labels = torch.zeros(16, 16, dtype=torch.long)
    labels[3:9, 2:5], labels[10:, 7:] = 1, 2
    found = vs.attribute(network, images, OcclusionPatch(patches=vs.Players.segments(labels)), target=1)
    for label in range(3):
        without = images.masked_fill(labels == label, 0.0)
        lost = (network(images) - network(without))[:, 1]
        inside = found.values[:, labels == label]
        torch.testing.assert_close(inside, lost[:, None].expand_as(inside), rtol=1e-5, atol=1e-5)
    assert found.evaluations.tolist() == [5, 5]


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 2, "stride": 0}, {"size": (0, 2)}, {"size": 2, "stride": (1, -1)}])
def test_windows_without_an_extent_are_refused(options):
    network, _, images = opened("cnn")
    with pytest.raises(InvalidInput, match=r"(size|stride) is a whole number of at least 1"):
        vs.attribute(network, images, OcclusionPatch(**options), target=1)


def test_an_inner_layer_has_windows_too():
    network, model, images = opened("cnn")
    found = vs.attribute(network, images, OcclusionPatch(size=2, stride=2), target=1, at="conv2")
    maps = network.read(images, "conv2")["conv2"].detach()
    head = network.split("conv2").head
    expected = torch.zeros_like(found.values)
    for row in range(0, maps.shape[2], 2):
        for column in range(0, maps.shape[3], 2):
            without = maps.clone()
            without[:, :, row : row + 2, column : column + 2] = 0
            expected[:, row : row + 2, column : column + 2] = (head(maps) - head(without))[:, 1, None, None]
    torch.testing.assert_close(found.values, expected, rtol=1e-5, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_opaque_network_has_windows():
    found = specimen("branching")
    (x,), _ = found.example(3)
    network = vs.trace(found.build().eval(), x)
    assert network.opaque
    whole = vs.attribute(network, x, OcclusionPatch(size=8, stride=8), target=0)
    torch.testing.assert_close(whole.values, (whole.total - whole.base)[:, None].expand(3, 8))


# ---- prediction difference


def test_a_replaced_column_is_drawn_from_the_background():
    model, x, background = settled(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), random(3, 4, seed=2), random(6, 4, seed=3)
    found = vs.attribute(vs.trace(model, x), x, "prediction_difference", target=1, baseline=Marginal(background=background))
    for row in range(3):
        expected = prediction_difference(lambda rows: model(rows)[:, 1:], x[row], background.T.tolist())
        torch.testing.assert_close(found.values[row], expected, **EXACT)


@pytest.mark.parametrize("samples", [1, 100])
def test_evidence_is_a_difference_of_log_odds(samples):
    net = settled(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Softmax(1))
    x, background = random(2, 4, seed=4), random(3, 4, seed=5)
    method = PredictionDifference(evidence=samples)
    found = vs.attribute(vs.trace(net, x), x, method, target=1, baseline=Marginal(background=background))

    def odds(p):
        p = (p * samples + 1) / (samples + 3)
        return math.log2(p / (1 - p))

    net.requires_grad_(False)
    for row in range(2):
        for column in range(4):
            drawn = [
                net(torch.cat([x[row, :column], other[column : column + 1], x[row, column + 1 :]])[None])[0, 1] for other in background
            ]
            mean = float(sum(drawn)) / 3
            expected = odds(float(net(x[row : row + 1])[0, 1])) - odds(mean)
            assert float(found.values[row, column]) == pytest.approx(expected, abs=1e-9)
        assert float(found.total[row]) == pytest.approx(odds(float(net(x[row : row + 1])[0, 1])), abs=1e-9)


def test_evidence_needs_a_probability():
    network, _, images = opened("cnn")
    with pytest.raises(InvalidInput, match="evidence= needs a network whose output is a probability"):
        vs.attribute(network, 10 * images, PredictionDifference(evidence=10), target=1)


def test_evidence_counts_two_classes_where_there_is_one_probability():
    model, x = Function(lambda x: torch.sigmoid(x.sum(1))), random(2, 3, seed=6)
    found = vs.attribute(vs.trace(model, x), x, PredictionDifference(evidence=10))
    p = (torch.sigmoid(x.sum(1)) * 10 + 1) / 12
    torch.testing.assert_close(found.total, torch.log2(p / (1 - p)), **EXACT)
