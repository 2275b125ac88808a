"""What there is to draw of a text: its pieces in reading order with their values, lines that they fill, a matrix, arcs between words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vesalius.core.allocation import Allocation
from vesalius.core.text_division import BYSTANDER
from vesalius.views import style
from vesalius.views.chart_data import symmetric_scale, values_of
from vesalius.views.interactions.chart_data import pair_graph

GENERATED = "generated"
"""Under which a matrix's provenance names the tokens that are explained."""
LINE_WIDTH = 72
"""Characters of a line of text in a chart."""
MOST_ARCS = 12
INVISIBLE = "\N{WHITE VERTICAL RECTANGLE}"
"""What is shown for a token that is a part of a character."""


@dataclass(frozen=True, kw_only=True)
class TextRun:
    """A part of a text that one player owns, or none.

    Attributes:
        text: as it was written.
        value: of its player, ``None`` for a bystander.
        stderr: of the value, or ``None``.
        player: its number, -1 for a bystander.
    """

    text: str
    value: float | None = None
    stderr: float | None = None
    player: int = BYSTANDER


@dataclass(frozen=True, kw_only=True)
class PlacedRun:
    """A run, or what stands of it on one line: the line, the first character's place in it, and what is drawn."""

    run: TextRun
    line: int
    start: int
    text: str
    width: int


@dataclass(frozen=True, kw_only=True)
class Arc:
    """A pair of players: from the middle of one to that of the other, as (place in the line, line)."""

    first: tuple[float, int]
    second: tuple[float, int]
    names: tuple[str, str]
    value: float


def is_text(allocation: Allocation) -> bool:
    """Whether the players of one sample divide a text that is known, and have one value each."""
    return allocation.coalitions is None and not allocation.base.ndim and allocation.players.layout is not None


def is_matrix(allocation: Allocation) -> bool:
    """Whether these are values of a prompt's players for each token of its continuation."""
    return bool(allocation.base.ndim) and GENERATED in allocation.provenance and allocation.players.layout is not None


def generated_tokens(allocation: Allocation) -> tuple[str, ...]:
    """The tokens of a matrix, in order, as they are read."""
    return tuple(map(str, allocation.provenance[GENERATED]))


def text_runs(allocation: Allocation) -> list[TextRun]:
    """A text in reading order, neighbours of one player together; values of coalitions are left out."""
    layout = allocation.players.layout
    assert layout is not None
    numbers = values_of(allocation) if allocation.coalitions is None else None
    errors = None if allocation.stderr is None or numbers is None else allocation.stderr.detach().double().cpu().reshape(-1).tolist()
    runs: list[tuple[str, int]] = []
    for piece, owner in zip(layout.pieces, layout.owners, strict=True):
        if runs and runs[-1][1] == owner and (owner != BYSTANDER or piece[:1].isspace()):
            runs[-1] = (runs[-1][0] + piece, owner)
        else:
            runs.append((piece or INVISIBLE, owner))
    return [
        TextRun(
            text=text,
            player=owner,
            value=None if owner == BYSTANDER or numbers is None else float(numbers[owner]),
            stderr=None if owner == BYSTANDER or errors is None else errors[owner],
        )
        for text, owner in runs
    ]


def text_scale(allocations: Sequence[Allocation]) -> float:
    """The largest value of several: the end of the scale that they share."""
    return symmetric_scale([values_of(allocation) for allocation in allocations])


def describe_run(run: TextRun, name: str) -> str:
    """``great: +0.41``."""
    if run.value is None:
        return ""
    spread = "" if not run.stderr else f" \N{PLUS-MINUS SIGN}{style.number(run.stderr, digits=2)}"
    return f"{name}: {style.signed_number(run.value)}{spread}"


def columns_of(text: str) -> int:
    """Columns that a text takes in letters of one width."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 0 if unicodedata.combining(letter) else 1 for letter in text)


def place_runs(runs: Sequence[TextRun], width: int = LINE_WIDTH) -> list[PlacedRun]:
    """Runs broken into lines at spaces; what is longer than a line is cut."""
    placed: list[PlacedRun] = []
    line = column = 0
    for run in runs:
        for part in _words(run.text):
            if part == "\n":
                line, column = line + 1, 0
                continue
            shown = part.lstrip() if not column else part
            while shown:
                if column and column + columns_of(shown.rstrip()) > width:
                    line, column, shown = line + 1, 0, shown.lstrip()
                    continue
                piece = shown[:width]
                placed.append(PlacedRun(run=run, line=line, start=column, text=piece, width=columns_of(piece)))
                column, shown = column + columns_of(piece), shown[width:]
    return _joined(placed)


def _words(text: str) -> list[str]:
    """A text cut before spaces, line breaks alone."""
    words: list[str] = []
    for letter in text.replace("\r", "").replace("\t", " "):
        if letter == "\n" or not words or words[-1] == "\n" or (letter == " " and not words[-1].isspace()):
            words.append(letter)
        else:
            words[-1] += letter
    return words


def _joined(placed: Sequence[PlacedRun]) -> list[PlacedRun]:
    """Neighbours of one run on one line together."""
    found: list[PlacedRun] = []
    for part in placed:
        last = found[-1] if found else None
        if last is not None and last.run is part.run and last.line == part.line:
            found[-1] = PlacedRun(run=part.run, line=part.line, start=last.start, text=last.text + part.text, width=last.width + part.width)
        else:
            found.append(part)
    return found


def text_arcs(allocation: Allocation, placed: Sequence[PlacedRun]) -> list[Arc]:
    """The strongest pairs of a text's players, each from the middle of the first part of a player."""
    middles: dict[int, tuple[float, int]] = {}
    for part in placed:
        lead = len(part.text) - len(part.text.lstrip())
        middles.setdefault(part.run.player, (part.start + (lead + part.width) / 2, part.line))
    graph = pair_graph(allocation, most=MOST_ARCS)
    return [
        Arc(
            first=middles[edge.first],
            second=middles[edge.second],
            names=(allocation.players.name(edge.first), allocation.players.name(edge.second)),
            value=edge.value,
        )
        for edge in graph.edges
        if edge.first in middles and edge.second in middles
    ]


def matrix_values(allocation: Allocation) -> Float[ndarray, "tokens players"]:
    """Values of a matrix in float64."""
    return np.asarray(allocation.flat.detach().double().cpu().numpy())
