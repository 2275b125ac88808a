"""A display as those of ``sklearn.inspection``: made from an estimator, it keeps what it found and draws it where it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.games.absence import Baseline
from vesalius.methods import Method, attribute
from vesalius.trace.target import Target


@final
class AttributionDisplay:
    """An attribution as a display of scikit-learn.

    Args:
        allocation: of one sample.

    Attributes:
        allocation: as it was given.
        ax_: where it was drawn last; ``None`` before.
        figure_: the figure of that.
    """

    def __init__(self, allocation: Allocation) -> None:
        if allocation.base.ndim:
            raise InvalidInput(f"a display shows one sample, and this allocation holds {len(allocation)}; give allocation[i]")
        self.allocation = allocation
        self.ax_: Any = None
        self.figure_: Any = None

    @classmethod
    @verb
    def from_estimator(  # noqa: PLR0913 - as scikit-learn's displays have it
        cls,
        estimator: Any,
        X: Any,
        *,
        sample: int = 0,
        method: str | Method = "shapley_value",
        target: Target = None,
        baseline: Baseline = None,
        feature_names: Sequence[str] = (),
        ax: Any = None,
    ) -> AttributionDisplay:
        """Explain one row of a table, and draw it.

        Args:
            estimator: of scikit-learn, a pipeline of it, or any model.
            X: rows; without a baseline, those that the row is compared with.
            sample: which row, by position.
            method: see :func:`vesalius.attribute`.
            target: likewise; a class of the estimator by number or name.
            baseline: likewise; by default the mean of ``X``.
            feature_names: where ``X`` has none.
            ax: where to draw; a new figure by default.

        Raises:
            InvalidInput, UnknownName, WrongType: as :func:`vesalius.attribute`.
        """
        found = attribute(estimator, X, method, target=target, baseline="mean" if baseline is None else baseline, names=feature_names)
        if not -len(found) <= sample < len(found):
            raise InvalidInput(f"sample={sample} is none of the {len(found)} rows")
        return cls(found[sample]).plot(ax=ax)

    @verb
    def plot(self, *, ax: Any = None) -> AttributionDisplay:
        """Draw it; returns the display, as scikit-learn's do.

        Args:
            ax: where; a new figure by default.
        """
        self.figure_ = self.allocation.plot(ax=ax)
        self.ax_ = self.figure_.axes[0] if ax is None else ax
        return self
