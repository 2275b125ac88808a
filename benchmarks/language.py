"""Matrices of generated tokens by prompt tokens beside captum's, in one run and at equal error.

Claims: on a GPT-2 made from its configuration, the matrix of 32 generated tokens takes at most a third of the time of captum's
``LLMGradientAttribution`` (integrated gradients at the embedding, at the number of steps that reaches our error) and ``LLMAttribution``
(feature ablation, a pass per token as by default; beside it one pass for all). Without captum's cache of past keys, which ends in an error
with this version of transformers. The values are captum's, as ``tests/peers/test_captum_language.py`` holds; errors are relative L2 from
ours at a tolerance of 1e-6.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from captum.attr import FeatureAblation, LayerIntegratedGradients, LLMAttribution, LLMGradientAttribution, TextTokenInput
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import median_seconds, print_table
from vesalius.language import PerToken

GENERATED = 32
PROMPTS = (16, 64)
STEPS = (8, 16, 32, 50, 100, 200)


def tokenizer() -> PreTrainedTokenizerFast:
    """200 words and their numbers."""
    words = {"<pad>": 0, **{f"w{place}": place for place in range(1, 200)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>")


def model(layers: int = 4) -> GPT2LMHeadModel:
    """Layers of 64 units and 4 heads, with weights large enough for a curved path."""
    torch.manual_seed(0)
    made = GPT2LMHeadModel(
        GPT2Config(vocab_size=200, n_positions=128, n_embd=64, n_layer=layers, n_head=4, bos_token_id=None, eos_token_id=None)
    )
    for weight in made.parameters():
        weight.data *= 2 if weight.ndim == 2 else 1
    return made.eval().requires_grad_(False)


def text(count: int, seed: int) -> str:
    """Words at random."""
    return " ".join(f"w{place}" for place in torch.randint(1, 200, (count,), generator=torch.Generator().manual_seed(seed)).tolist())


def captum_gradients(net: Any, tokens: Any, prompt: str, answer: str, steps: int) -> Tensor:
    """Integrated gradients at the embedding, one generated token after the other."""
    peer = LLMGradientAttribution(LayerIntegratedGradients(net, net.transformer.wte), tokens)
    found: Tensor = peer.attribute(TextTokenInput(prompt, tokens), target=answer, n_steps=steps).token_attr
    return found


def captum_ablation(net: Any, tokens: Any, prompt: str, answer: str, *, at_once: bool) -> Tensor:
    """Feature ablation: a forward pass per generated token, as by default, or one for all of them."""
    peer = LLMAttribution(FeatureAblation(net), tokens)
    found: Tensor = peer.attribute(
        TextTokenInput(prompt, tokens), target=answer, use_cached_outputs=False, forward_in_tokens=not at_once
    ).token_attr
    return found


def ours(net: Any, tokens: Any, prompt: str, answer: str, method: Any) -> vs.Allocation:
    """The matrix as a user asks for it."""
    return vs.attribute(net, prompt, method, tokenizer=tokens, target=PerToken(answer), baseline="pad")


def main(prompts: Sequence[int] = PROMPTS) -> None:
    """Print the tables."""
    warnings.simplefilter("ignore")
    net, tokens, rows = model(), tokenizer(), []
    for count in prompts:
        asked = (net, tokens, text(count, 1), text(GENERATED, 2))
        for method in ("integrated_gradients", "occlusion"):
            ours(*asked, method)  # traced and remembered
        exact = vs.methods.IntegratedGradients(tol=1e-6)
        truth = ours(*asked, exact).values
        values = ours(*asked, "integrated_gradients").values
        error = float((values - truth).norm() / truth.norm())
        steps = next((n for n in STEPS if float((captum_gradients(*asked, n) - truth).norm() / truth.norm()) <= error), STEPS[-1])
        times = median_seconds(
            {
                "ours": lambda asked=asked: ours(*asked, "integrated_gradients"),  # type: ignore[misc]
                "captum": lambda asked=asked, steps=steps: captum_gradients(*asked, steps),  # type: ignore[misc]
                "captum, 50": lambda asked=asked: captum_gradients(*asked, 50),  # type: ignore[misc]
            },
            rounds=1,
        )
        said = f"{error:.1e}, captum {steps} steps"
        rows.append(("integrated gradients", count, said, times["ours"], times["captum"], times["captum"] / times["ours"]))
        rows.append(("the same, captum's 50 steps", count, "", times["ours"], times["captum, 50"], times["captum, 50"] / times["ours"]))
        plain = captum_ablation(*asked, at_once=False)
        apart = float((ours(*asked, "occlusion").values - plain).abs().max())
        times = median_seconds(
            {
                "ours": lambda asked=asked: ours(*asked, "occlusion"),  # type: ignore[misc]
                "plain": lambda asked=asked: captum_ablation(*asked, at_once=False),  # type: ignore[misc]
                "at once": lambda asked=asked: captum_ablation(*asked, at_once=True),  # type: ignore[misc]
            },
            rounds=1,
        )
        rows.append(("occlusion", count, f"largest difference {apart:.1e}", times["ours"], times["plain"], times["plain"] / times["ours"]))
        rows.append(
            ("the same, captum's forward_in_tokens=False", count, "", times["ours"], times["at once"], times["at once"] / times["ours"])
        )
    print_table(rows, ("matrix of 32 tokens", "prompt tokens", "error", "ours s", "captum s", "captum / ours"))


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or PROMPTS)
