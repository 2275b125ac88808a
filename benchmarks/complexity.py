"""Feature complexity: one call without knobs on few and many rows, and one trunk for all orders against a net for each.

    VESALIUS_DATA=... python benchmarks/complexity.py [rows|modes|resnet ...]

``rows``: a late layer of a network for MNIST, a GRU and an MLP for regression, on 200, 1,000 and 10,000 rows, by the defaults alone.
``modes``: both modes in turns. ``resnet``: a late layer of ResNet-20. All on one thread, in seconds of its processor, which other programs
on the machine do not lengthen as they do the clock; R^2 is on rows that nothing has seen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import vesalius as vs
from vesalius.complexity import Complexity, Training, complexity
from vesalius.data import load
from vesalius.data.models import trained
from vesalius.data.pretrained import pretrained
from vesalius.trace.network import Network

RUNS = 3
ROWS = (200, 1000, 10_000)
CASES = {
    "digits CNN, fc1": ("fc1", (0, 1, 2, 4)),
    "digits CNN, conv2": ("conv2", (0, 1, 2, 4)),
    "digits CNN, conv2, 0 to 4": ("conv2", (0, 1, 2, 3, 4)),
}


class Reader(nn.Module):
    """A GRU whose last state decides."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(4, 16, batch_first=True), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0][:, -1])


def train_by(model: nn.Module, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], epochs: int) -> nn.Module:
    """A network trained for a while."""
    draw, optimiser = torch.Generator().manual_seed(0), torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=draw).split(128):
            optimiser.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval()


def late_layers() -> dict[str, tuple[nn.Module, Tensor, str]]:
    """Networks with rows of their inputs and the value to look at."""
    torch.manual_seed(0)
    images, draw = load("mnist"), torch.Generator().manual_seed(0)
    pools = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    cnn = nn.Sequential(*pools, nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    steps = torch.randn(10_000, 12, 4, generator=draw)
    agree = (steps[:, :, 0] * steps[:, :, 1]).sum(1) > 0
    x = torch.randn(10_000, 10, generator=draw)
    y = 3 * torch.sin(x[:, 0] * x[:, 1]) + 2 * (x[:, 2] - 0.5).square() + 3 * x[:, 3] + 1.5 * x[:, 4]
    mlp = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return {
        "MNIST CNN, linear 784 to 64": (
            train_by(cnn, images.train_x[:10_000], images.train_y[:10_000], F.cross_entropy, 2),
            images.train_x[:10_000],
            "7",
        ),
        "GRU, states of 12 steps": (train_by(Reader(), steps, agree.long(), F.cross_entropy, 15), steps, "gru"),
        "regression MLP, second layer": (train_by(mlp, x, y[:, None], F.mse_loss, 15), x, "2"),
    }


def without_knobs() -> None:
    """Held-out numbers with their errors, and what they took, for few and many rows."""
    print("| feature | rows | CPU, s | width, epochs | order 0 | 1 | 2 | 3 to 4 | rest |\n|---|---|---|---|---|---|---|---|---|")
    for name, (model, x, at) in late_layers().items():
        network = vs.trace(model, x[:2])
        for rows in ROWS:
            start = time.process_time()
            found = vs.complexity(network, x[:rows], at=at)
            took, gain, r2 = time.process_time() - start, found.table()["gain"], found.table()["r2"]
            shares = [f"{value:.3f} ± {error:.3f}" for value, error in zip(gain.values.tolist(), gain.stderr.tolist(), strict=True)]
            how = found.provenance["options"]
            rest = f"{1 - float(r2.values[-1]):.3f} ± {float(r2.stderr[-1]):.3f}"
            print(f"| {name} | {rows:,} | {took:.0f} | {how['width']}, {how['epochs']} | {' | '.join([*shares, rest])} |", flush=True)


def time_complexity(network: Network, x: Tensor, at: str, orders: tuple[int, ...], training: Training) -> tuple[float, Complexity]:
    """Seconds, and what was found."""
    start = time.process_time()
    found = complexity(network, x, at=at, orders=orders, training=training)
    return time.process_time() - start, found


def compare_modes() -> None:
    """Shared against separate, in turns, at one width."""
    digits = trained("digits_cnn")
    network = vs.trace(digits.model, digits.data.train_x[:2])
    print("| feature | shared, s | separate, s | separate / shared | largest difference of R^2 |\n|---|---|---|---|---|")
    for name, (at, orders) in CASES.items():
        seconds: dict[str, list[float]] = {"shared": [], "separate": []}
        r2: dict[str, Tensor] = {}
        for _ in range(RUNS):
            for mode, spent in seconds.items():
                took, found = time_complexity(network, digits.data.train_x, at, orders, Training(mode=mode, width=32))
                spent.append(took)
                r2[mode] = found.r2.mean(0)
        one, two = (median(spent) for spent in seconds.values())
        ratio = median(b / a for a, b in zip(seconds["shared"], seconds["separate"], strict=True))
        print(f"| {name} | {one:.1f} | {two:.1f} | {ratio:.2f} | {float((r2['shared'] - r2['separate']).abs().max()):.3f} |", flush=True)


def time_resnet() -> None:
    """A late layer of the pretrained ResNet-20 on the lossless CIFAR images."""
    network = pretrained("resnet20")
    x = load("cifar10_subset").train_x
    took, found = time_complexity(vs.trace(network.model, x[:2]), x, "layer3", (0, 1, 2, 4), Training())
    print(f"\nResNet-20, layer3, {len(x):,} images, two seeds: {took:.0f} s\n\n{found}")


PARTS = {"rows": without_knobs, "modes": compare_modes, "resnet": time_resnet}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
