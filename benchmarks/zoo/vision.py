"""Classifiers of images from transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.zoo.entry import Call, Entry, small

SIDE, PATCH = 32, 8

FAMILIES: Mapping[str, str] = {
    "vision transformer": "ViT DeiT Beit Data2VecVision ViTMSN Dinov2 Dinov2WithRegisters IJepa",
    "shifted windows": "Swin Swinv2",
    "pyramid of attention": "Pvt PvtV2 Segformer",
    "convolution": "ConvNext ConvNextV2 ResNet RegNet Bit MobileNetV1 MobileNetV2 TextNet HGNetV2",
    "convolution and attention": "MobileViT MobileViTV2 SwiftFormer",
    "pooling as attention": "PoolFormer",
    "focal modulation": "FocalNet",
}


STAGES: Mapping[str, Any] = {"patch_size": 4, "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}
WINDOWS: Mapping[str, Any] = {"patch_size": 4, "window_size": 4, "depths": [1, 1], "num_heads": [2, 2]}
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "ConvNext": STAGES,
    "ConvNextV2": STAGES,
    "Swin": WINDOWS,
    "Swinv2": WINDOWS,
    "Bit": {"num_groups": 8},
    "MobileViTV2": {"image_size": 4 * SIDE, "patch_size": 2},
}
"""What differs from a small configuration of patches of that size."""


def _example(side: int) -> Callable[[int], Call]:
    return lambda samples: ((torch.randn(samples, 3, side, side),), {})


def _entry(name: str, family: str) -> Entry:
    def build() -> nn.Module:
        configuration = small(getattr(transformers, f"{name}Config"), {"image_size": SIDE, "patch_size": PATCH, **CHANGES.get(name, {})})
        model: nn.Module = getattr(transformers, f"{name}ForImageClassification")(configuration)
        return model

    return Entry(name, family, build, _example(CHANGES.get(name, {}).get("image_size", SIDE)), "logits")


VISION = tuple(_entry(name, family) for family, names in FAMILIES.items() for name in names.split())
