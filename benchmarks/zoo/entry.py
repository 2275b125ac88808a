"""One architecture of the zoo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Call = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Arguments of a model, by position and by name."""

SMALL: Mapping[str, Any] = {
    **dict.fromkeys("hidden_size d_model n_embd dim embedding_size".split(), 16),
    **dict.fromkeys("num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers".split(), 2),
    **dict.fromkeys("num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads".split(), 2),
    **dict.fromkeys("intermediate_size hidden_dim ffn_dim encoder_ffn_dim decoder_ffn_dim d_ff".split(), 24),
    **dict.fromkeys("num_local_experts num_experts n_routed_experts attention_window state_size rotary_dim".split(), 4),
    **dict.fromkeys("max_position_embeddings n_positions d_inner".split(), 32),
    **dict.fromkeys("head_dim d_kv".split(), 8),
    "vocab_size": 40,
    "num_key_value_heads": 1,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 16,
    "num_labels": 5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,
}
"""Sizes by the names that configurations have for them."""


@dataclass(frozen=True)
class Entry:
    """An architecture, not yet built.

    Attributes:
        name: of the model.
        family: what it is an instance of.
        build: makes it, with weights drawn from the global generator.
        example: inputs of so many samples.
        output: which of several outputs is explained.
        embedded: whether its inputs are ids, so that the first embedding is explained.
    """

    name: str
    family: str
    build: Callable[[], nn.Module]
    example: Callable[[int], Call]
    output: str | None = None
    embedded: bool = False


def small(configuration: type, changes: Mapping[str, Any] | None = None) -> Any:
    """A configuration of a small model: all sizes it has, but lists of one for each stage, and changes."""
    default = configuration()
    sizes = {name: value for name, value in SMALL.items() if isinstance(getattr(default, name, ()), type(value) | None)}
    return configuration(**{**sizes, **(changes or {})})


@torch.no_grad()
def enliven(model: nn.Module) -> nn.Module:
    """A model with random weights whose values keep their size from layer to layer, none of its parameters or statistics being 0 or 1.

    Weights as libraries begin with let the values of some architectures die out, or others explode, and their changes with them.
    """
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            _draw_parameter(module, name, parameter)
        if isinstance(getattr(module, "running_mean", None), torch.Tensor):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return model


def _draw_parameter(module: nn.Module, name: str, parameter: torch.Tensor) -> None:
    if not parameter.is_floating_point():
        return
    if parameter.ndim < 2 and "Norm" in type(module).__name__ and "weight" in name:
        parameter.uniform_(0.6, 1.4)
    elif isinstance(module, nn.Embedding):
        parameter.normal_()
    elif parameter.ndim >= 2 and len(parameter) > 1 and parameter[0].numel() > 1:
        parameter.normal_(0, 1.4 / parameter[0].numel() ** 0.5)
    elif "bias" in name:
        parameter.normal_(0, 0.1)
    elif parameter.numel() > 1 and parameter.unique().numel() == 1:
        parameter.uniform_(0.5, 1.0)


def draw(*shape: int) -> Callable[[int], Call]:
    """Inputs that are normal numbers of a shape."""
    return lambda samples: ((torch.randn(samples, *shape),), {})
