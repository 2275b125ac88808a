"""Classifiers of sound and of time series from transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.zoo.entry import Call, Entry, small

WAVES: Mapping[str, Any] = {
    "conv_dim": (8, 8),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
}
SERIES: Mapping[str, Any] = {"context_length": 32, "patch_length": 8, "num_input_channels": 2, "d_model": 16, "num_targets": 3}


def _draw(*shape: int) -> Callable[[int], Call]:
    return lambda samples: ((torch.randn(samples, *shape),), {})


def _wave(name: str, family: str) -> Entry:
    def build() -> nn.Module:
        model: nn.Module = getattr(transformers, f"{name}ForSequenceClassification")(small(getattr(transformers, f"{name}Config"), WAVES))
        return model

    return Entry(name, family, build, _draw(800), "logits")


def _spectrogram() -> nn.Module:
    sizes = {"max_length": 64, "num_mel_bins": 16, "patch_size": 8, "frequency_stride": 8, "time_stride": 8}
    return transformers.ASTForAudioClassification(small(transformers.ASTConfig, sizes))


def _whisper() -> nn.Module:
    sizes = {"num_mel_bins": 8, "max_source_positions": 16, "classifier_proj_size": 8}
    return transformers.WhisperForAudioClassification(small(transformers.WhisperConfig, sizes))


def _patch_tst() -> nn.Module:
    sizes = {"stride": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 16, "use_cls_token": True}
    return transformers.PatchTSTForClassification(transformers.PatchTSTConfig(**SERIES, **sizes))


def _mixer() -> nn.Module:
    return transformers.PatchTSMixerForTimeSeriesClassification(transformers.PatchTSMixerConfig(**SERIES, num_layers=2))


SIGNALS = (
    *(_wave(name, "speech") for name in "Wav2Vec2 Hubert WavLM SEW UniSpeech UniSpeechSat Data2VecAudio".split()),
    _wave("Wav2Vec2Conformer", "conformer"),
    Entry("AST", "spectrogram transformer", _spectrogram, _draw(64, 16), "logits"),
    Entry("Whisper", "speech", _whisper, _draw(8, 32), "logits"),
    Entry("PatchTST", "time series", _patch_tst, _draw(32, 2), "prediction_logits"),
    Entry("PatchTSMixer", "time series", _mixer, _draw(32, 2), "prediction_outputs"),
)
