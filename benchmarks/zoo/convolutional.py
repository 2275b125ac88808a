"""Convolutional networks as torchvision and timm write them, at a few channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.zoo.entry import Entry, draw

CLASSES = 5


def conv_bn(channels: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias and its batch norm."""
    return [nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(width)]


class DenseNet(nn.Module):
    """Each layer reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + 4 * i), nn.ReLU(inplace=True), nn.Conv2d(8 + 4 * i, 4, 3, padding=1, bias=False))
            for i in range(3)
        )
        self.transition = nn.Sequential(nn.BatchNorm2d(20), nn.ReLU(inplace=True), nn.Conv2d(20, 10, 1, bias=False), nn.AvgPool2d(2, 2))
        self.classifier = nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        out = F.relu(self.transition(torch.cat(features, 1)), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(out, (1, 1)), 1))


class ShuffleNetUnit(nn.Module):
    """Half of the channels go through, then both halves are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 16, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        self.branch = nn.Sequential(*conv_bn(8, 8, 1), nn.ReLU(True), *conv_bn(8, 8, 3, groups=8), *conv_bn(8, 8, 1), nn.ReLU(True))
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.stem(x).chunk(2, dim=1)
        out = torch.cat((first, self.branch(second)), dim=1)
        batch, channels, height, width = out.size()
        out = torch.transpose(out.view(batch, 2, channels // 2, height, width), 1, 2).contiguous()
        return self.fc(out.view(batch, channels, height, width).mean([2, 3]))


class SqueezeExcite(nn.Module):
    """A gate per channel, from the mean of each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class EfficientChannel(nn.Module):
    """ECA: a convolution along the channels' means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.mean((2, 3)).view(x.shape[0], 1, -1))
        return x * y.view(x.shape[0], -1, 1, 1).sigmoid().expand_as(x)


class ConvolutionalBlockAttention(nn.Module):
    """CBAM: gates of channels, then of positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv2d(channels, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, channels, 1, bias=False))
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.sigmoid(self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1)))
        places = torch.cat([x.max(dim=1, keepdim=True)[0], x.mean(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.conv(places))


class GlobalResponseNorm(nn.Module):
    """ConvNeXt V2's, over positions, channels last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.randn(1, 1, 1, width)), nn.Parameter(torch.randn(1, 1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        size = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        return self.gamma * (x * (size / (size.mean(dim=-1, keepdim=True) + 1e-6))) + self.beta + x


class ConvNeXtBlock(nn.Module):
    """Depthwise, norm, MLP, layer scale and stochastic depth."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm, self.expand, self.grn = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 2 * width), GlobalResponseNorm(2 * width)
        self.project, self.scale = nn.Linear(2 * width, width), nn.Parameter(0.5 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.project(self.grn(F.gelu(self.expand(y))))
        if self.training:
            y = y * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(0.9) / 0.9
        return x + y.permute(0, 3, 1, 2)


class Attended(nn.Module):
    """A stem, an attention of one of the kinds above, and a head."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 8), nn.SiLU(inplace=True))
        self.attention = attention
        self.head = nn.Sequential(
            *conv_bn(8, 12, 3, 2), nn.Hardswish(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(12, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(self.stem(x)))


class InceptionBlock(nn.Module):
    """Branches of other kernels, one behind a pool of stride 1."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(*conv_bn(3, 4, 1), nn.ReLU(inplace=True))
        self.tall = nn.Sequential(nn.Conv2d(3, 4, (1, 3), padding=(0, 1)), nn.ReLU(), nn.Conv2d(4, 4, (3, 1), padding=(1, 0)), nn.ReLU())
        self.pooled = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.relu(self.pooled(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)))
        out = torch.cat([self.one(x), self.tall(x), pooled], 1)
        return self.fc(torch.flatten(F.max_pool2d(out, 3, stride=2, ceil_mode=True).mean((-2, -1)), 1))


class AlexNet(nn.Module):
    """With dropout, adaptive pooling and a head of three layers; local response norm as in the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(True), nn.LocalResponseNorm(3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(True)
        )
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(32, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class SelectiveKernel(nn.Module):
    """SKNet: a softmax over branches."""

    def __init__(self) -> None:
        super().__init__()
        self.paths = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 8, 3, padding=d, dilation=d), nn.BatchNorm2d(8), nn.ReLU()) for d in (1, 2))
        self.reduce, self.select = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 16, 1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        paths = torch.stack([path(x) for path in self.paths], dim=1)
        attention = self.select(F.relu(self.reduce(paths.sum(1).mean((2, 3), keepdim=True))))
        attention = torch.softmax(attention.view(x.shape[0], 2, 8, 1, 1), dim=1)
        return self.fc((paths * attention).sum(1).flatten(2).mean(-1))


class SplitAttention(nn.Module):
    """ResNeSt: radix softmax of grouped convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 16, 3, padding=1, groups=2)
        self.stem, self.fc1, self.fc2 = nn.Conv2d(3, 4, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 16, 1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(self.stem(x)))
        batch, channels = x.shape[:2]
        splits = torch.split(x, channels // 2, dim=1)
        gap = self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(sum(splits), 1))))
        attention = F.softmax(gap.view(batch, 2, 8), dim=1).reshape(batch, -1, 1, 1)
        return self.fc(sum(a * s for a, s in zip(torch.split(attention, channels // 2, dim=1), splits, strict=True)).amax((2, 3)))


class BlurPool(nn.Module):
    """Anti-aliased downsampling with reflection padding and a fixed kernel."""

    def __init__(self) -> None:
        super().__init__()
        coefficients = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (coefficients[:, None] * coefficients / 16)[None, None].repeat(8, 1, 1, 1))
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv(x), 0.1)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), self.kernel, stride=2, groups=x.shape[1])
        return self.fc((F.lp_pool2d(x, 2, 2) + x[:, :, ::2, ::2]).mean((2, 3)))


class ASPP(nn.Module):
    """DeepLab's pyramid of dilations with image pooling that is resized, scores summed over pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 8, 3, 2), nn.ReLU())
        self.atrous = nn.ModuleList(nn.Conv2d(8, 4, 3, padding=d, dilation=d) for d in (1, 2, 3))
        self.image, self.head = nn.Conv2d(8, 4, 1), nn.Conv2d(16, CLASSES, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.stem(x)
        image = F.interpolate(F.relu(self.image(F.adaptive_avg_pool2d(h, 1))), size=h.shape[-2:], mode="bilinear", align_corners=False)
        out = self.head(torch.cat([*(F.relu(conv(h)) for conv in self.atrous), image], 1))
        out = F.interpolate(out, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return {"out": out.logsumexp((-2, -1)), "aux": h}


class PyramidNetwork(nn.Module):
    """FPN: a top-down path that is added, and a head shared by all levels."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Sequential(*conv_bn(c, w, 3, 2), nn.Mish()) for c, w in ((3, 6), (6, 8), (8, 8)))
        self.lateral = nn.ModuleList(nn.Conv2d(w, 6, 1) for w in (6, 8, 8))
        self.head = nn.Conv2d(6, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        merged = self.lateral[-1](levels[-1])
        outs = [self.head(merged).flatten(2).permute(0, 2, 1)]
        for conv, level in zip(list(self.lateral)[-2::-1], levels[-2::-1], strict=True):
            merged = conv(level) + F.interpolate(merged, scale_factor=2, mode="nearest")
            outs.append(self.head(merged).flatten(2).permute(0, 2, 1))
        return torch.cat(outs, 1).sigmoid().max(1).values


class SuperResolution(nn.Module):
    """Sub-pixel convolution with a bicubic skip."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.PReLU(8), nn.Conv2d(8, 12, 3, padding=1, padding_mode="circular")
        )
        self.shuffle, self.head = nn.PixelShuffle(2), nn.Conv2d(3, CLASSES, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        up = F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        return self.head(F.pixel_unshuffle(F.pixel_shuffle((self.shuffle(self.body(x)) + up).repeat(1, 4, 1, 1), 2), 2)[:, :3]).mean((2, 3))


class SqueezeNet(nn.Module):
    """Fire modules and a convolution for a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.one, self.three = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, padding=1)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(12, CLASSES, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.flatten(self.classifier(torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)), 1)


class RepVGG(nn.Module):
    """Three parallel branches, one of them the identity's norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.dense, self.one, self.identity = nn.Sequential(*conv_bn(8, 8)), nn.Sequential(*conv_bn(8, 8, 1)), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.fc(F.relu(self.dense(x) + self.one(x) + self.identity(x)).mean((2, 3)))


class GhostNet(nn.Module):
    """Cheap features beside the primary ones, cut to size."""

    def __init__(self) -> None:
        super().__init__()
        self.primary = nn.Sequential(*conv_bn(3, 5, 1), nn.ReLU())
        self.cheap = nn.Sequential(*conv_bn(5, 5, 3, groups=5), nn.ReLU())
        self.fc = nn.Linear(9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        first = self.primary(x)
        return self.fc(torch.cat([first, self.cheap(first)], dim=1)[:, :9, :, :].mean((2, 3)))


class HighResolution(nn.Module):
    """HRNet: two resolutions that exchange."""

    def __init__(self) -> None:
        super().__init__()
        self.high, self.low = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 3, 2, 1)
        self.up, self.down = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 3, 2, 1)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        high, low = F.relu6(self.high(x)), F.relu6(self.low(x))
        high, low = high + F.interpolate(self.up(low), size=high.shape[2:], mode="nearest-exact"), low + self.down(high)
        return self.fc(torch.cat([F.elu(high).mean((2, 3)), F.selu(low).mean((2, 3))], 1))


IMAGE = draw(3, 16, 16)

CONVOLUTIONAL = (
    Entry("DenseNet", "dense connections", DenseNet, IMAGE),
    Entry("ShuffleNet", "channel shuffle", ShuffleNetUnit, IMAGE),
    Entry("SENet", "channel attention", lambda: Attended(SqueezeExcite(8)), IMAGE),
    Entry("ECANet", "channel attention", lambda: Attended(EfficientChannel()), IMAGE),
    Entry("CBAM", "channel attention", lambda: Attended(ConvolutionalBlockAttention(8)), IMAGE),
    Entry("ConvNeXt block with GRN", "convolution", lambda: Attended(ConvNeXtBlock(8)), IMAGE),
    Entry("Inception", "convolution", InceptionBlock, IMAGE),
    Entry("AlexNet", "convolution", AlexNet, IMAGE),
    Entry("SKNet", "channel attention", SelectiveKernel, IMAGE),
    Entry("ResNeSt", "channel attention", SplitAttention, IMAGE),
    Entry("BlurPool", "convolution", BlurPool, IMAGE),
    Entry("DeepLab", "segmentation", ASPP, IMAGE, "out"),
    Entry("FPN", "segmentation", PyramidNetwork, IMAGE),
    Entry("ESPCN", "super-resolution", SuperResolution, IMAGE),
    Entry("SqueezeNet", "convolution", SqueezeNet, IMAGE),
    Entry("RepVGG", "convolution", RepVGG, IMAGE),
    Entry("GhostNet", "convolution", GhostNet, IMAGE),
    Entry("HRNet", "segmentation", HighResolution, IMAGE),
)
