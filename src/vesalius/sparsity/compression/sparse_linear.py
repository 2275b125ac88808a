"""Linear layers that store only what is left: rows of kept links, and inputs picked out.

Axes: U units, F inputs, K kept links, P picked inputs.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput

BLOCK_SIDE = 8
"""Side of a block, in the block layout."""


@final
class SparseLinear(nn.Module):
    """A linear layer whose weight is stored sparse, for inference.

    Values and indices are buffers, so that ``to`` and ``state_dict`` see them; there is no gradient for them.

    Args:
        weight: of a linear layer.
        bias: of its units.
        layout: ``"csr"``: compressed rows; ``"block"``: compressed rows of blocks of 8 x 8, whose sides the weight's are padded to.

    Raises:
        InvalidInput: no such layout.
    """

    def __init__(self, weight: Float[Tensor, "U F"], bias: Float[Tensor, " U"] | None = None, *, layout: str = "csr") -> None:
        super().__init__()
        if layout not in ("csr", "block"):
            raise InvalidInput(f"a layout is 'csr' or 'block', not {layout!r}")
        self.out_features, self.in_features = weight.shape
        self.layout = layout
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        stored = _to_sparse(weight.detach(), layout)
        self.sides = tuple(stored.shape)
        self.values: Tensor
        self.crow: Tensor
        self.col: Tensor
        self.register_buffer("values", stored.values().clone())
        self.register_buffer("crow", stored.crow_indices().to(torch.int32))
        self.register_buffer("col", stored.col_indices().to(torch.int32))
        self._made: tuple[Tensor, Tensor] | None = None

    @property
    def kept(self) -> int:
        """Values that are stored."""
        return self.values.numel()

    @property
    def matrix(self) -> Tensor:
        """The weight as PyTorch's sparse tensor on the same memory; made again only when the buffers are others."""
        if self._made is None or self._made[0] is not self.values:
            build = torch.sparse_csr_tensor if self.layout == "csr" else torch.sparse_bsr_tensor
            with _silence_beta_warning():
                self._made = self.values, build(self.crow, self.col, self.values, self.sides, check_invariants=False)
        return self._made[1]

    def dense(self) -> Float[Tensor, "U F"]:
        """The weight as a matrix."""
        return self.matrix.to_dense()[: self.out_features, : self.in_features]

    def forward(self, x: Float[Tensor, "... F"]) -> Float[Tensor, "... U"]:
        rows, weight = x.reshape(-1, x.shape[-1]), self.matrix
        if self.layout == "block":
            rows = nn.functional.pad(rows, (0, self.sides[1] - self.in_features))
        if self.layout == "csr" and len(rows) == 1:
            found = torch.mv(weight, rows[0])[None]  # half the time of a product with a matrix of one column
        elif self.layout == "csr" and self.bias is not None:
            found = torch.addmm(self.bias[:, None], weight, rows.t()).t()
            return found.reshape(*x.shape[:-1], self.out_features)
        else:
            found = (weight @ rows.t()).t()[:, : self.out_features]
        found = found if self.bias is None else found + self.bias
        return found.reshape(*x.shape[:-1], self.out_features)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_made": None}  # type: ignore[no-untyped-call]  # a copy's matrix lies on the copy's own memory

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, kept={self.kept}, layout={self.layout!r}"


def _to_sparse(weight: Float[Tensor, "U F"], layout: str) -> Tensor:
    with _silence_beta_warning():
        if layout == "csr":
            return weight.to_sparse_csr()
        padded = nn.functional.pad(weight, (0, -weight.shape[1] % BLOCK_SIDE, 0, -weight.shape[0] % BLOCK_SIDE))
        return padded.to_sparse_bsr((BLOCK_SIDE, BLOCK_SIDE))


@contextlib.contextmanager
def _silence_beta_warning() -> Iterator[None]:
    """Without the note that sparse tensors are in beta, which a user can do nothing about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse .* beta state")
        yield


@final
class PickedLinear(nn.Module):
    """A linear layer that reads some of its inputs only.

    Args:
        weight: of a linear layer, whose columns of zeros are left out.
        bias: of its units.
    """

    def __init__(self, weight: Float[Tensor, "U F"], bias: Float[Tensor, " U"] | None = None) -> None:
        super().__init__()
        picked = (weight.detach() != 0).any(0).nonzero().flatten()
        self.out_features, self.in_features = weight.shape
        self.picked: Tensor
        self.register_buffer("picked", picked)
        self.weight = nn.Parameter(weight.detach()[:, picked].clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: Float[Tensor, "... F"]) -> Float[Tensor, "... U"]:
        return nn.functional.linear(x.index_select(-1, self.picked), self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, picked={len(self.picked)}"
