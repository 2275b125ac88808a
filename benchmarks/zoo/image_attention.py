"""Networks of images that attend, mix or route, as timm and papers write them, at small sizes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.zoo.convolutional import CLASSES, IMAGE, SqueezeExcite, conv_bn
from benchmarks.zoo.entry import Entry


class WindowAttention(nn.Module):
    """Attention within windows, with a table of relative positions."""

    def __init__(self, width: int = 8, window: int = 4, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        coords = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        relative = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0) + window - 1
        self.register_buffer("index", relative[..., 0] * (2 * window - 1) + relative[..., 1])
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        attn = (q * self.scale) @ k.transpose(-2, -1)
        attn = attn + self.table[self.index.view(-1)].view(N, N, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            attn = (attn.view(B // windows, windows, self.heads, N, N) + mask.unsqueeze(1).unsqueeze(0)).view(-1, self.heads, N, N)
        return self.proj((attn.softmax(dim=-1) @ v).transpose(1, 2).reshape(B, N, C))


def window_partition(x: Tensor, size: int) -> Tensor:
    """[B H W C] as [B windows, positions, C]."""
    B, H, W, C = x.shape
    return x.view(B, H // size, size, W // size, size, C).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size * size, C)


def window_reverse(windows: Tensor, size: int, H: int, W: int) -> Tensor:
    """Back again."""
    C = windows.shape[-1]
    x = windows.view(-1, H // size, W // size, size, size, C)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, H, W, C)


class SwinBlocks(nn.Module):
    """Two blocks, the second with shifted windows and a mask, and patch merging."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, 2)
        self.norms, self.attns = nn.ModuleList(nn.LayerNorm(8) for _ in range(2)), nn.ModuleList(WindowAttention() for _ in range(2))
        self.merge_norm, self.merge, self.fc = nn.LayerNorm(32), nn.Linear(32, 16, bias=False), nn.Linear(16, CLASSES)
        image = torch.zeros(1, 8, 8, 1)
        slices = (slice(0, -4), slice(-4, -2), slice(-2, None))
        for count, (rows, columns) in enumerate((r, c) for r in slices for c in slices):
            image[:, rows, columns, :] = count
        regions = window_partition(image, 4).view(-1, 16)
        mask = regions.unsqueeze(1) - regions.unsqueeze(2)
        self.register_buffer("mask", mask.masked_fill(mask != 0, -100.0).masked_fill(mask == 0, 0.0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        _, H, W, _ = x.shape
        for shift, norm, attn in zip((0, 2), self.norms, self.attns, strict=True):
            y = torch.roll(norm(x), shifts=(-shift, -shift), dims=(1, 2)) if shift else norm(x)
            y = window_reverse(attn(window_partition(y, 4), self.mask if shift else None), 4, H, W)
            x = x + (torch.roll(y, shifts=(shift, shift), dims=(1, 2)) if shift else y)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.fc(self.merge(self.merge_norm(x)).flatten(1, 2).mean(1))


class MaxViT(nn.Module):
    """An inverted residual, attention in blocks, attention in grids."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.BatchNorm2d(3), *conv_bn(3, 8, 1), nn.GELU(), *conv_bn(8, 8, 3, 2, 8), nn.GELU(), SqueezeExcite(8), nn.Conv2d(8, 8, 1)
        )
        self.block, self.grid, self.fc = WindowAttention(), WindowAttention(), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        B, H, W, C = x.shape
        x = x + window_reverse(self.block(window_partition(x, 4)), 4, H, W)
        grid = x.view(B, 4, H // 4, 4, W // 4, C).permute(0, 2, 4, 1, 3, 5).reshape(-1, 16, C)
        grid = self.grid(grid).view(B, H // 4, W // 4, 4, 4, C).permute(0, 3, 1, 4, 2, 5).reshape(B, H, W, C)
        return self.fc((x + grid).mean((1, 2)))


class CoAtNet(nn.Module):
    """Relative attention over positions after a depthwise convolution, by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(*conv_bn(3, 8, 3, 2), nn.GELU(), nn.MaxPool2d(2))
        self.norm, self.qkv, self.bias = nn.LayerNorm(8), nn.Linear(8, 24), nn.Parameter(torch.randn(2, 16, 16))
        self.proj, self.fc = nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).flatten(2).transpose(1, 2)
        q, k, v = (part.unflatten(-1, (2, 4)) for part in self.qkv(self.norm(x)).chunk(3, -1))
        attn = (torch.einsum("bnhd,bmhd->bhnm", q, k) / 2 + self.bias).softmax(-1)
        x = x + self.proj(torch.einsum("bhnm,bmhd->bnhd", attn, v).flatten(2))
        return self.fc(x.mean(1))


class CrossCovariance(nn.Module):
    """XCiT: attention between channels of normalised queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv, self.temperature = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 24), nn.Parameter(torch.rand(2, 1, 1) + 1)
        self.proj, self.fc, self.cls = nn.Linear(8, 8), nn.Linear(8, CLASSES), nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, 2, C // 2).permute(2, 0, 3, 4, 1).unbind(0)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attn = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(dim=-1)
        x = x + self.proj((attn @ v).permute(0, 3, 1, 2).reshape(B, N, C))
        tokens = torch.cat((self.cls.expand(B, -1, -1), x), dim=1)
        return self.fc(F.scaled_dot_product_attention(tokens[:, :1], tokens, tokens)[:, 0])


class Mixer(nn.Module):
    """MLP-Mixer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm1, self.norm2 = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens = nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Dropout(0.1), nn.Linear(12, 16))
        self.channels, self.fc = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8)), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        x = x + self.tokens(self.norm1(x).mT).mT
        return self.fc((x + self.channels(self.norm2(x))).mean(dim=1))


class GatedMLP(nn.Module):
    """gMLP: one half gates the other, by position."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.up = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 16)
        self.gate_norm, self.spatial, self.down, self.fc = nn.LayerNorm(8), nn.Conv1d(16, 16, 1), nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        u, v = F.gelu(self.up(self.norm(x)), approximate="tanh").chunk(2, dim=-1)
        return self.fc((x + self.down(u * self.spatial(self.gate_norm(v)))).amax(1))


class GlobalFilter(nn.Module):
    """GFNet: a learned filter of frequencies."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.filter = nn.Conv2d(3, 8, 2, 2), nn.Parameter(torch.randn(8, 5, 8, 2) * 0.3)
        self.norm, self.fc = nn.LayerNorm(8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.patches(x).permute(0, 2, 3, 1))
        spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho") * torch.view_as_complex(self.filter)
        return self.fc((x + torch.fft.irfft2(spectrum, s=(8, 8), dim=(1, 2), norm="ortho")).relu().mean((1, 2)))


class Perceiver(nn.Module):
    """Latents that attend to pixels with Fourier positions, by nn.MultiheadAttention."""

    def __init__(self) -> None:
        super().__init__()
        axis = torch.linspace(-1, 1, 16)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)[..., None] * torch.tensor([1.0, 2.0]) * math.pi
        self.register_buffer("positions", torch.cat([grid.sin(), grid.cos()], -1).flatten(0, 1).flatten(1))
        self.latents, self.project = nn.Parameter(torch.randn(4, 8)), nn.Linear(11, 8)
        self.cross, self.own = nn.MultiheadAttention(8, 2, batch_first=True), nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.fc = nn.LayerNorm(8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        pixels = torch.cat([x.flatten(2).transpose(1, 2), self.positions.expand(len(x), -1, -1)], -1)
        pixels, latents = self.project(pixels), self.latents.expand(x.shape[0], -1, -1)
        latents = latents + self.cross(latents, pixels, pixels, need_weights=False)[0]
        latents = latents + self.own(self.norm(latents), self.norm(latents), self.norm(latents))[0]
        return self.fc(latents.mean(dim=-2))


class Capsules(nn.Module):
    """Squash and three rounds of routing by agreement."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weight = nn.Conv2d(3, 8, 6, 5), nn.Parameter(0.5 * torch.randn(1, CLASSES, 18, 6, 4))

    @staticmethod
    def squash(s: Tensor, dim: int = -1) -> Tensor:
        """Shorter than one."""
        square = (s**2).sum(dim=dim, keepdim=True)
        return square / (1 + square) * s / (torch.sqrt(square) + 1e-8)

    def forward(self, x: Tensor) -> Tensor:
        capsules = self.squash(F.relu(self.conv(x)).reshape(x.size(0), 18, 4))
        votes = torch.matmul(self.weight, capsules[:, None, :, :, None]).squeeze(-1)
        logits = torch.zeros(*votes.shape[:3], 1, dtype=x.dtype, device=x.device)
        for _ in range(2):
            coupling = F.softmax(logits, dim=1)
            found = self.squash((coupling * votes).sum(dim=2))
            logits = logits + (votes * found.unsqueeze(2)).sum(dim=-1, keepdim=True)
        return torch.norm(self.squash((F.softmax(logits, dim=1) * votes).sum(dim=2)), dim=-1)


class SpatialTransformer(nn.Module):
    """A grid that depends on the image, and what is sampled there."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 6))
        self.register_buffer("identity", torch.tensor([1.0, 0, 0, 0, 1, 0]))
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        theta = (self.identity + 0.1 * self.locate(x)).view(-1, 2, 3)
        x = F.grid_sample(x, F.affine_grid(theta, list(x.size()), align_corners=False), align_corners=False)
        return self.fc(F.relu(self.conv(x)).mean((2, 3)))


class DeformableConvolution(nn.Module):
    """Offsets that depend on the image, by grid_sample."""

    def __init__(self) -> None:
        super().__init__()
        self.offset, self.conv, self.fc = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        axis = torch.linspace(-1, 1, 16, dtype=x.dtype, device=x.device)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
        moved = grid + 0.1 * torch.tanh(self.offset(x)).permute(0, 2, 3, 1)
        return self.fc(F.silu(self.conv(F.grid_sample(x, moved, mode="bilinear", padding_mode="border", align_corners=True))).mean((2, 3)))


class DetectionQueries(nn.Module):
    """DETR: nn.Transformer with learned queries, its boxes and classes in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.queries, self.place = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.rand(4, 8)), nn.Parameter(torch.rand(16, 8))
        self.transformer = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        self.classes, self.boxes = nn.Linear(8, CLASSES + 1), nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.backbone(x).flatten(2).permute(0, 2, 1)
        out = self.transformer(self.place + 0.1 * h, self.queries.unsqueeze(0).repeat(h.shape[0], 1, 1))
        return {"pred_logits": self.classes(out), "pred_boxes": self.boxes(out).sigmoid()}


class EfficientFormer(nn.Module):
    """Pooling minus identity as a mixer, then attention with biases fetched by index."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = (
            nn.Sequential(*conv_bn(3, 8, 3, 2), nn.ReLU(), *conv_bn(8, 8, 3, 2), nn.ReLU()),
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        )
        self.scale, self.qkv, self.proj = nn.Parameter(torch.rand(8)), nn.Linear(8, 24), nn.Linear(8, 8)
        self.biases, self.fc, self.distilled = nn.Parameter(torch.randn(2, 16)), nn.Linear(8, CLASSES), nn.Linear(8, CLASSES)
        self.register_buffer("places", torch.arange(256).view(16, 16) % 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = (x + self.scale[:, None, None] * (self.pool(x) - x)).flatten(2).transpose(1, 2)
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 2, -1).permute(0, 2, 1, 3).split([4, 4, 4], dim=3)
        attn = (q @ k.transpose(-2, -1) * 0.5 + self.biases[:, self.places]).softmax(dim=-1)
        x = (x + self.proj((attn @ v).transpose(1, 2).reshape(B, N, C))).mean(1)
        return (self.fc(x) + self.distilled(x)) / 2


IMAGE_ATTENTION = (
    Entry("Swin with masks", "shifted windows", SwinBlocks, IMAGE),
    Entry("MaxViT", "windows and grids", MaxViT, IMAGE),
    Entry("CoAtNet", "convolution and attention", CoAtNet, IMAGE),
    Entry("XCiT", "attention of channels", CrossCovariance, IMAGE),
    Entry("MLP-Mixer", "mixer", Mixer, IMAGE),
    Entry("gMLP", "mixer", GatedMLP, IMAGE),
    Entry("GFNet", "Fourier mixer", GlobalFilter, IMAGE),
    Entry("Perceiver", "latents", Perceiver, IMAGE),
    Entry("CapsNet", "routing", Capsules, IMAGE),
    Entry("Spatial transformer", "sampling", SpatialTransformer, IMAGE),
    Entry("Deformable convolution", "sampling", DeformableConvolution, IMAGE),
    Entry("DETR", "detection", DetectionQueries, IMAGE, "pred_logits"),
    Entry("EfficientFormer", "convolution and attention", EfficientFormer, IMAGE),
)
