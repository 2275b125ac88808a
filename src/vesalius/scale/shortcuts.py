"""Right for the wrong reason: groups of rows whose evidence lies where that of their class does not.

A network that has learned a mark beside the subject (a watermark, a corner patch) shows it in few maps, and in all of them in the same
place. So for every class the share of a row's evidence at each player is compared with what is usual in the class; rows with a large excess
are gathered into groups whose excess lies together. A rare way to look shades into the usual ones and differs from row to row; a mark does
neither: groups are ranked by how many rows, how much of their evidence, how much alike, and how far apart from the rest of the class.

Axes: N rows of a class, G rows of a group, K values of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.numbers import POSITIVE_COUNT, Limit, real_number, whole_number
from vesalius.scale.result import Survey
from vesalius.scale.statistics import QuantileSketch, column_of, value_rows
from vesalius.scale.summary import value_names

LEAST_ALIKE = 0.6
"""Cosine of two rows' excesses from which on they are of one group."""
CORE = 0.3
"""Share of a group's largest mean excess from which on a place is of its core."""
CLOSEST = 0.01
"""Difference from a cosine of 1 below which rows count as equal."""
MOST_GROUPS = 64
"""Groups of a class that are compared with the rest of it."""
MOST_ROWS = 2000
"""Rows of a class with the largest excess that are kept in memory."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Shortcut:
    """A group of rows of a class whose evidence lies in the same unusual places.

    Attributes:
        cohort: the class, or the value of another column.
        rows: numbers of the rows in the survey, those with the most unusual evidence first.
        prevalence: share of the class that they are.
        excess: mean share of a row's evidence that lies there beyond what is usual.
        alike: share of the size of their values at these places that is the same in all of them (1 less the variance).
        apart: how far the group is from the rest of its class: the share of it among all rows of the class that have half as much evidence
            there as the group's mean. 1: nobody else has; what is small is the end of a long tail.
        score: what groups are ranked by: prevalence * excess * apart * alike / (1 - alike).
        places: values with the largest mean excess, by name.
        map: [K] mean excess, of the row's evidence.
        core: [K] the places where it is large.
        level: mean share of a row's evidence at these.
        right: share of the rows that are classified as labelled; NaN where there are no labels.
    """

    cohort: Any
    rows: Int[Tensor, " G"]
    prevalence: float
    excess: float
    alike: float
    apart: float
    score: float
    places: tuple[str, ...]
    map: Float[ndarray, " K"]
    core: Bool[ndarray, " K"]
    level: float
    right: float

    def __repr__(self) -> str:
        right = "" if np.isnan(self.right) else f", {self.right:.0%} of them classified as labelled"
        return (
            f"class {self.cohort}: {len(self.rows)} rows ({self.prevalence:.1%} of it) with {self.excess:.0%} of their evidence in unusual"
            f" places, {self.alike:.2f} alike, {self.apart:.2f} apart{right}: {', '.join(self.places)}"
        )


@verb
def find_shortcuts(
    survey: Survey, *, by: str = "predicted", most_prevalent: float = 0.05, least_rows: int = 3, most: int = 20
) -> list[Shortcut]:
    """Groups of rows that rest on what the rest of their class does not rest on, the most suspicious first.

    Evidence is what speaks for the explained output: the positive values of a row, as shares of their sum. A group says where to look, not
    that something is wrong: a rare way to write a 7 is one too.

    Args:
        survey: values of single players, two or more rows for each class.
        by: column of whole numbers or words whose values are the classes.
        most_prevalent: share of a class, in (0, 0.5), up to which rows are a minority; a mark on more of them is what is usual.
        least_rows: of a group, 2 or more.
        most: groups that are given back; those far down the list have next to no evidence in unusual places.

    Returns:
        Groups, by ``score``. Empty where all rows of a class look at the same places, or each unusual row at places of its own.

    Raises:
        UnknownName: no such column.
        InvalidInput: values of coalitions.

    Reference: Lapuschkin2019, whose question it is.
    Differs from the paper: groups are found by excess over what is usual in the class instead of by spectral clustering of all maps, in
    three passes over the survey and in bounded memory.
    """
    share = real_number("most_prevalent", most_prevalent, Limit(above=0, below=0.5))
    least, shown = whole_number("least_rows", least_rows, Limit(least=2)), whole_number("most", most, POSITIVE_COUNT)
    if by not in survey.columns:
        raise UnknownName("column", by, survey.columns)
    usual: dict[Any, QuantileSketch] = {}
    for part in survey.parts():
        if part.coalitions is not None:
            raise InvalidInput("shortcuts are found in values of single players; survey an attribution, or reduce the interactions")
        for name, rows in _by_cohort(part, by):
            usual.setdefault(name, QuantileSketch()).add(_shares_of(part, rows))
    unusual = {name: _Unusual(sketch.quantile(1 - share)) for name, sketch in usual.items()}
    for start, part in _with_starts(survey):
        for name, rows in _by_cohort(part, by):
            unusual[name].add(value_rows(_shares_of(part, rows)), value_rows(part)[rows], rows + start)
    names = value_names(survey[0])
    found = {name: rows.groups(name, names, least) for name, rows in unusual.items()}
    kept = {name: sorted(groups, key=lambda group: -group.score)[:MOST_GROUPS] for name, groups in found.items()}
    made = [group for groups in _set_apart(survey, by, kept) for group in groups]
    ranked = sorted(made, key=lambda group: (-group.score, str(group.cohort)))
    if not {"label", "predicted"} <= set(survey.columns):
        return ranked[:shown]
    right = np.array([label == said for label, said in zip(survey.column("label"), survey.column("predicted"), strict=True)])
    return [replace(group, right=float(right[group.rows].mean())) for group in ranked[:shown]]


@dataclass(eq=False)
class _Unusual:
    """Rows of a class with much excess: what of their evidence lies where it usually does not.

    Attributes:
        usual: [K] the largest share that is usual in the class.
        count: rows of the class.
        rows: their numbers.
        excess: [G K].
        values: [G K] as they are, in the output's unit.
    """

    usual: Float[ndarray, " K"]
    count: int = 0
    rows: Int[ndarray, " G"] = field(default_factory=lambda: np.zeros(0, np.int64))
    excess: Float[ndarray, "G K"] | None = None
    values: Float[ndarray, "G K"] = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, shares: Float[ndarray, "N K"], values: Float[ndarray, "N K"], rows: Int[ndarray, " N"]) -> None:
        """Take in some rows, and keep those with the most excess."""
        self.count += len(rows)
        excess = np.clip(shares - self.usual, 0, None)
        looked_at = excess.sum(1) > 0
        together = excess[looked_at] if self.excess is None else np.concatenate([self.excess, excess[looked_at]])
        numbers = np.concatenate([self.rows, rows[looked_at]])
        kept = np.argsort(-together.sum(1), kind="stable")[:MOST_ROWS]
        self.rows, self.excess = numbers[kept], together[kept]
        self.values = np.concatenate([self.values, values[looked_at]])[kept] if len(self.values) else values[looked_at][kept]

    def groups(self, name: Any, names: tuple[str, ...], least: int) -> list[Shortcut]:
        """Rows whose excess lies together, each group led by the row with the most."""
        if self.excess is None or not len(self.rows):
            return []
        directions = self.excess / np.linalg.norm(self.excess, axis=1, keepdims=True)
        left = np.ones(len(self.rows), bool)
        found = []
        while left.any():
            leader = directions[int(np.flatnonzero(left)[0])]
            for _ in range(2):  # the second time, around the mean of those found the first time
                members = left & (directions @ leader >= LEAST_ALIKE)
                if not members.any():
                    members = left & (np.arange(len(left)) == np.flatnonzero(left)[0])
                leader = directions[members].mean(0)
                leader /= np.linalg.norm(leader)
            left &= ~members
            if members.sum() >= least:
                found.append(self._shortcut(name, names, members, directions))
        return found

    def _shortcut(self, name: Any, names: tuple[str, ...], members: Any, directions: Float[ndarray, "G K"]) -> Shortcut:
        assert self.excess is not None
        own = self.excess[members]
        mean = own.mean(0)
        core = mean > CORE * mean.max()
        inside = self.values[members][:, core]
        count = len(own)
        spread = float(inside.var(0, ddof=1).sum()) * (count + 1) / (count - 1)  # few rows are alike by chance
        alike = 1 - spread / max(float(np.square(inside).mean(0).sum()), 1e-300)
        prevalence, excess = float(members.sum()) / self.count, float(own.sum(1).mean())
        places = [place for place in np.argsort(-mean, kind="stable")[:6] if mean[place] > 0.05 * mean.max()]
        return Shortcut(
            cohort=name,
            rows=torch.from_numpy(self.rows[members]),
            prevalence=prevalence,
            excess=excess,
            alike=alike,
            apart=float("nan"),
            score=prevalence * excess * alike / (1 - alike + CLOSEST),
            places=tuple(names[place] for place in places),
            map=mean,
            core=core,
            level=float((own + self.usual)[:, core].sum(1).mean()),
            right=float("nan"),
        )


def _by_cohort(part: Allocation, by: str) -> list[tuple[Any, Int[ndarray, " N"]]]:
    """Rows of a part for each value of a column."""
    values = column_of(part, by)
    return [(name, np.array([row for row, value in enumerate(values) if value == name])) for name in dict.fromkeys(values)]


def _shares_of(part: Allocation, rows: Int[ndarray, " N"]) -> Allocation:
    """Positive values of some rows as shares of their sum."""
    positive = np.clip(value_rows(part)[rows], 0, None)
    return Allocation.from_array(positive / np.maximum(positive.sum(1, keepdims=True), 1e-300))


def _set_apart(survey: Survey, by: str, found: Mapping[Any, Sequence[Shortcut]]) -> list[list[Shortcut]]:
    """Groups that know how many other rows of their class have as much evidence in the same places, in one more pass."""
    reached = {name: np.zeros(len(groups), np.int64) for name, groups in found.items()}
    for part in survey.parts():
        for name, rows in _by_cohort(part, by):
            if found[name]:
                cores = np.stack([group.core for group in found[name]])
                levels = np.array([group.level for group in found[name]])
                reached[name] += (value_rows(_shares_of(part, rows)) @ cores.T >= levels / 2).sum(0)
    return [
        [_apart(group, len(group.rows) / max(int(count), len(group.rows))) for group, count in zip(groups, reached[name], strict=True)]
        for name, groups in found.items()
    ]


def _apart(group: Shortcut, apart: float) -> Shortcut:
    return replace(group, apart=apart, score=group.score * apart)


def _with_starts(survey: Survey) -> Iterator[tuple[int, Allocation]]:
    """The parts of a survey, with the number of rows before each."""
    start = 0
    for part in survey.parts():
        yield start, part
        start += len(part)
