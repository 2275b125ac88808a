"""Layers read off graphs in which weights are grouped, transposed, shared or computed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import vesalius
from tests.zoo import specimen


def layers_of(model: nn.Module, *example: Tensor):
    return vesalius.trace(model, *example).layers


def test_convolutions_in_groups():
    class Groups(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(4, 6, 3, groups=2, padding=1)
            self.depth = nn.Conv1d(6, 6, 3, groups=6, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.depth(self.conv(x)).mean(-1)

    layers = layers_of(Groups(), torch.randn(1, 4, 9))
    conv, depth = layers["conv"], layers["depth"]
    assert (conv.op, conv.shape, conv.units, conv.groups, conv.out_axis, conv.in_axis, conv.unit_axis) == (
        "conv1d",
        (6, 2, 3),
        6,
        2,
        0,
        1,
        1,
    )
    assert (depth.shape, depth.units, depth.groups, depth.bias) == ((6, 1, 3), 6, 6, "")
    assert conv.source == "x"
    assert depth.source == conv.value


def test_the_weight_of_a_transposed_convolution_runs_the_other_way():
    layers = layers_of(nn.Sequential(nn.ConvTranspose2d(4, 6, 2), nn.Flatten()), torch.randn(1, 4, 3, 3))
    layer = layers["0"]
    assert (layer.shape, layer.units, layer.out_axis, layer.in_axis, layer.unit_axis) == ((4, 6, 2, 2), 6, 1, 0, 1)


def test_one_weight_two_layers():
    """The decoder of a tied autoencoder reads the encoder's weight the other way round."""
    one = specimen("tied_autoencoder")
    encoder, decoder = layers_of(one.build(), *one.example(1)[0]).values()
    assert encoder.weight == decoder.weight == "encoder.weight"
    assert (encoder.out_axis, encoder.in_axis, encoder.units, encoder.bias) == (0, 1, 5, "encoder.bias")
    assert (decoder.out_axis, decoder.in_axis, decoder.units, decoder.bias) == (1, 0, 12, "decoder_bias")
    assert encoder.name != decoder.name


def test_an_embedding_and_a_head_with_one_weight():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embed(ids).mean(1))

    embed, head = layers_of(Tied(), torch.tensor([[1, 2]])).values()
    assert embed.weight == head.weight
    assert (embed.op, embed.units, embed.out_axis, embed.source) == ("embedding", 4, 1, "ids")
    assert (head.op, head.units, head.out_axis) == ("linear", 7, 0)


def test_a_module_called_twice_is_two_layers_of_one_weight():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.fc(x).relu())

    first, second = layers_of(Twice(), torch.randn(1, 4)).values()
    assert first.weight == second.weight == "fc.weight"
    assert (first.name, second.name) == ("fc/linear", "fc/linear_1")


def test_matrices_without_a_module():
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(3, 6))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x @ self.first, self.second)

    first, second = layers_of(Bare(), torch.randn(1, 4)).values()
    assert (first.weight, first.out_axis, first.in_axis, first.units) == ("first", 1, 0, 6)
    assert (second.weight, second.out_axis, second.in_axis, second.units) == ("second", 0, 1, 3)


def test_a_matrix_product_of_two_values_is_no_layer():
    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x @ x.transpose(1, 2)).flatten(1)

    assert layers_of(Product(), torch.randn(1, 3, 4)) == {}


def test_a_vector_and_a_stack_of_matrices_are_no_layers():
    """A product with a vector leaves no units, and one with several matrices has other units for each."""

    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vector, self.experts = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(3, 4, 5))

        def forward(self, x: Tensor) -> Tensor:
            return (x[:, None] @ self.experts).flatten(1).sum(1, keepdim=True) * (x @ self.vector).mean(1, keepdim=True)

    assert layers_of(Stacked(), torch.randn(1, 3, 4)) == {}


def test_a_computed_weight_does_not_pose_as_a_parameter():
    """With weight norm the parameters are a direction and a length, and neither links units by itself."""
    layers = layers_of(nn.Sequential(weight_norm(nn.Linear(4, 3)), nn.ReLU()), torch.randn(1, 4))
    assert [layer.weight for layer in layers.values() if "original" in layer.weight] == []
