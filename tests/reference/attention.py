"""A vision transformer as a user writes it, and its LRP by another road: plain functions whose gradient is changed with ``detach``.

AttnLRP (Achtibat2024) and CP-LRP (Ali2022) in the detach form: wherever a rule differs from the gradient, the forward pass is kept and a
factor of it is held constant, so that x times the gradient is the relevance. Biases, class token and positions absorb what is theirs; only
the relevance of the input comes back. No rule of vesalius, no graph and no hook is involved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Norm first: x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, dim: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(heads.transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Sequence(nn.Module):
    """A transformer over [batch, tokens, dim], learnt positions, and a class token in front (behind, if causal) that is classified."""

    def __init__(self, shape: tuple[int, int], heads: int = 2, depth: int = 2, classes: int = 3, causal: bool = False) -> None:
        super().__init__()
        tokens, dim = shape
        self.causal = causal
        self.token = nn.Parameter(torch.randn(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, tokens + 1, dim) / 2)
        self.blocks = nn.ModuleList(Block(dim, heads, causal) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        token = self.token.expand(x.shape[0], -1, -1)
        x = torch.cat([x, token] if self.causal else [token, x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, -1 if self.causal else 0])


class ViT(nn.Module):
    """Patches of an image [batch, 3, side, side] through a strided convolution, then a Sequence."""

    def __init__(self, side: int = 8, patch: int = 4, dim: int = 8, heads: int = 2, depth: int = 2) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.sequence = Sequence(((side // patch) ** 2, dim), heads, depth)

    def forward(self, x: Tensor) -> Tensor:
        return self.sequence(self.patch(x).flatten(2).transpose(1, 2))


def build(make: Callable[..., nn.Module], seed: int = 0, **options: int | bool | tuple[int, int]) -> nn.Module:
    """A ViT or a Sequence in float64 and eval mode, its biases and norms random too, so that a rule that forgets them is seen."""
    generator = torch.Generator().manual_seed(seed)
    model = make(**options).double().eval()
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        norm_weight = "norm" in name and name.endswith("weight")
        scale = parameter.shape[1:].numel() ** -0.5 if parameter.ndim > 1 and "position" not in name and "token" not in name else 0.5
        parameter.data = 1 + 0.3 * noise if norm_weight else scale * noise
        parameter.requires_grad_(False)
    return model


@dataclass(frozen=True)
class Rules:
    """``gate``: CP-LRP, all relevance to the values and none to the attention weights; else half to each. eps is of linear layers."""

    gate: bool = False
    eps: float = 0.0

    def linear(self, z: Tensor) -> Tensor:
        """LRP-eps behind a linear layer: its gradient times |z| / (|z| + eps)."""
        factor = (z.abs() / (z.abs() + self.eps)).detach() if self.eps else 1.0
        return z.detach() + factor * (z - z.detach())

    def uniform(self, a: Tensor, b: Tensor) -> Tensor:
        """a b, half of the relevance to each (AttnLRP)."""
        return (a.detach() @ b + a @ b.detach()) / 2

    def weighted(self, weights: Tensor, values: Tensor) -> Tensor:
        return weights.detach() @ values if self.gate else self.uniform(weights, values)


def norm(module: nn.LayerNorm, x: Tensor) -> Tensor:
    """The deviation is a constant, the mean is not (the identity rule, AttnLRP)."""
    d = x - x.mean(-1, keepdim=True)
    scale = ((d * d).mean(-1, keepdim=True) + module.eps).rsqrt().detach()
    return d * scale * module.weight + module.bias


def elementwise(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """x (f(x) / x), the quotient constant: relevance passes as it is, f(0) being 0."""
    return x * (function(x) / x).detach()


def attend(block: Block, x: Tensor, rules: Rules) -> Tensor:
    """Attention with every product under its rule; softmax keeps its own gradient, which is its Taylor rule (AttnLRP)."""
    joint = rules.linear(F.linear(x, block.qkv.weight, block.qkv.bias))
    dim = joint.shape[-1] // 3
    size = dim // block.heads
    heads = []
    for head in range(block.heads):
        q, k, v = (joint[..., part * dim + head * size : part * dim + (head + 1) * size] for part in range(3))
        logits = rules.uniform(q, k.transpose(-1, -2)) * size**-0.5
        if block.causal:
            future = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
            logits = logits.masked_fill(future, -torch.inf)
        heads.append(rules.weighted(logits.softmax(-1), v))
    return rules.linear(F.linear(torch.cat(heads, -1), block.out.weight, block.out.bias))


def forward(model: ViT | Sequence, x: Tensor, rules: Rules) -> Tensor:
    """The model's output, with the rules in its gradient."""
    if isinstance(model, ViT):
        x = rules.linear(F.conv2d(x, model.patch.weight, model.patch.bias, model.patch.stride)).flatten(2).transpose(1, 2)
        model = model.sequence
    token = model.token.expand(len(x), -1, -1)
    x = torch.cat([x, token] if model.causal else [token, x], 1) + model.position
    for block in model.blocks:
        x = x + attend(block, norm(block.norm1, x), rules)
        hidden = rules.linear(F.linear(norm(block.norm2, x), block.up.weight, block.up.bias))
        x = x + rules.linear(F.linear(elementwise(F.gelu, hidden), block.down.weight, block.down.bias))
    last = norm(model.norm, x)[:, -1 if model.causal else 0]
    return rules.linear(F.linear(last, model.head.weight, model.head.bias))


def relevance(model: ViT | Sequence, x: Tensor, target: int, rules: Rules | None = None) -> Tensor:
    """x times the changed gradient of output ``target``, of the shape of x; samples do not mix."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(forward(model, leaf, rules or Rules())[:, target].sum(), leaf)
    return (leaf * gradient).detach()
