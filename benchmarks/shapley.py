"""Shapley estimators against those of shapiq and captum: error at equal budget, coverage of the intervals, time.

    VESALIUS_DATA=... python benchmarks/shapley.py                 all tables, on instances that chose nothing (half an hour on one core)
    python benchmarks/shapley.py --families mlp-12 --only error    a part

Every peer runs with the same budget; a cell keeps the peer with the smallest mean square error, so a ratio below 1 beats every one of them.
A peer stops early in a cell once it has used ``PEER_SECONDS`` there; how often the best one ran is in the table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import ShapleyValueSampling
from games_for_shapley import FAMILIES, KnownGame
from peers_for_shapley import SLOW, ask, peers

from vesalius.core.allocation import Allocation
from vesalius.games.estimators import AutoShapley, PermutationShapley, ShapleyEstimator
from vesalius.games.game import Game

SEEDS = (101, 102, 103)  # development used 0 to 9
RUNS = {2: 40, 10: 20, 100: 5}  # repetitions by evaluations per player
PEER_SECONDS = 4.0
COVERAGE_RUNS = {5: 24, 10: 24, 30: 12, 100: 6}
CAPTUM_PERMUTATIONS = 25


@dataclass(frozen=True)
class Errors:
    """Mean square errors of repeated runs, and the median time of one."""

    squares: list[float]
    seconds: float

    @property
    def mean(self) -> float:
        return statistics.fmean(self.squares)


def ours(game: KnownGame, budget: int, runs: int, estimator: ShapleyEstimator) -> tuple[Errors, list[Allocation]]:
    squares, seconds, found = [], [], []
    for run in range(runs):
        start = time.perf_counter()
        estimate = estimator.estimate(Game.of(game, game.n), budget, generator=torch.Generator().manual_seed(run))
        seconds.append(time.perf_counter() - start)
        squares.append(float((estimate.values - game.truth).square().mean()))
        found.append(estimate)
    return Errors(squares, statistics.median(seconds)), found


def theirs(game: KnownGame, budget: int, runs: int) -> dict[str, Errors]:
    """Every peer that gives finite values at this budget."""
    cell = {}
    for name, peer in peers().items():
        if game.n > 20 and name in SLOW:
            continue
        squares, start = [], time.perf_counter()
        while len(squares) < runs and time.perf_counter() - start < PEER_SECONDS:
            values = ask(peer, game, budget, 1000 + len(squares))
            if values is None:
                break
            squares.append(float(np.square(values - game.truth.numpy()).mean()))
        if squares:
            cell[name] = Errors(squares, (time.perf_counter() - start) / len(squares))
    return cell


def error_table(instances: Callable[[], Iterator[tuple[int, KnownGame]]]) -> None:
    print("| game | seed | budget | auto | best peer | which (runs) | ratio | zero | truth se^2 | s a call |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for seed, game in instances():
        for multiple, runs in RUNS.items():
            mine, _ = ours(game, multiple * game.n, runs, AutoShapley())
            others = theirs(game, multiple * game.n, runs)
            name = min(others, key=lambda key: others[key].mean)
            best = others[name]
            print(
                f"| {game.name} | {seed} | {multiple}n | {mine.mean:.3g} | {best.mean:.3g} | {name} ({len(best.squares)}) "
                f"| {mine.mean / best.mean:.2f} "
                f"| {float(game.truth.square().mean()):.3g} | {game.truth_variance:.1g} | {mine.seconds:.2f} |",
                flush=True,
            )


def coverage_table(instances: Callable[[], Iterator[tuple[int, KnownGame]]]) -> None:
    """How often value +- 1.96 stderr holds the truth; the truth's own error is added where it is sampled."""
    print("| game | seed | " + " | ".join(f"{multiple}n" for multiple in COVERAGE_RUNS) + " |")
    print("|---|---|" + "---|" * len(COVERAGE_RUNS))
    for seed, game in instances():
        shares = []
        for multiple, runs in COVERAGE_RUNS.items():
            _, found = ours(game, multiple * game.n, runs if game.n <= 20 else max(2, runs // 3), AutoShapley())
            shares.append(statistics.fmean(coverage(estimate, game) for estimate in found))
        print(f"| {game.name} | {seed} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |", flush=True)


def coverage(estimate: Allocation, game: KnownGame) -> float:
    width = (estimate.stderr.square() + game.truth_variance).sqrt()
    rounding = 1e-12 * abs(float(estimate.total - estimate.base))
    return float(((estimate.values - game.truth).abs() <= 1.96 * width + rounding).double().mean())


def speed_table(instances: Callable[[], Iterator[tuple[int, KnownGame]]], rounds: int = 5) -> None:
    """Time to reach the error of captum's Shapley sampling, on the same network, image and patches; runs interleaved."""
    print("| seed | method | evaluations | mean square error | s, median | captum's time over ours |")
    print("|---|---|---|---|---|---|")
    for seed, game in instances():
        if game.n != 49:
            continue
        level = Errors([captum_run(game, 1, run)[0] for run in range(8)], 0.0).mean
        budgets = {
            "auto": budget_to_reach(game, level, AutoShapley(), (2, 3, 4, 5, 8, 10)),
            "permutation": budget_to_reach(game, level, PermutationShapley(), (2, 4, 8, 12, 16, 25)),
        }
        times: dict[str, list[float]] = {"captum, 1 at once": [], "captum, 49 at once": [], **{name: [] for name in budgets}}
        for run in range(rounds):
            times["captum, 1 at once"].append(captum_run(game, 1, run)[1])
            times["captum, 49 at once"].append(captum_run(game, 49, run)[1])
            times["auto"].append(ours(game, budgets["auto"][0], 1, AutoShapley())[0].seconds)
            times["permutation"].append(ours(game, budgets["permutation"][0], 1, PermutationShapley())[0].seconds)
        fastest = min(statistics.median(times[name]) for name in times if name.startswith("captum"))
        for name, seconds in times.items():
            evaluations, error = budgets.get(name, (1 + 49 * CAPTUM_PERMUTATIONS, level))
            median = statistics.median(seconds)
            print(f"| {seed} | {name} | {evaluations} | {error:.3g} | {median:.3f} | {fastest / median:.1f} |", flush=True)


def captum_run(game: KnownGame, at_once: int, seed: int) -> tuple[float, float]:
    """Mean square error and seconds of captum's estimator, used the way its users do: on the image, with a mask of patches."""
    torch.manual_seed(seed)
    picture = game.picture
    method = ShapleyValueSampling(lambda images: picture.net(images)[:, picture.label])
    start = time.perf_counter()
    options = {"feature_mask": picture.owner, "n_samples": CAPTUM_PERMUTATIONS, "perturbations_per_eval": at_once}
    pixels = method.attribute(picture.image[None], baselines=picture.absent[None], **options)
    seconds = time.perf_counter() - start
    values = torch.stack([pixels[0, 0][picture.owner == player][0] for player in range(game.n)]).double()
    return float((values - game.truth).square().mean()), seconds


def budget_to_reach(game: KnownGame, level: float, estimator: ShapleyEstimator, multiples: tuple[int, ...]) -> tuple[int, float]:
    """The least budget tried at which our mean square error is no larger, and that error; the largest tried where none is."""
    for multiple in multiples:
        error = ours(game, multiple * game.n, 6, estimator)[0].mean
        if error <= level:
            break
    return multiple * game.n, error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--only", choices=["error", "coverage", "speed"])
    chosen = parser.parse_args()
    built: dict[tuple[str, int], KnownGame] = {}

    def instances() -> Iterator[tuple[int, KnownGame]]:
        for name in chosen.families:
            build = None
            for seed in chosen.seeds:
                if (name, seed) not in built:
                    build = build or FAMILIES[name]()
                    built[name, seed] = build(seed)
                yield seed, built[name, seed]

    torch.set_num_threads(1)
    for name, table in (("error", error_table), ("coverage", coverage_table), ("speed", speed_table)):
        if chosen.only in (None, name):
            print(f"\n## {name}\n")
            table(instances)


if __name__ == "__main__":
    main()
