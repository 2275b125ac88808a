"""Pruning: time per layer against depth, ResNet-20 on 2,000 images, and accuracy beside SparseGPT, ALPS, Wanda and magnitude.

Claims: from 4 to 64 layers the time per layer stays within 30 %; on 2,000 images, magnitude takes under 2 s and a refit under 60 s on one
thread, the network traced; no claim of rank: the table says who keeps what.

All methods are given the same images and, layer by layer, as many links; accuracy is that of the 1,000 test images, nothing is trained.
``DEPTH_ONLY=1`` stops after the first table, ``IMAGES`` sets the number of images of the last.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import median_seconds, print_table
from vesalius.data import load
from vesalius.data.pretrained import pretrained
from vesalius.sparsity import Pruning

DEPTHS, WIDTH, ROWS = (4, 8, 16, 32, 64), 64, 2000
IMAGES = int(os.environ.get("IMAGES", "1000"))
METHODS = {
    "refit": ("refit", {}),
    "refit, batch norms anew": ("refit", {"batch_norm": True}),
    "ALPS": ("alps", {}),
    "SparseGPT": ("sparse_gpt", {}),
    "Wanda": ("paper", {"score": "wanda"}),
    "Wanda, batch norms anew": ("paper", {"score": "wanda", "batch_norm": True}),
    "magnitude": ("paper", {"score": "magnitude"}),
    "magnitude, batch norms anew": ("paper", {"score": "magnitude", "batch_norm": True}),
}
AMOUNTS = {"70 %": (0.7, {"allocation": "erk"}), "90 %": (0.9, {"allocation": "erk"}), "2:4": (0.5, {"scope": "2:4"})}


def build(depth: int) -> vs.Network:
    """Equal layers, one behind the other."""
    torch.manual_seed(0)
    layers = [part for _ in range(depth) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return vs.trace(nn.Sequential(*layers).eval(), torch.zeros(2, WIDTH))


def depth_table() -> None:
    """Milliseconds per layer."""
    x = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))
    networks = {depth: build(depth) for depth in DEPTHS}
    rows: list[tuple[object, ...]] = []
    for mode, how in (("refit", Pruning(rounds=2)), ("paper", Pruning(score="gate"))):
        runs = {
            str(depth): lambda network=network, mode=mode, how=how: vs.sparsify(network, x, sparsity=0.8, mode=mode, pruning=how)
            for depth, network in networks.items()
        }
        seconds = median_seconds(runs, rounds=3)
        each = [1000 * seconds[str(depth)] / depth for depth in DEPTHS]
        rows.append((mode, *each, max(each) / min(each)))
    print_table(rows, ("mode", *(f"{depth} layers, ms each" for depth in DEPTHS), "most / least"))


def resnet_table() -> None:
    """Seconds, and accuracy on the test images."""
    network, data = vs.trace(pretrained("resnet20").model.eval(), load("cifar10_subset").train_x[:2]), load("cifar10_subset")
    for name, mode, how in (("magnitude", "paper", Pruning(score="magnitude")), ("refit", "refit", Pruning())):
        start = time.perf_counter()
        vs.sparsify(network, data.train_x[:ROWS], sparsity=0.7, mode=mode, pruning=how)
        print(f"{name}, {ROWS:,} images: {time.perf_counter() - start:.1f} s")
    rows: list[tuple[object, ...]] = []
    for name, (mode, options) in METHODS.items():
        found: list[object] = [name]
        for sparsity, shape in AMOUNTS.values():
            start = time.perf_counter()
            thin = vs.sparsify(network, data.train_x[:IMAGES], sparsity=sparsity, mode=mode, pruning=Pruning(**shape, **options))
            took = time.perf_counter() - start
            right = (thin.network(data.test_x).argmax(1) == data.test_y).double().mean()
            found.append(f"{100 * float(right):.1f} % ({took:.0f} s)")
        rows.append(tuple(found))
    print_table(rows, ("method", *AMOUNTS))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    depth_table()
    if not os.environ.get("DEPTH_ONLY"):
        resnet_table()
