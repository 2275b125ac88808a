"""What changed between two surveys: of other data, or by another model.

Axes: K values of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.lazy import LazyModule
from vesalius.information.estimators import adjusted
from vesalius.scale.result import Survey
from vesalius.scale.statistics import MeanAbsolute, MeanEstimate, QuantileSketch
from vesalius.scale.summary import LISTED, value_names

stats = LazyModule("scipy.stats")

COMPARED_SHARES = np.linspace(0.01, 0.99, 99)
"""Quantiles at which two distributions are compared."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplanationDrift:
    """How importance and distributions of values differ between two surveys.

    Attributes:
        names: of the values.
        before: means of |value| there.
        after: means of |value| here.
        change: [K] after less before.
        stderr: [K] its standard error (Welch).
        p: [K] of no change of the mean size, adjusted for the number of values.
        distance: [K] mean distance of the two distributions' quantiles, in the output's unit (Wasserstein).
    """

    names: tuple[str, ...]
    before: MeanEstimate
    after: MeanEstimate
    change: Float[ndarray, " K"]
    stderr: Float[ndarray, " K"]
    p: Float[ndarray, " K"]
    distance: Float[ndarray, " K"]

    def top(self, k: int = LISTED) -> list[tuple[str, float, float, float]]:
        """The k names with the largest distance of distributions, each with the change of its mean size, its error and its p."""
        order = np.argsort(-self.distance, kind="stable")[:k]
        return [(self.names[place], float(self.change[place]), float(self.stderr[place]), float(self.p[place])) for place in order]

    def __repr__(self) -> str:
        lines = [f"{self.before.count:,} rows before, {self.after.count:,} after; change of mean |value|, by distance of distributions"]
        lines += [f"  {change:+.4g} \N{PLUS-MINUS SIGN} {error:.2g} (p = {p:.2g})  {name}" for name, change, error, p in self.top()]
        return "\n".join(lines)


@verb
def explanation_drift(before: Survey, after: Survey) -> ExplanationDrift:
    """What weighs more or less than it did, and whose values lie elsewhere.

    Args:
        before: one survey.
        after: another with the same players.

    Raises:
        InvalidInput: other players, or fewer than two rows.

    Reference: Benjamini1995, for the adjustment.
    """
    names, others = value_names(before[0]), value_names(after[0])
    if names != others:
        raise InvalidInput(
            f"the surveys are of {len(names)} and {len(others)} values, not of the same players; give both the same players="
        )
    old, old_sketch = before.measure(MeanAbsolute(), QuantileSketch())
    new, new_sketch = after.measure(MeanAbsolute(), QuantileSketch())
    if min(old.count, new.count) < 2:
        raise InvalidInput("a drift needs at least two rows on either side")
    stderr = np.hypot(old.stderr, new.stderr)
    change = new.mean - old.mean
    found = stats.ttest_ind_from_stats(old.mean, old.deviation, old.count, new.mean, new.deviation, new.count, equal_var=False)
    p = np.where(stderr > 0, np.nan_to_num(found.pvalue, nan=1.0), np.where(change == 0, 1.0, 0.0))
    apart = [np.abs(new_sketch.quantile(float(share)) - old_sketch.quantile(float(share))) for share in COMPARED_SHARES]
    return ExplanationDrift(
        names=names,
        before=old,
        after=new,
        change=change,
        stderr=stderr,
        p=adjusted(torch.from_numpy(p)).numpy(),
        distance=np.mean(apart, axis=0),
    )
