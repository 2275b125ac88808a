"""Classifiers of images from transformers."""

from __future__ import annotations

from collections.abc import Mapping

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


def _example(samples: int) -> Call:
    return (torch.randn(samples, 3, SIDE, SIDE),), {}


def _entry(name: str, family: str) -> Entry:
    def build() -> nn.Module:
        configuration = small(getattr(transformers, f"{name}Config"), {"image_size": SIDE, "patch_size": PATCH})
        model: nn.Module = getattr(transformers, f"{name}ForImageClassification")(configuration)
        return model

    return Entry(name, family, build, _example, "logits")


VISION = tuple(_entry(name, family) for family, names in FAMILIES.items() for name in names.split())
