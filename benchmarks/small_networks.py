"""What propagation costs on small networks, where our own overhead is the cost: processor time against one forward and backward pass.

Claims, of a GPT-2 of 2 layers and 16 tokens: DeepLIFT and LRP epsilon at most 4 passes at batch 1 and 1.8 at batch 16, alpha-beta at most
6 and 4. The table holds an LSTM as well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import print_table

METHODS = ("deeplift_rescale", "lrp_epsilon", "lrp_alpha_beta", "deeplift_revealcancel", "grad_cam", "gradient_x_input")


class LastToken(nn.Module):
    """A language model on embeddings, read at the last token."""

    def __init__(self) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        super().__init__()
        sizes = {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 100, "n_positions": 64}
        self.model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, use_cache=False))

    def forward(self, embedded: Tensor) -> Tensor:
        return self.model(inputs_embeds=embedded).logits[:, -1]


class Recurrent(nn.Module):
    """An LSTM, read at the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.read = nn.LSTM(16, 32, batch_first=True), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.lstm(x)[0][:, -1])


def processor_seconds(contenders: Mapping[str, Callable[[], object]], rounds: int = 15, calls: int = 5) -> dict[str, float]:
    """Median processor seconds of each contender, in turns; one unmeasured round first."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = time.process_time()
            for _ in range(calls):
                run()
            if turn:
                seconds[name].append((time.process_time() - start) / calls)
    return {name: median(taken) for name, taken in seconds.items()}


def cost_multiples(model: nn.Module, x: Tensor) -> dict[str, float]:
    """Time of each method, as a multiple of a forward and backward pass of the model itself."""
    with torch.no_grad():
        classes = model(x).argmax(1)
    network = vs.trace(model, x[:1])

    def plain() -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(model(leaf).gather(1, classes[:, None]).sum(), leaf)[0]

    contenders: dict[str, Callable[[], object]] = {"plain": plain}
    for method in METHODS:
        contenders[method] = lambda method=method: vs.attribute(network, x, method, target=classes)  # type: ignore[misc]
    times = processor_seconds(contenders)
    return {name: taken / times["plain"] for name, taken in times.items() if name != "plain"}


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    found = {}
    for name, model, x in (("GPT-2", LastToken(), torch.randn(16, 16, 64)), ("LSTM", Recurrent(), torch.randn(16, 16, 16))):
        model.eval().requires_grad_(False)
        found |= {f"{name}, batch {batch}": cost_multiples(model, x[:batch]) for batch in (1, 16)}
    print_table([(method, *(column[method] for column in found.values())) for method in METHODS], ("method", *found))


if __name__ == "__main__":
    main()
