"""Interaction estimators against those of shapiq: error of the pairs' Shapley interaction index at equal budget, coverage, sparse recovery.

    export OMP_NUM_THREADS=1 VESALIUS_DATA=...
    python benchmarks/interaction_estimators.py                           all tables
    python benchmarks/interaction_estimators.py --only small --seeds 401  a part, on other instances

A cell keeps the peer with the smallest mean square error, so a ratio below 1 beats every one of them; shapiq's kADDSHAP estimates Shapley
values alone and is not among them. Up to 16 players the truth is exact; for 49 patches it is sampled and carries its own standard error.
A peer stops early in a cell once it has used ``PEER_SECONDS`` there.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import torch
from games_for_shapley import digits_cnn, random_mlp, table_game, train_network, unanimity
from shapiq import approximator as shapiq
from torch import Tensor, nn

from vesalius.games.game import Game
from vesalius.interactions.estimators import (
    ExactInteractions,
    LeastSquaresInteractions,
    PermutationInteractions,
    SparseInteractions,
    SurrogateInteractions,
    interactions_of,
)
from vesalius.interactions.estimators.estimate import pair_indices
from vesalius.interactions.estimators.gaussian_process import indicator_sii

SEEDS = (301, 302)  # development used 201 to 204
RUNS = {10: 4, 100: 2}  # repetitions by evaluations per player
PEER_RUNS = 2
PEER_SECONDS = 10.0
LARGE_BUDGET = 10_000
REFERENCE = 150_000  # evaluations behind the truth of the 49-patch games, in ``BATCHES`` independent parts
BATCHES = 10


@dataclass(frozen=True)
class PairGame:
    """A game, the interaction index of all its pairs, and the mean square of that truth's standard error."""

    name: str
    n: int
    value: Callable[[Tensor], Tensor]
    truth: Tensor
    truth_variance: float = 0.0

    def ask(self, masks: np.ndarray) -> np.ndarray:
        """As shapiq calls it: some of its estimators ask for one coalition."""
        return self.value(torch.as_tensor(np.atleast_2d(masks))).numpy()


def peers() -> dict[str, tuple[type, dict[str, object]]]:
    """Every estimator of the pairs' interaction index in shapiq 1.4.1, and its main variants."""
    paired = {"pairing_trick": True}
    return {
        "KernelSHAPIQ": (shapiq.KernelSHAPIQ, {}),
        "KernelSHAPIQ, paired": (shapiq.KernelSHAPIQ, paired),
        "InconsistentKernelSHAPIQ": (shapiq.InconsistentKernelSHAPIQ, {}),
        "InconsistentKernelSHAPIQ, paired": (shapiq.InconsistentKernelSHAPIQ, paired),
        "SVARMIQ": (shapiq.SVARMIQ, {}),
        "SVARMIQ, paired": (shapiq.SVARMIQ, paired),
        "SHAPIQ, paired": (shapiq.SHAPIQ, paired),
        "PermutationSamplingSII": (shapiq.PermutationSamplingSII, {}),
        "ProxySPEX": (shapiq.ProxySPEX, {"index": "k-SII", "max_order": 2}),
    }


def theirs(game: PairGame, budget: int, runs: int, *, loud: bool = False) -> dict[str, list[float]]:
    """Mean square errors of every peer that gives finite values at this budget; nothing is substituted for one that raises."""
    cell = {}
    for name, (kind, options) in peers().items():
        squares, start = [], time.perf_counter()
        while len(squares) < runs and time.perf_counter() - start < PEER_SECONDS:
            np.random.seed(len(squares))
            random.seed(len(squares))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found = kind(n=game.n, random_state=1000 + len(squares), **options).approximate(budget, game.ask)
                except (ValueError, IndexError, ZeroDivisionError, np.linalg.LinAlgError, RuntimeError, KeyError, TypeError):
                    break
            values = np.array([found[pair] for pair in combinations(range(game.n), 2)])
            squares.append(float(np.square(values - game.truth.numpy()).mean()))
        if squares and np.isfinite(squares).all():
            cell[name] = squares
        if loud:
            print(f"  {name}: {cell.get(name, 'no values')}, {time.perf_counter() - start:.0f} s", flush=True)
    return cell


@dataclass(frozen=True)
class Ours:
    """Mean square errors of repeated runs, the share of intervals that hold the truth, what was explained, and the median time."""

    squares: list[float]
    covered: float
    explained: float
    seconds: float


def ours(game: PairGame, budget: int, runs: int, estimator: object = "auto") -> Ours:
    squares, covered, seconds, explained = [], [], [], []
    for run in range(runs):
        start = time.perf_counter()
        found = interactions_of(
            Game.of(game.value, game.n), estimator=estimator, budget=budget, generator=torch.Generator().manual_seed(run)
        )
        seconds.append(time.perf_counter() - start)
        error = (found.values - torch.cat([torch.zeros(game.n), game.truth]))[game.n :]
        width = (found.stderr[game.n :].square() + game.truth_variance).sqrt()
        squares.append(float(error.square().mean()))
        covered.append(float((error.abs() <= 1.96 * width + 1e-12).double().mean()))
        explained.append(found.provenance["explained"])
    return Ours(squares, statistics.fmean(covered), statistics.fmean(explained), statistics.median(seconds))


def small_table(seeds: list[int]) -> None:
    print("| game | seed | budget | auto | best peer | which (runs) | ratio | zero | covered | explained | s a call |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for seed, game in small_games(seeds):
        for multiple, runs in RUNS.items():
            mine = ours(game, multiple * game.n, runs)
            others = theirs(game, multiple * game.n, PEER_RUNS)
            row(game, seed, f"{multiple}n", mine, others)


def large_table(seeds: list[int]) -> None:
    """49 patches; also with fewer evaluations than the peers."""
    print("| game | seed | budget | auto | best peer | which (runs) | ratio | zero | covered | explained | s a call |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for game in large_games(seeds[0]):
        print(f"\ntruth of {game.name}: mean square standard error {game.truth_variance:.2g}", flush=True)
        others = theirs(game, LARGE_BUDGET, 1, loud=True)
        for budget in (LARGE_BUDGET // 5, LARGE_BUDGET):
            row(game, seeds[0], str(budget), ours(game, budget, 1), others)


def row(game: PairGame, seed: int, budget: str, mine: Ours, others: dict[str, list[float]]) -> None:
    name = min(others, key=lambda key: statistics.fmean(others[key]))
    best = statistics.fmean(others[name])
    error = statistics.fmean(mine.squares)
    print(
        f"| {game.name} | {seed} | {budget} | {error:.3g} | {best:.3g} | {name} ({len(others[name])}) | {error / best:.3f} "
        f"| {float(game.truth.square().mean()):.3g} | {100 * mine.covered:.0f} % | {mine.explained:.3f} | {mine.seconds:.1f} |",
        flush=True,
    )


def estimator_table(seeds: list[int]) -> None:
    """Our estimators side by side at 100n, 'least_squares' against its own index; permutation needs 2 sweeps."""
    print("| game | seed | " + " | ".join(("surrogate", "permutation", "sparse")) + " | (mean square error, covered, explained)")
    print("|---|---|---|---|---|")
    for seed, game in small_games(seeds[:1]):
        cells = []
        for estimator in (SurrogateInteractions(), PermutationInteractions(), SparseInteractions()):
            found = ours(game, 100 * game.n, 1, estimator)
            cells.append(f"{found.squares[0]:.2g}, {100 * found.covered:.0f} %, {found.explained:.3f}")
        print(f"| {game.name} | {seed} | " + " | ".join(cells) + " |", flush=True)


def faith_table(seeds: list[int]) -> None:
    """'least_squares' and shapiq's RegressionFSII against the exact Faith-Shap index of order 2."""
    print("| game | seed | budget | least_squares | RegressionFSII, paired | ratio | covered |")
    print("|---|---|---|---|---|---|---|")
    for seed, game in small_games(seeds[:1]):
        truth = faith_shap(game)
        budget = 50 * game.n
        found = [
            LeastSquaresInteractions().estimate(Game.of(game.value, game.n), budget, generator=torch.Generator().manual_seed(run))
            for run in range(3)
        ]
        mine = statistics.fmean(float((one.values - truth)[game.n :].square().mean()) for one in found)
        covered = statistics.fmean(float(((one.values - truth).abs() <= 1.96 * one.stderr).double().mean()) for one in found)
        other = []
        for run in range(3):
            peer = shapiq.RegressionFSII(n=game.n, max_order=2, pairing_trick=True, random_state=run).approximate(budget, game.ask)
            values = np.array([peer[pair] for pair in combinations(range(game.n), 2)])
            other.append(float(np.square(values - truth[game.n :].numpy()).mean()))
        best = statistics.fmean(other)
        print(f"| {game.name} | {seed} | 50n | {mine:.3g} | {best:.3g} | {mine / best:.2f} | {100 * covered:.0f} % |", flush=True)


def sparse_table(seeds: list[int]) -> None:
    """64 players, dividends of 1 to 5 players: largest error of any dividend, against ProxySPEX and the surrogate on pairs."""
    print("| seed | dividends | budget | found | largest error | explained | s |")
    print("|---|---|---|---|---|---|---|")
    for seed in seeds:
        for terms, budget in ((12, 1000), (12, 2000), (25, 4000)):
            members, worth, value = sparse_game(64, terms, seed)
            start = time.perf_counter()
            found = interactions_of(Game.of(value, 64), max_order=None, estimator="sparse", budget=budget)
            seconds = time.perf_counter() - start
            want = as_table(members, worth)
            got = as_table(found.coalitions, found.values)
            error = max(abs(want.get(key, 0.0) - got.get(key, 0.0)) for key in want | got)
            hits = len(want.keys() & got.keys())
            explained = found.provenance["explained"]
            print(f"| {seed} | {len(want)} | {budget} | {hits} of {len(got)} | {error:.2g} | {explained:.4f} | {seconds:.1f} |", flush=True)


def sparse_game(players: int, terms: int, seed: int) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
    rng = np.random.default_rng(seed)
    members = torch.tensor(np.stack([rng.permutation(players) < rng.integers(1, 6) for _ in range(terms)]))
    worth = torch.tensor(rng.normal(size=terms) + np.sign(rng.normal(size=terms)))
    size = members.sum(1).float()
    return members, worth, lambda masks: ((masks.float() @ members.float().T) == size).double() @ worth


def as_table(members: Tensor, worth: Tensor) -> dict[tuple[int, ...], float]:
    table: dict[tuple[int, ...], float] = {}
    for row_, value in zip(members, worth.tolist(), strict=True):
        key = tuple(row_.nonzero().flatten().tolist())
        table[key] = table.get(key, 0.0) + value
    return table


# ---- games ------------------------------------------------------------------------------------------------------------------------


def small_games(seeds: list[int]) -> Iterator[tuple[int, PairGame]]:
    builders = [
        unanimity("unanimity-12", 12, terms=40, largest=12, lowest_weight=0.0),
        unanimity("unanimity-16", 16, terms=60, largest=8, lowest_weight=-1.0),
        random_mlp("mlp-12", 12),
        random_mlp("mlp-16", 16),
        digits_cnn("digits-16"),
        sigmoid_14,
    ]
    for build in builders:
        for seed in seeds:
            game = build(seed)
            whole = ExactInteractions().estimate(Game.of(game.function, game.n), 1 << game.n)
            yield seed, PairGame(game.name, game.n, game.function, whole.values[game.n :])


def sigmoid_14(seed: int) -> object:
    """The sigmoid of a random polynomial of order 2 with few pairs, as of a tabular model."""
    rng = np.random.default_rng([seed, 5])
    linear = torch.tensor(rng.normal(size=14) * 2.4 / 14**0.5)
    pairs = torch.tensor(np.triu(rng.normal(size=(14, 14)), 1) * (rng.random((14, 14)) < 0.15))
    return table_game("sigmoid-14", 14, lambda m: torch.sigmoid(m.double() @ linear + ((m.double() @ pairs) * m.double()).sum(1)))


def faith_shap(game: PairGame) -> Tensor:
    """Exact Faith-Shap of order 2: the regression with all coalitions."""
    return LeastSquaresInteractions().estimate(Game.of(game.value, game.n), 1 << game.n).values


def large_games(seed: int) -> Iterator[PairGame]:
    """Logits of small CNNs at images of 7 x 7 patches; absent patches are black (MNIST, Fashion) or the mean image (CIFAR)."""
    for name in ("MNIST", "FashionMNIST", "cifar10"):
        images, labels, tests, test_labels = load_images(name)
        net = small_cnn(images, labels)
        at = (seed * 61) % len(tests)
        absent = images.mean(0) if name == "cifar10" else torch.zeros_like(images[0])
        side = images.shape[-1]
        line = torch.arange(side) * 7 // side
        owner = line[:, None] * 7 + line
        label = int(test_labels[at])

        @torch.no_grad()
        def value(masks: Tensor, net=net, image=tests[at], absent=absent, owner=owner, label=label) -> Tensor:
            parts = []
            for part in masks.split(1024):
                keep = part[:, owner.flatten()].view(-1, 1, *owner.shape).float()
                parts.append(net(absent + keep * (image - absent))[:, label].double())
            return torch.cat(parts)

        truth, variance = sampled_pairs(value, 49, torch.Generator().manual_seed(seed))
        yield PairGame(f"{name}-49", 49, value, truth, variance)


def load_images(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if name == "cifar10":
        parts = []
        for part in ("train_first4000", "test_first1000"):
            data = np.load(data_folder() / "cifar10" / f"cifar10_{part}.npz")
            images = next(data[key] for key in data.files if data[key].ndim == 4)
            labels = next(data[key] for key in data.files if data[key].ndim == 1)
            images = torch.tensor(images / 255.0, dtype=torch.float32)
            parts += [images.permute(0, 3, 1, 2) if images.shape[-1] == 3 else images, torch.tensor(labels.astype(np.int64))]
        return tuple(parts)
    images, labels = load_idx_images(name, "train")
    return images[:10000], labels[:10000], *load_idx_images(name, "t10k")


def load_idx_images(name: str, part: str) -> tuple[Tensor, Tensor]:
    raw = data_folder() / name / "raw"
    images = np.frombuffer(gzip.decompress((raw / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((raw / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return torch.tensor(images.reshape(-1, 1, 28, 28) / 255, dtype=torch.float32), torch.tensor(labels.astype(np.int64))


def data_folder() -> Path:
    return Path(os.environ["VESALIUS_DATA"])


def small_cnn(images: Tensor, labels: Tensor) -> nn.Module:
    channels, side = images.shape[1], images.shape[-1]
    net = nn.Sequential(
        nn.Conv2d(channels, 8, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * (side // 4) ** 2, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    return train_network(net, images, labels, 3)


def sampled_pairs(
    value: Callable[[Tensor], Tensor], n: int, generator: torch.Generator, reference: int = REFERENCE
) -> tuple[Tensor, float]:
    """The index of all pairs, unbiased, and its mean square standard error.

    What a polynomial of order 2 leaves over is summed with the weights of the index: sizes up to 2 and from n - 2 on in full, the others
    sampled, more where weights are larger. The polynomial is fitted to other coalitions, so nothing is biased by it.
    """
    fit = LeastSquaresInteractions().estimate(Game.of(value, n), 6000, generator=generator)
    linear, pairs = fit.values[:n], torch.zeros(n, n, dtype=torch.float64)
    pairs[tuple(pair_indices(n))] = fit.values[n:]

    def left(masks: Tensor) -> Tensor:
        m = masks.double()
        return value(masks) - fit.base - m @ linear - ((m @ pairs) * m).sum(1)

    few = torch.zeros(n + comb(n, 2), n, dtype=torch.bool)
    for at, members in enumerate([(i,) for i in range(n)] + list(combinations(range(n), 2))):
        few[at, list(members)] = True
    sure = torch.cat([few, ~few])
    fixed = fit.values[n:] + indicator_sii(sure.double()).T @ left(sure)
    middle = list(range(3, n - 2))
    share = torch.tensor([1 / size + 1 / (n - size) for size in middle])
    counts = (share / share.sum() * reference / BATCHES).ceil().long().tolist()
    batches = []
    for _ in range(BATCHES):
        total = torch.zeros_like(fixed)
        for size, count in zip(middle, counts, strict=True):
            masks = torch.rand(count, n, generator=generator).argsort(1).argsort(1) < size
            total += comb(n, size) / count * (indicator_sii(masks.double()).T @ left(masks))
        batches.append(total)
    found = torch.stack(batches)
    return fixed + found.mean(0), float((found.var(0) / BATCHES).mean())


TABLES = {"small": small_table, "large": large_table, "estimators": estimator_table, "faith": faith_table, "sparse": sparse_table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--only", choices=list(TABLES))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name, table in TABLES.items():
        if chosen.only in (None, name):
            print(f"\n## {name}\n", flush=True)
            table(chosen.seeds)


if __name__ == "__main__":
    main()
