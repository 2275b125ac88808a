"""Half of the units of every layer of small architectures removed, in one run: what can go, what is lost, and how long it takes.

Claims: the smaller model computes what the masked one does to 1e-5; all weights but those of outputs belong to units that can go.

Torch-Pruning is called on the same models as it comes, without a word on heads or parameters of modules: half of each group, the output's
layer left alone. ``ONLY`` names some of the architectures.
"""

from __future__ import annotations

import copy
import os
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import torch_pruning
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

import vesalius as vs
from benchmarks.timing import print_table
from benchmarks.zoo.vision import VISION
from tests.sparsity.joined_models import JOINED, build
from vesalius.sparsity import Pruning, remove_units

HEADINGS = ("architecture", "can go", "parameters", "left", "lost", "difference", "form", "seconds", "Torch-Pruning leaves")
IMAGE_MODELS = ("ResNet", "RegNet", "MobileNetV2", "ConvNext", "Swin", "Segformer")
"""Of transformers, in place of torchvision's."""


SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
TEXT = {"vocab_size": 99, "max_position_embeddings": 16}


def transformers() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Small models of Hugging Face's, from their configurations, with random weights."""
    torch.manual_seed(0)
    ids, images = torch.randint(0, 99, (200, 8)), torch.randn(200, 3, 16, 16)
    return {
        "BERT": (BertForSequenceClassification(BertConfig(**SIZES, **TEXT)), ids),
        "GPT-2": (GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=4, n_positions=16)), ids),
        "Llama": (LlamaForCausalLM(LlamaConfig(**SIZES, **TEXT, num_key_value_heads=2)), ids),
        "ViT": (ViTForImageClassification(ViTConfig(**SIZES, image_size=16, patch_size=4)), images),
    }


def image_models() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Small classifiers of images, with random weights."""
    torch.manual_seed(0)
    return {one.name: (one.build(), one.example(96)[0][0]) for one in VISION if one.name in IMAGE_MODELS}


def peer(model: nn.Module, x: torch.Tensor) -> str:
    """Share of the parameters that Torch-Pruning leaves where it removes half of each group, or how it ends."""
    found = copy.deepcopy(model).requires_grad_()
    last = [part for part in found.modules() if isinstance(part, (nn.Linear, nn.Conv2d))][-1:]
    before = sum(one.numel() for one in found.parameters())
    try:
        importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        torch_pruning.pruner.BasePruner(found, x[:2], importance, pruning_ratio=0.5, ignored_layers=last).step()
        with torch.no_grad():
            found(x[:2])
    except Exception as error:  # whatever it does not know
        return f"fails: {type(error).__name__}"
    return f"{sum(one.numel() for one in found.parameters()) / before:.3g}"


def measure(name: str, model: nn.Module, x: torch.Tensor, output: str | None) -> tuple[object, ...]:
    """One row: half of the units of every layer gone."""
    theirs = peer(model.eval(), x)
    network = vs.trace(model, x[:2], output=output)
    began = time.monotonic()
    result = remove_units(network, x, pruning=Pruning(rounds=3))
    seconds = time.monotonic() - began
    small = result.compact(x, batches=(1,))
    before, after = small.row("dense").parameters, small.row("smaller")
    form = "its graph" if type(small.smallest).__name__ == "GraphModel" else "own code"
    facts = result.provenance
    return (name, result.coverage.share, before, after.parameters / before, facts["lost"], after.difference, form, seconds, theirs)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    every = {name: (*build(name), None) for name in JOINED}
    every |= {name: (model, x, "logits") for name, (model, x) in {**transformers(), **image_models()}.items()}
    chosen = os.environ.get("ONLY", "").split() or list(every)
    print_table([measure(name, *every[name]) for name in every if name in chosen], HEADINGS)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
