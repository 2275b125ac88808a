"""How a network is pruned, in options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.sparsity.pruning.allocation import ALLOCATIONS
from vesalius.sparsity.pruning.loss import Loss
from vesalius.sparsity.pruning.patterns import Pattern
from vesalius.sparsity.scores import Score, ScoreFunction, score_of

MODES = ("refit", "paper", "sparse_gpt", "alps")


def require_loss(loss: Any) -> None:
    """Refuse a loss that is no function.

    Raises:
        WrongType: a word or a number.
    """
    if loss is not None and not callable(loss):
        raise WrongType(f"loss is a function of outputs and targets, such as torch.nn.functional.mse_loss, not {loss!r}")


@dataclass(frozen=True, kw_only=True)
class Finetune(Options):
    """Adam on the links that are left, with a rate that falls as a cosine does; the mask stays.

    Attributes:
        epochs: passes over the data.
        rate: learning rate at the start; it ends at 0.
        batch: rows per step, where data is not in batches already.
        train: whether the model is in training mode, as in a training loop: dropout, statistics of the batch, all parameters that ask for
            gradients. By default the network computes as it does when it is not trained, and only pruned layers learn.
        loss: of output and inputs, and of labels where it takes one argument more, or of output and ``target``, such as
            ``torch.nn.functional.cross_entropy``, see :func:`vesalius.sparsity.pruning.loss.evaluate_loss`; by default the mean squared
            difference from the dense network's output.
        seed: of the order of rows.
        report: told how many epochs are done, of how many.

    Raises:
        InvalidInput: a number out of range.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"epochs": POSITIVE_COUNT, "rate": POSITIVE, "batch": POSITIVE_COUNT}
    epochs: int = 1
    rate: float = 1e-3
    batch: int = 128
    train: bool = False
    loss: Loss | None = None
    seed: int = 0
    report: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_loss(self.loss)


@dataclass(frozen=True, kw_only=True)
class Pruning(Options):
    """The options of :func:`vesalius.sparsity.sparsify`, together so that its signature stays short.

    Attributes:
        layers: names of the layers that are pruned; all linear layers and convolutions by default.
        score: name in :data:`vesalius.sparsity.scores.SCORES`, or a function of :class:`vesalius.sparsity.scores.ScoreInputs`; to refit,
            links are then cut in rounds by it. By default alternating directions choose them all at once, unless rounds by
            ``"gate"`` leave a tenth less error behind the activation; ``"gate"`` is what ``importance`` holds and what patterns, rows of a
            unit and grouped convolutions are cut by; ``"shapley"`` as in the paper.
        scope: links compete within their ``"layer"``, their unit (``"row"``), or over all layers (``"global"``). A pattern is kept by
            ``"2:4"`` and any other n:m (of every m neighbouring input channels of a unit n stay), and ``"4x1"`` and any other block of
            units by links, which stays or goes as one.
        allocation: how a sparsity is shared out over layers: ``"erk"`` by size, ``"uniform"``, ``"level"``: the same share of the total
            score everywhere, ``"global"``: one ranking of scores in units of their layer's total. By default ``"erk"`` to refit, and
            ``"uniform"`` as in the paper.
        compensate: what a pruned link carried on average goes into the bias; refitting does so in any case.
        rounds: of scoring, pruning and refitting, where a score or a pattern is given, or units are removed; more of them leave less error,
            and take as much longer.
        ridge: pull of refitted weights towards those they had, in units of the mean variance of what links carry.
        rows: samples that are computed with, and rows of a layer's inputs that are kept; 2,000 to 8,000 are enough (measured).
        batch_norm: whether the statistics of batch norms are measured anew after pruning, on the same samples.
        finetune: training of the links that are left.
        loss: for scores that need its gradient, of the same arguments as that of fine-tuning; by default the squared error of the output
            against the first input, as an autoencoder has it.
        seed: of the samples, and of scores that draw.
        report: told how many layers are done, of how many.

    Raises:
        UnknownName, InvalidInput, WrongType: an option out of range.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"rounds": POSITIVE_COUNT, "ridge": POSITIVE, "rows": Limit(least=2)}
    layers: Sequence[str] | None = None
    score: str | ScoreFunction | Score | None = None
    scope: str = "layer"
    allocation: str | None = None
    compensate: bool = True
    rounds: int = 12
    ridge: float = 1e-2
    rows: int = 8000
    batch_norm: bool = False
    finetune: Finetune | None = None
    loss: Loss | None = None
    seed: int = 0
    report: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        pattern = Pattern.of(self.scope)
        if pattern.sparsity is not None and self.allocation is not None:
            raise InvalidInput(f"scope={self.scope!r} prunes every layer alike, and allocation={self.allocation!r} shares out; give one")
        if self.allocation is not None:
            require_known("allocation", self.allocation, ALLOCATIONS)
        require_loss(self.loss)
        if self.score is not None:
            score_of(self.score)
        if self.scope == "global" and self.allocation is not None:
            raise InvalidInput(f"scope='global' decides how much each layer keeps, and so does allocation={self.allocation!r}; give one")

    @property
    def alternating(self) -> bool:
        """Whether a refit chooses links by alternating directions: no score was named, and no pattern or number of each unit."""
        return self.score is None and self.scope in ("layer", "global")

    @property
    def pattern(self) -> Pattern:
        """What masks look like."""
        return Pattern.of(self.scope)

    def score_in(self, mode: str) -> Score:
        """The score, or the default of a mode."""
        return score_of(self.score or {"refit": "gate", "paper": "shapley"}.get(mode, "magnitude"))

    def allocation_in(self, mode: str) -> str:
        """The allocation, or the default of a mode."""
        if self.scope == "global":
            return "raw"
        return self.allocation or ("erk" if mode == "refit" else "uniform")
