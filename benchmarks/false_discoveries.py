"""False edges among units that have nothing to do with each other: in how many draws there is any, at a false discovery rate of 5 %.

Claim: at most 5 to 7 % of draws, for every kind of unit, at 100 to 10,000 rows. Real columns are pixels of MNIST, rows of one side
shuffled; of a kind, 32 x 32 pairs are tested as one layer pair. A rate of 7 % and one of 5 % are told apart by a few hundred draws.

``python benchmarks/false_discoveries.py [DRAWS [KIND ...]]``: 200 draws and all kinds by default; a minute for a hundred draws of one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.timing import print_table
from vesalius.data.datasets import load
from vesalius.information.estimators import adjusted, pairwise

SIDE, RATE = 32, 0.05
ROWS = (100, 300, 1000, 3000, 10_000)
Side = Callable[[int, np.random.Generator], np.ndarray]


def active(share: float) -> Side:
    """Behind a ReLU, on in so many rows."""

    def draw(rows: int, rng: np.random.Generator) -> np.ndarray:
        normal = rng.standard_normal((rows, SIDE))
        return np.maximum(normal - np.quantile(normal, 1 - share, axis=0), 0)

    return draw


def labels(classes: int) -> Side:
    """Classes of unequal size."""
    share = 1 / np.arange(1, classes + 1) ** 0.5
    return lambda rows, rng: rng.choice(classes, (rows, SIDE), p=share / share.sum())


def pixels(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Columns of MNIST that are not constant, whole rows at a time."""
    images = load("mnist").train_x.flatten(1).numpy()
    columns = rng.choice(np.flatnonzero(images[:1000].std(0)), SIDE, replace=False)
    return images[rng.choice(len(images), rows, replace=False)][:, columns]


SIDES: dict[str, Side] = {
    "continuous": lambda rows, rng: rng.standard_normal((rows, SIDE)),
    "heavy tails": lambda rows, rng: rng.standard_cauchy((rows, SIDE)),
    "ReLU": active(0.5),
    "on in 10 %": active(0.1),
    "on in 3 %": active(0.03),
    "on in 1 %": active(0.01),
    "on in 0.3 %": active(0.003),
    "on in 0.1 %": active(0.001),
    "binary": lambda rows, rng: rng.random((rows, SIDE)) < 0.1,
    "discrete": lambda rows, rng: np.round(4 * rng.standard_normal((rows, SIDE))),
    "labels": labels(10),
    "many labels": labels(100),
    "clipped": lambda rows, rng: np.clip(rng.standard_normal((rows, SIDE)), -1, 1.5),
    "real": pixels,
}
KINDS = [(name, name) for name in SIDES] + [
    ("continuous", "on in 1 %"),
    ("ReLU", "on in 3 %"),
    ("labels", "on in 1 %"),
    ("many labels", "continuous"),
    ("many labels", "on in 3 %"),
    ("real", "labels"),
]


def false_edges(left: str, right: str, rows: int, draws: int) -> tuple[float, float, float]:
    """Share of draws with any false edge, mean number of them, and share of p-values below 5 %."""
    rng = np.random.default_rng(rows)
    counts, low = [], []
    for _ in range(draws):
        X, Y = (torch.from_numpy(SIDES[name](rows, rng)) for name in (left, right))
        p = pairwise(X, Y, estimator="binned").p
        counts.append(int((adjusted(p) <= RATE).sum()))
        low.append(float((p <= RATE).double().mean()))
    return float(np.mean(np.array(counts) > 0)), float(np.mean(counts)), float(np.mean(low))


def main() -> None:
    """Print a row per pair of kinds and number of rows."""
    draws, asked = int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2:]
    rows = []
    for left, right in KINDS:
        if not asked or left in asked:
            for count in ROWS:
                rows.append((f"{left} and {right}" if left != right else left, count, *false_edges(left, right, count, draws)))
                print(*rows[-1], flush=True, file=sys.stderr)
    print_table(rows, ("units", "rows", "draws with a false edge", "false edges a draw", "p < 0.05"))


if __name__ == "__main__":
    main()
