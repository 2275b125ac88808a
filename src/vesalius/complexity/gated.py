"""The gated network that rebuilds one network's feature from another's, and its split into terms that cross 0, 1, 2, ... nonlinear layers.

With the gates of its ReLUs held as they are for a row, the network is linear, and the paths from its input to its output are sorted by how
many gates they cross. The terms sum to the output exactly: a second order of complexity, between two networks instead of within one.

Axes: N rows, A channels in, B channels out, K layers, event: one row's shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vesalius.complexity.schedule import exponential_schedule
from vesalius.complexity.strength import significance
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.core.options import Options

MIN_DEVIATION = 1e-6
"""Deviations below this are not divided by; a row without variation stays as it is."""


@dataclass(frozen=True, kw_only=True)
class Gating(Options):
    """The shape of the network and its training.

    Attributes:
        layers: convolutions, or linear maps for vectors; terms run from order 0 to layers - 1.
        kernel: side of a convolution, odd.
        penalty: of each squared gate strength p, so that nonlinear paths are used only where they help.
        epochs: passes over the rows.
        batch: rows of a step.
        rates: learning rate at the start and at the end, evenly in its logarithm.
        seed: of the first weights and of the order of rows.

    Raises:
        InvalidInput: a number out of range.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "layers": POSITIVE_COUNT,
        "kernel": POSITIVE_COUNT,
        "penalty": Limit(least=0),
        "epochs": POSITIVE_COUNT,
        "batch": POSITIVE_COUNT,
        "rates": POSITIVE,
    }
    layers: int = 3
    kernel: int = 3
    penalty: float = 0.1
    epochs: int = 100
    batch: int = 128
    rates: tuple[float, float] = (1e-3, 1e-5)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kernel % 2:
            raise InvalidInput(f"kernel is odd, so that it has a centre, not {self.kernel}")


@dataclass(frozen=True, eq=False, kw_only=True)
class GatedDecomposition:
    """A feature as a sum of terms rebuilt from another network's, and what was not rebuilt.

    Attributes:
        parts: [K N *event] terms that cross 0, 1, ... gated layers.
        rest: [N *event] the feature less all of them.
    """

    parts: Float[Tensor, "K N *event"]
    rest: Float[Tensor, "N *event"]

    @property
    def shares(self) -> Float[Tensor, " K"]:
        """Variance of each term over that of the feature; they need not sum to 1."""
        return significance(self.parts, self.parts.sum(0) + self.rest)

    @property
    def missed(self) -> float:
        """Variance of what was not rebuilt over that of the feature."""
        return float(significance(self.rest[None], self.parts.sum(0) + self.rest))


class GatedNetwork(nn.Module):
    """h_0 = W_0 x, h_i = W_i (x + p_i relu(h_{i-1} / s(h_{i-1}))): a chain of layers that the input enters at every one.

    Args:
        source: a few rows of the feature to rebuild from; only its shape is read.
        channels: of the feature to rebuild.
        gating: layers and kernel.
        generator: of the first weights.

    Reference: Liang2020, section 3. s is the standard deviation over the positions of a row's channel and takes no part in gradients; a
    vector has no positions, and there it is the one over all channels of a row.
    """

    def __init__(
        self, source: Float[Tensor, "N A *grid"], channels: int, gating: Gating, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if not 2 <= source.ndim <= 5:
            raise InvalidInput(f"a feature is a vector [N A] or a map [N A ...] of up to 3 axes, not of shape {list(source.shape)}")
        inner, axes = source.shape[1], source.ndim - 2
        kernel = (gating.kernel,) * axes
        widths = [inner] * (gating.layers - 1) + [channels]
        draws = [
            torch.randn(width, inner, *kernel, generator=generator, dtype=torch.float32) / (inner * gating.kernel**axes) ** 0.5
            for width in widths
        ]
        self.weights = nn.ParameterList(nn.Parameter(draw.to(source)) for draw in draws)
        self.logits = nn.Parameter(source.new_zeros(gating.layers - 1))

    @property
    def strengths(self) -> Float[Tensor, " gates"]:
        """p of each gated layer, between 0 and 1."""
        return self.logits.sigmoid()

    def forward(self, x: Float[Tensor, "N A *grid"]) -> Float[Tensor, "N B *grid"]:
        """Rebuild."""
        x = x / _deviation(x)
        h = _apply_layer(x, self.weights[0])
        for place, weight in enumerate(list(self.weights)[1:]):
            h = _apply_layer(x + self.strengths[place] * (h / _deviation(h)).relu(), weight)
        return h

    @torch.no_grad()
    def terms(self, x: Float[Tensor, "N A *grid"]) -> Float[Tensor, "K N B *grid"]:
        """The output as a sum of terms by the number of gated layers they cross.

        Each layer receives terms of orders 0 to i - 1 from the layer before, multiplies all by the same gates (open or shut, over the
        deviation, as the whole h has them), and adds the input as a new term of order 0.
        """
        x = x / _deviation(x)
        terms = _apply_layer(x, self.weights[0])[None]
        for place, weight in enumerate(list(self.weights)[1:]):
            h = terms.sum(0)
            gates = self.strengths[place] * (h > 0) / _deviation(h)
            terms = torch.stack([_apply_layer(term, weight) for term in (x, *(gates * terms))])
        return terms

    def split(self, source: Float[Tensor, "N A *grid"], feature: Float[Tensor, "N B *grid"]) -> GatedDecomposition:
        """The feature as these terms and a rest.

        Args:
            source: the other network's feature, best for rows that this was not trained on.
            feature: the feature to rebuild, for the same rows.

        Raises:
            InvalidInput: shapes that do not fit.
        """
        _check_features(source, feature, inner=self.weights[0].shape[1], outer=self.weights[-1].shape[0])
        parts = self.terms(source)
        return GatedDecomposition(parts=parts, rest=feature - parts.sum(0))


@verb
def train_gated(source: Float[Tensor, "N A *grid"], feature: Float[Tensor, "N B *grid"], *, gating: Gating | None = None) -> GatedNetwork:
    """Train a gated network to rebuild a feature from another network's.

    Args:
        source: feature of another network, on the same grid.
        feature: what to rebuild, for the same rows.
        gating: the shape of the network and its training.

    Returns:
        The trained network; its ``split`` gives the terms.

    Raises:
        InvalidInput: no rows, grids or rows that do not agree, or values that are not finite.

    Reference: Liang2020, section 3; loss: mean squared error plus penalties of p squared.
    """
    how = gating or Gating()
    _check_features(source, feature, inner=source.shape[1], outer=feature.shape[1])
    draw = torch.Generator().manual_seed(how.seed)
    net = GatedNetwork(source, feature.shape[1], how, generator=draw)
    optimiser = torch.optim.Adam(net.parameters(), lr=how.rates[0])
    for _ in exponential_schedule(optimiser, how.rates, how.epochs):
        for rows in torch.randperm(len(source), generator=draw).to(source.device).split(how.batch):
            optimiser.zero_grad()
            loss = (net(source[rows]) - feature[rows]).square().mean() + how.penalty * net.strengths.square().sum()
            loss.backward()
            optimiser.step()
    return net.requires_grad_(False)


def _deviation(h: Float[Tensor, "N A *grid"]) -> Float[Tensor, "N _ *ones"]:
    """What rows are divided by: constant for gradients."""
    flat = h.detach().flatten(2) if h.ndim > 2 else h.detach()[:, None]
    found = flat.std(-1, correction=0)
    return torch.where(found > MIN_DEVIATION, found, 1.0).view(*found.shape, *[1] * (h.ndim - 2))


def _apply_layer(x: Float[Tensor, "N A *grid"], weight: Float[Tensor, "B A *kernel"]) -> Float[Tensor, "N B *grid"]:
    if x.ndim == 2:
        return nn.functional.linear(x, weight)
    conv = {3: nn.functional.conv1d, 4: nn.functional.conv2d, 5: nn.functional.conv3d}[x.ndim]
    found: Tensor = conv(x, weight, padding=weight.shape[-1] // 2)
    return found


def _check_features(source: Float[Tensor, "N A ..."], feature: Float[Tensor, "M B ..."], *, inner: int, outer: int) -> None:
    if len(source) != len(feature) or source.shape[2:] != feature.shape[2:] or not len(source):
        raise InvalidInput(
            "two features of the same rows on the same grid are needed, not of shapes "
            f"{list(source.shape)} and {list(feature.shape)}; bring maps to one grid first"
        )
    if (source.shape[1], feature.shape[1]) != (inner, outer):
        raise InvalidInput(f"this network turns {inner} channels into {outer}, not {source.shape[1]} into {feature.shape[1]}")
    if not (source.isfinite().all() and feature.isfinite().all()):
        raise InvalidInput("a feature has NaN or infinite values; look for the rows where torch.isfinite(feature) is false")
