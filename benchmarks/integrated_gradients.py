"""Integrated gradients against captum, on the pretrained ResNet-20 and 16 CIFAR-10 test images.

Claims: a gap of 1 % on every sample in less time than captum needs for the same; at 50 fixed steps no slower than captum with its best
internal batch, in at most a quarter of the memory of its default.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from captum.attr import IntegratedGradients as Peer

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import interleaved, peak_megabytes, table
from tests.zoo import cifar_test_images, resnet20
from vesalius.methods import IntegratedGradients

DATA = Path(os.environ["VESALIUS_DATA"])
STEPS = (50, 100, 150, 200, 300, 400, 600, 800)
INTERNAL = (16, 32, 64, 128, 256, None)

MEMORY = """
import os, sys, torch
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.integrated_gradients import load, ours, theirs
network, model, images, classes = load()
ours(network, images[:1], classes[:1], 2)
theirs(model, images[:1], classes[:1], 2, None)
def run(): {call}
"""


def load() -> tuple[vs.Network, torch.nn.Module, torch.Tensor, torch.Tensor]:
    """Network, model, images and predicted classes."""
    torch.manual_seed(0)
    model = resnet20(DATA).eval().requires_grad_(False)
    images = cifar_test_images(DATA)[0][:16]
    with torch.no_grad():
        classes = model(images).argmax(1)
    return vs.trace(model, images[:1]), model, images, classes


def ours(network: vs.Network, images: torch.Tensor, classes: torch.Tensor, steps: int | None) -> vs.Allocation:
    """Fixed steps, or adaptive where None."""
    return vs.attribute(network, images, IntegratedGradients(steps=steps), target=classes)


def theirs(model: torch.nn.Module, images: torch.Tensor, classes: torch.Tensor, steps: int, internal: int | None) -> torch.Tensor:
    """Captum at its default rule, Gauss-Legendre."""
    return Peer(model).attribute(images, target=classes, n_steps=steps, internal_batch_size=internal)


def largest_gap(network: vs.Network, values: torch.Tensor, images: torch.Tensor, classes: torch.Tensor) -> float:
    """Largest gap over samples, as a share of the change."""
    change = (network(images) - network(torch.zeros_like(images))).gather(1, classes[:, None])[:, 0]
    return float(((change - values.flatten(1).sum(1)) / change).abs().max())


def main() -> None:
    """Print the tables."""
    network, model, images, classes = load()
    best = interleaved({str(size): lambda size=size: theirs(model, images, classes, 50, size) for size in INTERNAL}, rounds=3)
    fastest = min(best, key=best.get)  # type: ignore[arg-type]
    size = None if fastest == "None" else int(fastest)
    enough = next((n for n in STEPS if largest_gap(network, theirs(model, images, classes, n, size), images, classes) <= 0.01), STEPS[-1])
    adaptive = ours(network, images, classes, None)
    times = interleaved(
        {
            "ours, to a gap of 1 %": lambda: ours(network, images, classes, None),
            "captum, to a gap of 1 %": lambda: theirs(model, images, classes, enough, size),
            "ours, 50 steps": lambda: ours(network, images, classes, 50),
            "captum, 50 steps, best internal batch": lambda: theirs(model, images, classes, 50, size),
            "captum, 50 steps, default": lambda: theirs(model, images, classes, 50, None),
        }
    )
    table([(name, seconds) for name, seconds in times.items()], ("run", "median s"))
    print(f"captum: best internal batch {fastest}, needs {enough} steps for 1 % on every sample")
    spent = adaptive.evaluations.tolist()
    print(f"ours: {min(spent)} to {max(spent)} evaluations per sample, largest gap {float(adaptive.relative_gap.max()):.2%}")
    print(f"time to 1 %: {times['ours, to a gap of 1 %'] / times['captum, to a gap of 1 %']:.2f}x captum's")
    print(f"50 steps: {times['ours, 50 steps'] / times['captum, 50 steps, best internal batch']:.2f}x captum's best")
    root = str(Path(__file__).parent.parent)
    mine = peak_megabytes(MEMORY.format(root=root, call="ours(network, images, classes, 50)"))
    peer = peak_megabytes(MEMORY.format(root=root, call="theirs(model, images, classes, 50, None)"))
    print(f"memory at 50 steps: {mine:.0f} MB against {peer:.0f} MB, {mine / peer:.2f}x")


if __name__ == "__main__":
    main()
