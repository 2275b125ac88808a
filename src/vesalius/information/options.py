"""How units are read and their information measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vesalius.core.names import require_known, resolve_choice
from vesalius.core.numbers import POSITIVE_COUNT, Limit, whole_number, whole_numbers
from vesalius.core.options import Options
from vesalius.information.estimators import ESTIMATORS, MutualInformationEstimator
from vesalius.information.units import ACTIVATION_STAGES, POOLS

RELEVANCES = ("pairwise", "layer")
STEPS = ("last", "pooled")


@dataclass(frozen=True, kw_only=True)
class MeasurementOptions(Options):
    """How units are read and their information measured.

    Attributes:
        estimator: of the information of pairs: a name from ``vesalius.information.estimators.ESTIMATORS``, or one with options.
        relevance: ``"pairwise"``: I(X_i; Q_k) of a unit and one of the next layer; ``"layer"``: I(X; Q_k) of the whole layer, by critics,
            as the paper writes it. That is the same for all edges into a unit, and infinite in a network without noise: a curiosity.
        unit: ``"post_activation"`` or ``"pre_activation"``.
        pool: what a channel is over its positions: its ``"mean"``, its ``"max"``, or ``"sampled"``, its value at one position that is drawn
            for each row and is the same place in all layers: what goes on locally, which a mean over the picture wipes out.
        steps: of recurrent layers: ``None``, what the network itself reads of them; ``"last"``, their last step; ``"pooled"``, all steps
            as ``pool`` says; or numbers of steps, each a layer of its own that is called ``name[step]``.
        position: of a language model (ids in, logits at every position out): at which position of the text heads, neurons, the residual
            stream and the output are read; the last by default, where the output is of the next token. Of padded texts with a mask it is
            a position among the tokens that the mask keeps, and ``pool`` leaves padding out.
        rows: most rows that are read. The error of a value falls with their square root; 10,000 give about 0.01 nats.
        batch: rows run through the network at once, where data is not in batches already.
        seed: of ties, subsets, critics and sampled positions.
        report: told how many rows are read, of how many.

    Raises:
        UnknownName, InvalidInput: a word or a number that is none of these.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"rows": Limit(least=16), "batch": POSITIVE_COUNT}
    estimator: str | MutualInformationEstimator = "auto"
    relevance: str = "pairwise"
    unit: str = "post_activation"
    pool: str = "mean"
    steps: str | Sequence[int] | None = None
    position: int | None = None
    rows: int = 10_000
    batch: int = 256
    seed: int = 0
    report: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        words = (("relevance", self.relevance, RELEVANCES), ("unit", self.unit, ACTIVATION_STAGES), ("pool", self.pool, POOLS))
        for what, word, known in words:
            require_known(what, word, known)
        if isinstance(self.steps, str):
            require_known("steps", self.steps, STEPS)
        elif self.steps is not None:
            object.__setattr__(self, "steps", whole_numbers("steps", self.steps))
        if self.position is not None:
            whole_number("position", self.position, Limit())
        resolve_choice("estimator of mutual information", self.estimator, ESTIMATORS, MutualInformationEstimator)
