"""Questions whose answer is a sum over rows, and what all parts of the data must have in common for their sums to add up."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vesalius.core import store
from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import Limit
from vesalius.core.options import Options
from vesalius.core.samples import PER_SAMPLE
from vesalius.core.statistic import StoredStatistic
from vesalius.scale.stream import RowBlock
from vesalius.trace.network import Network

PLAN = "plan.safetensors"
PLAN_KIND, SUMS_KIND = "survey plan", "survey sums"
Columns = dict[str, list[Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class SumPlan:
    """What was settled on some rows before the sums were begun: edges of bins, background rows, estimators.

    Attributes:
        tensors: by name.
        facts: everything else, as JSON.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "facts", json.loads(store.json_text(self.facts)))  # as they come back from a file

    def digest(self) -> str:
        """A hash of all that is in it."""
        return store.file_digest(store.json_text(self.facts), {name: tensor.cpu().contiguous() for name, tensor in self.tensors.items()})

    def save(self, folder: Path, key: str) -> None:
        """To its place in the folder of a survey, whole or not at all."""
        store.write(folder / PLAN, PLAN_KIND, self.tensors, {"question": key, "plan": self.facts})

    @classmethod
    def load(cls, folder: Path) -> tuple[SumPlan, str]:
        """What a folder holds, and of which question.

        Raises:
            FileNotFoundError: no plan.
            ForeignFile: damaged, or none of ours.
        """
        tensors, facts = store.read(folder / PLAN, PLAN_KIND)
        with store.decoding(folder / PLAN):
            return cls(tensors=tensors, facts=store.fact(facts, "plan", dict)), store.fact(facts, "question", str)


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockSums:
    """Sums over the rows of a block, and what is known of each row.

    Attributes:
        rows: how many.
        tensors: the sums.
        columns: by name, a value for each row.
        provenance: of the file that holds them.
    """

    rows: int
    tensors: Mapping[str, Tensor]
    columns: Columns
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        return self.rows

    def save(self, path: Path) -> Path:
        """Write to one file, atomically."""
        return store.write(path, SUMS_KIND, self.tensors, {"provenance": {**self.provenance, PER_SAMPLE: self.columns}})

    @classmethod
    def load(cls, path: Path) -> BlockSums:
        """Read a file back.

        Raises:
            FileNotFoundError: there is none.
            ForeignFile: damaged, or none of ours.
        """
        tensors, facts = store.read(path, SUMS_KIND)
        with store.decoding(path):
            held = store.fact(facts, "provenance", dict)
            columns = store.mapping(held.pop(PER_SAMPLE, {}))
            return cls(rows=store.fact(held, "rows", int), tensors=tensors, columns=columns, provenance=held)


Answers = Allocation | BlockSums
"""What a block comes to: an answer for each row, or sums over them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanRows:
    """What a plan is made on.

    Attributes:
        network: whose.
        rows: some, drawn from all of the data; ``None`` where no plan is made on rows.
        classes: names of the classes in the output's order, or empty.
        names: of the features.
    """

    network: Network
    rows: RowBlock | None
    classes: tuple[str, ...]
    names: tuple[str, ...]


BlockReader = Callable[[RowBlock], tuple[Any, Columns]]
"""From some rows to what a statistic takes in, and to what is known of each."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Aggregate(Options, ABC):
    """A question whose answer is a sum over rows: what is done with a plan and with rows.

    Attributes:
        sample: rows that the plan is made on, drawn from all of the data, which is gone through once more for it.
    """

    name: ClassVar[str] = ""
    limits: ClassVar[Mapping[str, Limit]] = {"sample": Limit(least=16)}
    explains: ClassVar[bool] = False
    """Whether there is a target, a baseline and players."""
    settled: ClassVar[bool] = True
    """Whether the plan is made on rows."""
    shard_rows: ClassVar[int] = 1 << 14
    """Of a shard, at most; the sums of few rows take as much space as those of many."""
    rows_at_once: ClassVar[int] = 1024
    """That a statistic is given, of which the network computes fewer at once."""
    sample: int = 2048

    @abstractmethod
    def plan(self, given: PlanRows) -> SumPlan:
        """Settle what all parts must have in common."""

    @abstractmethod
    def reader(self, network: Network, plan: SumPlan, asked: Any) -> BlockReader:
        """What a statistic is given of rows.

        Args:
            network: whose.
            plan: that was made.
            asked: the survey's :class:`vesalius.scale.task.SurveyTask`, for its target, baseline and players.
        """

    @staticmethod
    @abstractmethod
    def empty(plan: SumPlan) -> StoredStatistic:
        """The statistic without any row; no network is needed to read what it says."""


def named_inputs(network: Network, block: RowBlock) -> Any:
    """Rows as verbs take them, where the network is: a tensor, or tensors by name."""
    homes = network.devices
    inputs = tuple(tensor.clone().to(homes[0]) if len(homes) == 1 else tensor.clone() for tensor in block.inputs)
    return inputs[0] if len(inputs) == 1 else dict(zip((value.name for value in network.inputs), inputs, strict=True))


def class_labels(block: RowBlock, numbers: list[int | None]) -> Tensor:
    """Labels as class numbers.

    Raises:
        InvalidInput: some row has none.
    """
    if len(numbers) != len(block) or any(number is None or number < 0 for number in numbers):
        raise InvalidInput("labels= asks for a class number of each row: labels in the data, or labels=; words need classes=")
    return torch.tensor(numbers)
