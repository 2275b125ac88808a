"""What a survey will take, foretold by a few of its rows."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import Limit, whole_number
from vesalius.games.absence import Baseline
from vesalius.scale.aggregate import Aggregate, PlanRows
from vesalius.scale.folder import save_shard
from vesalius.scale.method import SurveyMethod
from vesalius.scale.options import SurveyOptions
from vesalius.scale.prepare import AskedOfRows, prepare_survey
from vesalius.scale.stream import RowBlock
from vesalius.scale.task import SurveyTask
from vesalius.trace.network import Network

PILOT_ROWS = 512
FEWEST_PARTS = 4
"""Parts of the pilot that are timed apart, so that there is a spread."""
START_SECONDS = 5.0
"""What an actor takes to start: it imports torch and is sent the network."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SurveyCost:
    """The time and the space of a survey, as a few of its rows foretell them.

    Attributes:
        rows: of the data, where it is known.
        method: seconds that a row takes to compute, on this machine as it is now.
        stderr: standard error of that, from parts of the pilot.
        processor: seconds of a processor for a row, which other work on the machine does not lengthen.
        overhead: seconds a row for reading, digests and writing.
        evaluations: of the network for a row, one forward and backward pass counted once; 0 for a sum over rows, which counts none.
        bytes: on disk, a row.
        pilot: rows that were timed.
    """

    rows: int | None
    method: float
    stderr: float
    processor: float
    overhead: float
    evaluations: float
    bytes: float
    pilot: int

    def seconds(self, rows: int | None = None, *, workers: int = 1) -> float:
        """What so many rows take.

        Args:
            rows: by default those of the data.
            workers: of a Ray cluster; one computes here, without actors. The driver reads and writes for all of them, which is the limit.

        Raises:
            InvalidInput: rows that are not known.
        """
        count, workers = self._count(rows), whole_number("workers", workers, Limit(least=1))
        if workers == 1:
            return count * (self.method + self.overhead)
        return START_SECONDS + count * max((self.method + self.overhead) / workers, self.overhead)

    def interval(self, rows: int | None = None) -> tuple[float, float]:
        """Seconds between which 19 of 20 surveys of rows like these are, on a machine as it was for the pilot."""
        count = self._count(rows)
        away = 1.96 * (self.stderr if math.isfinite(self.stderr) else self.method) * count
        return max(0.0, self.seconds(count) - away), self.seconds(count) + away

    def disk(self, rows: int | None = None) -> float:
        """Bytes of all shards."""
        return self._count(rows) * self.bytes

    def _count(self, rows: int | None) -> int:
        found = self.rows if rows is None else whole_number("rows", rows, Limit(least=0))
        if found is None:
            raise InvalidInput("how many rows the data has is not known; name a number of rows")
        return found

    def __repr__(self) -> str:
        ahead = f"{1e3 * self.method:.3g} \N{PLUS-MINUS SIGN} {1e3 * self.stderr:.1g} ms a row to compute"
        ahead = f"{ahead}, {1e3 * self.overhead:.2g} to read and write"
        lines = [f"{ahead}, {self.evaluations:,.0f} evaluations, {self.bytes:,.0f} bytes on disk; from {self.pilot:,} rows"]
        for count in dict.fromkeys([*([] if self.rows is None else [self.rows]), 10_000_000]):
            low, high = self.interval(count)
            told = f"{count:,} rows: {duration(self.seconds(count))} ({duration(low)} to {duration(high)}), {self.disk(count) / 1e9:.2g} GB"
            lines.append(f"  {told}; {duration(self.seconds(count, workers=10))} on 10 workers")
        return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time as people say it."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"


@verb
def survey_cost(  # noqa: PLR0913 - a verb that users call
    model: Any,
    data: Any,
    method: SurveyMethod = "integrated_gradients",
    *,
    pilot: int = PILOT_ROWS,
    target: Any = None,
    baseline: Baseline = None,
    players: Any = None,
    labels: Any = None,
    classes: Sequence[str] = (),
    options: SurveyOptions | None = None,
    tokenizer: Any = None,
) -> SurveyCost:
    """What :func:`vesalius.scale.survey` would take, from timing its first rows; nothing is kept.

    The time of a survey is ``rows * (method + overhead)``: both are a row's, whatever the number of rows. How a row's time goes with
    players and layers is that of its evaluations, see ``docs/scale.md``; the pilot measures it for this network and this method.

    Args:
        model, data, method, target, baseline, players, labels, classes, options, tokenizer: as :func:`vesalius.scale.survey` takes them; of
            an iterator the first batches are used up.
        pilot: rows that are timed, >= 8; those before them warm up.

    Raises:
        InvalidInput: fewer than 8 rows; and as :func:`vesalius.scale.survey`.
    """
    pilot = whole_number("pilot", pilot, Limit(least=2 * FEWEST_PARTS))
    asked = AskedOfRows(
        target=target, baseline=baseline, players=players, labels=labels, classes=classes, options=options or SurveyOptions(),
        tokenizer=tokenizer,
    )  # fmt: skip
    network, task, stream = prepare_survey(model, data, method, asked)
    began = time.perf_counter()
    first = next(iter(replace(stream, block_rows=pilot)))
    reading = (time.perf_counter() - began) / len(first)
    if len(first) < 2 * FEWEST_PARTS:
        raise InvalidInput(f"the data has {len(first)} rows, too few to foretell anything by; give {2 * FEWEST_PARTS} or more")
    return _Pilot(network, _with_plan(network, task, first), first).cost(stream.expected, reading)


def _with_plan(network: Network, task: SurveyTask, first: RowBlock) -> SurveyTask:
    if not isinstance(task.method, Aggregate):
        return task
    rows = first if task.method.settled else None
    return replace(task, plan=task.method.plan(PlanRows(network=network, rows=rows, classes=task.classes, names=tuple(task.names))))


@dataclass(frozen=True, eq=False)
class _Pilot:
    """Rows that are timed.

    Attributes:
        network, task: of the survey.
        rows: those.
    """

    network: Network
    task: SurveyTask
    rows: RowBlock
    parts: int = field(default=FEWEST_PARTS)

    def cost(self, expected: int | None, reading: float) -> SurveyCost:
        """Run the rows, in parts, and write them."""
        sums = isinstance(self.task.method, Aggregate)
        size = max(1, min(self.task.batch_rows, len(self.rows) // self.parts)) if not sums else math.ceil(len(self.rows) / self.parts)
        parts = [part for part in self.rows.batches(size) if len(part) == size]
        self.task.run(self.network, parts[0])
        times, processor = [], []
        for part in parts:
            began, spent = time.perf_counter(), time.process_time()
            self.task.run(self.network, part)
            times.append((time.perf_counter() - began) / size)
            processor.append((time.process_time() - spent) / size)
        whole = self.task.run(self.network, self.rows)
        began = time.perf_counter()
        with TemporaryDirectory(prefix="vesalius-") as folder:
            shard = save_shard(Path(folder), whole, "", 0, self.rows.digest())
            writing = (time.perf_counter() - began) / len(self.rows)
            held = (Path(folder) / shard.file).stat().st_size / len(self.rows)
        evaluations = float(whole.evaluations.double().mean()) if isinstance(whole, Allocation) else 0.0
        return SurveyCost(
            rows=expected,
            method=float(np.mean(times)),
            stderr=float(np.std(times, ddof=1) / len(times) ** 0.5),
            processor=float(np.mean(processor)),
            overhead=reading + writing,
            evaluations=evaluations,
            bytes=held,
            pilot=len(parts) * size,
        )
