"""What is done to every block of rows: the same numbers wherever and in whatever order it is done.

Axes: b rows of a block, B rows that are computed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.concatenation import join_allocations
from vesalius.core.entry import as_caller, neutral_modes
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.core.random_state import RandomState
from vesalius.core.samples import PER_SAMPLE
from vesalius.games.absence import Baseline
from vesalius.interactions import interactions
from vesalius.methods import Method, attribute
from vesalius.scale.aggregate import Aggregate, Answers, BlockSums, SumPlan
from vesalius.scale.stream import RowBlock, class_numbers
from vesalius.scale.texts import text_outputs
from vesalius.trace.network import Network
from vesalius.trace.target import predicted_classes

TRUE_CLASS = "true"
"""The target of each row is its label."""
TARGET_COLUMN = "asked"
"""Column that holds the target of each row, where one was given for each."""


@dataclass(frozen=True, kw_only=True)
class Dividends(Options):
    """Interactions of every row, see :func:`vesalius.interactions`.

    Attributes:
        max_order: size of the largest coalitions that are listed, >= 1; they must be the same for all rows.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"max_order": POSITIVE_COUNT}
    name: ClassVar[str] = "interactions"
    max_order: int = 2


BlockFunction = Callable[[Any], Allocation]
"""From the inputs of some rows (a tensor, or tensors by name) to an allocation over them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SurveyTask:
    """What is asked of every row.

    Attributes:
        method: an attribution, :class:`Dividends`, or a function of the inputs of some rows.
        target: what is explained; ``"true"``: the label of each row.
        baseline: what stands in for absent players; the same for all rows, or computed from each alone.
        players: who is paid.
        at: what is explained instead of the input.
        names: of the players.
        classes: names of the classes in the output's order, or empty.
        batch_rows: rows that are computed at once.
        keep_inputs: whether the samples go into the result.
        plan: of a method that is a sum over rows.
        tokenizer: of texts, where these are the rows.
    """

    method: Method | Dividends | Aggregate | BlockFunction
    target: Any = None
    baseline: Baseline = None
    players: Any = None
    at: Any = None
    names: Sequence[str] = ()
    classes: tuple[str, ...] = ()
    batch_rows: int = 64
    keep_inputs: bool = True
    plan: SumPlan | None = None
    tokenizer: Any = None

    def run(self, network: Network, block: RowBlock) -> Answers:
        """An allocation over the rows of a block, on the CPU, each with its own facts; or the sums over them.

        Raises:
            InvalidInput, WrongType: as the method, with the places of the rows.
        """
        if isinstance(self.method, Aggregate):
            return self._sum(network, block)
        parts = []
        for batch in block.batches(self.batch_rows):
            with _told_where(batch):
                parts.append(self._allocate(network, batch))
        return join_allocations(parts)

    def _sum(self, network: Network, block: RowBlock) -> BlockSums:
        """The sums over the rows of a block."""
        assert isinstance(self.method, Aggregate) and self.plan is not None
        statistic, columns = self.method.empty(self.plan), _facts(block, self.classes)
        with neutral_modes():
            read = self.method.reader(network, self.plan, self)
            for part in block.batches(self.method.rows_at_once):
                with _told_where(part):
                    batch, told = read(part)
                    statistic.add(batch)
                for name, values in told.items():
                    columns.setdefault(name, []).extend(values)
        return BlockSums(rows=len(block), tensors=statistic.to_tensors(), columns=columns, provenance={})

    def _allocate(self, network: Network, batch: RowBlock) -> Allocation:
        if batch.texts:
            return self._allocate_texts(network, batch)
        homes = network.devices
        # cloned, since rows of a larger tensor lie where they lie: on other addresses kernels take other paths, and round otherwise
        inputs = tuple(tensor.clone().to(homes[0]) if len(homes) == 1 else tensor.clone() for tensor in batch.inputs)
        target = self.target_of(batch)
        with neutral_modes():
            if isinstance(self.method, Method):
                found = attribute(
                    network,
                    self._named(network, inputs),
                    self.method,
                    target=target,
                    baseline=self.baseline,
                    at=self.at,
                    players=self.players,
                    names=self.names,
                    classes=self.classes,
                )
            elif isinstance(self.method, Dividends):
                found = self._dividends(network, inputs, target)
            else:
                found = self._own(network, inputs, batch)
            facts = {**_facts(batch, self.classes), **_predictions(network, inputs, batch, self.classes)}
        known = dict(found.provenance.get(PER_SAMPLE) or {})
        kept = found.explained if self.keep_inputs else ()
        return replace(found, explained=kept, provenance={**found.provenance, PER_SAMPLE: {**known, **facts}})

    def _allocate_texts(self, network: Network, batch: RowBlock) -> Allocation:
        """An allocation over texts; what their tokens are is kept in place of the samples."""
        assert isinstance(self.method, Method)
        asked = {"target": self.target_of(batch), "baseline": self.baseline, "at": self.at, "players": self.players}
        with neutral_modes():
            found = attribute(network, list(batch.texts), self.method, classes=self.classes, tokenizer=self.tokenizer, **asked)
            output = text_outputs(network, batch.texts, self.tokenizer)
            told = {} if output is None else _output_facts(output, batch, self.classes)
        facts = {**_facts(batch, self.classes), **told, "text": list(batch.texts)}
        if not found.base.ndim:
            found = stack_samples([found])
        known = dict(found.provenance.get(PER_SAMPLE) or {})
        return replace(found, explained=(), provenance={**found.provenance, PER_SAMPLE: {**known, **facts}})

    def target_of(self, batch: RowBlock) -> Any:
        """What is explained of some rows.

        Raises:
            InvalidInput: labels are asked for, and a row has none.
        """
        if TARGET_COLUMN in batch.columns:
            return list(batch.columns[TARGET_COLUMN])
        if not (isinstance(self.target, str) and self.target == TRUE_CLASS):
            return self.target
        numbers = class_numbers(batch.labels, self.classes)
        if len(numbers) != len(batch) or any(number is None for number in numbers):
            raise InvalidInput("the target 'true' needs a class for each row: labels in the data, or labels=; words need classes=")
        return numbers

    def _named(self, network: Network, inputs: Sequence[Tensor]) -> Any:
        return inputs[0] if len(inputs) == 1 else dict(zip((value.name for value in network.inputs), inputs, strict=True))

    def _dividends(self, network: Network, inputs: Sequence[Tensor], target: Any) -> Allocation:
        """Dividends of each row, stacked."""
        assert isinstance(self.method, Dividends)
        found = []
        for row in range(len(inputs[0])):
            one = self._named(network, [tensor[row : row + 1] for tensor in inputs])
            asked = target[row] if isinstance(target, list) else target
            found.append(
                interactions(
                    network,
                    one,
                    self.players,
                    target=asked,
                    baseline=self.baseline,
                    at=self.at,
                    max_order=self.method.max_order,
                    names=self.names,
                    classes=self.classes,
                )
            )
        return stack_samples(found)

    def _own(self, network: Network, inputs: Sequence[Tensor], batch: RowBlock) -> Allocation:
        """What a function of the caller's makes of some rows; numbers that it draws depend on the place of the first row alone."""
        assert callable(self.method)
        with RandomState():
            torch.manual_seed(batch.start)
            found = as_caller(self.method, self._named(network, inputs))
        if not isinstance(found, Allocation):
            raise WrongType(f"an own method gives a vesalius.Allocation of the rows it is given, not {type(found).__name__}")
        if not found.base.ndim or len(found) != len(batch):
            raise InvalidInput(f"an own method was given {len(batch)} rows, and its allocation is of {len(found)}")
        return found


@contextmanager
def _told_where(batch: RowBlock) -> Iterator[None]:
    """Say of which rows an error is."""
    try:
        yield
    except InvalidInput as error:
        where = f"rows {batch.start:,} to {batch.start + len(batch) - 1:,} of the data"
        raise InvalidInput(f"{where}: {error}") from error


def stack_samples(found: Sequence[Allocation]) -> Allocation:
    """Allocations of single samples as one of a batch.

    Raises:
        InvalidInput: their players or coalitions differ.
    """
    first = found[0]
    for one in found:
        same = (one.coalitions is None) == (first.coalitions is None) and one.values.shape == first.values.shape
        if not same or (one.coalitions is not None and first.coalitions is not None and not torch.equal(one.coalitions, first.coalitions)):
            raise InvalidInput("the rows have values of different coalitions, which make no table; take a smaller max_order")

    def batched(one: Allocation) -> Allocation:
        names = ("values", "base", "total", "stderr", "converged", "map_error")
        own: dict[str, Any] = {name: None if (part := getattr(one, name)) is None else part[None] for name in names}
        each = {"target": [one.provenance["target"]]} if "target" in one.provenance else {}
        return replace(
            one,
            **own,
            evaluations=one.evaluations.reshape(1),
            absorbed={where: part[None] for where, part in one.absorbed.items()},
            explained=tuple(part[None] for part in one.explained),
            provenance={**one.provenance, PER_SAMPLE: each},
        )

    return join_allocations([batched(one) for one in found])


def _facts(batch: RowBlock, classes: Sequence[str]) -> dict[str, list[Any]]:
    """What is known of each row beside its values."""
    facts: dict[str, list[Any]] = {"row": list(range(batch.start, batch.start + len(batch)))}
    if batch.ids:
        facts["id"] = list(batch.ids)
    if batch.labels:
        numbers = class_numbers(batch.labels, classes)
        facts["label"] = [label if number is None else number for label, number in zip(batch.labels, numbers, strict=True)]
    return facts | {name: list(values) for name, values in batch.columns.items() if name != TARGET_COLUMN}


def _predictions(network: Network, inputs: Sequence[Tensor], batch: RowBlock, classes: Sequence[str]) -> dict[str, list[Any]]:
    """The predicted class of each row, or the value, and by how much the class it should have leads the others."""
    with torch.no_grad():
        output = network.run(tuple(inputs)).detach().cpu()
    return _output_facts(output, batch, classes)


def _output_facts(output: Shaped[Tensor, "B ..."], batch: RowBlock, classes: Sequence[str]) -> dict[str, list[Any]]:
    """What an output says of each row."""
    if output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1):
        return {"predicted": output.double().reshape(-1).tolist()}
    if output.ndim != 2:
        return {}
    predicted = predicted_classes(output).tolist()
    numbers = class_numbers(batch.labels, classes)
    known = [number for number in numbers if number is not None and 0 <= number < output.shape[1]]
    if len(known) < len(output):
        return {"predicted": predicted}
    wrong = [number != place for number, place in zip(known, predicted, strict=True)]
    return {"predicted": predicted, "error": wrong, "margin": _margins(output, torch.tensor(known)).tolist()}


def _margins(output: Shaped[Tensor, "B C"], classes: Shaped[Tensor, " B"]) -> Shaped[Tensor, " B"]:
    """The output of a class less the largest of the others."""
    rows = torch.arange(len(output))
    others = output.double().clone()
    others[rows, classes] = -torch.inf
    return output.double()[rows, classes] - others.amax(1)
