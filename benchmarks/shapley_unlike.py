"""Shapley values of games unlike those of development: error against the best peer at equal budgets, and coverage of the intervals.

    python benchmarks/shapley_unlike.py                both tables (some 10 minutes on one core)
    python benchmarks/shapley_unlike.py --only coverage

``auto`` is asked twice: told that evaluations take 10 microseconds, and that they take 0.1 seconds. Coverage is of all values, and of the
largest tenth of those of each game. A peer stops in a cell after ``PEER_SECONDS``; one that raises there is named.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from games_for_shapley import KnownGame
from peers_for_shapley import Peer, peers, run_peer
from unlike_games import KINDS

from benchmarks.timing import print_table
from vesalius.core.allocation import Allocation
from vesalius.games.estimators import AutoShapley, KernelShapley, PolynomialShapley, ShapleyEstimator

ESTIMATORS: dict[str, ShapleyEstimator] = {
    "auto, 10 us": AutoShapley(evaluation_seconds=1e-5),
    "auto, 0.1 s": AutoShapley(evaluation_seconds=0.1),
    "polynomial": PolynomialShapley(),
    "kernel": KernelShapley(),
}
ERROR_BUDGETS = {2: 6, 10: 6, 100: 2}  # runs by evaluations per player
COVERAGE_BUDGETS = {5: 4, 10: 4, 30: 4, 100: 2}
PEER_SECONDS = 0.5
LEFT_OUT = {"kADD-SHAP(3)", "kADD-SHAP(3), paired", "ProxySPEX"}  # seconds a call, with 16 games by 3 budgets: not asked here


def estimates(game: KnownGame, budget: int, estimator: ShapleyEstimator, runs: int) -> list[Allocation]:
    return [estimator.estimate(game, budget, generator=torch.Generator().manual_seed(7000 + run)) for run in range(runs)]


def peer_error(game: KnownGame, budget: int, peer: Peer, runs: int) -> float | None:
    squares, start = [], time.perf_counter()
    for run in range(runs):
        values = run_peer(peer, game, budget, 9000 + run)
        if values is None:
            return None
        squares.append(float(np.square(values - game.truth.numpy()).mean()))
        if time.perf_counter() - start > PEER_SECONDS:
            break
    return statistics.fmean(squares)


def error_table(games: dict[str, KnownGame]) -> None:
    """Mean square errors in that of answering 0, the best peer's, and the ratios."""
    rows: list[tuple[object, ...]] = []
    ratios: dict[tuple[int, str], list[float]] = {}
    raised: Counter[str] = Counter()
    contenders = {name: peer for name, peer in peers().items() if name not in LEFT_OUT}
    for name, game in games.items():
        for multiple, runs in ERROR_BUDGETS.items():
            budget = multiple * game.n
            if budget >= 1 << game.n:
                continue
            zero = float(game.truth.square().mean())
            found = {other: peer_error(game, budget, peer, runs) for other, peer in contenders.items()}
            raised.update(other for other, error in found.items() if error is None)
            best, which = min((error, other) for other, error in found.items() if error is not None)
            row: list[object] = [name, f"{multiple}n", which, f"{best / zero:.2g}"]
            for label, estimator in ESTIMATORS.items():
                every = estimates(game, budget, estimator, runs)
                error = statistics.fmean(float((one.values - game.truth).square().mean()) for one in every)
                ratios.setdefault((multiple, label), []).append(error / best)
                row.append(f"{error / zero:.2g} ({error / best:.2g})")
            rows.append(tuple(row))
    print_table(rows, ("game", "budget", "best peer", "its error", *ESTIMATORS))
    for (multiple, label), every in ratios.items():
        worse = sum(ratio > 1 for ratio in every)
        print(
            f"{multiple}n, {label}: geometric mean {math.exp(statistics.fmean(map(math.log, every))):.2f}, worse in {worse} of {len(every)}"
        )
    print("raised:", dict(raised) or "none")


def coverage_table(games: dict[str, KnownGame]) -> None:
    """Per cent of values in their 95 % intervals, of all and of the largest tenth, and where the interval is said to hold."""
    rows: list[tuple[object, ...]] = []
    for label, estimator in ESTIMATORS.items():
        for multiple, runs in COVERAGE_BUDGETS.items():
            every, top = [], []
            for game in games.values():
                if multiple * game.n >= 1 << game.n:
                    continue
                largest = game.truth.abs().topk(math.ceil(game.n / 10)).indices
                for one in estimates(game, multiple * game.n, estimator, runs):
                    if one.stderr is None:
                        continue
                    rounding = 1e-12 * abs(float(one.total - one.base))
                    inside = ((one.values - game.truth).abs() <= 1.96 * one.stderr + rounding).double()
                    every.append(float(inside.mean()))
                    top.append(float(inside[largest].mean()))
            rows.append((label, f"{multiple}n", f"{100 * statistics.fmean(every):.1f}", f"{100 * statistics.fmean(top):.1f}"))
    print_table(rows, ("estimator", "budget", "all", "largest tenth"))


def main() -> None:
    """Build the games once, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["error", "coverage"])
    parser.add_argument("--seed", type=int, default=901)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    games = {name: build(chosen.seed) for name, build in KINDS.items()}
    for name, table in (("error", error_table), ("coverage", coverage_table)):
        if chosen.only in (None, name):
            print(f"\n## {name}\n")
            table(games)


if __name__ == "__main__":
    main()
