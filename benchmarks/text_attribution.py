"""Attributions of the tokens of a small GPT-2 at 16, 64 and 256 tokens, beside captum's: time and memory at equal error.

Claims: integrated gradients of embeddings, of an inner layer, and ablation of tokens are no slower than captum's where both have the same
error. One trace serves all lengths. Errors are relative L2 of the tokens' sums, against captum with 400 nodes in double precision; captum
takes the fewest nodes whose error is no larger than ours. Ablation is exact for both; captum at its best batch.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from captum.attr import FeatureAblation, IntegratedGradients, LayerIntegratedGradients
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import median_seconds, peak_megabytes, print_table

LENGTHS = (16, 64, 256)
VOCABULARY, TARGET = 500, 7
NODES = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 50, 64, 80, 100, 128, 160, 200)
TRUTH = 400
BATCHES = (1, 16, 64)


class Logits(nn.Module):
    """A small GPT-2 as a function of ids, or of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(vocab_size=VOCABULARY, n_embd=128, n_layer=4, n_head=4, n_positions=256, use_cache=False)
        self.model = GPT2LMHeadModel(config)

    def forward(self, ids: Tensor) -> Tensor:
        given = {"inputs_embeds": ids} if ids.is_floating_point() else {"input_ids": ids}
        found: Tensor = self.model(**given).logits[:, -1]
        return found


def make() -> tuple[Logits, dict[str, vs.Network]]:
    """The model, and its networks of ids and of embeddings, each traced once."""
    torch.manual_seed(0)
    model = Logits().eval().requires_grad_(False)
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.mul_(4)  # as sharp as a trained one: that of a fresh one is all but linear
    ids = tokens(12)
    return model, {"ids": vs.trace(model, ids), "embeddings": vs.trace(model, embed(model, ids))}


def tokens(length: int) -> Tensor:
    return torch.randint(1, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(length))


def embed(model: Logits, ids: Tensor) -> Tensor:
    found: Tensor = model.model.transformer.wte(ids)
    return found


def ours(what: str, model: Logits, networks: dict[str, vs.Network], ids: Tensor) -> Tensor:
    """One number for each token."""
    if what == "integrated gradients":
        return vs.attribute(networks["embeddings"], embed(model, ids), "integrated_gradients", target=TARGET).values[0].sum(-1)
    if what == "layer integrated gradients":
        zero = embed(model, torch.zeros_like(ids))[0]
        at = "model.transformer.wte"
        return vs.attribute(networks["ids"], ids, "integrated_gradients", at=at, baseline=zero, target=TARGET).values[0].sum(-1)
    return vs.attribute(networks["ids"], ids, "occlusion", baseline=0, target=TARGET).values[0]


def theirs(what: str, model: Logits, ids: Tensor, size: int) -> Tensor:
    """Captum's, with so many nodes, or tokens ablated at once."""
    if what == "integrated gradients":
        return IntegratedGradients(model).attribute(embed(model, ids), target=TARGET, n_steps=size, internal_batch_size=32)[0].sum(-1)
    if what == "layer integrated gradients":
        method = LayerIntegratedGradients(model, model.model.transformer.wte)
        found = method.attribute(ids, baselines=torch.zeros_like(ids), target=TARGET, n_steps=size, internal_batch_size=32)
        return found[0].sum(-1)
    return FeatureAblation(model).attribute(ids, baselines=0, target=TARGET, perturbations_per_eval=size)[0]


def equal_error(what: str, model: Logits, networks: dict[str, vs.Network], ids: Tensor) -> tuple[float, int]:
    """Our error, and the nodes that captum needs for no larger one; for ablation its best batch."""
    if what == "ablation":
        times = median_seconds({str(size): lambda size=size: theirs(what, model, ids, size) for size in BATCHES}, rounds=1)
        size = int(min(times, key=lambda key: times[key]))
        exact = theirs(what, model, ids, size)
        return float((ours(what, model, networks, ids) - exact).norm() / exact.norm()), size
    exact = theirs(what, copy.deepcopy(model).double(), ids, TRUTH)
    error = float((ours(what, model, networks, ids) - exact).norm() / exact.norm())
    reached = (nodes for nodes in NODES if float((theirs(what, model, ids, nodes) - exact).norm() / exact.norm()) <= error)
    return error, next(reached, TRUTH)


def run_once(who: str, what: str, length: int, size: int) -> Callable[[], object]:
    """One of both, prepared, for a process of its own whose memory is looked at."""
    model, networks = make()
    ids = tokens(length)
    return (lambda: ours(what, model, networks, ids)) if who == "ours" else (lambda: theirs(what, model, ids, size))


def main() -> None:
    """Print the table."""
    model, networks = make()
    rows: list[tuple[object, ...]] = []
    for what in ("integrated gradients", "layer integrated gradients", "ablation"):
        for length in LENGTHS:
            ids = tokens(length)
            error, size = equal_error(what, model, networks, ids)
            contenders = {
                "ours": lambda what=what, ids=ids: ours(what, model, networks, ids),
                "captum": lambda what=what, ids=ids, size=size: theirs(what, model, ids, size),
            }
            times = median_seconds(contenders, rounds=3)
            memory = {
                who: peak_megabytes(
                    f"from benchmarks.text_attribution import run_once\nrun = run_once({who!r}, {what!r}, {length}, {size})\n"
                )
                for who in contenders
            }
            ratio = times["captum"] / times["ours"]
            rows.append((what, length, error, size, times["ours"] * 1e3, times["captum"] * 1e3, ratio, memory["ours"], memory["captum"]))
            print(rows[-1], file=sys.stderr, flush=True)
    head = ("method", "tokens", "error", "captum's nodes or batch", "ours ms", "captum ms", "captum / ours", "ours MB", "captum MB")
    print_table(rows, head)


if __name__ == "__main__":
    main()
