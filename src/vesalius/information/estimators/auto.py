"""The estimator to use when none is named, all others by name, and the one call that runs them.

Axes: N rows, A units of X, B units of Y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.names import resolve_choice
from vesalius.core.numbers import SHARE, Limit, random_source
from vesalius.core.options import Options
from vesalius.information.estimators.binned import Binned
from vesalius.information.estimators.estimate import MutualInformationEstimator, PairwiseInformation, adjusted
from vesalius.information.estimators.gaussian import Gaussian
from vesalius.information.estimators.ksg import KSG
from vesalius.information.estimators.neural import Neural

LOOKUPS = 1 << 20
"""Neighbours that are looked up in one call where no number of rows is asked for: a third of a second or so."""
FEWEST_QUERIES = 500
"""Rows at which they are looked up at least, if there are so many."""


@dataclass(frozen=True, kw_only=True)
class AutoInformation(Options):
    """Tests all pairs by tables, then takes the value of those that matter by neighbours.

    The test and the value want different estimators: a value by few neighbours is nearly without bias and has almost no power, and tables
    have the power, but lose what a strongly dependent pair shares within a bin.

    Args:
        level: pairs are refined if their adjusted p-value is at most this.
        strong: and if the table gives at least so many nats, whatever their p-value is.
        queries: most rows at which neighbours are looked up, as :class:`~vesalius.information.estimators.ksg.KSG` says. By default as many
            as a million look-ups allow, and at least 500: all rows where there are few pairs. Errors say what that costs, up to twice
            those of all rows.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "level": SHARE,
        "strong": Limit(least=0, infinite=True),
        "queries": Limit(least=16),
    }
    level: float = 0.05
    strong: float = 0.05
    queries: int | None = None

    @verb
    def estimate(
        self, X: Shaped[Tensor, "N A"], Y: Shaped[Tensor, "N B"], *, generator: torch.Generator | None = None
    ) -> PairwiseInformation:
        """Information of all pairs; ``refined`` says which values are by neighbours.

        Raises: as :func:`~vesalius.information.estimators.estimate.check_pair`.
        """
        screened = Binned().estimate(X, Y, generator=generator)
        chosen = (adjusted(screened.p) <= self.level) | (screened.values >= self.strong)
        queries = self.queries or max(FEWEST_QUERIES, LOOKUPS // max(int(chosen.sum()), 1))
        return replace(KSG(queries=queries).refine(screened, X, Y, chosen=chosen, generator=generator), estimator="auto")


ESTIMATORS: dict[str, type[MutualInformationEstimator]] = {
    "auto": AutoInformation,
    "binned": Binned,
    "neighbours": KSG,
    "neural": Neural,
    "gaussian": Gaussian,
}


@verb
def pairwise(
    X: Shaped[Tensor, "N A"],
    Y: Shaped[Tensor, "N B"],
    *,
    estimator: str | MutualInformationEstimator = "auto",
    generator: torch.Generator | None = None,
) -> PairwiseInformation:
    """Mutual information of every unit of X with every unit of Y, with an error and a test of each.

    Args:
        X: rows of one layer's units, at least 16 of them; any real dtype. Values that many rows share (ReLU zeros, clipped ends, class
            labels as whole numbers) are atoms and are treated as such.
        Y: the same rows of another layer's units.
        estimator: a name from ``ESTIMATORS``, or an estimator with options of its own.
        generator: source of all randomness (ties, subsets, critics).

    Returns:
        Values in nats with standard errors, p-values, and flags of what not to trust. Constant units have 0 and p = 1.

    Raises:
        UnknownName: no such estimator.
        WrongType: no tensor, or complex numbers.
        InvalidInput: not rows by units, too few rows, another number of rows on one side, or a value that is not finite.

    Reference: Davis2020 (information of neurons of neighbouring layers).
    """
    chosen = resolve_choice("estimator of mutual information", estimator, ESTIMATORS, MutualInformationEstimator)
    return chosen.estimate(X, Y, generator=random_source(generator))
