"""The verb that keeps a result in a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.logging.record import make_record
from vesalius.logging.runs import writer_of


@verb
def log(result: Any, run: Any, *, name: str = "vesalius", step: int | None = None) -> None:
    """Keep a result in a run of TensorBoard, MLflow or Weights & Biases: numbers, a figure, and the page where the tool keeps such.

    Args:
        result: any that :func:`vesalius.report` shows, or several by name, or a report.
        run: a ``SummaryWriter``; the module ``mlflow`` or a run of ``mlflow.start_run()``; a run of ``wandb.init()``; a logger of
            Lightning, by its run, or else by its numbers alone.
        name: that its numbers begin with, followed by a slash.
        step: of training, where there is one.

    Raises:
        WrongType: neither a result nor a run.
        InvalidInput: no results, an empty name, or a tool that is not installed.
    """
    if not name.strip("/ "):
        raise InvalidInput("name= is empty; results are kept under it, such as 'audit'")
    several = {f"{name}/{key}": one for key, one in result.items()} if type(result) is dict else {name: result}
    if not several:
        raise InvalidInput("there are no results to log: the mapping is empty")
    write = writer_of(run)
    records: Mapping[str, Any] = {key: make_record(one, key) for key, one in several.items()}
    for key, record in records.items():
        write(run, record, key, step)
