"""Shapley values: time to 5 % error where an evaluation takes 1 us to 100 ms, against shapiq, captum and shap.

    python benchmarks/shapley_cost.py            all cells (some 20 minutes on one core)
    python benchmarks/shapley_cost.py --quick    10 and 49 players, one network each (2 minutes)

Networks are random MLPs n-32-32-1 (tanh, ReLU) at a random input, absent columns are 0. An estimator is run at growing budgets
until the error over the seeds, |found - true| / |true|, is at most 5 %. Its time is what it takes beside the network,
measured, plus its evaluations times what one is said to cost: so all costs are seen in one run, and none is slept. Ours is told the cost,
as it counts it where the game is on a network. A peer that raises, or takes longer than ``CALL_SECONDS`` for a call, is listed with its
reason.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from games_for_shapley import KnownGame, sampled_truth, table_game
from peers_for_shapley import fast_peers, run_peer

from benchmarks.timing import print_table
from vesalius.games.estimators import AutoShapley
from vesalius.games.game import Game

COSTS = {"1 us": 1e-6, "100 us": 1e-4, "10 ms": 1e-2, "100 ms": 1e-1}
ERROR = 0.05
SEEDS = 2
CALL_SECONDS = 3.0
MULTIPLES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
TRUTH_PAIRS = {49: 10_000, 196: 3_000, 1000: 1_000}


class CountedGame:
    """A game that counts what it is asked and how long that takes."""

    def __init__(self, game: KnownGame) -> None:
        self.game, self.n, self.truth, self.players = game, game.n, game.truth, game.players
        self.count, self.seconds = 0, 0.0

    def __call__(self, masks: Tensor) -> Tensor:
        start = time.process_time()
        values = self.game(masks)
        self.seconds += time.process_time() - start
        self.count += len(masks)
        return values


def random_network(n: int, seed: int) -> KnownGame:
    """A random MLP; tanh at even seeds, ReLU at odd ones."""
    rng = np.random.default_rng([seed, n, 314])
    widths = [n, 32, 32, 1]
    weights = [torch.tensor(rng.normal(size=(a, b)) / a**0.5, dtype=torch.float32) for a, b in pairwise(widths)]
    biases = [torch.tensor(rng.normal(size=b) * 0.3, dtype=torch.float32) for b in widths[1:]]
    x = torch.tensor(rng.normal(size=n), dtype=torch.float32)
    act = torch.tanh if seed % 2 == 0 else torch.relu

    def value(masks: Tensor) -> Tensor:
        hidden = masks.float() * x
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            hidden = act(hidden @ w + b)
        return (hidden @ weights[-1] + biases[-1])[:, 0].double()

    if n <= 16:
        return table_game(f"mlp-{n}", n, value)
    truth, variance = sampled_truth(value, n, torch.Generator().manual_seed(seed), pairs=TRUTH_PAIRS[n])
    return KnownGame(f"mlp-{n}", n, value, truth, variance)


Run = Callable[[CountedGame, int], object]


def measure(game: KnownGame, run: Run) -> tuple[float, float, float] | None:
    """Relative error over the seeds, median seconds beside the network, median evaluations; None where a run fails."""
    errors, seconds, counts = [], [], []
    for seed in range(SEEDS):
        counted = CountedGame(game)
        start = time.process_time()
        values = run(counted, seed)
        seconds.append(time.process_time() - start - counted.seconds)
        if values is None:
            return None
        errors.append(float((torch.as_tensor(values).double() - game.truth).square().mean() / game.truth.square().mean()))
        counts.append(counted.count)
        if seconds[-1] > CALL_SECONDS:
            break
    return statistics.fmean(errors) ** 0.5, statistics.median(seconds), statistics.median(counts)


def until_precise(game: KnownGame, runs: list[Run]) -> tuple[float, float] | str:
    """Seconds beside the network and evaluations of the first run that is precise enough, or why there is none."""
    for run in runs:
        found = measure(game, run)
        if found is not None and found[0] <= ERROR:
            return found[1], found[2]
        if found is not None and found[1] > CALL_SECONDS:
            return f"above {CALL_SECONDS:g} s a call at error {100 * found[0]:.0f} %"
    return "raises" if found is None else f"error {100 * found[0]:.0f} % at {MULTIPLES[-1]}n"


def ours(cost: float, multiple: int) -> Run:
    """By the estimator that ``tol=`` takes at this cost."""

    def run(game: CountedGame, seed: int) -> Tensor:
        estimator = AutoShapley(evaluation_seconds=cost)
        return estimator.extend(Game.of(game, game.n), multiple * game.n, None, generator=torch.Generator().manual_seed(seed))[0].values

    return run


def theirs(peer: Callable[..., object], multiple: int) -> Run:
    return lambda game, seed: run_peer(peer, game, multiple * game.n, seed)


def main() -> None:
    """Print the table of cells, and what became of every peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--players", nargs="*", type=int)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    players = chosen.players or ([10, 49] if chosen.quick else [10, 49, 196, 1000])
    rows: list[tuple[object, ...]] = []
    ratios = []
    for n in players:
        for seed in (11,) if chosen.quick else (11, 12):
            game = random_network(n, seed)
            others = {name: until_precise(game, [theirs(peer, m) for m in MULTIPLES]) for name, peer in fast_peers().items()}
            print(
                f"n = {n}, seed {seed}:",
                {name: found if isinstance(found, str) else f"{found[0]:.4f} s, {found[1]:.0f}" for name, found in others.items()},
            )
            done = {name: found for name, found in others.items() if not isinstance(found, str)}
            for word, cost in COSTS.items():
                mine = until_precise(game, [ours(cost, m) for m in MULTIPLES])
                if isinstance(mine, str):
                    rows.append((n, seed, word, mine, "", "", "", "", ""))
                    continue
                spent = mine[0] + cost * mine[1]
                if not done:
                    rows.append((n, seed, word, f"{spent:.4g}", int(mine[1]), "none", "", "", ""))
                    continue
                totals = {name: seconds + cost * count for name, (seconds, count) in done.items()}
                best = min(totals, key=lambda name: totals[name])
                ratios.append(totals[best] / spent)
                rows.append(
                    (n, seed, word, f"{spent:.4g}", int(mine[1]), best, f"{totals[best]:.4g}", int(done[best][1]), f"{ratios[-1]:.1f}")
                )
    print_table(
        rows, ("players", "seed", "an evaluation", "ours, s", "evaluations", "best peer", "its s", "its evaluations", "times faster")
    )
    print(f"median {statistics.median(ratios):.1f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    main()
