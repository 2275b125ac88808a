"""Hugging Face classifiers from small configurations; nothing is downloaded.

The initial standard deviation is twenty times the usual, or the scores would hardly depend on the input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

VOCABULARY, STEPS, PAD = 40, 7, 0


def bert() -> nn.Module:
    """Two layers, two heads, width 16."""
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=16,
            num_labels=5,
            initializer_range=0.4,
            pad_token_id=PAD,
        )
    )


def gpt2() -> nn.Module:
    """Two layers, two heads, width 16; the score is read at the last token that is not padding."""
    return GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=16,
            n_embd=16,
            n_layer=2,
            n_head=2,
            num_labels=5,
            initializer_range=0.4,
            pad_token_id=PAD,
            bos_token_id=1,
            eos_token_id=1,
        )
    )


def vit() -> nn.Module:
    """Two layers, two heads, width 16, four patches."""
    return ViTForImageClassification(
        ViTConfig(
            image_size=8,
            patch_size=4,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            num_labels=5,
            initializer_range=0.4,
        )
    )


def masked_ids(batch: int, dtype: torch.dtype, generator: torch.Generator) -> tuple[tuple[Tensor], dict[str, Tensor]]:
    """Ids padded on the right, and the attention mask as a keyword, as a tokenizer gives them."""
    del dtype  # ids are integers whatever the model's dtype
    ids = padded(batch, generator)
    return (ids,), {"attention_mask": (ids != PAD).long()}


def padded_ids(batch: int, dtype: torch.dtype, generator: torch.Generator) -> tuple[tuple[Tensor], dict[str, Tensor]]:
    """Ids padded on the right, without a mask: a causal model does not look ahead."""
    del dtype
    return (padded(batch, generator),), {}


def padded(batch: int, generator: torch.Generator) -> Tensor:
    """Rows of random ids, each of a random length of at least three."""
    ids = torch.randint(2, VOCABULARY, (batch, STEPS), generator=generator)
    lengths = torch.randint(3, STEPS + 1, (batch, 1), generator=generator)
    return ids.masked_fill(torch.arange(STEPS) >= lengths, PAD)
