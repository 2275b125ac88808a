"""More convolutional models: other norms, gates, paddings, poolings and ranks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GroupNormNet(nn.Module):
    """Pre-activation residual blocks with GroupNorm and leaky relu, as in diffusion models."""

    def __init__(self, channels: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(4, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(2, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.LeakyReLU(0.2)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(channels * 4 * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        h = self.conv1(self.act(self.norm1(x)))
        h = self.conv2(self.act(self.norm2(h)))
        return self.fc(torch.flatten(self.pool(x + h), 1))


class InstanceNormNet(nn.Module):
    """Reflection padding and InstanceNorm, as in style transfer."""

    def __init__(self, channels: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(3, channels, 3, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.model(x).amax(dim=(2, 3)))


class GatedConvBlock(nn.Module):
    """A causal dilated convolution, half of it gating the other half, as in WaveNet."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.padding = 2 * dilation
        self.conv = nn.Conv1d(channels, 2 * channels, 3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        filtered, gate = self.conv(F.pad(x, (self.padding, 0))).chunk(2, dim=1)
        return (x + torch.tanh(filtered) * torch.sigmoid(gate)) * 0.5**0.5


class GatedConvNet(nn.Module):
    """Gated convolutions along the steps of [batch, steps, features], read at the last one; the head is gated too."""

    def __init__(self, features: int = 4, channels: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.embed = nn.Linear(features, channels)
        self.blocks = nn.Sequential(GatedConvBlock(channels, 1), GatedConvBlock(channels, 2))
        self.fc = nn.Linear(channels, 2 * classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.embed(x).transpose(1, 2))
        value, gate = self.fc(x[:, :, -1]).chunk(2, dim=-1)
        return value * gate.sigmoid()


class HardSqueeze(nn.Module):
    """MobileNetV3's squeeze and excitation."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.adaptive_avg_pool2d(x, 1)
        scale = F.relu(self.fc1(scale), inplace=True)
        return x * F.hardsigmoid(self.fc2(scale))


class MobileNetV3(nn.Module):
    """Hard swish, a grouped, a depthwise and a dilated convolution, average and maximum pooled side by side."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8, eps=0.001)
        self.expand = nn.Conv2d(8, 12, 1, groups=2)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=12, bias=False)
        self.bn2 = nn.BatchNorm2d(12, eps=0.001)
        self.se = HardSqueeze(12, 4)
        self.project = nn.Conv2d(12, 8, 1)
        self.avg = nn.AdaptiveAvgPool2d(1)
        self.max = nn.AdaptiveMaxPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Linear(8 + 8 * 4, 12), nn.Hardswish(inplace=True), nn.Dropout(0.2), nn.Linear(12, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.bn1(self.stem(x)))
        h = F.hardswish(self.expand(x))
        h = self.se(F.hardswish(self.bn2(self.depthwise(h))))
        x = x + self.project(h)
        return self.classifier(torch.cat([self.avg(x).flatten(1), self.max(x).flatten(1)], dim=1))


class Upsampler(nn.Module):
    """Super-resolution: sub-pixel convolution plus a bilinear skip; the score of a class is the mean of its map."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, padding=2)
        self.conv2 = nn.Conv2d(8, classes * 4, 3, padding=1)
        self.pixel_shuffle = nn.PixelShuffle(2)
        self.skip = nn.Conv2d(3, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.pixel_shuffle(self.conv2(torch.tanh(self.conv1(x))))
        coarse = F.interpolate(self.skip(x), scale_factor=2, mode="bilinear", align_corners=False)
        return F.relu(fine + coarse).mean(dim=(-2, -1))


class Conv1dNet(nn.Module):
    """A time-series classifier on [batch, channels, steps]."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(2, 6, 5, padding=2),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(6, 8, 3),
            nn.ReLU(),
            nn.AvgPool1d(2),
        )
        self.fc = nn.Linear(8 * 3, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).flatten(start_dim=1))


class Conv3dNet(nn.Module):
    """A video classifier on [batch, channels, frames, height, width]."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm3d(4)
        self.pool = nn.MaxPool3d(2)
        self.conv2 = nn.Conv3d(4, 6, 2)
        self.fc = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = F.relu(self.conv2(x))
        return self.fc(F.adaptive_avg_pool3d(x, 1).flatten(1))
