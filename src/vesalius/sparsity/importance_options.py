"""How links are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE_COUNT, Limit, is_number, whole_number
from vesalius.core.options import Options
from vesalius.sparsity.estimators.unit_games import AGGREGATES
from vesalius.sparsity.links import MAX_POSITIONS, MAX_ROWS

OUTPUTS = ("post", "pre")
GRANULARITIES = ("weight", "channel")
ORDERS = (None, 1, 2, "full")


@dataclass(frozen=True, kw_only=True)
class ImportanceOptions(Options):
    """How links are scored.

    Attributes:
        output: whose value is shared out: ``"post"``, the unit's output after its activation; ``"pre"``, the sum before it.
        aggregate: of the values over rows: ``"mean_abs"``, ``"rms"``, or ``"signed"``, near 0 for every link with baseline ``data``.
        granularity: what a link of a convolution is: every ``"weight"``, or a ``"channel"``: the kernel slice between two.
        order: of the Gaussian form: 1, 2 or ``"full"``; by default 2 with baseline ``zero``, and with ``data`` full where that is quick,
            else 1.
        rows: at most so many inputs are kept per layer, drawn from all samples, tokens and positions; memory is rows times fan-in.
        positions: at most so many positions of each sample are read where a convolution slides; ``None`` for all.
        permutations: pairs of an order and its reverse per row, for the permutation estimator.
        background: so many rows stand for the data where they are taken one by one (exact, rescale).
        checked: units of a layer whose Gaussian values are compared with permutations, 0 for none; it gives
            :attr:`vesalius.sparsity.importance_result.LayerImportance.error`.
        seed: of all draws.

    Raises:
        UnknownName, InvalidInput: a word or a number that is none of these.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "rows": POSITIVE_COUNT,
        "positions": POSITIVE_COUNT,
        "permutations": Limit(least=2),
        "background": POSITIVE_COUNT,
        "checked": Limit(least=0),
    }
    output: str = "post"
    aggregate: str = "mean_abs"
    granularity: str = "weight"
    order: int | str | None = None
    rows: int = MAX_ROWS
    positions: int | None = MAX_POSITIONS
    permutations: int = 100
    background: int = 200
    checked: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        words = (
            ("output", self.output, OUTPUTS),
            ("aggregate", self.aggregate, AGGREGATES),
            ("granularity", self.granularity, GRANULARITIES),
        )
        for what, word, known in words:
            require_known(what, word, known)
        if is_number(self.order):
            object.__setattr__(self, "order", whole_number("order", self.order, Limit(least=1, most=2)))
        elif self.order is not None:
            require_known("order", self.order, [one for one in ORDERS if isinstance(one, str)])
