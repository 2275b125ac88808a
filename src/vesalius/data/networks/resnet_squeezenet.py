"""Networks whose weights others have trained. They take pictures in 0..1 and normalise them themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, per channel; both networks were trained with them."""


@final
class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut without parameters: every other pixel, and zero channels on both sides (option A)."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False, dtype=torch.float32)
        self.bn1 = nn.BatchNorm2d(channels, dtype=torch.float32)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, dtype=torch.float32)
        self.bn2 = nn.BatchNorm2d(channels, dtype=torch.float32)
        self.stride, self.added = stride, (channels - before) // 2

    def forward(self, x: Float[Tensor, "batch before height width"]) -> Float[Tensor, "batch channels h w"]:
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.added:
            x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added, self.added))
        return torch.relu(out + x)


@final
class ResNet20(nn.Module):
    """Three stages of three blocks with 16, 32 and 64 channels, for CIFAR-10. Reference: He2016, section 4.2."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", _per_channel(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", _per_channel(IMAGENET_STD), persistent=False)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False, dtype=torch.float32)
        self.bn1 = nn.BatchNorm2d(16, dtype=torch.float32)
        self.layer1 = nn.Sequential(*(ResidualBlock(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(ResidualBlock(16, 32, 2), ResidualBlock(32, 32, 1), ResidualBlock(32, 32, 1))
        self.layer3 = nn.Sequential(ResidualBlock(32, 64, 2), ResidualBlock(64, 64, 1), ResidualBlock(64, 64, 1))
        self.linear = nn.Linear(64, 10, dtype=torch.float32)

    def forward(self, x: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch 10"]:
        x = torch.relu(self.bn1(self.conv1((x - self.mean) / self.std)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


@final
class Fire(nn.Module):
    """Few channels, then many: half of them see single pixels, half 3 x 3."""

    def __init__(self, before: int, few: int, half: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(before, few, 1, dtype=torch.float32)
        self.expand1x1 = nn.Conv2d(few, half, 1, dtype=torch.float32)
        self.expand3x3 = nn.Conv2d(few, half, 3, padding=1, dtype=torch.float32)

    def forward(self, x: Float[Tensor, "batch before height width"]) -> Float[Tensor, "batch channels height width"]:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


@final
class SqueezeNet(nn.Module):
    """SqueezeNet 1.0 for ImageNet; parameters are named as in torchvision. Reference: Iandola2016."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", _per_channel(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", _per_channel(IMAGENET_STD), persistent=False)
        early = [Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128)]
        middle = [Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256)]
        start = [nn.Conv2d(3, 96, 7, stride=2, dtype=torch.float32), nn.ReLU()]
        self.features = nn.Sequential(*start, _pool(), *early, _pool(), *middle, _pool(), Fire(512, 64, 256))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1, dtype=torch.float32), nn.ReLU())

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1000"]:
        x = self.features((x - self.mean) / self.std)
        scores: Tensor = self.classifier(x)
        return scores.mean((2, 3))


def resnet20() -> nn.Module:
    """A new, untrained network for CIFAR-10."""
    return ResNet20()


def squeezenet() -> nn.Module:
    """A new, untrained network for ImageNet."""
    return SqueezeNet()


def _per_channel(values: Sequence[float]) -> Float[Tensor, "3 1 1"]:
    return torch.tensor(values, dtype=torch.float32).reshape(3, 1, 1)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
