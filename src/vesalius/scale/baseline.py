"""A baseline that is the same for a row whatever rows are computed beside it.

Axes: rows of all blocks.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.numbers import is_number, plain_number
from vesalius.games.absence import NAMED, Absence, Baseline, Constant, Mean, as_absence
from vesalius.methods import Method
from vesalius.scale.aggregate import Aggregate
from vesalius.scale.stream import RowStream
from vesalius.scale.task import Dividends, SurveyTask
from vesalius.trace.question import ask


def settle_baseline(baseline: Baseline, task: SurveyTask, stream: RowStream) -> Absence | None:
    """What stands in for absent players, for all rows alike.

    Args:
        baseline: as :func:`vesalius.attribute` takes it; ``"mean"`` is that of all rows of the stream, which is gone through for it.
        task: what is asked.
        stream: of which rows.

    Raises:
        InvalidInput: one beside a method of the caller's own; one that needs rows of data that is gone through only once.
        UnknownName, WrongType: as :func:`vesalius.games.absence.as_absence`.
    """
    if isinstance(task.method, Aggregate) and not task.method.explains:
        if any(part is not None for part in (baseline, task.players, task.at, task.target)):
            raise InvalidInput(
                f"{task.method.name!r} is asked in options of its own, without target=, baseline=, players= and at=; leave them out here"
            )
        return None
    if not isinstance(task.method, (Method, Dividends, Aggregate)):
        if baseline is not None or task.players is not None or task.at is not None:
            raise InvalidInput("an own method has its own baseline=, players= and at=; leave them out here")
        return None
    if isinstance(baseline, str):
        require_known("baseline", baseline, NAMED)
        baseline = NAMED[baseline]
    if isinstance(baseline, Mean) and baseline.data is None:
        return Constant(_mean_of(stream, task))
    if baseline is None or isinstance(baseline, Absence):
        return baseline
    if is_number(baseline):
        return Constant(plain_number(baseline))
    stream.require_repeatable("this baseline")
    first = next(iter(stream))
    homes = stream.network.devices
    inputs = tuple(tensor[:1].to(homes[0]) if len(homes) == 1 else tensor[:1] for tensor in first.inputs)
    return as_absence(baseline, ask(stream.network, inputs, at=task.at))


def _mean_of(stream: RowStream, task: SurveyTask) -> Float[Tensor, "..."]:
    """The mean of all rows, in one pass."""
    if task.at is not None or len(stream.network.inputs) > 1:
        raise InvalidInput("the baseline 'mean' is that of the rows of one input; for another value give it, or vesalius.Mean(data)")
    stream.require_repeatable("the baseline 'mean'")
    total: Tensor | None = None
    count = 0
    for block in stream:
        rows = block.inputs[0]
        if not rows.is_floating_point():
            raise InvalidInput(f"rows of whole numbers ({rows.dtype}), such as tokens, have no mean; give a token or a background of rows")
        own = rows.double().sum(0)
        total = own if total is None else total + own
        count += len(rows)
    assert total is not None, "a stream without rows is refused"
    mean: Tensor = (total / count).to(rows.dtype)
    return mean
