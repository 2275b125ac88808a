"""Models of text from transformers: a classifier where there is one, else what predicts the next token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.zoo.entry import Call, Entry, small

STEPS, WORDS, END = 7, 40, 2
HEADS = ("ForSequenceClassification", "ForCausalLM", "LMHeadModel")

FAMILIES: Mapping[str, str] = {
    "encoder": "Bert Roberta Albert DistilBert Electra MPNet MobileBert SqueezeBert RoFormer Ernie Camembert XLMRoberta MegatronBert"
    " ModernBert ConvBert",
    "encoder with relative positions": "Deberta DebertaV2",
    "sparse or approximate attention": "Longformer BigBird Nystromformer",
    "Fourier mixer": "FNet",
    "decoder": "GPT2 GPTNeoX GPTJ OPT Bloom XGLM BioGpt CodeGen CTRL OpenAIGPT GPTBigCode Mpt",
    "decoder with rotary positions": "Llama Mistral Qwen2 Qwen3 Phi Phi3 StableLm Olmo Olmo2 Granite Starcoder2 Persimmon SmolLM3 Ernie4_5"
    " Helium Cohere Nemotron",
    "decoder with a zero-centred norm": "Gemma Gemma2 Gemma3Text Glm Glm4",
    "mixture of experts": "Mixtral Qwen2Moe Qwen3Moe Olmoe GraniteMoe GptOss JetMoe",
    "state space": "Mamba FalconMamba",
    "linear recurrence": "Rwkv Lfm2",
    "encoder and decoder": "Bart MBart Mvp PLBart",
}
CHANGES: Mapping[str, Mapping[str, Any]] = {"Bloom": {"n_head": 2}, "Phi": {"partial_rotary_factor": 0.5}}


def _example(samples: int) -> Call:
    words = torch.randint(3, WORDS, (samples, STEPS))
    return (), {"input_ids": torch.cat([words, torch.full((samples, 1), END)], 1)}


def _entry(name: str, family: str) -> Entry:
    def build() -> nn.Module:
        head = next(found for suffix in HEADS if (found := getattr(transformers, name.removesuffix("Text") + suffix, None)))
        model: nn.Module = head(small(getattr(transformers, f"{name}Config"), CHANGES.get(name)))
        return model

    return Entry(name, family, build, _example, "logits", embedded=True)


TEXT = tuple(_entry(name, family) for family, names in FAMILIES.items() for name in names.split())
