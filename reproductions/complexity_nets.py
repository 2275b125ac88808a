"""The networks whose features are disentangled in ``complexity.py``: small ResNets on few images, and generators of known depth."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.utils.prune
from torch import Tensor, nn

from vesalius.data import Dataset

WIDTHS = (8, 16, 32)
STEPS = 400
BATCH = 64
STRONG_ROWS = 10_000


class Block(nn.Module):
    """Two convolutions and a shortcut, which is a 1 x 1 convolution where the size changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(after), nn.BatchNorm2d(after)])
        self.shortcut = nn.Identity() if stride == 1 and before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))
        return torch.relu(inner + self.shortcut(x))


class SmallResNet(nn.Module):
    """Three stages of ``blocks`` blocks each; what the last one's ReLU takes is the feature."""

    def __init__(self, blocks: int, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, WIDTHS[0], 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        layers, before = [], WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for place in range(blocks):
                layers.append(Block(before, width, 2 if stage and not place else 1))
                before = width
        self.body, self.last = nn.Sequential(*layers[:-1]), layers[-1]
        self.head = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.body(torch.relu(self.norm(self.stem(x))))).mean((2, 3)))


class Generator(nn.Module):
    """A random frozen network with ``depth`` ReLUs: pictures in, 16 features on a coarse grid out.

    As the authors': 3 x 3 convolutions, pooling, a 1 x 1 convolution, no biases. Differs: pooling is by the mean, so that depth 0 is
    linear. With ``size=1`` all convolutions but the first are of 1 x 1, so that depth does not widen what a feature sees.
    """

    def __init__(self, depth: int, seed: int, *, size: int = 3, channels: int = 3, width: int = 16) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = [_conv(channels, width, 3, draw, gain=1.0)]
        for _ in range(depth):
            layers += [nn.ReLU(), _conv(width, width, size, draw, gain=2.0)]
        self.body = nn.Sequential(*layers, nn.AvgPool2d(4))
        self.out = _conv(width, width, 1, draw, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))


def _conv(before: int, after: int, size: int, draw: torch.Generator, *, gain: float) -> nn.Conv2d:
    conv = nn.Conv2d(before, after, size, padding=size // 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=draw) * (gain / (before * size * size)) ** 0.5)
    return conv


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedTarget:
    """A network, the rows it was trained on, and how right it is on test rows."""

    model: nn.Module
    blocks: int
    x: Tensor
    y: Tensor
    accuracy: float


def train_target(data: Dataset, blocks: int, rows: int, seed: int, *, steps: int = STEPS, noise: float = 0.0) -> TrainedTarget:
    """A small ResNet trained on a class-balanced few of the rows; ``noise`` is the share of labels that are drawn anew."""
    chosen = balanced_indices(data.train_y, rows, seed)
    x, y = data.train_x[chosen], data.train_y[chosen].clone()
    draw = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(y), generator=draw) < noise
    y[wrong] = torch.randint(len(data.class_names), (int(wrong.sum()),), generator=draw)
    torch.manual_seed(seed)
    model = SmallResNet(blocks, x.shape[1], len(data.class_names))
    train(model, x, y, steps=steps, draw=draw)
    return TrainedTarget(model=model, blocks=blocks, x=x, y=y, accuracy=accuracy(model, data.test_x, data.test_y))


def train(model: nn.Module, x: Tensor, y: Tensor, *, steps: int, draw: torch.Generator, temperature: float = 1.0) -> nn.Module:
    """AdamW with one cycle on cross-entropy, against classes or a teacher's logits; left in evaluation mode."""
    wanted = y if not y.is_floating_point() else (y / temperature).softmax(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=draw)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[rows]) / temperature, wanted[rows]).backward()
        optimiser.step()
        schedule.step()
    return model.eval().requires_grad_(False)


@torch.no_grad()
def logits(model: nn.Module, x: Tensor) -> Tensor:
    """In batches."""
    return torch.cat([model(part) for part in x.split(1000)])


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of rows whose largest output is the class."""
    return float((logits(model, x).argmax(1) == y).float().mean())


def balanced_indices(y: Tensor, rows: int, seed: int) -> Tensor:
    """Places of as many rows of each class, in random order."""
    draw = torch.Generator().manual_seed(1000 + seed)
    classes = int(y.max()) + 1
    shuffled = torch.randperm(len(y), generator=draw)
    chosen = torch.cat([shuffled[y[shuffled] == kind][: rows // classes] for kind in range(classes)])
    return chosen[torch.randperm(len(chosen), generator=draw)]


def prune_weights(model: nn.Module, share: float, x: Tensor, y: Tensor) -> nn.Module:
    """A copy without its smallest weights, over all convolutions, by torch's own pruning; those left are trained on."""
    copied = copy.deepcopy(model).requires_grad_()
    convs = [(module, "weight") for module in copied.modules() if isinstance(module, nn.Conv2d)]
    nn.utils.prune.global_unstructured(convs, nn.utils.prune.L1Unstructured, amount=share)
    train(copied, x, y, steps=STEPS // 2, draw=torch.Generator().manual_seed(0))
    for module, name in convs:
        nn.utils.prune.remove(module, name)
    return copied


def quantise_weights(model: nn.Module, bits: int) -> nn.Module:
    """A copy with the weights of each output channel rounded to so many bits by torch's own fake quantisation."""
    copied = copy.deepcopy(model)
    most = 2 ** (bits - 1) - 1
    for module in copied.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            scale = module.weight.data.abs().flatten(1).amax(1).clamp_min(1e-12) / most
            zero = torch.zeros(len(scale), dtype=torch.int32)
            module.weight.data = torch.fake_quantize_per_channel_affine(module.weight.data, scale, zero, 0, -most, most)
    return copied


def distil_student(teacher: nn.Module, target: TrainedTarget, seed: int) -> nn.Module:
    """A fresh network of the same kind, trained on the teacher's softened outputs for the target's rows."""
    torch.manual_seed(seed)
    student = SmallResNet(target.blocks, target.x.shape[1])
    draw = torch.Generator().manual_seed(seed)
    return train(student, target.x, logits(teacher, target.x), steps=STEPS, draw=draw, temperature=4.0)
