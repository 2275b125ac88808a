"""What each component does for the task: exact Shapley values of the fall of the loss, over all subsets of the components.

All 2**L coalitions of components go through the head, once; the loss of every row under every coalition is kept. Whatever is asked later
(effectiveness, over-fitting, errors, the best subset) is arithmetic on that table.

Axes: L components, S coalitions (2**L, bit l of an index says whether component l is present), N training rows, M test rows, R resamples,
event: one row's shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from vesalius.complexity.coalitions import LabelledComponents, Scoring, evaluate_coalitions
from vesalius.complexity.strength import FeatureHead, squared_deviations
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.near_ties import rank_with_ties
from vesalius.core.spread import bootstrap_stderr
from vesalius.games import moebius

NORMALISERS = ("std", "var", None)
CHUNK_ROWS = 4096
"""Rows of the table that are transformed, or resamples times rows that are drawn, at once."""


@dataclass(frozen=True, eq=False)
class ComponentValues:
    """A number per component and how well it is known.

    Attributes:
        values: one per component; NaN where it means nothing.
        stderr: standard errors; of what a network does with components by a bootstrap over rows, which takes the components themselves as
            given. NaN where they are not known.
    """

    values: Float64[Tensor, " L"]
    stderr: Float64[Tensor, " L"]

    def __repr__(self) -> str:
        return ", ".join(format_value(value, error) for value, error in zip(self.values.tolist(), self.stderr.tolist(), strict=True))


@dataclass(frozen=True, eq=False, kw_only=True)
class BestSubset:
    """The subset that did best on validation rows, and what it does on others.

    Attributes:
        orders: of its components.
        coalition: its index in the table.
        criterion: ``"accuracy"``, or ``"loss"`` where there are no classes.
        validation: its accuracy or loss on the rows that chose it: too good, since it was chosen.
        test: the same on the other test rows.
        whole: that of all components on those other rows.
        stderr: standard error of ``test - whole``.
    """

    orders: tuple[int, ...]
    coalition: int
    criterion: str
    validation: float
    test: float
    whole: float
    stderr: float


@dataclass(frozen=True, eq=False, kw_only=True)
class CoalitionLosses:
    """The loss of every row under every subset of the components. Made by :func:`coalition_losses`.

    Attributes:
        orders: name of each component: its order.
        train: losses on the training rows, in nats for cross-entropy.
        test: losses on test rows, or None.
        train_correct: whether the largest output was the class; None where targets are not classes.
        test_correct: the same on test rows.
        deviations: squared distance of each component from its mean on the training rows, mean over elements.
        scoring: how this was measured.
    """

    orders: tuple[int, ...]
    train: Float64[Tensor, "S N"]
    test: Float64[Tensor, "S M"] | None
    train_correct: Bool[Tensor, "S N"] | None
    test_correct: Bool[Tensor, "S M"] | None
    deviations: Float64[Tensor, "L N"]
    scoring: Scoring

    @property
    @verb
    def strength(self) -> Float64[Tensor, " L"]:
        """Variance of each component on the training rows."""
        return self.deviations.mean(1)

    @cached_property
    @verb
    def per_row(self) -> Float64[Tensor, "L N"]:
        """Shapley values of the fall of the loss, on each training row; they sum to loss(rest) - loss(all)."""
        return -_shapley_values(self.train)

    @verb
    def effectiveness(self, normalise: str | None = "std") -> ComponentValues:
        """What each component takes off the training loss, by Shapley value.

        Args:
            normalise: per unit of its standard deviation (``"std"``), of its variance (``"var"``), or None: as it is; then values sum to
                the loss without components less that with all.

        Returns:
            In the unit of the loss, over that of the feature where normalised; NaN for a component without variance.

        Raises:
            UnknownName: another ``normalise``.

        Reference: Ren2021, section 3 (effectiveness of feature components).
        """
        if normalise is not None:
            require_known("normaliser", normalise, ["std", "var"])
        power = {"std": 0.5, "var": 1.0, None: 0.0}[normalise]
        strength = torch.where(self.strength > 0, self.strength, torch.nan) if power else self.strength
        drawn, strengths = self._bootstrap_means[0], self._bootstrap_strengths
        return ComponentValues(self.per_row.mean(1) / strength**power, self._stderr(drawn / strengths**power))

    @property
    @verb
    def overfitting(self) -> ComponentValues:
        """What each component adds to the gap between test and training loss, by Shapley value.

        Returns:
            In the unit of the loss; the values sum to the gap with all components less the gap without any.

        Raises:
            InvalidInput: no test rows were given.

        Reference: Ren2021, section 3 (significance of being over-fitted).
        """
        train, test = self._bootstrap_means[0], self._bootstrap_means[1]
        return ComponentValues(self.per_row.mean(1) - self._per_test_row.mean(1), self._stderr(train - test))

    @property
    @verb
    def ratio(self) -> ComponentValues:
        """Over-fitting per effectiveness: NaN where the latter is within two standard errors of 0, since a ratio to noise means nothing.

        Raises: as :attr:`overfitting`.

        Reference: Ren2021, section 3. Differs from the paper: masked.
        """
        train, test = self._bootstrap_means[0], self._bootstrap_means[1]
        useful, gap = self.effectiveness(None), self.overfitting
        clear = useful.values.abs() >= 2 * useful.stderr.clamp_min(torch.finfo(torch.float64).tiny)
        return ComponentValues(
            torch.where(clear, gap.values / useful.values, torch.nan),
            torch.where(clear, self._stderr((train - test) / train), torch.nan),
        )

    @property
    @verb
    def chain(self) -> ComponentValues:
        """What each component takes off the training loss when added after all lower orders, and before all higher ones."""
        return self._chain_gains(self.train)

    @property
    @verb
    def test_chain(self) -> ComponentValues:
        """As :attr:`chain`, on test rows.

        Raises: as :attr:`overfitting`.
        """
        return self._chain_gains(self._test_losses())

    @property
    @verb
    def accuracy(self) -> Float64[Tensor, " S"]:
        """Accuracy of every subset of the components, on test rows where there are any.

        Raises:
            InvalidInput: the targets are no classes.
        """
        correct = self.train_correct if self.test is None else self.test_correct
        if correct is None:
            raise InvalidInput(
                "accuracy needs classes: integer targets [N] and a head with outputs [N classes]; look at the losses instead"
            )
        return correct.double().mean(1)

    def members(self, coalition: int) -> tuple[int, ...]:
        """Orders of the components in a coalition, by its index."""
        return tuple(order for place, order in enumerate(self.orders) if coalition >> place & 1)

    @verb
    def best(self, validation: Bool[Tensor, " M"]) -> BestSubset:
        """The best subset by some of the test rows, with what it does on the others. Of equally accurate ones, that of least loss.

        Args:
            validation: which test rows choose; the others are for the report.

        Raises:
            InvalidInput: no test rows; or none of them chooses, or all do.
        """
        losses = self._test_losses()
        if validation.shape != losses.shape[1:] or validation.dtype != torch.bool or validation.all() or not validation.any():
            raise InvalidInput(f"validation is a boolean tensor that is true for some of the {losses.shape[1]} test rows, not for all")
        chosen, scores = validation.to(losses.device), losses if self.test_correct is None else self.test_correct.double()
        by_loss = losses[:, chosen].mean(1)
        goal = -by_loss if self.test_correct is None else scores[:, chosen].mean(1)
        winner = int(rank_with_ties(torch.where(rank_with_ties(goal) == 0, -by_loss, -torch.inf)).argmin())
        kept = scores[:, ~chosen]
        lead = kept[winner] - kept[-1]
        return BestSubset(
            orders=self.members(winner),
            coalition=winner,
            criterion="loss" if self.test_correct is None else "accuracy",
            validation=float(scores[winner, chosen].mean()),
            test=float(kept[winner].mean()),
            whole=float(kept[-1].mean()),
            stderr=float(lead.std(correction=0) / max(1, len(lead) - 1) ** 0.5),
        )

    @cached_property
    def _per_test_row(self) -> Float64[Tensor, "L M"]:
        return -_shapley_values(self._test_losses())

    @cached_property
    def _bootstrap_means(self) -> tuple[Float64[Tensor, "R L"], Float64[Tensor, "R L"]]:
        """Mean values over bootstrap samples of the training rows, and of the test rows if there are any, drawn independently."""
        draw = torch.Generator().manual_seed(self.scoring.seed)
        train = _bootstrap(self.per_row, self.scoring.resamples, draw)
        return train, train if self.test is None else _bootstrap(self._per_test_row, self.scoring.resamples, draw)

    @cached_property
    def _bootstrap_strengths(self) -> Float64[Tensor, "R L"]:
        """Strengths of the same samples of the training rows."""
        return _bootstrap(self.deviations, self.scoring.resamples, torch.Generator().manual_seed(self.scoring.seed))

    def _stderr(self, drawn: Float64[Tensor, "R L"]) -> Float64[Tensor, " L"]:
        """Of what was computed of bootstrap samples, by the smaller of the sets of rows."""
        rows = self.train.shape[1] if self.test is None else min(self.train.shape[1], self.test.shape[1])
        return bootstrap_stderr(drawn, rows)

    def _test_losses(self) -> Float64[Tensor, "S M"]:
        if self.test is None:
            raise InvalidInput(
                "this needs test rows: give coalition_losses(head, train, test) the components of rows the network was not trained on"
            )
        return self.test

    def _chain_gains(self, losses: Float64[Tensor, "S n"]) -> ComponentValues:
        steps = -losses[[(1 << present) - 1 for present in range(len(self.orders) + 1)]].diff(dim=0)
        draw = torch.Generator().manual_seed(self.scoring.seed)
        return ComponentValues(steps.mean(1), bootstrap_stderr(_bootstrap(steps, self.scoring.resamples, draw), steps.shape[1]))


def coalition_losses(
    head: FeatureHead,
    train: LabelledComponents,
    test: LabelledComponents | None = None,
    *,
    orders: Sequence[int] | None = None,
    scoring: Scoring | None = None,
) -> CoalitionLosses:
    """Run all subsets of the components through the head, and keep every row's loss.

    Costs 2**L passes of the head per row.

    Args:
        head: from features [n *event] to outputs [n classes], [n outputs] or [n]: the frozen remainder of the network, in evaluation mode.
        train: components of rows the network was trained on.
        test: the same components of other rows; over-fitting needs them.
        orders: name of each component; 1, 2, ... by default.
        scoring: loss, absence, memory, errors.

    Raises:
        InvalidInput: train and test, orders, targets or the head's outputs do not fit; or a loss is not finite.
        MemoryExhausted: not even one row fits.

    Reference: Ren2021, section 3; absent components are zero there. Shapley1953.
    """
    how, count = scoring or Scoring(), len(train.parts)
    names = tuple(range(1, count + 1)) if orders is None else tuple(orders)
    if len(names) != count:
        raise InvalidInput(f"{count} components need as many orders, not {len(names)}")
    if test is not None and (len(test.parts) != count or test.rest.shape[1:] != train.rest.shape[1:]):
        raise InvalidInput(f"test components have shape {list(test.parts.shape)}, those of training rows {list(train.parts.shape)}")
    absent = train.parts.mean(1, dtype=torch.float64).to(train.parts) if how.absence == "mean" else torch.zeros_like(train.parts[:, 0])
    ours = evaluate_coalitions(head, train, absent, how)
    theirs = (None, None) if test is None else evaluate_coalitions(head, test, absent, how)
    return CoalitionLosses(
        orders=names,
        train=ours[0],
        test=theirs[0],
        train_correct=ours[1],
        test_correct=theirs[1],
        deviations=squared_deviations(train.parts).cpu(),
        scoring=how,
    )


def format_value(value: float, error: float) -> str:
    """A number with its error, where it is known."""
    return "none" if value != value else f"{value:.3f}" + (f" ± {error:.3f}" if error == error else "")


def _shapley_values(losses: Float64[Tensor, "S n"]) -> Float64[Tensor, "L n"]:
    return torch.cat([moebius.shapley_values(moebius.dividends(some)) for some in losses.split(CHUNK_ROWS, 1)], 1)


def _bootstrap(values: Float64[Tensor, "L n"], resamples: int, draw: torch.Generator) -> Float64[Tensor, "R L"]:
    """Means over rows drawn with replacement."""
    rows = values.shape[1]
    means = []
    for some in torch.arange(resamples).split(max(1, CHUNK_ROWS * 256 // rows)):
        picked = torch.randint(rows, (len(some), rows), generator=draw)
        counts = torch.zeros(len(some), rows, dtype=torch.float64).scatter_add_(1, picked, torch.ones(len(some), rows, dtype=torch.float64))
        means.append(counts @ values.T / rows)
    return torch.cat(means)
