"""Integrated gradients against captum, on the pretrained ResNet-20 and 16 CIFAR-10 test images: how near the map is, and what it costs.

Claims: a chain of 17 secants is as near to the integral as captum's 50 gradients and takes at most 0.6 of the time; an adaptive run to at
least that error takes no longer than they do, knows its error, and adds up; 50 secants take at most a quarter of the memory of captum as it
comes. Errors are relative L2, against ``TRUTH`` secants.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from captum.attr import IntegratedGradients as Peer

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import median_seconds, peak_megabytes, print_table
from tests.zoo import cifar_test_images, resnet20
from vesalius.methods import IntegratedGradients

DATA = Path(os.environ["VESALIUS_DATA"])
TRUTH = 600
"""Secants of the map that others are compared with; twice as many change it by 0.0001."""
INTERNAL = (16, 32, 64, 128, 256, None)

MEMORY = """
import os, sys, torch
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.integrated_gradients import IntegratedGradients, load, ours, theirs
network, model, images, classes = load()
ours(network, images[:1], classes[:1], IntegratedGradients(steps=2))
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


def ours(network: vs.Network, images: torch.Tensor, classes: torch.Tensor, method: IntegratedGradients) -> vs.Allocation:
    """Chains of secants."""
    return vs.attribute(network, images, method, target=classes)


def theirs(model: torch.nn.Module, images: torch.Tensor, classes: torch.Tensor, steps: int, internal: int | None) -> torch.Tensor:
    """Captum at its default rule, Gauss-Legendre."""
    return Peer(model).attribute(images, target=classes, n_steps=steps, internal_batch_size=internal).detach()


def main() -> None:
    """Print the tables."""
    network, model, images, classes = load()
    best = median_seconds({str(size): lambda size=size: theirs(model, images, classes, 50, size) for size in INTERNAL}, rounds=3)
    fastest = min(best, key=best.get)  # type: ignore[arg-type]
    size = None if fastest == "None" else int(fastest)
    truth = ours(network, images, classes, IntegratedGradients(steps=TRUTH)).values.flatten(1)
    change = (network(images) - network(torch.zeros_like(images))).gather(1, classes[:, None])[:, 0]
    methods = {
        "ours, 17 secants": IntegratedGradients(steps=17),
        "ours, 50 secants": IntegratedGradients(steps=50),
        "ours, tol=0.025": IntegratedGradients(tol=0.025),
        "ours, as it comes (tol=0.01)": IntegratedGradients(),
    }
    nodes = {
        "captum, 50 nodes, best internal batch": (50, size),
        "captum, 50 nodes, as it comes": (50, None),
        "captum, 200 nodes, best internal batch": (200, size),
    }
    times = median_seconds(
        {name: lambda method=method: ours(network, images, classes, method) for name, method in methods.items()}
        | {name: lambda how=how: theirs(model, images, classes, *how) for name, how in nodes.items()}
    )
    rows: list[tuple[object, ...]] = []
    for name, seconds in times.items():
        if name in methods:
            found = ours(network, images, classes, methods[name])
            values, spent = found.values, f"{float(found.evaluations.double().mean()):.0f}"
        else:
            values, spent = theirs(model, images, classes, *nodes[name]), str(nodes[name][0])
        error = (values.flatten(1) - truth).norm(dim=1) / truth.norm(dim=1)
        gap = ((change - values.flatten(1).sum(1)) / change).abs()
        rows.append((name, spent, float(error.mean()), float(error.max()), f"{float(gap.max()):.1e}", seconds))
    print_table(rows, ("run", "evaluations", "map error", "worst map", "worst gap", "median s"))
    print(f"captum: best internal batch {fastest}")
    root = str(Path(__file__).parent.parent)
    mine = peak_megabytes(MEMORY.format(root=root, call="ours(network, images, classes, IntegratedGradients(steps=50))"))
    peer = peak_megabytes(MEMORY.format(root=root, call="theirs(model, images, classes, 50, None)"))
    print(f"memory at 50: {mine:.0f} MB against {peer:.0f} MB, {mine / peer:.2f}x")


if __name__ == "__main__":
    main()
