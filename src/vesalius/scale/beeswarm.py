"""Values against what the samples hold, counted into cells: a beeswarm or a dependence chart of any number of rows.

Axes: B rows of a batch, N rows, P players, V cells of a value, F cells of what the samples hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vesalius.core.allocation import Allocation
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.scale.result import Survey
from vesalius.scale.statistics import MeanAbsolute, QuantileSketch, value_rows
from vesalius.scale.summary import value_names

VALUE_CELLS = 160
"""Cells along the values of a beeswarm."""
INPUT_CELLS = 8
"""Cells along what the samples hold, with as many rows each as ties allow."""
MOST_POINTS = 4000
"""Rows of which dependence is drawn; of more, every so many-th."""
SLICES = 20
"""Slices of a player's inputs within which what else moves its value is looked for."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BeeswarmCells:
    """How many rows have which value, and what they hold there.

    Attributes:
        names: of the players, the most important first.
        importance: [P] means of |value|.
        edges: ends of the cells of values.
        counts: [P V F] rows; along F what the sample holds, from low to high; one cell where that is not known.
        rows: in all.
    """

    names: tuple[str, ...]
    importance: Float[ndarray, " P"]
    edges: Float[ndarray, " _"]
    counts: Int[ndarray, "P V F"]
    rows: int

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Draw the distributions, a strip per player. Returns the matplotlib figure."""
        return load_view("beeswarm_plot")(self, title=title, ax=ax)


@verb
def beeswarm_cells(survey: Survey, *, most: int = 12) -> BeeswarmCells:
    """The distribution of the values of the most important players, in two passes and in memory that does not grow with the rows.

    Args:
        survey: any.
        most: players that are shown, 1 or more.
    """
    most = whole_number("most", most, POSITIVE_COUNT)
    inputs = _InputSketch()
    importance, sketch, held = survey.measure(MeanAbsolute(), QuantileSketch(), inputs)
    order = np.argsort(-importance.mean, kind="stable")[:most]
    low, high = float(sketch.quantile(0.0)[order].min()), float(sketch.quantile(1.0)[order].max())
    room = max(high - low, abs(low), abs(high), 1e-300) * 1e-2  # quantiles are known to a relative accuracy
    edges = np.linspace(min(low, 0.0) - room, max(high, 0.0) + room, VALUE_CELLS + 1)
    ends = None if held is None else _cell_ends(held)[:, order]
    counts = np.zeros((len(order), VALUE_CELLS, 1 if ends is None else INPUT_CELLS), np.int64)
    for part in survey.parts():
        rows = value_rows(part)[:, order]
        cells = np.clip(np.searchsorted(edges, rows, side="right") - 1, 0, VALUE_CELLS - 1)
        given = None if ends is None else _inputs(part)
        colours = np.zeros_like(cells) if given is None or ends is None else (given[:, order][None] > ends[:, None]).sum(0)
        for place in range(len(order)):
            np.add.at(counts[place], (cells[:, place], colours[:, place]), 1)
    names = value_names(survey[0])
    return BeeswarmCells(
        names=tuple(names[place] for place in order), importance=importance.mean[order], edges=edges, counts=counts, rows=len(survey)
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Dependence:
    """A player's value against what the samples hold for it.

    Attributes:
        name: of the player.
        x: [N] what the samples hold.
        y: [N] its values.
        by: the player whose inputs move the value most where those of ``name`` are alike; empty where nothing does.
        colour: [N] what the samples hold for that one.
        strength: [P] how much the inputs of every other player go with what is left of the value, from 0 to 1.
        rows: of the survey, of which ``N`` are here.
    """

    name: str
    x: Float[ndarray, " N"]
    y: Float[ndarray, " N"]
    by: str
    colour: Float[ndarray, " N"]
    strength: Float[ndarray, " P"]
    rows: int

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Draw the values against the inputs. Returns the matplotlib figure."""
        return load_view("dependence_plot")(self, title=title, ax=ax)


@verb
def dependence(survey: Survey, player: str, *, by: str | None = None) -> Dependence:
    """How a player's value depends on what the samples hold for it, and on which other player besides.

    Args:
        survey: in which the samples are kept, and every player is one of their elements.
        player: by name.
        by: another player, for the colour; by default the one that interacts most.

    Raises:
        UnknownName: no such player.
        InvalidInput: the samples were not kept, or players are larger parts.

    Reference: Lundberg2020.
    """
    names = value_names(survey[0])
    for one in (player, by):
        if one is not None and one not in names:
            raise UnknownName("player", one, names)
    place = names.index(player)
    step = max(1, -(-len(survey) // MOST_POINTS))
    inputs, values = _some_rows(survey, place, step)
    strength = _interaction_strength(inputs, values, place)
    other = names.index(by) if by is not None else int(strength.argmax()) if strength.max(initial=0.0) > 0 else None
    return Dependence(
        name=player,
        x=inputs[:, place],
        y=values,
        by="" if other is None else names[other],
        colour=np.zeros(len(values)) if other is None else inputs[:, other],
        strength=strength,
        rows=len(survey),
    )


def _cell_ends(held: QuantileSketch) -> Float[ndarray, "ends P"]:
    """Quantiles of what the samples hold, as far up as they are uncertain: a value that many rows share lies below its own quantile."""
    found = np.stack([held.quantile(share) for share in np.linspace(0, 1, INPUT_CELLS + 1)[1:-1]])
    ends: Float[ndarray, "ends P"] = found + 2 * held.accuracy * np.abs(found)
    return ends


def _interaction_strength(inputs: Float[ndarray, "N P"], values: Float[ndarray, " N"], place: int) -> Float[ndarray, " P"]:
    """The mean over slices of alike inputs of |correlation| of the value with every other input, weighted by the value's spread."""
    order = np.argsort(inputs[:, place], kind="stable")
    total, weight = np.zeros(inputs.shape[1]), 0.0
    for rows in np.array_split(order, min(SLICES, max(1, len(order) // 10))):
        y, x = values[rows] - values[rows].mean(), inputs[rows] - inputs[rows].mean(0)
        spread = float(np.sqrt(np.square(y).sum()))
        sizes = np.sqrt(np.square(x).sum(0)) * spread
        with np.errstate(divide="ignore", invalid="ignore"):
            correlation = np.where(sizes > 1e-12, np.abs(y @ x) / sizes, 0.0)
        total, weight = total + spread * correlation, weight + spread
    total[place] = 0.0
    return total / weight if weight > 0 else total


def _some_rows(survey: Survey, place: int, step: int) -> tuple[Float[ndarray, "N P"], Float[ndarray, " N"]]:
    """What every so many-th sample holds, and the values of one player."""
    inputs, values = [], []
    start = 0
    for part in survey.parts():
        rows = np.arange(-start % step, len(part), step)
        held = _inputs(part)
        if held is None:
            raise InvalidInput(
                "dependence needs the samples (keep_inputs=True) and players that are single elements of them, such as columns"
            )
        inputs.append(held[rows])
        values.append(value_rows(part)[rows, place])
        start += len(part)
    return np.concatenate(inputs), np.concatenate(values)


def _inputs(part: Allocation) -> Float[ndarray, "B P"] | None:
    """What the samples hold for each player, where that is one number each."""
    held = part.inputs_by_player if part.coalitions is None else None
    return None if held is None else held.detach().cpu().double().reshape(len(part), -1).numpy()


@dataclass(eq=False)
class _InputSketch:
    """Quantiles of what the samples hold, while all rows say so."""

    sketch: QuantileSketch | None = None
    known: bool = True

    def add(self, batch: Allocation) -> None:
        held = _inputs(batch)
        self.known &= held is not None and bool(np.isfinite(held).all())
        if self.known and held is not None:
            self.sketch = self.sketch or QuantileSketch()
            self.sketch.add(Allocation.from_array(held))

    def merge(self, other: Any) -> None:
        self.known &= other.known
        if self.sketch is not None and other.sketch is not None:
            self.sketch.merge(other.sketch)

    def result(self) -> QuantileSketch | None:
        return self.sketch if self.known else None
