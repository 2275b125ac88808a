"""Calls that torch.export reads for one size of batch only, made of others that it reads for any.

What stands behind them asks for all sizes as plain numbers. The results are the same, those of linear systems to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def take_along_dim(tensor: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Elements at places along an axis; of all elements where there is none."""
    if dim is None:
        return tensor.reshape(-1).gather(0, indices.reshape(-1))
    dim = dim % tensor.ndim
    sizes = [here if there == 1 else there for here, there in zip(indices.shape, tensor.shape, strict=True)]
    spread = [_with_own_size(one, sizes, dim) for one in (tensor, indices)]
    return spread[0].gather(dim, spread[1])


def _with_own_size(tensor: Tensor, sizes: Sequence[int | torch.SymInt], dim: int) -> Tensor:
    return tensor.expand([-1 if axis == dim else size for axis, size in enumerate(sizes)])


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """A product of several matrices, from the left."""
    return reduce(torch.matmul, tensors)


def solve(matrix: Tensor, right: Tensor, *, left: bool = True) -> Tensor:
    """Systems of equations, of a batch by the inverse matrices."""
    if matrix.ndim == 2:
        found: Tensor = torch.ops.aten.linalg_solve.default(matrix, right, left=left)
        return found
    sides = zip(reversed(right.shape), reversed(matrix.shape[:-1]), strict=False)  # from the last: no question about the batch in vain
    vectors = right.ndim == 1 or (right.ndim == matrix.ndim - 1 and all(one == other for one, other in sides))
    inverse, columns = torch.linalg.inv(matrix), right.unsqueeze(-1) if vectors else right
    solved: Tensor = inverse @ columns if left else columns @ inverse
    return solved.squeeze(-1) if vectors else solved


def matrix_norm(tensor: Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, **named: Any) -> Tensor:
    """A norm of matrices; that of Frobenius is one of all elements, a spectral one the first or last of the singular values."""
    if named or ord not in ("fro", 2, -2):
        found: Tensor = torch.linalg.matrix_norm(tensor, ord, dim, keepdim, **named)
        return found
    if ord == "fro":
        found = torch.linalg.vector_norm(tensor, 2, tuple(dim), keepdim)
        return found
    values = torch.linalg.svdvals(tensor.movedim(tuple(dim), (-2, -1)))
    found = values.amax(-1) if ord > 0 else values.amin(-1)
    for axis in sorted(axis % tensor.ndim for axis in dim) if keepdim else ():
        found = found.unsqueeze(axis)
    return found


READABLE: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.take_along_dim: take_along_dim,
    Tensor.take_along_dim: take_along_dim,
    torch.linalg.multi_dot: multi_dot,
    torch.chain_matmul: lambda *matrices: multi_dot(matrices),
    torch.linalg.solve: solve,
    torch.linalg.matrix_norm: matrix_norm,
}


class ReadableCalls(TorchFunctionMode):
    """Inside, these calls are made of the others."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        return READABLE.get(func, func)(*args, **named) if "out" not in named else func(*args, **named)
