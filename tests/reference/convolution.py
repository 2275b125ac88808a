"""Any affine operation as an explicit matrix, found by applying it to unit vectors, so that the dense twins serve convolutional nets."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from math import prod

import torch
from torch import Tensor, nn

from tests.reference.dense_rules import Layer, Pool

AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d)


def matrix(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """(weight [out, in], bias [out]) of an affine function of one sample [*shape], rows and columns in memory order."""
    bias = function(torch.zeros(1, *shape, dtype=torch.float64)).detach().flatten()
    columns = []
    for i in range(prod(shape)):
        unit = torch.zeros(prod(shape), dtype=torch.float64)
        unit[i] = 1
        columns.append(function(unit.reshape(1, *shape)).detach().flatten() - bias)
    return torch.stack(columns, 1), bias


def layer(module: nn.Module, shape: tuple[int, ...], sigma: Callable[[Tensor], Tensor] | None = None) -> Layer:
    """A module in eval mode as a dense layer; links are the places where a copy with weights of 1 has an entry, so padding has none."""
    weight, bias = matrix(module, shape)
    ones = deepcopy(module)
    for parameter in ones.parameters():
        nn.init.ones_(parameter)
    linked = matrix(ones, shape)[0] != 0
    return Layer(weight, bias, sigma, linked)


def fold(first: Layer, second: Layer) -> Layer:
    """Two affine layers as one: W2 (W1 a + c1) + c2."""
    assert first.sigma is None
    linked = (second.linked.double() @ first.linked.double()) > 0 if first.linked is not None and second.linked is not None else None
    return Layer(second.weight @ first.weight, second.weight @ first.bias + second.bias, second.sigma, linked)


def pool(module: nn.Module, shape: tuple[int, ...]) -> Pool:
    """The windows of a max-pool: output j has input i in it if it sees a single 1 there."""
    windows: list[list[int]] = []
    for i in range(prod(shape)):
        unit = torch.zeros(prod(shape), dtype=torch.float64)
        unit[i] = 1
        seen = module(unit.reshape(1, *shape)).flatten() > 0
        windows = windows or [[] for _ in seen]
        for j in seen.nonzero().flatten().tolist():
            windows[j].append(i)
    return Pool(windows)


def stack(model: nn.Sequential, shape: tuple[int, ...], fold_norms: bool = True) -> list[Layer | Pool]:
    """A sequential net as dense layers, one per affine module with the elementwise module behind it, and max-pools.

    A batch norm is folded into the affine layer before it, as the rules do it, unless ``fold_norms`` is off.
    """
    found: list[Layer | Pool] = []
    x = torch.zeros(1, *shape, dtype=torch.float64)
    for module in model:
        here = tuple(x.shape[1:])
        before = found[-1] if found else None
        open_before = isinstance(before, Layer) and before.sigma is None
        if isinstance(module, AFFINE):
            new = layer(module, here)
            if fold_norms and open_before and isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                new = fold(found.pop(), new)
            found.append(new)
        elif isinstance(module, nn.MaxPool2d):
            found.append(pool(module, here))
        elif not isinstance(module, nn.Flatten | nn.Dropout):
            if not open_before:
                raise TypeError(f"{module} must follow an affine module")
            last = found.pop()
            found.append(Layer(last.weight, last.bias, module, last.linked))
        x = module(x)
    return found
