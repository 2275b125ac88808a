"""How an autoencoder is trained.

Axes: N rows, D width of a row, E epochs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.models.autoencoder import Autoencoder

EVALUATION_BATCH = 4096
"""Rows of a batch where nothing is learnt."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(Options):
    """Adam, with a rate that falls as a cosine does, on the mean squared error.

    Attributes:
        epochs: passes over the training rows, at most.
        rate: learning rate at the start; it ends at 0.
        batch: rows per step.
        patience: epochs without a better error on held-out rows after which training stops.
        held_out: share of the rows to stop by, where none are given; in (0, 1).
        seed: of the split, the order of rows and dropout.
        report: told how many epochs are done, of how many.

    Raises:
        InvalidInput: a number out of range.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "epochs": POSITIVE_COUNT,
        "rate": POSITIVE,
        "batch": POSITIVE_COUNT,
        "patience": POSITIVE_COUNT,
        "held_out": Limit(above=0, below=1),
    }
    epochs: int = 30
    rate: float = 1e-3
    batch: int = 128
    patience: int = 5
    held_out: float = 0.1
    seed: int = 0
    report: Callable[[int, int], None] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedAutoencoder:
    """A trained autoencoder.

    Attributes:
        model: a trained copy, in eval mode, as it was at its best epoch.
        errors: mean squared error per element after each epoch, on held-out rows.
        best: number of the epoch the model is of, from 1.
    """

    model: nn.Module
    errors: Float[Tensor, " E"]
    best: int

    def __repr__(self) -> str:
        return f"FittedAutoencoder({type(self.model).__name__}: held-out error {float(self.errors[self.best - 1]):.5f}, epoch {self.best})"


@verb
def fit(
    model: nn.Module,
    x: Float[Tensor, "N D"],
    *,
    validation: Float[Tensor, "M D"] | None = None,
    training: AutoencoderTraining | None = None,
) -> FittedAutoencoder:
    """Train a copy of an autoencoder; the model and the global random state are left as they were.

    Args:
        model: from rows to rows. An :class:`Autoencoder` with an L1 penalty is trained with it.
        x: rows to learn from, at least two, where the model is.
        validation: rows to stop by; by default a share of ``x`` is held out.
        training: the options.

    Raises:
        InvalidInput: no or one row, another width, not a number, rows outside [0, 1] for a sigmoid output; training diverged.
        WrongType: not a tensor of rows in floating point.
    """
    how = training or AutoencoderTraining()
    generator = torch.Generator().manual_seed(how.seed)
    _check_rows(model, x, "x")
    if validation is None:
        if len(x) < 2:
            raise InvalidInput("one row came: one to learn from and one to stop by are needed; give more rows")
        order = torch.randperm(len(x), generator=generator).to(x.device)
        held = max(1, min(len(x) - 1, int(len(x) * how.held_out)))
        x, validation = x[order[held:]], x[order[:held]]
    _check_rows(model, validation, "validation")
    learner = copy.deepcopy(model)
    with _fixed_seed(how.seed, x.device):
        return _train(learner, x, validation, how, generator)


def _train(learner: nn.Module, x: Tensor, validation: Tensor, how: AutoencoderTraining, generator: torch.Generator) -> FittedAutoencoder:
    optimiser = torch.optim.Adam(learner.parameters(), how.rate, fused=True)
    steps = how.epochs * math.ceil(len(x) / how.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    errors: list[float] = []
    best, kept = 0, copy.deepcopy(learner.state_dict())
    if how.report is not None:
        how.report(0, how.epochs)
    for epoch in range(1, how.epochs + 1):
        learner.train()
        for places in torch.randperm(len(x), generator=generator).to(x.device).split(how.batch):
            loss = _training_loss(learner, x[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        errors.append(_mean_squared_error(learner, validation))
        if math.isfinite(errors[-1]) and (not best or errors[-1] < errors[best - 1]):
            best, kept = epoch, copy.deepcopy(learner.state_dict())
        if how.report is not None:
            how.report(epoch, how.epochs)
        if epoch - best >= how.patience:
            break
    if not best:
        raise InvalidInput(f"training diverged: the error on held-out rows was never a number; use a lower rate than {how.rate}")
    learner.load_state_dict(kept)
    return FittedAutoencoder(model=learner.eval(), errors=torch.tensor(errors, dtype=torch.float32), best=best)


def _training_loss(learner: nn.Module, x: Tensor) -> Tensor:
    """Squared error per element, and the penalty."""
    weight = learner.sparse.l1 if isinstance(learner, Autoencoder) else 0.0
    if not weight:
        return nn.functional.mse_loss(learner(x), x)
    assert isinstance(learner, Autoencoder)
    z = learner.encode(x)
    return nn.functional.mse_loss(learner.decode(z), x) + weight * z.abs().mean()


@torch.no_grad()
def _mean_squared_error(learner: nn.Module, x: Tensor) -> float:
    learner.eval()
    return sum(float((learner(rows) - rows).square().sum()) for rows in x.split(EVALUATION_BATCH)) / x.numel()


def _check_rows(model: nn.Module, x: Tensor, name: str) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise WrongType(f"{name} is {getattr(x, 'dtype', type(x).__name__)}; expected a tensor of rows in floating point")
    if x.ndim != 2 or len(x) == 0:
        raise InvalidInput(f"{name} has shape {list(x.shape)}; expected rows [N, D], at least one; flatten pictures with .flatten(1)")
    if not bool(x.isfinite().all()):
        raise InvalidInput(f"{name} holds values that are not finite, in row {int((~x.isfinite()).any(1).nonzero()[0])}; leave them out")
    if not isinstance(model, Autoencoder):
        return
    if x.shape[1] != model.sizes[0]:
        raise InvalidInput(f"{name} has rows of {x.shape[1]} values; this autoencoder takes {model.sizes[0]}")
    if model.output == "sigmoid" and (float(x.min()) < 0 or float(x.max()) > 1):
        raise InvalidInput(
            f"{name} has values in [{float(x.min()):.3g}, {float(x.max()):.3g}], which a sigmoid output cannot reach; scale them to [0, 1],"
            " or use Autoencoder(..., output='identity')"
        )


@contextmanager
def _fixed_seed(seed: int, device: torch.device) -> Iterator[None]:
    """The global generators, which dropout draws from, set for a while."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield
