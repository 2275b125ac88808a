"""Dividends and indices: the Moebius transform, k-SII against shapiq's exact computer, and where the time of 65,536 evaluations goes.

Claims: the transform of 20 players takes at most 0.05 s and 1.2 times the memory of its input; k-SII of order 2 of 14 players is at least
200 times faster than shapiq's exact computer given the same table; the dividends of 16 patches of a CIFAR-10 image spend at least 90 % of
their time within the pretrained ResNet-20.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import shapiq
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import median_seconds, peak_megabytes, print_table
from tests.zoo import cifar_test_images, resnet20
from vesalius.games.moebius import dividends, dividends_
from vesalius.interactions import harsanyi_dividends, interactions

DATA = Path(os.environ["VESALIUS_DATA"])

MEMORY = """
import torch
from vesalius.games.moebius import {name}
{name}(torch.zeros(1 << 10, dtype=torch.float64))
def run():
    values = torch.ones(1 << 20, dtype=torch.float64)
    {name}(values)
"""


def random_values(players: int) -> torch.Tensor:
    """A table of random values."""
    return torch.randn(1 << players, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def transform() -> None:
    """Time and memory at 20 players; a copy of the table, which both need a first time, is timed for scale."""
    start, work = random_values(20), torch.empty(1 << 20, dtype=torch.float64)
    wide = torch.randn(1 << 14, 14, dtype=torch.float64)
    times = median_seconds(
        {
            "in place, copied there first": lambda: dividends_(work.copy_(start)),
            "copying": lambda: dividends(start),
            "the copy alone": lambda: work.copy_(start),
            "2**14 x 14, for the audit": lambda: dividends(wide),
        },
        rounds=15,
    )
    print_table(list(times.items()), ("Moebius transform of 2**20 values", "median s"))
    for name in ("dividends_", "dividends"):
        print(f"{name}: peak memory {peak_megabytes(MEMORY.format(name=name)) / 8:.2f}x its input, input included (8 MiB)")


def indices() -> None:
    """k-SII of order 2 at 14 players from the same table: ours with transform and listing, theirs with its evaluation."""
    known = random_values(14)
    place = 1 << torch.arange(14)
    game = vs.Game.of(lambda masks: known[masks.long() @ place], 14)
    theirs = game.to_shapiq()
    ask = known.numpy(), place.numpy()

    def peer() -> object:
        computer = shapiq.ExactComputer(lambda masks: ask[0][masks @ ask[1]], 14)
        return computer("k-SII", 2)

    times = median_seconds({"ours": lambda: harsanyi_dividends(game).reduce("k_sii"), "shapiq": peer}, rounds=3)
    found, expected = harsanyi_dividends(game).reduce("k_sii"), shapiq.ExactComputer(theirs)("k-SII", 2)
    members = [tuple(row.nonzero().flatten().tolist()) for row in found.coalitions]
    worst = max(abs(expected[who] - value) for who, value in zip(members, found.values.tolist(), strict=True))
    print_table(list(times.items()), ("k-SII of order 2, 14 players", "median s"))
    print(f"{times['shapiq'] / times['ours']:.0f} times faster; largest difference {worst:.1e}")


def time_in_network(network: vs.Network, image: torch.Tensor, players: vs.Players) -> tuple[float, float, int]:
    """Seconds of all dividends, share of them within the network, and evaluations."""
    spent = 0.0

    def timed(run: Callable[..., object], *args: object) -> object:
        nonlocal spent
        start = time.perf_counter()
        found = run(*args)
        spent += time.perf_counter() - start
        return found

    program = type(network).program

    def program_timed(self: vs.Network, *names: object) -> object:
        return partial(timed, program(self, *names))

    type(network).program = program_timed  # the programs a question is compiled to; put back below
    try:
        start = time.perf_counter()
        found = interactions(network, image, players)
        taken = time.perf_counter() - start
    finally:
        type(network).program = program
    return taken, spent / taken, int(found.evaluations)


def network_share() -> None:
    """65,536 evaluations of ResNet-20."""
    model = resnet20(DATA).eval().requires_grad_(False)
    image = cifar_test_images(DATA)[0][0]
    network = vs.trace(model, image[None])
    players = vs.Players.patches(image, 8)
    seconds, share, evaluations = time_in_network(network, image, players)
    print(f"{evaluations} evaluations: {seconds:.1f} s, {share:.1%} of them within the network")


def main() -> None:
    """Print the tables."""
    transform()
    indices()
    network_share()


if __name__ == "__main__":
    main()
