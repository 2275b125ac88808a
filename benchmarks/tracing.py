"""What tracing costs against ``torch.export`` itself, and what a traced network costs against the eager model.

Claims: tracing takes at most 2.5 times ``torch.export.export``, next to nothing from the cache, and the traced ResNet-20 runs at batch 32
within 10 % of the eager model.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import median_seconds, print_table
from tests.zoo import cifar_test_images, resnet20

DATA = Path(os.environ["VESALIUS_DATA"])
AUTO = torch.export.Dim.AUTO


def models() -> dict[str, tuple[nn.Module, torch.Tensor, str | None]]:
    """ResNet-20, a 6-layer encoder, and a 12-layer BERT: model, example, output."""
    from transformers import BertConfig, BertForSequenceClassification

    layer = nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True)
    bert = BertForSequenceClassification(BertConfig(hidden_size=256, intermediate_size=1024, num_attention_heads=4))
    return {
        "ResNet-20": (resnet20(DATA).eval(), torch.randn(2, 3, 32, 32), None),
        "6-layer encoder": (nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).eval(), torch.randn(2, 32, 256), None),
        "BERT, 12 layers": (bert.eval(), torch.randint(0, 1000, (2, 64)), "logits"),
    }


def export(model: nn.Module, example: torch.Tensor) -> Callable[[], object]:
    """The bare export, with the same dynamic batch."""

    def run() -> object:
        with torch.no_grad():
            return torch.export.export(model, (example,), dynamic_shapes=({0: AUTO},), strict=False)

    return run


def main() -> None:
    """Print the tables."""
    torch.manual_seed(0)
    rows: list[tuple[object, ...]] = []
    for name, (model, example, output) in models().items():
        with tempfile.TemporaryDirectory() as folder:
            vs.trace(model, example, output=output, cache=folder)
            times = median_seconds(
                {
                    "export": export(model, example),
                    "trace": lambda m=model, x=example, o=output: vs.trace(m, x, output=o),
                    "cached": lambda m=model, x=example, o=output, f=folder: vs.trace(m, x, output=o, cache=f),
                }
            )
        rows.append((name, times["export"], times["trace"], times["trace"] / times["export"], times["cached"]))
    print_table(rows, ("model", "export s", "trace s", "ratio", "from cache s"))
    model = resnet20(DATA).eval()
    images = cifar_test_images(DATA)[0][:32]
    network = vs.trace(model, images[:1])
    with torch.no_grad():
        times = median_seconds({"traced": lambda: network(images), "eager": lambda: model(images)}, rounds=40)
    traced, eager = times["traced"] * 1e3, times["eager"] * 1e3
    print(f"ResNet-20 at batch 32: traced {traced:.1f} ms, eager {eager:.1f} ms, {traced / eager:.2f}x")


if __name__ == "__main__":
    main()
