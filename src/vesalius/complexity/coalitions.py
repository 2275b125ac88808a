"""Every subset of the components, through the head: the table of losses that effectiveness and over-fitting are read off.

Axes: L components, S coalitions (2**L, bit l of an index says whether component l is present), N rows, event: one row's shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from vesalius.complexity.losses import LOSSES, RowLoss
from vesalius.complexity.strength import FeatureHead
from vesalius.core.entry import as_caller
from vesalius.core.errors import InvalidInput, TooManyPlayers
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.games import moebius
from vesalius.games.memory import Batches

MAX_COMPONENTS = 12
ABSENCES = ("zero", "mean")


@dataclass(frozen=True, eq=False)
class LabelledComponents:
    """Components of some rows, and what the network should have said.

    Attributes:
        parts: [L N *event] components, in increasing order.
        rest: [N *event] what is left of the feature after them; always present. To let it come and go like a component, make it one:
            append it to the parts, and give zeros here.
        targets: [N] classes as integers, or [N *outputs] numbers.

    Raises:
        InvalidInput: shapes that do not belong together, no rows or components, or values that are not finite.
        TooManyPlayers: more than 12 components.
    """

    parts: Float[Tensor, "L N *event"]
    rest: Float[Tensor, "N *event"]
    targets: Shaped[Tensor, "N *outputs"]

    def __post_init__(self) -> None:
        if self.parts.shape[1:] != self.rest.shape or len(self.targets) != len(self.rest):
            raise InvalidInput(
                "components [L N *event], their rest [N *event] and N targets were expected, not shapes "
                f"{list(self.parts.shape)}, {list(self.rest.shape)} and {list(self.targets.shape)}"
            )
        if not self.parts.numel():
            raise InvalidInput(f"at least one component and one row are needed; the components have shape {list(self.parts.shape)}")
        if len(self.parts) > MAX_COMPONENTS:
            raise TooManyPlayers(len(self.parts), MAX_COMPONENTS, hint="add neighbouring orders up into bands")
        if not (self.parts.isfinite().all() and self.rest.isfinite().all()):
            raise InvalidInput("components have NaN or infinite values; look for the rows where torch.isfinite(parts) is false")


@dataclass(frozen=True, kw_only=True)
class Scoring(Options):
    """How coalitions are made and judged.

    Attributes:
        loss: ``"cross_entropy"`` (targets: classes), ``"squared_error"`` (mean over outputs), or a function of outputs [n ...] and targets
            [n ...] that gives n losses; in float64.
        absence: what stands for an absent component: ``"zero"``, as in the paper, or ``"mean"``, its mean over the training rows, which
            stays closer to what the head has seen.
        memory: bytes of features that are built at once; the head needs its own on top.
        resamples: bootstrap samples behind the standard errors.
        seed: of these.

    Raises:
        UnknownName, InvalidInput: a word or a number that is none of these.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"memory": POSITIVE_COUNT, "resamples": Limit(least=2)}
    loss: str | RowLoss = "cross_entropy"
    absence: str = "zero"
    memory: int = 1 << 26
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.loss):
            require_known("loss", self.loss, LOSSES)
        require_known("absence", self.absence, ABSENCES)


def evaluate_coalitions(
    head: FeatureHead, rows: LabelledComponents, absent: Float[Tensor, "L *event"], how: Scoring
) -> tuple[Float64[Tensor, "S N"], Bool[Tensor, "S N"] | None]:
    """Losses of all coalitions on every row, and whether the class was right, if the targets are classes.

    Args:
        head: from features [n *event] to outputs, each row on its own.
        rows: components and targets.
        absent: what stands for each component that is absent.
        how: loss and memory.

    Raises:
        InvalidInput: the head's outputs or the targets do not fit, or a loss is not finite.
        MemoryExhausted: not even one row fits.
    """
    loss = LOSSES[how.loss] if isinstance(how.loss, str) else partial(as_caller, how.loss)
    present = moebius.membership(len(rows.parts)).to(rows.parts)
    at_once = max(1, how.memory // (absent[0].numel() * absent.element_size()))
    batches = Batches(max(1, at_once // len(present)), "a feature in the head")
    indices = torch.arange(len(rows.rest), device=rows.rest.device)
    found = list(batches.over(indices, lambda batch: _batch_losses(head, _Batch(rows, absent, batch), present.split(at_once), loss)))
    losses, correct = zip(*found, strict=True)
    table = torch.cat(losses, 1)
    if not table.isfinite().all():
        bad = int((~table.isfinite()).any(1).nonzero()[0])
        raise InvalidInput(f"coalition {bad:0{len(rows.parts)}b} has a loss that is not finite; try Scoring(absence='mean')")
    return table, None if correct[0] is None else torch.cat(correct, 1)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some rows, with an absent component written as part of the rest: what a coalition adds is its members' distance from absence."""

    rows: LabelledComponents
    absent: Float[Tensor, "L *event"]
    index: Shaped[Tensor, " rows"]

    def features(self, present: Float[Tensor, "s L"]) -> Float[Tensor, "_ *event"]:
        """What the head sees, coalition after coalition."""
        parts = self.rows.parts[:, self.index] - self.absent[:, None]
        rest = self.rows.rest[self.index] + self.absent.sum(0)
        return ((present @ parts.flatten(1)).view(len(present), *rest.shape) + rest).flatten(0, 1)


@torch.no_grad()
def _batch_losses(
    head: FeatureHead, batch: _Batch, blocks: Sequence[Float[Tensor, "_ L"]], loss: RowLoss
) -> tuple[Float64[Tensor, "S rows"], Bool[Tensor, "S rows"] | None]:
    losses, correct, targets = [], [], batch.rows.targets[batch.index]
    for present in blocks:
        outputs = head(batch.features(present)).double()
        wanted = targets.to(outputs.device).repeat(len(present), *[1] * (targets.ndim - 1))
        if outputs.shape[:1] != wanted.shape[:1]:
            raise InvalidInput(f"the head gives outputs of shape {list(outputs.shape)} for {len(wanted)} features; it must keep rows apart")
        value = loss(outputs, wanted)
        if value.shape != wanted.shape[:1]:
            raise InvalidInput(f"a loss gives one number per row, {list(wanted.shape[:1])}, not shape {list(value.shape)}; do not average")
        losses.append(value.double().reshape(len(present), -1).cpu())
        if not wanted.is_floating_point() and outputs.ndim == 2 and wanted.ndim == 1:
            correct.append((outputs.argmax(1) == wanted).reshape(len(present), -1).cpu())
    return torch.cat(losses), torch.cat(correct) if correct else None
