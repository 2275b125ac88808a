"""Feature complexity: what it costs, and one trunk for all orders against a net for each.

    VESALIUS_DATA=... python benchmarks/complexity.py

Both modes take turns on one thread; R^2 is on rows that neither has seen.
"""

from __future__ import annotations

import time
from statistics import median

import torch

import vesalius as vs
from vesalius.complexity import Complexity, Training, complexity
from vesalius.data import load
from vesalius.data.models import trained
from vesalius.data.pretrained import pretrained
from vesalius.trace.network import Network

RUNS = 3
CASES = {
    "digits CNN, fc1": ("fc1", (0, 1, 2, 4)),
    "digits CNN, conv2": ("conv2", (0, 1, 2, 4)),
    "digits CNN, conv2, 0 to 4": ("conv2", (0, 1, 2, 3, 4)),
}


def time_complexity(network: Network, x: torch.Tensor, at: str, orders: tuple[int, ...], training: Training) -> tuple[float, Complexity]:
    """Seconds, and what was found."""
    start = time.perf_counter()
    found = complexity(network, x, at=at, orders=orders, training=training)
    return time.perf_counter() - start, found


def compare_modes() -> None:
    """Shared against separate, in turns."""
    digits = trained("digits_cnn")
    network = vs.trace(digits.model, digits.data.train_x[:2])
    print("| feature | shared, s | separate, s | separate / shared | largest difference of R^2 |\n|---|---|---|---|---|")
    for name, (at, orders) in CASES.items():
        seconds: dict[str, list[float]] = {"shared": [], "separate": []}
        r2: dict[str, torch.Tensor] = {}
        for _ in range(RUNS):
            for mode, spent in seconds.items():
                took, found = time_complexity(network, digits.data.train_x, at, orders, Training(mode=mode))
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    compare_modes()
    time_resnet()
