"""Games over all heads of a language model, and edges of its residual stream: what they cost.

    python -m benchmarks.interior_games

GPT-2 from config, 4 layers of 8 heads, 20 contexts of 16 tokens, each with another prompt as its baseline; one thread. Shapley values of
the 32 heads with standard errors, beside the same number of forward passes, one coalition at a time, with hooks on the projections of heads
(which is how an ablation is written by hand). EAP beside a forward and a backward pass of the model itself.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import vesalius as vs
from vesalius import circuits

LAYERS, HEADS, WIDTH, LENGTH, CONTEXTS, VOCABULARY = 4, 8, 128, 16, 20, 200
BY_HOOKS = 200
"""Coalitions that are timed with hooks."""


def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "n_positions": 64, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "initializer_range": 0.1}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()


def with_hooks(net: nn.Module, x: Tensor, present: Tensor, stand_ins: list[Tensor]) -> float:
    """The logit of one coalition of heads, by hooks."""
    hooks = []
    for layer, block in enumerate(net.transformer.h):
        kept = present[layer].repeat_interleave(WIDTH // HEADS)

        def patch(_: nn.Module, given: tuple[Tensor, ...], kept: Tensor = kept, gone: Tensor = stand_ins[layer]) -> tuple[Tensor]:
            return (torch.where(kept, given[0], gone),)

        hooks.append(block.attn.c_proj.register_forward_pre_hook(patch))
    with torch.no_grad():
        found = float(net(input_ids=x).logits[0, -1, 3])
    for hook in hooks:
        hook.remove()
    return found


def main() -> None:
    torch.set_num_threads(1)
    net, draws = model(), torch.Generator().manual_seed(1)
    x, other = (torch.randint(0, VOCABULARY, (CONTEXTS, LENGTH), generator=draws) for _ in range(2))
    began = time.perf_counter()
    traced = vs.trace(net, x[:1], output="logits")
    print(f"trace {time.perf_counter() - began:.1f} s")

    heads = vs.Players.heads(traced)
    began = time.perf_counter()
    found = vs.attribute(traced, x, "shapley_value", players=heads, target=(-1, 3), baseline=vs.Constant(other))
    seconds = time.perf_counter() - began
    assert found.stderr is not None
    count = int(found.evaluations.sum())
    size = float((found.total - found.base).abs().mean())
    error = float(found.stderr.flatten(1).max(1).values.mean())
    print(f"Shapley values of {heads.n} heads, {CONTEXTS} contexts: {seconds:.1f} s, {count:,} coalitions, {1e3 * seconds / count:.1f} ms")
    print(f"largest standard error, mean over contexts: {error:.2g}, where the output changes by {size:.2g}")

    gathered: list[Tensor] = []
    hooks = [block.attn.c_proj.register_forward_pre_hook(lambda _, given: gathered.append(given[0])) for block in net.transformer.h]
    with torch.no_grad():
        net(input_ids=other[:1])
    for hook in hooks:
        hook.remove()
    masks = torch.rand(BY_HOOKS, LAYERS, HEADS, generator=draws) < 0.5
    began = time.perf_counter()
    by_hooks = torch.tensor([with_hooks(net, x[:1], mask, gathered) for mask in masks], dtype=torch.float64)
    each = (time.perf_counter() - began) / BY_HOOKS
    game = vs.Game.on(traced, x[:1], heads, target=(-1, 3), baseline=other[:1])
    began = time.perf_counter()
    ours = game(masks.flatten(1))
    mine = (time.perf_counter() - began) / BY_HOOKS
    print(f"hooks: {1e3 * each:.2f} ms a coalition; game: {1e3 * mine:.2f} ms, {each / mine:.1f} times faster", end="; ")
    print(f"largest difference {float((ours - by_hooks).abs().max()):.1g}")

    began = time.perf_counter()
    net(input_ids=x).logits[:, -1, 3].sum().backward()
    step = time.perf_counter() - began
    for name, ask in (("EAP", circuits.edge_attribution_patching), ("EAP-IG, 5 steps", circuits.eap_ig)):
        ask(traced, x, other, target=(-1, 3))
        began = time.perf_counter()
        scores = ask(traced, x, other, target=(-1, 3))
        spent = time.perf_counter() - began
        print(f"{name}, {scores.players.n:,} edges, {CONTEXTS} contexts: {spent:.2f} s, {spent / step:.1f} x a forward and backward pass")


if __name__ == "__main__":
    main()
