"""Pairs of 12 planted and 6 image games of 30 to 1,000 players: error against shapiq, intervals, and what is said to be explained.

    export OMP_NUM_THREADS=1 VESALIUS_DATA=...
    python benchmarks/interaction_recovery.py                      all games
    python benchmarks/interaction_recovery.py --quick              those of up to 100 players that take seconds, without peers
    python benchmarks/interaction_recovery.py --only pairs-60 --seed 7

Errors are mean squares over the Shapley interaction index of all pairs. The truth of planted games is exact; that of image games and of the
dense one is sampled, and its own standard error is added to ours where coverage is counted. ``fresh`` is the share of variance that the
chosen model explains on coalitions drawn anew, beside what the result says of itself. A peer that raises, or takes more than
``PEER_SECONDS``, is named.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import torch
from interaction_estimators import load_images, peers, sampled_pairs, small_cnn
from PIL import Image
from torch import Tensor

import vesalius as vs
from vesalius.data.download import fetch
from vesalius.data.pretrained import PHOTOS, pretrained
from vesalius.games import moebius
from vesalius.interactions.estimators import AutoInteractions, SparseInteractions
from vesalius.interactions.estimators.sparse_model import weigh_dividends
from vesalius.interactions.estimators.stacking import Stack

PEER_SECONDS = 20
REFERENCE = 40_000  # evaluations behind a truth that is sampled
FRESH = 4000  # coalitions by which what is said to be explained is checked
Pairs = dict[tuple[int, ...], float]


@dataclass(frozen=True)
class Recovery:
    """A game, a budget, and the index of its pairs; pairs that are not listed have none.

    Attributes:
        value: as it is asked, noise included.
        clean: the game without noise.
        truth: of pairs.
        variance: mean square standard error of the truth.
    """

    name: str
    n: int
    budget: int
    value: Callable[[Tensor], Tensor]
    clean: Callable[[Tensor], Tensor]
    truth: Pairs
    variance: float = 0.0


# ---- planted games ----------------------------------------------------------------------------------------------------------------

SHAPES = {
    "and": lambda x, w: x.all(1).double(),
    "or": lambda x, w: x.any(1).double(),
    "tanh": lambda x, w: torch.tanh(1.5 * (x.double() @ w)),
    "relu": lambda x, w: torch.relu(x.double() @ w - 0.3),
}
PLANTED = {  # players, evaluations, sizes of terms, terms of each size, shape, noise as a share of the standard deviation
    "pairs-30": (30, 600, (1, 2), 8, "and", 0.0),
    "pairs-60": (60, 1200, (1, 2), 8, "and", 0.0),
    "pairs-60, noise 10 %": (60, 1200, (1, 2), 8, "and", 0.1),
    "triples-60": (60, 3000, (1, 2, 3), 8, "and", 0.0),
    "triples-60, noise 5 %": (60, 3000, (1, 2, 3), 8, "and", 0.05),
    "to five-100": (100, 4000, (1, 3, 5), 5, "and", 0.0),
    "or-40": (40, 1600, (1, 2, 3), 6, "or", 0.0),
    "tanh-40": (40, 1600, (1, 2, 3), 6, "tanh", 0.0),
    "relu-60, noise 2 %": (60, 3000, (2, 3), 6, "relu", 0.02),
    "dense relu-30": (30, 3000, (30,), 12, "relu", 0.0),
    "triples-300": (300, 6000, (1, 2, 3), 10, "and", 0.0),
    "triples-1000, noise 5 %": (1000, 10000, (1, 2, 3), 10, "and", 0.05),
}


def planted(name: str, seed: int) -> Recovery:
    """Sums of functions of a few players each."""
    n, budget, sizes, terms, shape, noise = PLANTED[name]
    rng = np.random.default_rng([seed, list(PLANTED).index(name)])
    parts = []
    for size in sizes:
        for _ in range(terms):
            members = sorted(rng.choice(n, size, replace=False).tolist())
            parts.append(
                (members, float(rng.normal() + np.sign(rng.normal())), torch.tensor(rng.normal(size=size) / max(1, size / 6) ** 0.5))
            )

    def clean(masks: Tensor) -> Tensor:
        return sum(worth * SHAPES[shape](masks[:, members], weights) for members, worth, weights in parts)

    if max(sizes) > 20:
        truth, variance = sampled_pairs(clean, n, torch.Generator().manual_seed(seed), REFERENCE)
        return Recovery(name, n, budget, clean, clean, dict(zip(combinations(range(n), 2), truth.tolist(), strict=True)), variance)
    truth: Pairs = {}
    for members, worth, weights in parts:
        inside = moebius.membership(len(members))
        dividends = moebius.dividends(worth * SHAPES[shape](inside, weights))[1:]
        pairs = torch.tensor(list(combinations(range(len(members)), 2)), dtype=torch.long).reshape(-1, 2)
        rows = torch.zeros(len(pairs), len(members), dtype=torch.bool).scatter_(1, pairs, True)
        for pair, found in zip(pairs.tolist(), (weigh_dividends(rows, inside[1:], "k_sii", 2) @ dividends).tolist(), strict=True):
            key = tuple(members[at] for at in pair)
            truth[key] = truth.get(key, 0.0) + found
    spread = float(clean(torch.rand(2000, n, generator=torch.Generator().manual_seed(seed)) < 0.5).std())
    drawn = torch.Generator().manual_seed(seed + 1)

    def value(masks: Tensor) -> Tensor:
        return clean(masks) + noise * spread * torch.randn(len(masks), dtype=torch.float64, generator=drawn)

    return Recovery(name, n, budget, value, clean, truth)


# ---- image games ------------------------------------------------------------------------------------------------------------------

IMAGES = {  # network, players along a side, evaluations
    "FashionMNIST, 49 patches": ("FashionMNIST", 7, 2500),
    "MNIST, 49 patches": ("MNIST", 7, 2500),
    "ResNet-20, 64 patches": ("resnet20", 8, 2500),
    "ResNet-20, 64 patches, another": ("resnet20", 8, 6000),
    "ResNet-20, 36 patches": ("resnet20", 6, 1800),
    "SqueezeNet at 95 px, 36 patches": ("squeezenet", 6, 1800),
}


def image(name: str, seed: int) -> Recovery:
    """The logit of a class, of an image whose absent parts are black (digits, clothes) or grey."""
    kind, side, budget = IMAGES[name]
    at = seed * 61 + 7 * list(IMAGES).index(name)
    if kind == "squeezenet":
        net, picture = pretrained("squeezenet").model, small_photo()
        label, absent = int(net(picture[None]).argmax()), picture.mean((1, 2), keepdim=True)
    else:
        images, labels, tests, test_labels = load_images("cifar10" if kind == "resnet20" else kind)
        picture, label = tests[at % len(tests)], int(test_labels[at % len(tests)])
        net = pretrained("resnet20").model if kind == "resnet20" else small_cnn(images, labels)
        absent = images.mean(0) if kind == "resnet20" else torch.zeros_like(picture)
    high, wide = picture.shape[-2:]
    owner = (torch.arange(high) * side // high)[:, None] * side + torch.arange(wide) * side // wide
    net = net.eval()

    @torch.no_grad()
    def value(masks: Tensor) -> Tensor:
        found = []
        for part in masks.split(128):
            keep = part[:, owner.flatten()].view(-1, 1, high, wide).float()
            found.append(net(absent + keep * (picture - absent)).flatten(1)[:, label].double())
        return torch.cat(found)

    truth, variance = sampled_pairs(value, side**2, torch.Generator().manual_seed(seed), REFERENCE)
    return Recovery(name, side**2, budget, value, value, dict(zip(combinations(range(side**2), 2), truth.tolist(), strict=True)), variance)


def small_photo() -> Tensor:
    """The photograph of a football match at 95 by 95 pixels."""
    with Image.open(fetch(PHOTOS["soccer"])) as file:
        return torch.tensor(np.array(file.convert("RGB").resize((95, 95)), dtype=np.float32) / 255).permute(2, 0, 1)


# ---- ours and theirs --------------------------------------------------------------------------------------------------------------


def ours(game: Recovery, seed: int) -> str:
    """Cells of a row: who, error, share of intervals that hold the truth (nonzero, largest tenth, all), explained, fresh, seconds."""
    auto, generator, start = AutoInteractions(), torch.Generator().manual_seed(seed), time.process_time()
    asked = vs.Game.of(game.value, game.n)
    seen, model = auto.fit(asked, game.budget, 2, generator)
    found = model.read(asked, seen, generator) if isinstance(model, Stack) else SparseInteractions().read(asked, seen, model, 2, generator)
    seconds = time.process_time() - start
    listed = {
        tuple(row.nonzero().flatten().tolist()): (value, error)
        for row, value, error in zip(found.coalitions, found.values.tolist(), found.stderr.tolist(), strict=True)
        if int(row.sum()) == 2
    }
    pairs = sorted(listed.keys() | game.truth.keys())
    true = torch.tensor([game.truth.get(pair, 0.0) for pair in pairs], dtype=torch.float64)
    values, errors = torch.tensor([listed.get(pair, (0.0, 0.0)) for pair in pairs], dtype=torch.float64).unbind(1)
    inside = ((values - true).abs() <= 1.96 * (errors.square() + game.variance).sqrt() + 1e-9).double()
    fresh = torch.rand(FRESH, game.n, generator=torch.Generator().manual_seed(seed + 99)) < 0.5
    y = game.value(fresh)
    so = 1 - float((y - model.predict(fresh)).square().mean() / y.var(correction=0))
    size = true.abs()
    nonzero = size > 3 * game.variance**0.5 + 1e-9
    largest = size >= size[nonzero].sort().values[-max(1, int(nonzero.sum()) // 10)]
    error = float((values - true).square().sum()) / comb(game.n, 2)
    zero = float(true.square().sum()) / comb(game.n, 2)
    covered = " / ".join(f"{100 * float(inside[part].mean()):.0f}" for part in (nonzero, largest, torch.ones_like(nonzero)))
    cells = [found.provenance["estimator"], f"{error:.2g}", f"{zero:.2g}", covered, f"{model.explained:.4f}", f"{so:.4f}", f"{seconds:.1f}"]
    return " | ".join([*cells, "yes" if found.stderr_note else ""])


def theirs(game: Recovery, seed: int) -> str:
    """The best peer, its error and its seconds, and those who gave nothing."""
    found, failed = {}, []
    for name, (kind, options) in peers().items():
        queue: multiprocessing.SimpleQueue = multiprocessing.SimpleQueue()
        run = multiprocessing.Process(target=one_peer, args=(game, kind, options, seed, queue))
        run.start()
        run.join(PEER_SECONDS)
        if run.is_alive():
            run.kill()
            failed.append(f"{name}: over {PEER_SECONDS} s")
            continue
        error, seconds = queue.get()
        if isinstance(error, str):
            failed.append(f"{name}: {error}")
        else:
            found[name] = (error, seconds)
    best = min(found, key=lambda name: found[name][0], default=None)
    cells = ["none", "", ""] if best is None else [best, f"{found[best][0]:.2g}", f"{found[best][1]:.1f}"]
    return " | ".join([*cells, "; ".join(failed)])


def one_peer(game: Recovery, kind: type, options: dict[str, object], seed: int, queue: multiprocessing.SimpleQueue) -> None:
    np.random.seed(seed)
    random.seed(seed)
    warnings.simplefilter("ignore")
    start = time.process_time()
    try:
        found = kind(n=game.n, random_state=seed, **options).approximate(
            game.budget, lambda masks: game.value(torch.as_tensor(np.atleast_2d(masks)).bool()).numpy()
        )
        square = 0.0
        for pair in combinations(range(game.n), 2):
            square += (float(found[pair]) - game.truth.get(pair, 0.0)) ** 2
        answer: object = square / comb(game.n, 2)
        if not np.isfinite(square):
            answer = "not finite"
    except Exception as error:  # whatever a peer raises is what the table says
        answer = type(error).__name__
    queue.put((answer, time.process_time() - start))


def games(seed: int, only: str | None, quick: bool) -> Iterator[Recovery]:
    for name in PLANTED:
        if only in (None, name) and not (quick and PLANTED[name][0] > 100):
            yield planted(name, seed)
    for name in IMAGES:
        if only in (None, name) and not quick:
            yield image(name, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=501, help="development used 1 to 20")
    parser.add_argument("--only", choices=[*PLANTED, *IMAGES])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--alone", action="store_true", help="without peers")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    head = ["game", "budget", "auto is", "error", "zero", "covered: nonzero / largest / all, %", "explained", "fresh", "s", "note"]
    print("| " + " | ".join([*head, "best peer", "error", "s", "no values from"]) + " |")
    print("|" + "---|" * 14)
    for game in games(chosen.seed, chosen.only, chosen.quick):
        mine = ours(game, chosen.seed)
        other = " | | | " if chosen.quick or chosen.alone else theirs(game, chosen.seed)
        print(f"| {game.name} | {game.budget} | {mine} | {other} |", flush=True)


if __name__ == "__main__":
    main()
