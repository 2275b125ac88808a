"""What tokens and words are worth over many texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.scale.statistics import value_rows

LISTED = 12
"""Tokens that a summary prints."""
COUNT, ROWS, TOTAL, SIZE, COUNT2, TOTAL2, SIZE2, CROSS, SIZE_CROSS = range(9)
"""Sums over rows of a token's count n, its values s and their sizes a there: n, 1, s, a, n^2, s^2, a^2, n s, n a."""
Token = int | str
"""The name of a token or a word, or the id of one where only that is known."""


@dataclass(frozen=True, kw_only=True)
class TokenEstimate:
    """Means of a token's values over the places where it stands.

    Attributes:
        count: places.
        rows: texts with it.
        mean: of the values, with their sign.
        stderr: its standard error, with texts as what was drawn, since the places of one text go together; NaN of fewer than two texts.
        size: mean of |value|.
        size_stderr: its standard error, likewise.
    """

    count: int
    rows: int
    mean: float
    stderr: float
    size: float
    size_stderr: float


@dataclass(eq=False)
class TokenMeans:
    """Means of values by what stands there: the name of a token or a word, or the id of a token where only that is known.

    Attributes:
        sums: of each token, see ``COUNT`` and those behind it.

    Reference: Cochran1977, for the error of a ratio of sums over texts.
    """

    sums: dict[Token, Float64[ndarray, "9"]] = field(default_factory=dict)

    def add(self, batch: Allocation) -> None:
        for tokens, values in _tokens_of(batch):
            names, where = np.unique(np.array(tokens, dtype=object if isinstance(tokens[0], str) else None), return_inverse=True)
            where = where.reshape(-1)
            n, s, a = (np.bincount(where, weight) for weight in (None, values, np.abs(values)))
            found = np.stack([n, np.ones_like(s), s, a, n * n, s * s, a * a, n * s, n * a], 1)
            for name, one in zip(names.tolist(), found, strict=True):
                self._add_token(name, one)

    def merge(self, other: TokenMeans) -> None:
        for name, one in other.sums.items():
            self._add_token(name, one)

    def _add_token(self, name: Token, sums: Float64[ndarray, "9"]) -> None:
        known = self.sums.get(name)
        self.sums[name] = sums.copy() if known is None else known + sums

    def result(self) -> dict[Token, TokenEstimate]:
        """Every token, that of the largest mean size first."""
        found = {name: _estimate(one) for name, one in self.sums.items()}
        return dict(sorted(found.items(), key=lambda item: (-item[1].size, str(item[0]))))


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenSummary:
    """What tokens or words are worth over a data set.

    Attributes:
        tokens: by name, that of the largest mean size first.
        rows: texts in all.
        kind: of the players: ``tokens``, ``words``, ...
    """

    tokens: Mapping[Token, TokenEstimate]
    rows: int
    kind: str

    def top(self, k: int = LISTED, *, least: int = 1) -> dict[Token, TokenEstimate]:
        """The k of the largest mean size.

        Args:
            k: how many.
            least: texts that a token must be in.
        """
        return dict([item for item in self.tokens.items() if item[1].rows >= least][:k])

    def extremes(self, k: int = LISTED, *, least: int = 2) -> tuple[dict[Token, TokenEstimate], dict[Token, TokenEstimate]]:
        """The k that lower the output most, and the k that raise it most, by the end of the interval that is nearer to 0."""
        known = [(name, one) for name, one in self.tokens.items() if one.rows >= max(least, 2)]
        up = sorted(known, key=lambda item: -(item[1].mean - 1.96 * item[1].stderr))
        down = sorted(known, key=lambda item: item[1].mean + 1.96 * item[1].stderr)
        return dict([item for item in down[:k] if item[1].mean < 0]), dict([item for item in up[:k] if item[1].mean > 0])

    def __repr__(self) -> str:
        lines = [f"{len(self.tokens):,} different {self.kind} in {self.rows:,} texts; mean |value| with standard error, mean, texts"]
        for name, one in self.top().items():
            errors = f"{one.size:.4g} \N{PLUS-MINUS SIGN} {one.size_stderr:.2g}  {one.mean:+.4g} \N{PLUS-MINUS SIGN} {one.stderr:.2g}"
            lines.append(f"  {errors}  {one.rows:,}  {name}")
        return "\n".join(lines)


def _estimate(sums: Float64[ndarray, "9"]) -> TokenEstimate:
    mean, size = float(sums[TOTAL] / sums[COUNT]), float(sums[SIZE] / sums[COUNT])
    return TokenEstimate(
        count=int(sums[COUNT]),
        rows=int(sums[ROWS]),
        mean=mean,
        stderr=_ratio_error(sums, mean, sums[TOTAL2], sums[CROSS]),
        size=size,
        size_stderr=_ratio_error(sums, size, sums[SIZE2], sums[SIZE_CROSS]),
    )


def _ratio_error(sums: Float64[ndarray, "9"], ratio: float, squares: Any, cross: Any) -> float:
    """Standard error of a ratio of two sums over rows."""
    rows = float(sums[ROWS])
    if rows < 2:
        return math.nan
    spread = max(float(squares - 2 * ratio * cross + ratio * ratio * sums[COUNT2]), 0.0)
    return math.sqrt(spread * rows / (rows - 1)) / float(sums[COUNT])


def _tokens_of(batch: Allocation) -> Iterator[tuple[list[Any], Float64[ndarray, " _"]]]:
    """What stands where in each row, and the values there."""
    rows, players = value_rows(batch), batch.players
    if batch.coalitions is None and (players.samples or players.layout is not None):
        for row, values in enumerate(rows):
            names = [name.strip() or name for name in players.of(row).names]
            yield names, values[: len(names)]
        return
    ids = None if batch.coalitions is not None else batch.inputs_by_player
    if ids is None or ids.dtype.is_floating_point or ids.dtype.itemsize < 2:
        raise InvalidInput("statistics of tokens need texts, or the ids that were explained (whole numbers, kept beside the values)")
    yield from zip(ids.cpu().numpy().reshape(len(rows), -1).tolist(), rows, strict=True)
