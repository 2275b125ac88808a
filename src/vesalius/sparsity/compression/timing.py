"""Times of several ways to do the same, on the machine at hand: they take turns, so that what else runs here slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from statistics import median

Clock = Callable[[], float]
ROUNDS = 41
TURN_SECONDS = 5e-4
"""Seconds that one turn lasts at least, so that the clock is fine enough."""
NOISE = 0.03
"""Share of a time that is put down to chance."""
MOST_ROUNDS = 0.75
"""Share of the rounds in which the slower of two is slower."""


@dataclass(frozen=True)
class Times:
    """Seconds of one call, one per round and contender; rounds are of the same moments.

    Attributes:
        rounds: by contender.
    """

    rounds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def seconds(self, name: str) -> float:
        """The median over rounds."""
        return median(self.rounds[name])

    def least(self, name: str) -> float:
        """The least of all rounds: what else runs on a shared machine can only add to it."""
        return min(self.rounds[name])

    def ratio(self, name: str, to: str) -> float:
        """The least time, as a multiple of another's."""
        return self.least(name) / self.least(to)

    def is_slower(self, name: str, than: str) -> bool:
        """Whether it takes longer beyond noise: at its best, and in most rounds."""
        pairs = list(zip(self.rounds[name], self.rounds[than], strict=True))
        later = sum(one > other * (1 + NOISE) for one, other in pairs)
        return self.ratio(name, than) > 1 + NOISE and later >= MOST_ROUNDS * len(pairs)


def measure_times(contenders: Mapping[str, Callable[[], object]], clock: Clock, *, rounds: int = ROUNDS) -> Times:
    """Measure; one unmeasured call each first, and one that says how many calls make up a turn.

    Args:
        contenders: what to call.
        clock: seconds, such as ``time.perf_counter``.
        rounds: turns of each.
    """
    alone = []
    for run in contenders.values():
        run()
        start = clock()
        run()
        alone.append(clock() - start)
    calls = max(
        1, int(TURN_SECONDS / max(min(alone, default=TURN_SECONDS), 1e-7))
    )  # as many for all: the first call of a turn meets a cold cache
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = clock()
            for _ in range(calls):
                run()
            taken[name].append((clock() - start) / calls)
    return Times({name: tuple(seconds) for name, seconds in taken.items()})


def choose_form(times: Mapping[int, Times], parameters: Mapping[str, int], reference: str) -> str:
    """The fastest of some forms, or the one with the fewest parameters of those that are as fast within noise.

    Forms that are slower than a reference at some batch size are passed by, unless all of them are.

    Args:
        times: by batch size.
        parameters: numbers that each form stores.
        reference: a contender that no choice may be slower than, beyond noise.
    """

    def is_slower(name: str, than: str) -> bool:
        return any(one.is_slower(name, than) for one in times.values())

    quick = [name for name in parameters if not is_slower(name, reference)] or list(parameters)
    best = min(quick, key=lambda name: prod(one.ratio(name, reference) for one in times.values()))
    return min((name for name in quick if not is_slower(name, best)), key=lambda name: parameters[name])
