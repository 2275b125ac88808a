"""All ops that have a two-point rule, each as a function of batches, by name: (function, shapes of one sample's inputs)."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.rules.single_op import random

SLOPE = torch.tensor([0.2], dtype=torch.float64)

EVERYWHERE = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "gelu tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "square": torch.square,
    "pow 2": lambda z: z**2,
    "pow 3": lambda z: z**3,
    "abs": torch.abs,
    "softplus": lambda z: F.softplus(z, 2.0),
    "elu": lambda z: F.elu(z, 0.7),
    "selu": F.selu,
    "celu": lambda z: F.celu(z, 1.3),
    "leaky_relu": lambda z: F.leaky_relu(z, 0.1),
    "prelu": lambda z: F.prelu(z, SLOPE),
    "hardtanh": lambda z: F.hardtanh(z, -0.8, 1.2),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "relu6": F.relu6,
    "mish": F.mish,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": lambda z: torch.tan(z / 4),
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "asinh": torch.asinh,
    "atan": torch.atan,
    "logsigmoid": F.logsigmoid,
    "clamp": lambda z: z.clamp(-0.5, 0.7),
    "clamp_min": lambda z: z.clamp(min=-0.5),
    "clamp_max": lambda z: z.clamp(max=0.5),
    "hardshrink": lambda z: F.hardshrink(z, 0.3),
    "softshrink": lambda z: F.softshrink(z, 0.3),
    "tanhshrink": F.tanhshrink,
    "softsign": F.softsign,
    "threshold": lambda z: F.threshold(z, 0.1, 0.4),
    "rrelu": F.rrelu,
    "nan_to_num": torch.nan_to_num,
    "remainder": lambda z: torch.remainder(z, 0.75),
    "fmod": lambda z: torch.fmod(z, 0.75),
    "frac": torch.frac,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "sign": torch.sign,
    "maximum with a constant": lambda z: torch.maximum(z, torch.full_like(z, 0.3)),
    "minimum with a constant": lambda z: torch.minimum(z, torch.full_like(z, 0.3)),
}
"""Functions of one number, defined for all."""

POSITIVE = {
    "log": torch.log,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "log10": torch.log10,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "pow -1/2": lambda z: z**-0.5,
    "pow 1.7": lambda z: z**1.7,
    "1 / z": lambda z: 1 / z,
    "3 / z": lambda z: 3 / z,
    "2 ** z": lambda z: 2**z,
}
"""Functions of one number, defined for positive ones."""

MASK = torch.tensor([True, False, True, True, False])
GATES = random(4, 3, seed=70)
BILINEAR = random(2, 5, 5, seed=71)

OPS = {
    "mul": (torch.mul, [(5,), (5,)]),
    "mul, broadcast": (lambda a, b: a[:, :, None] * b, [(3,), (3, 4)]),
    "mul by itself": (lambda a: a * a, [(5,)]),
    "neg": (torch.neg, [(5,)]),
    "rsub": (lambda a, b: 2 - torch.rsub(a, b, alpha=0.5), [(5,), (5,)]),
    "div": (lambda a, b: a / (b * b + 0.1), [(5,), (5,)]),
    "matmul": (torch.matmul, [(3, 4), (4, 2)]),
    "bmm": (torch.bmm, [(3, 4), (4, 2)]),
    "einsum": (lambda a, b: torch.einsum("bij,bkj->bki", a, b), [(3, 4), (2, 4)]),
    "linear": (lambda a: F.linear(a, GATES), [(3,)]),
    "bilinear": (lambda a, b: F.bilinear(a, b, BILINEAR), [(5,), (5,)]),
    "lerp": (torch.lerp, [(5,), (5,), (5,)]),
    "addcmul": (lambda a, b, c: torch.addcmul(a, b, c, value=0.7), [(5,), (5,), (5,)]),
    "glu": (F.glu, [(6,)]),
    "softmax": (lambda z: z.softmax(1), [(5,)]),
    "softmax, first axis": (lambda z: z.softmax(1), [(3, 4)]),
    "softmax, masked": (lambda z: z.masked_fill(~MASK, -torch.inf).softmax(1), [(5,)]),
    "log_softmax": (lambda z: z.log_softmax(1), [(5,)]),
    "logsumexp": (lambda z: z.logsumexp(1), [(5,)]),
    "logsumexp of two axes": (lambda z: z.logsumexp((1, 2), keepdim=True), [(3, 4)]),
    "logaddexp": (torch.logaddexp, [(5,), (5,)]),
    "layer_norm": (lambda z: F.layer_norm(z, (5,)), [(5,)]),
    "rms_norm": (lambda z: F.rms_norm(z, (5,), eps=1e-3), [(5,)]),
    "group_norm": (lambda z: F.group_norm(z, 2), [(4, 3)]),
    "instance_norm": (F.instance_norm, [(3, 4)]),
    "batch_norm": (nn.BatchNorm1d(3).double().eval(), [(3, 4)]),
    "var": (lambda z: z.var(1), [(5,)]),
    "std": (lambda z: z.std(1), [(5,)]),
    "norm": (lambda z: z.norm(dim=1), [(5,)]),
    "normalize": (lambda z: F.normalize(z, dim=1), [(5,)]),
    "max_pool1d": (lambda z: F.max_pool1d(z, 2), [(2, 6)]),
    "max_pool2d": (lambda z: F.max_pool2d(z, 3, 2, 1), [(2, 5, 5)]),
    "max_pool3d": (lambda z: F.max_pool3d(z, 2), [(1, 4, 2, 4)]),
    "adaptive_max_pool1d": (lambda z: F.adaptive_max_pool1d(z, 2), [(2, 5)]),
    "adaptive_max_pool2d": (lambda z: F.adaptive_max_pool2d(z, (2, 1)), [(2, 5, 3)]),
    "amax": (lambda z: z.amax(1), [(5, 2)]),
    "amax of two axes": (lambda z: z.amax((1, 3), keepdim=True), [(3, 2, 4)]),
    "amin": (lambda z: z.amin(-1), [(2, 5)]),
    "max of an axis": (lambda z: z.max(dim=1).values, [(5, 2)]),
    "min of an axis": (lambda z: z.min(dim=2, keepdim=True).values, [(2, 5)]),
    "maximum": (torch.maximum, [(5,), (5,)]),
    "minimum": (torch.minimum, [(5,), (5,)]),
    "where": (lambda c, a, b: torch.where(c > 0, a, b), [(5,), (5,), (5,)]),
    "where between itself": (lambda a: torch.where(a > 0.1, a, 0.2 * a - 1), [(5,)]),
    "masked_fill": (lambda c, a: a.masked_fill(c > 0.3, 1.5), [(5,), (5,)]),
    "a > constant": (lambda a: (a > 0.2).to(a.dtype), [(5,)]),
    "a <= b": (lambda a, b: (a <= b).to(a.dtype), [(5,), (5,)]),
    "and": (lambda a, b: ((a > 0) & (b > 0)).to(a.dtype), [(5,), (5,)]),
    "or, not": (lambda a, b: (~(a > 0) | (b > 0)).to(a.dtype), [(5,), (5,)]),
    "xor": (lambda a, b: ((a > 0) ^ (b > 0)).to(a.dtype), [(5,), (5,)]),
    "logical, constant first": (lambda a: torch.logical_or(MASK, torch.logical_and(a > 0, MASK)).to(a.dtype), [(5,)]),
    "cumsum": (lambda z: z.cumsum(1), [(5, 2)]),
    "gather": (lambda z: z.gather(1, torch.tensor([[4, 0, 0]]).expand(z.shape[0], 3)), [(5,)]),
    "avg_pool2d": (lambda z: F.avg_pool2d(z, 2), [(2, 4, 4)]),
}
"""Ops of several numbers."""


def drawn(shapes, seed=0, batch=2):
    """Random inputs."""
    return tuple(random(batch, *shape, seed=seed + place) for place, shape in enumerate(shapes))


M = random(7, seed=3)
"""Weights of the numbers that a function is read out with."""


class Together(nn.Module):
    """Many functions of one input, a weighted sum of each: one target per function."""

    def __init__(self, functions):
        super().__init__()
        self.functions = list(functions)
        self.register_buffer("m", M)

    def forward(self, z):
        return torch.stack([function(z) for function in self.functions], 1) @ self.m


@cache
def together(positive):
    """All functions of one number, of any sign or positive, as one network."""
    return vs.trace(Together((POSITIVE if positive else EVERYWHERE).values()).eval(), torch.ones(2, 7).double())
