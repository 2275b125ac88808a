"""Shapley values: time to 5 % error where an evaluation takes 1 us to 100 ms, against shapiq, captum and shap.

    python benchmarks/shapley_cost.py                    all cells (12 minutes on one core), kept in shapley_cost.jsonl as they are found
    python benchmarks/shapley_cost.py --players 10 49    some of them (2 minutes)

Networks are random MLPs n-32-32-1 (tanh, ReLU) at a random input, absent columns are 0. An estimator is run at growing budgets, on the same
grid and with the same seeds for all, until the error over the seeds, |found - true| / |true|, is at most 5 %; between the last two budgets
evaluations and seconds are interpolated in the logarithm of the error. Its time is what it takes beside the network, measured on the
processor, plus its evaluations times what one is said to cost: so all costs are seen in one run, and none is slept. Ours is told the cost,
as it counts it where the game is on a network. A peer that raises, or is not precise enough with ``MULTIPLES[-1]`` evaluations per player
or ``CALL_SECONDS`` of its own, is listed with its reason; where
none is left, ours is not asked.

A run that was stopped goes on where it was: delete the file to begin anew.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from games_for_shapley import KnownGame, sampled_truth, table_game
from peers_for_shapley import Peer, fast_peers, run_peer

from benchmarks.timing import print_table
from vesalius.games.estimators import AutoShapley, ShapleyEstimator
from vesalius.games.game import Game

COSTS = {"1 us": 1e-6, "100 us": 1e-4, "10 ms": 1e-2, "100 ms": 1e-1}
ERROR = 0.05
SEEDS = {10: 8, 49: 4, 196: 2, 1000: 1}
NETWORKS = {10: (11, 12), 49: (11, 12), 196: (12,), 1000: (12,)}
CALL_SECONDS = 20.0
MULTIPLES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
HOPELESS = 2.5  # times the error asked for, as the last budget promises it, beyond which a contender is given up
TRUTH_PAIRS = {49: 10_000, 196: 3_000, 1000: 500}
KEPT = Path(__file__).with_suffix(".jsonl")


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
    first = weights[0] * x[:, None]

    def value(masks: Tensor) -> Tensor:
        hidden = act(masks.float() @ first + biases[0])
        hidden = act(hidden @ weights[1] + biases[1])
        return (hidden @ weights[2] + biases[2])[:, 0].double()

    if n <= 16:
        return table_game(f"mlp-{n}", n, value)
    truth, variance = sampled_truth(value, n, torch.Generator().manual_seed(seed), pairs=TRUTH_PAIRS[n])
    return KnownGame(f"mlp-{n}", n, value, truth, variance)


@dataclass(frozen=True)
class Point:
    """What a contender did with so many evaluations: relative error over the seeds, median seconds beside the network."""

    error: float
    seconds: float
    count: float


class Measurements:
    """Points by network, contender and evaluations per player, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, {}
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            self.known[row["n"], row["seed"], row["who"], row["multiple"]] = row["found"]

    def of(self, key: tuple[int, int, str, int], measure: Callable[[], Point | None]) -> Point | None:
        """A point, measured now if it is not known; None where the contender raises."""
        if key not in self.known:
            found = measure()
            self.known[key] = None if found is None else [found.error, found.seconds, found.count]
            with self.path.open("a") as file:
                file.write(json.dumps(dict(zip(("n", "seed", "who", "multiple"), key, strict=True)) | {"found": self.known[key]}) + "\n")
        values = self.known[key]
        return None if values is None else Point(*values)


Run = Callable[[CountedGame, int], object]


def measure(game: KnownGame, run: Run) -> Point | None:
    """A contender on all seeds, after a call that warms it up where a call is short; None where it fails."""
    if game.n < 100:
        run(CountedGame(game), 0)
    errors, seconds, counts = [], [], []
    for seed in range(SEEDS[game.n]):
        counted = CountedGame(game)
        start = time.process_time()
        values = run(counted, seed)
        seconds.append(time.process_time() - start - counted.seconds)
        if values is None:
            return None
        errors.append(float((torch.as_tensor(values).double() - game.truth).square().mean() / game.truth.square().mean()))
        counts.append(counted.count)
    return Point(statistics.fmean(errors) ** 0.5, statistics.median(seconds), statistics.median(counts))


def until_precise(point_at: Callable[[int], Point | None]) -> tuple[float, float] | str:
    """Seconds beside the network and evaluations at which the error is what is asked, or why there are none."""
    before = None
    for multiple in MULTIPLES:
        found = point_at(multiple)
        if found is None:
            continue
        if found.error <= ERROR:
            return between(before, found)
        promised = found.error * (multiple / MULTIPLES[-1]) ** 0.5
        if multiple >= 8 and promised > HOPELESS * ERROR:
            return f"error {100 * found.error:.0f} % at {multiple}n"
        if found.seconds * 1.5 > CALL_SECONDS:
            return f"above {CALL_SECONDS:g} s a call at error {100 * found.error:.0f} %"
        before = found
    return "raises" if before is None else f"error {100 * before.error:.0f} % at {MULTIPLES[-1]}n"


def between(before: Point | None, found: Point) -> tuple[float, float]:
    """Seconds and evaluations where the error, a power of the evaluations, is the one asked for."""
    if before is None or before.error <= found.error:
        return found.seconds, found.count
    share = math.log(before.error / ERROR) / math.log(before.error / max(found.error, 1e-12))

    def mix(a: float, b: float) -> float:
        return float(max(a, 1e-9) ** (1 - share) * max(b, 1e-9) ** share)

    return mix(before.seconds, found.seconds), mix(before.count, found.count)


def ours(estimator: ShapleyEstimator, multiple: int) -> Run:
    def run(game: CountedGame, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return estimator.estimate(Game.of(game, game.n), multiple * game.n, generator=generator).values

    return run


def theirs(peer: Peer, multiple: int) -> Run:
    return lambda game, seed: run_peer(peer, game, multiple * game.n, seed)


def compare(n: int, seed: int, kept: Measurements) -> tuple[list[tuple[object, ...]], list[float]]:
    """Rows of the table for a network, and how many times faster ours is in each."""
    game = random_network(n, seed)

    def point(name: str, run: Callable[[int], Run]) -> Callable[[int], Point | None]:
        return lambda multiple: kept.of((n, seed, name, multiple), lambda: measure(game, run(multiple)))

    others = {
        name: until_precise(point(name, lambda multiple, peer=peer: theirs(peer, multiple)))  # type: ignore[misc]
        for name, peer in fast_peers().items()
    }
    words = {name: found if isinstance(found, str) else f"{found[0]:.4f} s, {found[1]:.0f}" for name, found in others.items()}
    print(f"n = {n}, seed {seed}:", words, flush=True)
    done = {name: found for name, found in others.items() if not isinstance(found, str)}
    if not done:
        return [(n, seed, "any", "", "", "", "none", "", "", "")], []
    rows, ratios = [], []
    for word, cost in COSTS.items():
        auto, taken = AutoShapley(evaluation_seconds=cost), []

        def at(multiple: int, auto: AutoShapley = auto, cost: float = cost, taken: list[str] = taken) -> Point | None:
            estimator = auto.soonest(n, multiple * n, cost)
            taken.append(type(estimator).__name__)
            return point(repr(estimator), lambda multiple: ours(estimator, multiple))(multiple)

        mine = until_precise(at)
        which = taken[-1].removesuffix("Shapley").lower()
        if isinstance(mine, str):
            rows.append((n, seed, word, which, mine, "", "", "", "", ""))
            continue
        spent = mine[0] + cost * mine[1]
        totals = {name: seconds + cost * count for name, (seconds, count) in done.items()}
        best = min(totals, key=lambda name: totals[name])
        ratios.append(totals[best] / spent)
        told = f"{totals[best]:.3g}", round(done[best][1]), f"{ratios[-1]:.1f}"
        rows.append((n, seed, word, which, f"{spent:.3g}", round(mine[1]), best, *told))
    return rows, ratios


def main() -> None:
    """Print the table of cells, and what became of every peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", nargs="*", type=int, default=list(NETWORKS))
    parser.add_argument("--kept", type=Path, default=KEPT)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    rows: list[tuple[object, ...]] = []
    ratios: list[float] = []
    kept = Measurements(chosen.kept)
    for n in chosen.players:
        for seed in NETWORKS[n]:
            more, faster = compare(n, seed, kept)
            rows, ratios = rows + more, ratios + faster
    head = ("players", "seed", "an evaluation", "ours is", "s", "evaluations", "best peer", "s", "evaluations", "times faster")
    print_table(rows, head)
    print(f"median {statistics.median(ratios):.1f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    main()
