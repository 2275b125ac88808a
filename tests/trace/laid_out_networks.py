"""Networks that keep their units in other places than channels first or last of [batch, ...], and what plain hooks say of these units.

Axes: B batch, T steps, C channels, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LastNorm(nn.LayerNorm):
    """A layer norm of [B C H W] over the channels, by way of channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """A block with channels last inside, or the same block with 1x1 convolutions and channels first throughout."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.stem, self.depth = nn.Conv2d(3, 6, 2, 2), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm = nn.LayerNorm(6) if last else LastNorm(6)
        self.wide = nn.Linear(6, 8) if last else nn.Conv2d(6, 8, 1)
        self.narrow = nn.Linear(8, 6) if last else nn.Conv2d(8, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        y = self.depth(h)
        y = self.norm(y.permute(0, 2, 3, 1) if self.last else y)
        y = self.narrow(F.gelu(self.wide(y)))
        h = h + (y.permute(0, 3, 1, 2) if self.last else y)
        return self.head(h.square().mean((2, 3)))


class Conv1D(nn.Module):
    """The linear layer of GPT-2, on all positions of all samples as one batch."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inner, outer)), nn.Parameter(torch.randn(outer))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], -1)


class FlatMLP(nn.Module):
    """Tokens through layers that see [B*T, F]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc, self.proj, self.head = nn.Linear(4, 6), Conv1D(6, 6), Conv1D(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        return self.head((h + self.proj(F.gelu(self.fc(h)))).square()[:, -1])


class Swin(nn.Module):
    """Attention in windows, which share an axis with the batch, of a map with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm, self.qkv, self.proj = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.fc, self.merge, self.head = nn.Linear(8, 12), nn.Linear(48, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).permute(0, 2, 3, 1)
        batch, high, wide, width = x.shape
        h = torch.roll(self.norm(x), (-1, -1), (1, 2)).view(batch, high // 2, 2, wide // 2, 2, width)
        h = h.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 4, width)
        q, k, v = self.qkv(h).reshape(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        h = self.proj(((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(-1, 4, width))
        h = h.view(batch, high // 2, wide // 2, 2, 2, width).permute(0, 1, 3, 2, 4, 5).contiguous().view(batch, high, wide, width)
        x = self.fc(x + torch.roll(h, (1, 1), (1, 2))).relu()
        x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
        return self.head(self.merge(x).square().mean((1, 2)))


class Mixer(nn.Module):
    """Linear layers along the tokens, and along the channels of each token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.norm, self.tokens, self.back = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(9, 5), nn.Linear(5, 9)
        self.channels, self.head = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.back(F.gelu(self.tokens(self.norm(x).transpose(1, 2)))).transpose(1, 2)
        return self.head(self.channels(x).square().mean(1))


class StepsFirst(nn.Module):
    """A recurrent layer of [T B F], then a layer of [T*B, F]: step by step, not sample by sample."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc, self.head = nn.LSTM(4, 6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.lstm(x.transpose(0, 1))
        y = self.fc(h.reshape(-1, h.shape[-1])).tanh()
        return self.head(y.view(*h.shape[:2], -1).square()[-1])


class Film(nn.Module):
    """A convolution of every picture of a film, [B*T, C, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x.flatten(0, 1)).relu()
        return self.head(maps.mean((2, 3)).view(*x.shape[:2], -1).square().sum(1))


class Dealt(nn.Module):
    """Steps dealt out as if they were sorted by sample, and put back: an axis as long as the batch, which is not the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(4, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        dealt = self.fc(x).transpose(0, 1).reshape(-1, 6).view(batch, steps, 6).relu()
        return self.head(dealt.view(steps, batch, 6).mean(0))


PICTURES, STEPS, FILMS = (3, 6, 6), (5, 4), (3, 3, 6, 6)
CASES = {
    "convnext": (lambda: ConvNeXt(last=True), PICTURES, ("stem", "norm", "wide", "narrow")),
    "channels first": (lambda: ConvNeXt(last=False), PICTURES, ("stem", "wide", "narrow")),
    "flat": (FlatMLP, STEPS, ("embed", "fc", "proj")),
    "swin": (Swin, (3, 8, 8), ("patch", "norm", "qkv", "proj", "fc", "merge")),
    "mixer": (Mixer, PICTURES, ("patch", "norm", "tokens", "back", "channels")),
    "steps first": (StepsFirst, STEPS, ("fc",)),
    "film": (Film, FILMS, ("conv",)),
}
"""Name: how it is made, shape of a sample, and modules with units."""
PLACES = [(name, layer) for name, (_, _, layers) in CASES.items() for layer in layers]


def laid_out(name: str, batch: int = 3) -> tuple[nn.Module, Tensor]:
    """A network in double precision, and some samples."""
    make, shape, _ = CASES[name]
    torch.manual_seed(len(name))
    return make().double().eval(), torch.randn(batch, *shape, dtype=torch.float64)


def same_weights(source: nn.Module, target: nn.Module) -> nn.Module:
    """Copy weights between layouts: those of linear layers and of 1x1 convolutions are the same numbers."""
    for mine, theirs in zip(target.parameters(), source.parameters(), strict=True):
        mine.data.copy_(theirs.data.reshape(mine.shape))
    return target.double().eval()


def hook_axis(module: nn.Module) -> int:
    """Where PyTorch puts the units of a module's output."""
    return 1 if isinstance(module, nn.Conv2d) else -1


def unit_by_hook(model: nn.Module, layer: str, unit: int, x: Tensor) -> Tensor:
    """Mean of a unit over positions, of every sample on its own."""
    seen: list[Tensor] = []
    module = model.get_submodule(layer)
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output.select(hook_axis(module), unit).mean()))
    for sample in x:
        model(sample[None])
    handle.remove()
    return torch.stack(seen).detach()


def output_without_unit(model: nn.Module, layer: str, unit: int, sample: Tensor) -> Tensor:
    """Output for one sample with a unit of a layer held at zero."""
    module = model.get_submodule(layer)

    def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
        changed = output.clone()
        changed.select(hook_axis(module), unit).zero_()
        return changed

    handle = module.register_forward_hook(hook)
    found = model(sample[None])[0]
    handle.remove()
    return found.detach()


def relevance_by_hook(model: nn.Module, layer: str, sample: Tensor, target: int) -> Tensor:
    """Value times gradient of each unit of a layer, summed over positions, for one sample."""
    kept: list[Tensor] = []
    module = model.get_submodule(layer)

    def hook(_: nn.Module, __: object, output: Tensor) -> None:
        kept.append(output)

    handle = module.register_forward_hook(hook)
    score = model(sample[None])[0, target]
    handle.remove()
    (slope,) = torch.autograd.grad(score, kept[0])
    product = (slope * kept[0]).detach()
    return product.movedim(hook_axis(module), 0).flatten(1).sum(1)
