"""Autoencoders: plain, with tied weights, or made sparse in training as the usual baselines are.

Axes: B batch, D width of a row, H width of the latent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vesalius.core.arguments import typed
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}
"""Elementwise functions, by name."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderSparsity(Options):
    """How training makes an autoencoder sparse; nothing by default.

    Attributes:
        k: how many latent units of a row are kept, the largest ones; ``None`` for all.
        l1: weight of the mean absolute value of the latent in the loss, at least 0.
        dropout: share of hidden values that are dropped in training, in [0, 1).

    Raises:
        InvalidInput: out of these ranges.

    Reference: Makhzani2013 (k-sparse autoencoders).
    """

    limits: ClassVar[Mapping[str, Limit]] = {"k": POSITIVE_COUNT, "l1": Limit(least=0), "dropout": Limit(least=0, below=1)}
    k: int | None = None
    l1: float = 0.0
    dropout: float = 0.0


@final
class TopK(nn.Module):
    """The k largest values of a row; the others are 0."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, z: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        least = z.topk(self.k, dim=-1).values[..., -1:]
        return torch.where(z >= least, z, torch.zeros_like(z))


@final
class TransposedLinear(nn.Module):
    """A linear layer that reads another one's weight the other way round; only the bias is its own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = nn.Parameter(layer.weight.new_zeros(layer.in_features))

    def forward(self, x: Float[Tensor, "B H"]) -> Float[Tensor, "B D"]:
        return nn.functional.linear(x, self.weight.t(), self.bias)


@final
class Autoencoder(nn.Module):
    """A fully connected autoencoder, the decoder a mirror image of the encoder.

    ``Autoencoder([784, 256, 64])`` is 784-256-64-256-784. Weights start as He et al. have it, from a seed of their own.

    Args:
        sizes: widths from the row to the latent, at least two.
        activation: of all layers but the last; one of ``ACTIVATIONS``.
        output: of the last layer; ``"sigmoid"`` for rows in [0, 1], ``"identity"`` for any.
        tied: the decoder's weights are the encoder's, transposed.
        sparse: what makes it sparse in training.
        seed: of the weights.

    Raises:
        InvalidInput: fewer than two widths, a width below 1, more latent units kept than there are.
        UnknownName: no such activation.
    """

    @typed
    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        output: str = "sigmoid",
        tied: bool = False,
        *,
        sparse: AutoencoderSparsity | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sizes, self.output, self.sparse = tuple(sizes), output, sparse or AutoencoderSparsity()
        _check_architecture(self.sizes, (activation, output), self.sparse)
        generator = torch.Generator().manual_seed(seed)
        down = [_he_linear(wide, narrow, generator) for wide, narrow in pairwise(self.sizes)]
        up: list[nn.Linear | TransposedLinear] = [TransposedLinear(layer) for layer in reversed(down)] if tied else []
        up = up or [_he_linear(narrow, wide, generator) for narrow, wide in pairwise(self.sizes[::-1])]
        between = [activation] * (len(down) - 1)
        code: list[nn.Module] = [] if self.sparse.k is None else [TopK(self.sparse.k)]
        self.encoder = nn.Sequential(*self._stack_layers(down, [*between, activation]), *code)
        self.decoder = nn.Sequential(*self._stack_layers(up[:-1], between), up[-1], ACTIVATIONS[output]())

    def _stack_layers(self, layers: Sequence[nn.Module], activations: Sequence[str]) -> list[nn.Module]:
        """Layers, each with its activation and dropout."""
        parts: list[nn.Module] = []
        for layer, activation in zip(layers, activations, strict=True):
            parts += [layer, ACTIVATIONS[activation](), nn.Dropout(self.sparse.dropout)]
        return [part for part in parts if self.sparse.dropout or not isinstance(part, nn.Dropout)]

    def encode(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B H"]:
        """Latents of rows."""
        found: Tensor = self.encoder(x)
        return found

    def decode(self, z: Float[Tensor, "B H"]) -> Float[Tensor, "B D"]:
        """Rows from latents."""
        found: Tensor = self.decoder(z)
        return found

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return self.decode(self.encode(x))


def _he_linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """A layer whose weights do not come from the global generator."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
    with torch.no_grad():
        layer.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        layer.bias.zero_()
    return layer


def _check_architecture(sizes: tuple[int, ...], activations: Sequence[str], sparse: AutoencoderSparsity) -> None:
    if len(sizes) < 2 or min(sizes) < 1:
        raise InvalidInput(f"sizes are widths from the row to the latent, such as [784, 256, 64], not {list(sizes)}")
    for name in activations:
        require_known("activation", name, ACTIVATIONS)
    if sparse.k is not None and sparse.k > sizes[-1]:
        raise InvalidInput(f"k={sparse.k} of {sizes[-1]} latent units cannot be kept; give a k of at most {sizes[-1]}")
