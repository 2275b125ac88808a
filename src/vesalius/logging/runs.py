"""How each tool is told: one small function per tool, chosen by what the run is. None of the tools is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.logging.record import LoggedRecord

EXPECTED = (
    "a SummaryWriter of TensorBoard, the module mlflow or a run of mlflow.start_run(), a run of wandb.init(), or a logger of Lightning"
)
MLFLOW_NAME = 250
"""Characters that MLflow takes for the name of a metric."""

Writer = Callable[[Any, LoggedRecord, str, int | None], None]


def write_to_tensorboard(run: Any, record: LoggedRecord, name: str, step: int | None) -> None:
    """Scalars and an image; TensorBoard keeps no pages."""
    for key, value in record.numbers.items():
        run.add_scalar(f"{name}/{key}", value, global_step=step)
    if record.figure is not None:
        run.add_figure(f"{name}/figure", record.figure, global_step=step, close=False)


def write_to_wandb(run: Any, record: LoggedRecord, name: str, step: int | None) -> None:
    """One call of ``run.log``, which the module wandb has too: numbers, a ``wandb.Image`` and the page as ``wandb.Html``.

    Raises:
        InvalidInput: wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise InvalidInput("logging to Weights & Biases needs wandb: pip install 'vesalius[wandb]'") from error
    media = {} if record.figure is None else {f"{name}/figure": wandb.Image(record.figure)}
    numbers = {f"{name}/{key}": value for key, value in record.numbers.items()}
    run.log({**numbers, **media, f"{name}/page": wandb.Html(record.html)}, step=step)


def write_to_mlflow(run: Any, record: LoggedRecord, name: str, step: int | None) -> None:
    """Metrics, a figure and the page as artifacts, to a run of ``mlflow.start_run``, or to the active one where the module is given.

    Raises:
        InvalidInput: mlflow is not installed.
    """
    try:
        import mlflow
    except ImportError as error:
        raise InvalidInput("logging to MLflow needs mlflow: pip install 'vesalius[mlflow]'") from error
    active = mlflow.active_run() if run is mlflow else run
    if active is None:
        raise InvalidInput("MLflow has no active run; begin one with mlflow.start_run(), and give it as run=")
    _write_by_client(mlflow.MlflowClient(), active.info.run_id, record, name, step)


def _write_by_client(client: Any, run: str, record: LoggedRecord, name: str, step: int | None) -> None:
    for key, value in record.numbers.items():
        client.log_metric(run, mlflow_name(f"{name}/{key}"), value, step=step or 0)
    place = mlflow_name(name) + ("" if step is None else f"/{step}")
    if record.figure is not None:
        client.log_figure(run, record.figure, f"{place}/figure.png")
    client.log_text(run, record.html, f"{place}/page.html")


def mlflow_name(name: str) -> str:
    """A name of letters, digits and what else MLflow takes."""
    kept = "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
    return "/".join(part.strip(" .") or "_" for part in kept.split("/"))[:MLFLOW_NAME]


def write_to_logger(run: Any, record: LoggedRecord, name: str, step: int | None) -> None:
    """A logger of Lightning, by the run that it holds; where that is of no tool known here, by its numbers."""
    held = run.experiment
    if _library(held) == "mlflow":
        _write_by_client(held, run.run_id, record, name, step)
    elif _library(held) == "wandb":
        write_to_wandb(held, record, name, step)
    elif _is_summary_writer(held):
        write_to_tensorboard(held, record, name, step)
    else:
        run.log_metrics({f"{name}/{key}": value for key, value in record.numbers.items()}, step=step)


def _is_summary_writer(run: Any) -> bool:
    return callable(getattr(run, "add_scalar", None)) and callable(getattr(run, "add_figure", None))


def writer_of(run: Any) -> Writer:
    """The function that tells a run.

    Raises:
        WrongType: no run of a tool that is known.
    """
    library = _library(run)
    if library == "wandb" and callable(getattr(run, "log", None)):
        return write_to_wandb
    if library == "mlflow" and (hasattr(run, "info") or hasattr(run, "active_run")):
        return write_to_mlflow
    if _is_summary_writer(run):
        return write_to_tensorboard
    if callable(getattr(run, "log_metrics", None)) and hasattr(run, "experiment"):
        return write_to_logger
    raise WrongType(f"run is {EXPECTED}; not {type(run).__name__}")


def _library(run: Any) -> str:
    name = getattr(run, "__name__", None)
    home = name if isinstance(name, str) and type(run).__name__ == "module" else type(run).__module__
    return home.partition(".")[0]
