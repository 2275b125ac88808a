"""A callback of Lightning that asks a question of the model at the end of epochs, and keeps the answer in the trainer's loggers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.logging.log import log

LIBRARIES = ("lightning.pytorch", "pytorch_lightning")
"""The two names of Lightning, whose callbacks are not each other's."""


@verb
def epoch_callback(question: Callable[[Any], Any], *, name: str = "vesalius", every: int = 1, loggers: Sequence[Any] | None = None) -> Any:
    """A ``Callback`` for ``Trainer(callbacks=[...])`` that asks a question at the end of training epochs.

    Args:
        question: from the module to a result, or to several by name, such as ``lambda model: vs.audit(model, x[0])`` or
            ``lambda model: vs.survey(model, loader, out=...)``. It runs on one process, with the module in eval mode, which is put back.
        name: under which results are kept, see :func:`vesalius.logging.log`.
        every: epochs from one question to the next; the first is at the end of epoch ``every``.
        loggers: runs or loggers that are told; those of the trainer by default.

    Returns:
        The callback; ``.results`` has what was found, by epoch from 0.

    Raises:
        InvalidInput: neither lightning nor pytorch_lightning is installed.
        WrongType: a question that cannot be called.
    """
    every = whole_number("every", every, POSITIVE_COUNT)
    base = _callback_class()

    class EpochCallback(base):  # type: ignore[misc]
        """Asks at the end of epochs."""

        def __init__(self) -> None:
            super().__init__()
            self.results: dict[int, Any] = {}

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            epoch = int(trainer.current_epoch)
            if (epoch + 1) % every or not trainer.is_global_zero or trainer.sanity_checking:
                return
            modes = {module: module.training for module in pl_module.modules()}
            pl_module.eval()
            try:
                self.results[epoch] = found = question(pl_module)
            finally:
                for module, mode in modes.items():
                    module.training = mode
            for one in trainer.loggers if loggers is None else loggers:
                log(found, one, name=name, step=epoch)

    return EpochCallback()


def _callback_class() -> type:
    """The class of callbacks of the Lightning that is in use, else of the one that is installed."""
    for library in sorted(LIBRARIES, key=lambda known: known not in sys.modules):
        try:
            found: type = import_module(library).Callback
            return found
        except ImportError:
            continue
    raise InvalidInput("a callback of Lightning needs lightning or pytorch_lightning: pip install 'vesalius[lightning]'")
