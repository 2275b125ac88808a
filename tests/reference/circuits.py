"""Circuits of GPT-2 (and ablations of Llama) with hooks and plain loops, from the papers' formulas.

Reference: Nanda2023, Syed2024, Hanna2024; values have the sign of what is lost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def blocks(model: nn.Module) -> list[nn.Module]:
    return list(model.transformer.h) if hasattr(model, "transformer") else list(model.model.layers)


def projection(block: nn.Module) -> nn.Module:
    return block.attn.c_proj if hasattr(block, "attn") else block.self_attn.o_proj


def logit(model: nn.Module, x: Tensor, target: tuple[int, int]) -> Tensor:
    with torch.no_grad():
        return model(input_ids=x).logits[0][target]


def gathered(model: nn.Module, x: Tensor) -> list[Tensor]:
    """What goes into the projection of each layer, heads side by side: [B T heads*d]."""
    found: list[Tensor] = []
    hooks = [projection(one).register_forward_pre_hook(lambda _, given: found.append(given[0].detach())) for one in blocks(model)]
    with torch.no_grad():
        model(input_ids=x)
    for hook in hooks:
        hook.remove()
    return found


def ablated_together(model, x, target, heads, changes) -> Tensor:
    hooks = []
    for layer, (head, stand_in) in changes.items():

        def patch(_, given, head=head, stand_in=stand_in):
            value = given[0].clone()
            size = value.shape[-1] // heads
            value[..., head * size : (head + 1) * size] = stand_in[..., head * size : (head + 1) * size]
            return (value,)

        hooks.append(projection(blocks(model)[layer]).register_forward_pre_hook(patch))
    try:
        return logit(model, x, target)
    finally:
        for hook in hooks:
            hook.remove()


def attribution_patching(model, x, other, target, heads) -> Tensor:
    """(present - patched) times the gradient at what each head has gathered."""
    patched = gathered(model, other)
    held: list[Tensor] = []

    def keep(_, given):
        given[0].retain_grad()
        held.append(given[0])

    hooks = [projection(one).register_forward_pre_hook(keep) for one in blocks(model)]
    model(input_ids=x).logits[0][target].backward()
    for hook in hooks:
        hook.remove()
    rows = [
        ((value.detach() - gone) * value.grad).unflatten(-1, (heads, -1)).sum((0, 1, 3)) for value, gone in zip(held, patched, strict=True)
    ]
    model.zero_grad()
    return torch.stack(rows)


class Rewired:
    """GPT-2 written out, with an input of its own for every reader: the stream plus what is given for that reader."""

    def __init__(self, model: nn.Module, heads: int) -> None:
        self.model, self.heads = model, heads

    def embed(self, x: Tensor) -> Tensor:
        inside = self.model.transformer
        return inside.wte(x) + inside.wpe(torch.arange(x.shape[1]))

    def run(self, stream: Tensor, extra: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and what each writer writes; ``extra`` is added to what each reader reads."""
        written = {"embed": stream}
        for layer, block in enumerate(self.model.transformer.h):
            heads = self.attention(block, stream, layer, extra)
            for head, share in enumerate(heads):
                written[f"L{layer}H{head}"] = share
            stream = stream + sum(heads) + block.attn.c_proj.bias
            written[f"L{layer}.mlp"] = block.mlp(block.ln_2(stream + extra.get(f"L{layer}.mlp", 0)))
            stream = stream + written[f"L{layer}.mlp"]
        return self.model.lm_head(self.model.transformer.ln_f(stream + extra.get("logits", 0))), written

    def attention(self, block: nn.Module, stream: Tensor, layer: int, extra: dict[str, Tensor]) -> list[Tensor]:
        width = stream.shape[-1]
        size, length = width // self.heads, stream.shape[1]
        weight, bias = block.attn.c_attn.weight, block.attn.c_attn.bias
        shares = []
        for head in range(self.heads):
            made = {}
            for place, role in enumerate("qkv"):
                columns = slice(place * width + head * size, place * width + (head + 1) * size)
                made[role] = block.ln_1(stream + extra.get(f"L{layer}H{head}.{role}", 0)) @ weight[:, columns] + bias[columns]
            scores = made["q"] @ made["k"].transpose(-1, -2) / size**0.5
            hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
            gathered = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ made["v"]
            shares.append(gathered @ block.attn.c_proj.weight[head * size : (head + 1) * size])
        return shares

    def reads(self) -> dict[str, list[str]]:
        """The writers before every reader."""
        found, before = {}, ["embed"]
        for layer in range(len(self.model.transformer.h)):
            for head in range(self.heads):
                found |= {f"L{layer}H{head}.{role}": list(before) for role in "qkv"}
            before += [f"L{layer}H{head}" for head in range(self.heads)]
            found[f"L{layer}.mlp"] = list(before)
            before.append(f"L{layer}.mlp")
        return found | {"logits": before}


def eap(model, x, other, target, heads, times) -> dict[str, float]:
    """(what a writer writes - what it writes on the other prompt) times the gradient at the reader, averaged over points on the way of the
    embedding from the other prompt's to this one's."""
    wired = Rewired(model, heads)
    with torch.no_grad():
        here, there = wired.embed(x), wired.embed(other)
        _, now = wired.run(here, {})
        _, gone = wired.run(there, {})
    found = {f"{writer}->{reader}": 0.0 for reader, writers in wired.reads().items() for writer in writers}
    for time in times:
        extra = {reader: torch.zeros_like(here, requires_grad=True) for reader in wired.reads()}
        logits, _ = wired.run((there + time * (here - there)).detach(), extra)
        slopes = torch.autograd.grad(logits[0][target], list(extra.values()))
        for reader, slope in zip(extra, slopes, strict=True):
            for writer in wired.reads()[reader]:
                found[f"{writer}->{reader}"] += float(((now[writer] - gone[writer]) * slope).sum()) / len(times)
    return found


def patched_edges(model, x, other, target, heads) -> dict[str, float]:
    """The logit where one edge carries what its writer writes on the other prompt."""
    wired = Rewired(model, heads)
    found = {}
    with torch.no_grad():
        _, now = wired.run(wired.embed(x), {})
        _, gone = wired.run(wired.embed(other), {})
        for writer, reader in (("L0H1", "L1H2.k"), ("L0.mlp", "logits"), ("embed", "L0H3.v")):
            found[f"{writer}->{reader}"] = float(wired.run(wired.embed(x), {reader: gone[writer] - now[writer]})[0][0][target])
    return found


def direct_logits(model, x, target, heads) -> Tensor:
    """What each writer adds to the logit through the last norm, with the norm's deviation as it is."""
    wired = Rewired(model, heads)
    norm = model.transformer.ln_f
    with torch.no_grad():
        _, written = wired.run(wired.embed(x), {})
        stream = sum(written.values()) + sum(block.attn.c_proj.bias for block in model.transformer.h)
        deviation = (stream.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
        direction = model.lm_head.weight[target[1]] * norm.weight
        values = [(((one - one.mean(-1, keepdim=True)) / deviation) @ direction)[0, target[0]] for one in written.values()]
    return torch.stack(values)
