"""Linear layers that store only what is left: rows of kept links, and inputs picked out.

Axes: U units, F inputs, K kept links, P picked inputs.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput

BLOCK = 8
"""Side of a block, in the block layout."""


@final
class SparseLinear(nn.Module):
    """A linear layer whose weight is stored sparse, for inference.

    The weight is a buffer, so that ``to`` and ``state_dict`` see it; there is no gradient for it.

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
        self.weight: Tensor
        self.register_buffer("weight", _stored(weight.detach(), layout))

    @property
    def kept(self) -> int:
        """Values that are stored."""
        return self.weight.values().numel()

    def dense(self) -> Float[Tensor, "U F"]:
        """The weight as a matrix."""
        return self.weight.to_dense()[: self.out_features, : self.in_features]

    def forward(self, x: Float[Tensor, "... F"]) -> Float[Tensor, "... U"]:
        rows = x.reshape(-1, x.shape[-1])
        if self.layout == "csr" and len(rows) == 1:
            found = torch.mv(self.weight, rows[0])  # half the time of a product with a matrix of one column
            return (found if self.bias is None else found + self.bias).reshape(*x.shape[:-1], self.out_features)
        if self.layout == "block":
            rows = nn.functional.pad(rows, (0, self.weight.shape[1] - self.in_features))
        if self.bias is not None and self.layout == "csr":
            found = torch.addmm(self.bias[:, None], self.weight, rows.t()).t()
        else:
            found = (self.weight @ rows.t()).t()[:, : self.out_features]
            found = found if self.bias is None else found + self.bias
        return found.reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, kept={self.kept}, layout={self.layout!r}"


def _stored(weight: Float[Tensor, "U F"], layout: str) -> Tensor:
    if layout == "csr":
        return weight.to_sparse_csr()
    padded = nn.functional.pad(weight, (0, -weight.shape[1] % BLOCK, 0, -weight.shape[0] % BLOCK))
    return padded.to_sparse_bsr((BLOCK, BLOCK))


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
