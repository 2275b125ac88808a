"""Units that can go are found and go, and the output stays: planted ones in networks of all kinds, against loops from the definition."""

import copy

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.reference import unit_removal
from tests.zoo import SPECIMENS
from vesalius.sparsity.compression.dead_units import remove_dead_units
from vesalius.sparsity.compression.smaller_model import shrink_model
from vesalius.sparsity.parametrizations import copy_with_plain_weights


def seeded(*layers):
    """Layers with weights and biases from a seed of their own."""
    model = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(1, parameter[0].numel()) ** 0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.weight.abs_().add_(0.5)
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def shrunk(model, x):
    """The smaller copy, and what was done; the output must be the same."""
    before = copy.deepcopy(model.state_dict())
    found = remove_dead_units(vs.trace(model, x[:2]), model)
    smaller = shrink_model(model, found.tensors, found.units, found.gone)
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), model(x), rtol=1e-5, atol=1e-5)
        assert model(x).std(0).max() > 1e-3, "an output that never changes tests nothing"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()), "the model was changed"
    return smaller, found


def gone(found):
    return {name: units.tolist() for name, units in found.removed.items()}


@torch.no_grad()
def test_planted_dead_and_unused_units_of_an_mlp_are_those_of_the_definition():
    model = seeded(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    model[0].weight[[1, 4]] = 0  # dead
    model[0].bias[1] = 0.7
    model[2].weight[:, 6] = 0  # unused
    model[4].weight[:, 2] = 0  # unused, and with it the only reader of unit 5
    model[2].weight[[0, 1, 3, 4, 5, 6], 5] = 0
    smaller, found = shrunk(model, draw(6, 5).double())
    layers = [0, 2, 4]
    dense = [[getattr(model[at], leaf).tolist() for at in layers] for leaf in ("weight", "bias")]
    weights, biases, left = unit_removal.remove_idle_units(*dense)
    assert gone(found) == {"0": [1, 4, 5, 6], "2": [2]}
    assert left == [[0, 2, 3, 7], [0, 1, 3, 4, 5, 6]]
    for at, weight, bias in zip(layers, weights, biases, strict=True):
        torch.testing.assert_close(smaller[at].weight, torch.tensor(weight).double())
        torch.testing.assert_close(smaller[at].bias, torch.tensor(bias).double())
    assert (smaller[0].out_features, smaller[2].in_features, smaller[2].out_features) == (4, 4, 6)


@torch.no_grad()
def test_what_depended_on_a_dead_unit_alone_dies_too():
    model = seeded(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    model[0].weight[1] = 0
    model[2].weight[3, [0, 2]] = 0  # unit 3 reads the dead unit 1 only
    _, found = shrunk(model, draw(6, 4))
    assert gone(found) == {"0": [1], "2": [3]}


@torch.no_grad()
def test_a_layer_without_bias_gets_one_for_a_constant():
    model = seeded(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3, bias=False))
    model[0].weight[2] = 0
    smaller, found = shrunk(model, draw(6, 4))
    assert gone(found) == {"0": [2]}
    assert smaller[2].bias is not None
    assert model[2].bias is None


@torch.no_grad()
def test_a_layer_keeps_a_unit():
    model = seeded(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    skip = nn.Linear(4, 2)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.path, self.skip = model, skip

        def forward(self, x):
            return self.path(x) + self.skip(x)

    model[0].weight.zero_()
    smaller, found = shrunk(Both(), draw(6, 4))
    assert gone(found) == {"path.0": [1, 2]}
    assert smaller.path[0].weight.shape == (1, 4)


@torch.no_grad()
def test_convolutions_without_padding_batch_norm_pools_and_a_flatten():
    model = seeded(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 2), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(20, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3),
    )  # fmt: skip
    model[0].weight[1] = 0  # dead: constant after the norm, folded
    model[4].weight[:, 3] = 0  # unused
    model[8].weight[:, 8:12] = 0  # channel 2 of the second convolution is four features, all unread
    model[8].weight[0] = 0  # dead unit after a flatten
    smaller, found = shrunk(model, draw(6, 2, 13, 13))
    assert gone(found) == {"0": [1, 3], "4": [2], "8": [0]}
    assert (smaller[1].num_features, smaller[4].in_channels, smaller[8].in_features, smaller[9].num_features) == (4, 4, 16, 3)


@torch.no_grad()
def test_before_padding_only_zeros_fold():
    """At the rim a constant meets zeros, so that no bias can carry it; a unit that is 0 everywhere can go."""
    model = seeded(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.Flatten(), nn.Linear(3 * 36, 2))
    model[0].weight[[0, 2]] = 0
    model[0].bias[0], model[0].bias[2] = 0.8, -0.8
    _, found = shrunk(model, draw(5, 2, 6, 6))
    assert gone(found) == {"0": [2]}
    unpadded = seeded(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(3 * 16, 2))
    unpadded[0].weight[[0, 2]] = 0
    unpadded[0].bias[0], unpadded[0].bias[2] = 0.8, -0.8
    _, found = shrunk(unpadded, draw(5, 2, 6, 6))
    assert gone(found) == {"0": [0, 2]}


@torch.no_grad()
def test_a_mean_that_counts_padding_is_not_constant_and_folds_only_where_each_position_has_its_own_weight():
    model = seeded(nn.Conv2d(1, 3, 3), nn.Sigmoid(), nn.AvgPool2d(3, 2, padding=1), nn.Conv2d(3, 2, 2), nn.Flatten(), nn.Linear(8, 2))
    model[0].weight[1] = 0
    _, found = shrunk(model, draw(5, 1, 7, 7))
    assert gone(found) == {}
    flat = seeded(nn.Conv2d(1, 3, 3), nn.Sigmoid(), nn.AvgPool2d(3, 2, padding=1), nn.Flatten(), nn.Linear(27, 2))
    flat[0].weight[1] = 0
    _, found = shrunk(flat, draw(5, 1, 7, 7))
    assert gone(found) == {"0": [1]}


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.inner, self.back, self.last = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.last(h + self.back(torch.relu(self.inner(h))))


@torch.no_grad()
def test_units_that_are_added_go_together():
    model = Residual()
    model.last.weight[:, 1] = 0
    model.inner.weight[:, 1] = 0
    model.inner.weight[2] = 0
    _, found = shrunk(model, draw(6, 4))
    assert gone(found) == {"first": [1], "back": [1], "inner": [2]}
    assert "the network's output" in found.why["last"]


@torch.no_grad()
def test_units_of_tied_weights_that_are_read_stay():
    model = vs.models.Autoencoder([6, 4, 3], tied=True)
    model.encoder[0].weight[1] = 0
    _, found = shrunk(model, draw(6, 6))
    assert gone(found) == {}


@torch.no_grad()
def test_units_in_a_gate_of_their_own_are_followed():
    """x * sigmoid(x), written out, and a bias added on its own."""

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias, self.head = nn.Parameter(draw(4, 6)), nn.Parameter(draw(6)), nn.Linear(6, 2)

        def forward(self, x):
            z = x @ self.weight + self.bias
            return self.head(z * torch.sigmoid(z))

    model = Gated()
    model.weight[:, 2] = 0
    model.head.weight[:, 5] = 0
    smaller, found = shrunk(model, draw(6, 4))
    assert [units.tolist() for units in found.removed.values()] == [[2, 5]]
    assert smaller.weight.shape == (4, 4)
    assert smaller.bias.shape == (4,)


def test_masks_become_zeros_and_the_masked_model_is_left_as_it_is():
    model = seeded(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    mask = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 0]]).float()
    nn.utils.prune.custom_from_mask(model[0], "weight", mask)
    model(draw(2, 4)).sum().backward()
    found = copy_with_plain_weights(model)
    assert set(found.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert torch.equal(found[0].weight != 0, mask.bool())
    assert "0.weight_orig" in model.state_dict()
    torch.testing.assert_close(found(draw(5, 4)), model(draw(5, 4)))


VARIED = "two_input cnn resnet unet bert conv1d".split()


@pytest.mark.parametrize("one", [one for one in SPECIMENS if one.name in VARIED], ids=lambda one: one.name)
@torch.no_grad()
def test_the_zoo_keeps_its_outputs(one):
    args, kwargs = one.example(3)
    model, generator = one.build().eval(), torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and getattr(module, "groups", 1) == 1:
            module.weight[torch.rand(len(module.weight), generator=generator) < 0.3] = 0
            module.weight[:, (torch.rand(module.weight.shape[1], generator=generator) < 0.3) & (module.weight.shape[1] > 3)] = 0
    network = vs.trace(model, *args, kwargs=kwargs, output=one.output)
    found = remove_dead_units(network, model)
    smaller = shrink_model(model, found.tensors, found.units, found.gone)
    before, after = (one.scores(each(*args, **kwargs)) for each in (model, smaller))
    assert float((before - after).abs().max()) <= 1e-5 * max(1, float(before.abs().max()))
    count = {name: len(units) for name, units in found.removed.items()}
    known = {"two_input": 2, "cnn": 3, "resnet": 5, "unet": 9, "bert": 3, "conv1d": 2}
    assert len(count) == known[one.name], count
