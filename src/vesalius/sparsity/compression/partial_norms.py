"""Normalisations over units some of which were taken out: they count as the zeros they were.

Axes: B batch, U units that are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

Scale = Tensor | None


def layer_norm_with_zeros(
    x: Float[Tensor, "... U"], total: int, weight: Scale = None, bias: Scale = None, eps: float = 1e-5, over: int = 1
) -> Float[Tensor, "... U"]:
    """Layer norm over so many elements of the last axes, of which those that are missing are 0."""
    if over > 1:
        scale, shift = (None if one is None else one.flatten() for one in (weight, bias))
        return layer_norm_with_zeros(x.flatten(-over), total, scale, shift, eps).reshape(x.shape)
    mean = x.sum(-1, keepdim=True) / total
    centred = x - mean
    variance = (centred.square().sum(-1, keepdim=True) + (total - x.shape[-1]) * mean.square()) / total
    return _scale(centred * torch.rsqrt(variance + eps), weight, bias)


def rms_norm_with_zeros(x: Float[Tensor, "... U"], total: int, weight: Scale = None, eps: float | None = None) -> Float[Tensor, "... U"]:
    """The same of a norm by the root mean square."""
    floor = torch.finfo(x.dtype).eps if eps is None else eps
    return _scale(x * torch.rsqrt(x.square().sum(-1, keepdim=True) / total + floor), weight, None)


def channel_norm_with_zeros(
    x: Float[Tensor, "B U ..."], total: int, weight: Scale = None, bias: Scale = None, eps: float = 1e-5
) -> Float[Tensor, "B U ..."]:
    """Group norm of a single group, over channels and positions."""
    places = x.flatten(2).shape[2]
    flat = layer_norm_with_zeros(x.flatten(1), total * places, eps=eps).reshape(x.shape)
    per_channel = (-1, *[1] * (x.ndim - 2))
    return _scale(flat, *(None if one is None else one.reshape(per_channel) for one in (weight, bias)))


def _scale(x: Tensor, weight: Scale, bias: Scale) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@final
class PartialNorm(nn.Module):
    """A normalisation of PyTorch's over some of the units that it was made for.

    Args:
        norm: :class:`torch.nn.LayerNorm`, :class:`torch.nn.RMSNorm`, or :class:`torch.nn.GroupNorm` of one group, with the scales of the
            units that are left.
        total: units that it was made for.
    """

    def __init__(self, norm: nn.Module, total: int) -> None:
        super().__init__()
        self.kind, self.total = type(norm).__name__, total
        self.eps = norm.eps
        self.register_parameter("weight", norm._parameters.get("weight"))
        self.register_parameter("bias", norm._parameters.get("bias"))
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "RMSNorm":
            return rms_norm_with_zeros(x, self.total, self.weight, self.eps)  # type: ignore[arg-type]
        return NORMS[self.kind](x, self.total, self.weight, self.bias, self.eps)  # type: ignore[operator, no-any-return]


NORMS: Mapping[str, object] = {"LayerNorm": layer_norm_with_zeros, "GroupNorm": channel_norm_with_zeros}
"""Functions of normalisations with a shift, by the module's class."""
