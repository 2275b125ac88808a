"""How many rows, steps and units a run takes where nobody said: within a fixed number of operations, so that no result hangs on a clock.

What is left to choose, the width, is chosen by the error on rows that no run was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log2

from vesalius.complexity.networks import DEFAULT_WIDTHS, RowShapes, Trunk
from vesalius.complexity.training import Training

RUN_OPERATIONS = 1.5e11
"""Floating point operations of one run, where its epochs are not given: some five to ten seconds of one CPU thread."""
FLOP_PER_MAC = 6
"""Operations per multiplication of a forward pass: forward and backward, a product and a sum each."""
STEP_OPERATIONS = 4e7
"""What a step costs beside its products, in operations."""
STEPS, EPOCHS = 1000, 20
"""Steps, or passes over the rows if these are more steps, after which little is left to be learnt."""
FEWEST_EPOCHS, FEWEST_STEPS = 3, 150
"""Passes over the rows, and steps, below which a run is not worth its width, or its rows too many."""
BATCHES = (32, 256)
"""Rows per step, at least and at most."""
STEPS_PER_EPOCH = 24
MOST_HELD, HELD = 0.4, (1000, 0.1)
"""Share of rows that are held out, at most; and how many, as a number and a share of all."""
MOST_WIDENINGS = 3
"""How often the width is doubled."""


def held_out_share(rows: int) -> float:
    """Share of rows that are held out where nobody said: two in five of few rows, lest the errors of what is reported be large."""
    return min(MOST_HELD, (HELD[0] + HELD[1] * rows) / rows)


def batch_rows(rows: int) -> int:
    """Rows per step, for so many to train on."""
    power: int = 2 ** int(log2(max(rows / STEPS_PER_EPOCH, 1)))
    return max(BATCHES[0], min(BATCHES[1], power))


def with_batch(how: Training, rows: int) -> Training:
    """The share held out and the rows per step filled in, for a table of so many rows."""
    held = how.held_out if how.held_out is not None else held_out_share(rows)
    return replace(how, held_out=held, batch=how.batch if how.batch is not None else batch_rows(round(rows * (1 - held))))


def with_epochs(how: Training, shape: RowShapes, orders: Sequence[int], rows: int, width: int) -> Training:
    """A width, and the epochs that go with it, for so many rows to train on."""
    if how.epochs is not None:
        return replace(how, width=width)
    assert how.batch is not None
    steps = max(1, rows // min(how.batch, rows))
    wanted = max(ceil(STEPS / steps), EPOCHS)
    return replace(
        how, width=width, epochs=max(1, min(wanted, int(RUN_OPERATIONS / epoch_operations(shape, orders, (rows, steps), width))))
    )


def is_worthwhile(how: Training, rows: int) -> bool:
    """Whether a run of a plan for so many rows to train on is long enough to be judged."""
    assert how.epochs is not None and how.batch is not None
    return how.epochs >= FEWEST_EPOCHS and how.epochs * max(1, rows // how.batch) >= FEWEST_STEPS


def first_width(shape: RowShapes) -> int:
    """Units of a block that are tried first."""
    return DEFAULT_WIDTHS[shape.kind]


def most_rows(shape: RowShapes, orders: Sequence[int], width: int) -> int:
    """Rows to train on that a run of the fewest epochs can afford."""
    return int(RUN_OPERATIONS / FEWEST_EPOCHS / max(epoch_operations(shape, orders, (1, 0), width), 1))


def epoch_operations(shape: RowShapes, orders: Sequence[int], rows_and_steps: tuple[int, int], width: int) -> float:
    """Operations of one pass over the rows, for a trunk with an exit after each of some orders."""
    rows, steps = rows_and_steps
    deep = [order for order in orders if order]
    macs = Trunk(shape, width, max(deep)).macs(len(deep)) if deep else 0
    return FLOP_PER_MAC * macs * rows + STEP_OPERATIONS * steps
