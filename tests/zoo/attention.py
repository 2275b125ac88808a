"""Attention in the ways people write it: torch's layers, rotary and causal decoders, einsum."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PreNormEncoder(nn.Module):
    """nn.TransformerEncoder with the norms before the sublayers, relu and a last norm; the mean over the steps is classified."""

    def __init__(self, features: int = 4, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        layer = nn.TransformerEncoderLayer(width, 2, dim_feedforward=16, dropout=0.1, activation="relu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x)).mean(dim=1))


class SequenceFirst(nn.Module):
    """nn.MultiheadAttention with its default axes, [steps, batch, width]: the batch axis moves and comes back."""

    def __init__(self, features: int = 4, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.self_attn = nn.MultiheadAttention(width, 2, dropout=0.1)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.transpose(0, 1))
        x = self.norm(x + self.self_attn(x, x, x, need_weights=False)[0])
        return self.head(x[-1])


class RMSNorm(nn.Module):
    """As in the Llama code."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate_half(x: Tensor) -> Tensor:
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


class RotaryAttention(nn.Module):
    """Causal attention whose queries and keys are turned by their position."""

    def __init__(self, width: int, heads: int, steps: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        inv_freq = 1.0 / (100 ** (torch.arange(0, self.head_dim, 2).float() / self.head_dim))
        freqs = torch.outer(torch.arange(steps).float(), inv_freq)
        emb = torch.cat((freqs, freqs), dim=-1)
        self.register_buffer("cos", emb.cos(), persistent=False)
        self.register_buffer("sin", emb.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        bsz, steps, width = x.shape
        q = self.q_proj(x).view(bsz, steps, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(bsz, steps, self.heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(bsz, steps, self.heads, self.head_dim).transpose(1, 2)
        cos, sin = self.cos[:steps], self.sin[:steps]
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(bsz, steps, width))


class SwiGLU(nn.Module):
    """A gated feed-forward layer: a product of two traced values."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class RotaryBlock(nn.Module):
    """A Llama block: one norm written by hand, the other torch's."""

    def __init__(self, width: int, heads: int, steps: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(width)
        self.self_attn = RotaryAttention(width, heads, steps)
        self.post_attention_layernorm = nn.RMSNorm(width, eps=1e-5)
        self.mlp = SwiGLU(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class RotaryDecoder(nn.Module):
    """A tiny Llama on floating steps, read at the last one."""

    def __init__(self, features: int = 4, steps: int = 6, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.layers = nn.ModuleList(RotaryBlock(width, 2, steps) for _ in range(2))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.score = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.score(self.norm(x))[:, -1]


class CausalSelfAttention(nn.Module):
    """As in nanoGPT, without its fast path: the future is masked with minus infinity."""

    def __init__(self, width: int, heads: int, steps: int) -> None:
        super().__init__()
        self.n_head = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.attn_dropout = nn.Dropout(0.1)
        self.register_buffer("bias", torch.tril(torch.ones(steps, steps, dtype=torch.bool)).view(1, 1, steps, steps))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(~self.bias[:, :, :T, :T], float("-inf"))
        att = self.attn_dropout(F.softmax(att, dim=-1))
        y = (att @ v).transpose(1, 2).contiguous().view(B, T, C)
        return self.c_proj(y)


class CausalGPT(nn.Module):
    """Two blocks with tanh-gelu and learned positions, read at the last step."""

    def __init__(self, features: int = 4, steps: int = 6, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.wte = nn.Linear(features, width)
        self.wpe = nn.Parameter(torch.randn(1, steps, width) * 0.3)
        self.ln_1 = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attn = nn.ModuleList(CausalSelfAttention(width, 2, steps) for _ in range(2))
        self.ln_2 = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 16), nn.GELU(approximate="tanh"), nn.Linear(16, width), nn.Dropout(0.1)) for _ in range(2)
        )
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.wte(x) + self.wpe[:, : x.size(1)]
        for ln_1, attn, ln_2, mlp in zip(self.ln_1, self.attn, self.ln_2, self.mlp, strict=True):
            x = x + attn(ln_1(x))
            x = x + mlp(ln_2(x))
        return self.lm_head(self.ln_f(x)[:, -1, :])


class EinsumAttention(nn.Module):
    """Single-query pooling: learned queries attend to the steps, all products written with einsum."""

    def __init__(self, features: int = 4, width: int = 6, queries: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.to_k = nn.Linear(features, width, bias=False)
        self.to_v = nn.Linear(features, width)
        self.to_gate = nn.Linear(features, width)
        self.to_out = nn.Linear(queries * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        k, v, gate = self.to_k(x), self.to_v(x), torch.sigmoid(self.to_gate(x))
        scores = torch.einsum("qd,btd->bqt", self.queries, k) / k.shape[-1] ** 0.5
        pooled = torch.einsum("bqt,btd,btd->bqd", scores.softmax(dim=-1), v, gate)
        return self.to_out(pooled.flatten(1))
