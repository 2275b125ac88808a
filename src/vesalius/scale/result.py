"""A survey that is done: read from its folder as it is asked for.

Axes: N rows, B rows of a part, P players, K values of a row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from vesalius.core import conversion, store
from vesalius.core.allocation import Allocation
from vesalius.core.arguments import noun, read_argument
from vesalius.core.concatenation import join_allocations
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName
from vesalius.core.samples import PER_SAMPLE, resolve_rows
from vesalius.core.statistic import Statistic
from vesalius.scale.aggregate import PLAN, BlockSums, SumPlan
from vesalius.scale.aggregates import READERS
from vesalius.scale.folder import Manifest, Shard, check_sizes, find_shards, load_shard, read_manifest, read_shard_facts
from vesalius.scale.summary import SurveySummary, summarise
from vesalius.scale.tokens import TokenMeans, TokenSummary

Choice = Callable[[Allocation], Any]
"""From an allocation over some rows to a boolean for each."""


@noun("make one with vesalius.survey(model, data, method, out=folder), or load one with vesalius.Survey.load(folder)")
@dataclass(frozen=True, eq=False, repr=False)
class Survey:
    """The answers to one question about every row of a data set, in a folder. Made by :func:`vesalius.scale.survey`.

    Nothing is read before it is asked for. Statistics go through the shards one by one; a slice or a filter loads what it chooses.

    Attributes:
        folder: where the answers are.
        manifest: what was asked, and what there is.
        shards: files of answers, in the order of the rows.
    """

    folder: Path
    manifest: Manifest
    shards: tuple[Shard, ...]
    _columns: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    @verb
    def load(cls, folder: str | Path) -> Survey:
        """The survey in a folder, finished or not; no code in it can run.

        Raises:
            FileNotFoundError: there is none.
            ForeignFile: damaged, of a newer version, or none of ours. A shard that is damaged is found when it is read.
        """
        place = Path(read_argument("folder", folder, "str | Path"))
        manifest = read_manifest(place)
        if manifest.shards is not None:
            check_sizes(place, manifest.shards)
            return cls(place, manifest, manifest.shards)
        found = (read_shard_facts(path, sums=manifest.sums) for path in find_shards(place))
        shards = tuple(shard for shard, facts in found if facts.get("survey") == manifest.key)
        return cls(place, manifest, tuple(sorted(shards, key=lambda shard: shard.start)))

    @property
    def complete(self) -> bool:
        """Whether every row of the data has its answer; a run that was stopped is finished by the same call again."""
        return self.manifest.shards is not None

    @property
    def question(self) -> Mapping[str, Any]:
        """What was asked: method, options, target, baseline, model and its digests, versions."""
        return self.manifest.question

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.question.get("method", ""))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the output's order, or empty."""
        return tuple(map(str, self.question.get("classes") or ()))

    @property
    def file_bytes(self) -> int:
        """Size of all shards on disk."""
        return sum((self.folder / shard.file).stat().st_size for shard in self.shards)

    # ---- rows ---------------------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of rows that have answers."""
        return sum(shard.rows for shard in self.shards)

    @cached_property
    def _starts(self) -> list[int]:
        """Number of rows before each shard."""
        return [0, *np.cumsum([shard.rows for shard in self.shards]).tolist()]

    @verb
    def __getitem__(self, rows: Any) -> Allocation:
        """One row by its number, or several by a slice, a list or array of numbers, or a boolean for each; in that order.

        Raises:
            IndexError: there are not so many rows.
            InvalidInput: there are none at all yet.
            WrongType: not chosen by numbers or booleans.
            ForeignFile: a shard is missing or damaged.
        """
        chosen = resolve_rows(rows, len(self))
        if isinstance(chosen, int):
            row = chosen % len(self)
            return self._take(torch.tensor([row]))[0]
        return self._take(chosen % max(len(self), 1))

    def _take(self, rows: Int[Tensor, " B"]) -> Allocation:
        if not self.shards:
            raise InvalidInput(f"the survey in {self.folder} has no rows yet; call vesalius.survey again")
        if not len(rows):
            return self._load(0)[:0]
        ordered, order = rows.sort(stable=True)
        shard_of = np.searchsorted(np.array(self._starts), ordered.numpy(), side="right") - 1
        parts = []
        for place in np.unique(shard_of).tolist():
            own = ordered[torch.from_numpy(shard_of == place)] - self._starts[place]
            parts.append(self._load(place)[own])
        joined = join_allocations(parts)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        return joined[back]

    def _load(self, place: int) -> Allocation:
        if self.manifest.sums:
            raise InvalidInput(
                f"the survey in {self.folder} holds sums over rows ({self.method.replace('_', ' ')}), and no values of a row; .result() is"
                " what they say, .column(name) and .find(column=...) what is known of each row"
            )
        found = load_shard(self.folder, self.shards[place], self.manifest.key, sums=False)
        assert isinstance(found, Allocation)
        return found

    def __iter__(self) -> Iterator[Allocation]:
        """The rows, one after another, of which one shard is held at a time."""
        return (row for part in self.parts() for row in part)

    def parts(self) -> Iterator[Allocation]:
        """All rows, a shard at a time."""
        return (self._load(place) for place in range(len(self.shards)))

    def shard_of(self, row: int) -> Shard:
        """The shard that holds a row."""
        return self.shards[bisect_right(self._starts, range(len(self))[row]) - 1]

    # ---- columns ------------------------------------------------------------------------------------------------------------------

    @property
    def columns(self) -> tuple[str, ...]:
        """What is known of each row beside its values: ``row`` (its position in the data), ``target``, and where they are known ``id``,
        ``label``, ``predicted`` (a class, or the output of a model that has only one), ``error`` (whether that is another class),
        ``margin`` (the output of the label's class less the largest other one: negative for an error) and what was given as
        ``columns=``."""
        self._read_columns()
        return tuple(self._columns)

    @verb
    def column(self, name: str) -> list[Any]:
        """What is known of every row by a name.

        Raises:
            UnknownName: nothing of that name.
        """
        self._read_columns()
        if name not in self._columns:
            raise UnknownName("column", name, self._columns)
        return self._columns[name]

    def _read_columns(self) -> None:
        if self._columns or not self.shards:
            return
        found: dict[str, list[Any]] = {}
        for place, shard in enumerate(self.shards):
            facts = self._facts(shard)
            if place and list(facts) != list(found):
                raise ForeignFile(f"{self.folder / shard.file} has other columns than the shards before it")
            for name, values in facts.items():
                found.setdefault(name, []).extend(values)
        self._columns.update(found)

    def _facts(self, shard: Shard) -> Mapping[str, list[Any]]:
        """The columns of a shard, read without its tensors if they are known to be what was written."""
        path = self.folder / shard.file
        try:
            known, facts = read_shard_facts(path, sums=self.manifest.sums)
        except FileNotFoundError as error:
            raise ForeignFile(f"{path} is missing; call vesalius.survey again to compute its {shard.rows:,} rows anew") from error
        if known != shard:
            raise ForeignFile(f"{path} is damaged, or belongs to another survey; call vesalius.survey again to compute its rows anew")
        each: Mapping[str, list[Any]] = facts.get(PER_SAMPLE) or {}
        if not isinstance(each, dict) or any(not isinstance(values, list) or len(values) != shard.rows for values in each.values()):
            raise ForeignFile(f"{path} is damaged: its columns are not those of {shard.rows:,} rows")
        return each

    @verb
    def find(self, choice: Choice | None = None, **columns: Any) -> Int[Tensor, " B"]:
        """Numbers of the rows that are meant, for ``survey[...]``.

        Args:
            choice: from an allocation over some rows to a boolean for each: ``lambda a: a.total > 2``; called shard by shard.
            columns: what a column must hold, ``label=3``; one of several values, ``predicted=[3, 5]``; or a function of a value.

        Raises:
            UnknownName: no such column.
            InvalidInput: a choice of another length.
        """
        kept = torch.ones(len(self), dtype=torch.bool)
        for name, wanted in columns.items():
            kept &= torch.tensor([_holds(value, wanted) for value in self.column(name)], dtype=torch.bool)
        if choice is not None:
            kept &= torch.cat([_chosen(choice, part) for part in self.parts()])
        return kept.nonzero().flatten()

    def where(self, choice: Choice | None = None, **columns: Any) -> Allocation:
        """The rows that :meth:`find` finds, as an allocation over them."""
        return self[self.find(choice, **columns)]

    # ---- sums ---------------------------------------------------------------------------------------------------------------------

    @verb
    def result(self) -> Any:
        """What the sums over all rows say, where the method was such: an :class:`vesalius.scale.AuditSummary`, a
        :class:`vesalius.FlowGraph`, a :class:`vesalius.sparsity.LinkImportance` or a :class:`vesalius.Complexity`.

        Raises:
            InvalidInput: a survey with an answer for each row, or without rows.
            ForeignFile: a file is missing or damaged.
        """
        if not self.manifest.sums:
            raise InvalidInput("this survey has an answer for each row, and no result over all; see .summary(), .measure(...) and [rows]")
        if not self.shards:
            raise InvalidInput(f"the survey in {self.folder} has no rows yet; call vesalius.survey again")
        path = self.folder / PLAN
        try:
            plan, _ = SumPlan.load(self.folder)
        except FileNotFoundError as error:
            raise ForeignFile(f"{path} is missing, without which the sums cannot be read; call vesalius.survey again") from error
        if plan.digest() != self.question.get("plan"):
            raise ForeignFile(f"{path} is of another survey; call vesalius.survey again to settle and compute it anew")
        kind = READERS.get(self.method)
        if kind is None:
            raise ForeignFile(f"{self.folder} holds sums of {self.method!r}, which this version does not know; upgrade vesalius")
        with store.decoding(path):
            merged, empty = kind.empty(plan), kind.empty(plan)
        for shard in self.shards:
            part = load_shard(self.folder, shard, self.manifest.key, sums=True)
            assert isinstance(part, BlockSums)
            with store.decoding(self.folder / shard.file):
                one = empty.with_sums(part.tensors)
            merged.merge(one)
        return merged.result()

    # ---- statistics ---------------------------------------------------------------------------------------------------------------

    @verb
    def measure(self, *statistics: Statistic) -> tuple[Any, ...]:
        """Results of statistics over all rows, in one pass: ``survey.measure(MeanAbsolute(), MapCovariance())``."""
        for part in self.parts():
            for statistic in statistics:
                statistic.add(part)
        return tuple(statistic.result() for statistic in statistics)

    @property
    def of_texts(self) -> bool:
        """Whether the rows are texts, each with players of its own."""
        return bool(self.question.get("tokenizer"))

    @verb
    def tokens(self) -> TokenSummary:
        """What each token, or word, is worth over all texts, with intervals; ids, where rows of them were explained.

        Raises:
            InvalidInput: neither texts nor ids.
        """
        if not len(self):
            raise InvalidInput(f"the survey in {self.folder} has no rows yet; call vesalius.survey again")
        (found,) = self.measure(TokenMeans())
        return TokenSummary(tokens=found, rows=len(self), kind=self[0].players.kind)

    @verb
    def summary(self, by: str | None = None) -> SurveySummary:
        """Mean sizes with standard errors, means with their sign, quantiles, and the same for each class or cohort.

        Args:
            by: the column whose values make the cohorts; the label where it is known, else the predicted class.

        Raises:
            UnknownName: no such column.
        """
        return summarise(self, by)

    # ---- to other libraries -------------------------------------------------------------------------------------------------------

    def to_dataframe(self) -> Any:
        """All values as a ``pandas.DataFrame``: a row per row, by its id if it has one, and a column per player or coalition.

        Raises:
            ModuleNotFoundError: pandas, an optional extra, is not installed.
        """
        return self._whole().to_dataframe()

    def to_xarray(self) -> Any:
        """All values as an ``xarray.Dataset``: ``values`` [row *players.shape], ``base``, ``total``, and the columns.

        Raises:
            ModuleNotFoundError: xarray, an optional extra, is not installed.
        """
        whole = self._whole()
        shape = whole.values.shape[1:]
        names = tuple(whole.players.names) if whole.coalitions is None and len(shape) == 1 else None
        return conversion.to_xarray(
            {"values": whole.values, "base": whole.base, "total": whole.total},
            {name: values for name, values in self._columns_read().items() if name != "row"},
            self.column("row"),
            names,
        )

    def _columns_read(self) -> Mapping[str, list[Any]]:
        self._read_columns()
        return self._columns

    def _whole(self) -> Allocation:
        if not self.shards:
            raise InvalidInput(f"the survey in {self.folder} has no rows yet")
        return join_allocations([replace(part, explained=()) for part in self.parts()])

    # ---- showing ------------------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        done = "" if self.complete else ", NOT COMPLETE: call vesalius.survey again to finish it"
        size = self.file_bytes / 1e6
        method = self.method.replace("_", " ")
        return f"Survey: {method} of {len(self):,} rows in {len(self.shards)} shards ({size:.1f} MB){done}; {self.folder}"

    def _repr_html_(self) -> str:
        return str(load_view("survey_html")(self))

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Bars of mean sizes with intervals, or for images the mean map of sizes. Returns the matplotlib figure."""
        return load_view("survey_plot")(self, title=title, ax=ax)


def _holds(value: Any, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, (list, tuple, set, frozenset, range)):
        return value in wanted
    return bool(value == wanted)


def _chosen(choice: Choice, part: Allocation) -> Bool[Tensor, " B"]:
    found: Shaped[Tensor, "..."] = torch.as_tensor(choice(part))
    if found.dtype != torch.bool or tuple(found.shape) != (len(part),):
        raise InvalidInput(f"a choice gives one boolean for each of {len(part)} rows, not {found.dtype} of shape {list(found.shape)}")
    return found.cpu()
