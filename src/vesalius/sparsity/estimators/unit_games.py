"""The games that the links of a layer play: one per unit and row, whose worth is the activation of a sum.

With baseline ``zero`` an absent link adds nothing: v(S) = act(b + sum of c_j over S), c_j = w_j x_j. With ``data`` it adds what it adds in
a row drawn from the data: v(S) = E act(b' + sum of c_j over S + sum of c'_j over the others), c_j = w_j (x_j - mean), b' = b + w mean, all
absent links from the same row.

Axes: U units, u of a chunk, P players (links, or channels of a kernel slice each), K weights of a player, N rows, n of a chunk,
B background rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.sparsity.elementwise_function import UnitFunction

BASELINES = ("data", "zero")
WORKING_ELEMENTS = 1 << 22
"""Elements of one working array."""


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitGames:
    """The units of a layer (or of one group of it), and the rows that their links carry.

    Attributes:
        weight: [U P K].
        bias: [U].
        rows: [N P K].
        activation: applied to the sum.
        baseline: ``data`` or ``zero``.
        background: at most so many rows stand for the data where they are taken one by one.
        seed: of the choice of background rows.
        reference: [R P K] rows that say what an absent link adds, where ``rows`` are only a part of the data; by default ``rows``.
    """

    weight: Float[Tensor, "U P K"]
    bias: Float[Tensor, " U"]
    rows: Float[Tensor, "N P K"]
    activation: UnitFunction
    baseline: str = "data"
    background: int = 200
    seed: int = 0
    reference: Float[Tensor, "R P K"] | None = None

    @classmethod
    def of(
        cls, weight: Float[Tensor, "U F"], bias: Float[Tensor, " U"], rows: Float[Tensor, "N F"], activation: UnitFunction, baseline: str
    ) -> UnitGames:
        """Units whose players are single weights, checked.

        Raises:
            InvalidInput: shapes that do not fit, no rows, NaN or infinite values.
            UnknownName: no such baseline.
        """
        require_known("baseline", baseline, BASELINES)
        if weight.ndim != 2 or rows.ndim != 2 or weight.shape[1] != rows.shape[1] or bias.shape != weight.shape[:1]:
            shapes = f"{list(weight.shape)}, {list(bias.shape)} and {list(rows.shape)}"
            raise InvalidInput(f"weight, bias and rows are [units, fan-in], [units] and [rows, fan-in]; these are {shapes}")
        if not len(rows):
            raise InvalidInput("no rows: the importance of a link is a mean over rows")
        for what, tensor in (("weight", weight), ("bias", bias), ("rows", rows)):
            if not bool(tensor.isfinite().all()):
                raise InvalidInput(f"{what} holds NaN or infinity; importance needs numbers")
        return cls(weight=weight[..., None], bias=bias, rows=rows[..., None], activation=activation, baseline=baseline)

    @property
    def players(self) -> int:
        """Links into a unit."""
        return self.weight.shape[1]

    def activation_of(self, units: slice, axis: int = -1) -> UnitFunction:
        """The activation of some units, for tensors that have them on an axis, counted from the end."""
        return self.activation.select(units).at(axis)

    def select(self, units: slice | Int[Tensor, " u"]) -> UnitGames:
        """The games of some units."""
        return replace(self, weight=self.weight[units], bias=self.bias[units], activation=self.activation.select(units))

    @property
    def known(self) -> Float[Tensor, "R P K"]:
        """The rows that say what an absent link adds."""
        return self.rows if self.reference is None else self.reference

    @cached_property
    def centre(self) -> Float[Tensor, "P K"]:
        """What an absent input is on average: the mean of the rows, or 0. That of a constant is the constant, to the last bit."""
        if self.baseline == "zero":
            return torch.zeros_like(self.rows[0])
        low, high = self.known.amin(0), self.known.amax(0)
        mean = self.known.sum(0, dtype=_accumulation_dtype(self.rows)) / len(self.known)
        return torch.where(low == high, low, mean.to(self.rows.dtype))

    @cached_property
    def base(self) -> Float[Tensor, " U"]:
        """The sum with every input at its centre."""
        return self.bias + torch.einsum("upk,pk->u", self.weight, self.centre)

    def moved(self, rows: slice | Int[Tensor, " n"]) -> Float[Tensor, "n P K"]:
        """Some rows about the centre."""
        return self.rows[rows] if self.baseline == "zero" else self.rows[rows] - self.centre

    def moved_reference(self, rows: slice | Int[Tensor, " n"]) -> Float[Tensor, "n P K"]:
        """Some of the rows that say what an absent link adds, about the centre."""
        return self.known[rows] - self.centre

    def contributions(self, moved: Float[Tensor, "n P K"], units: slice = slice(None)) -> Float[Tensor, "n u P"]:
        """What each link adds to the sum beyond what it adds at the centre, for rows about the centre."""
        if moved.shape[2] == 1:
            return moved[:, None, :, 0] * self.weight[None, units, :, 0]
        return torch.einsum("npk,upk->nup", moved, self.weight[units])

    @cached_property
    def others(self) -> Float[Tensor, "B P K"]:
        """Background rows about the centre: all, or a random choice of them."""
        if len(self.known) <= self.background:
            return self.moved_reference(slice(None))
        drawn = torch.randperm(len(self.known), generator=torch.Generator().manual_seed(self.seed))[: self.background]
        return self.moved_reference(drawn.to(self.rows.device))

    def chunks(self, elements: int = 1) -> Iterator[tuple[slice, slice]]:
        """Rows and units to be worked on at once, when one of each takes so many elements per player."""
        room = max(1, WORKING_ELEMENTS // max(1, self.players * elements))
        units = min(len(self.weight), room)
        rows = max(1, room // units)
        for start in range(0, len(self.rows), rows):
            for first in range(0, len(self.weight), units):
                yield slice(start, start + rows), slice(first, first + units)


def _accumulation_dtype(tensor: Tensor) -> torch.dtype:
    """float64 where the device has it."""
    return tensor.dtype if tensor.device.type == "mps" else torch.float64


RowSum = Callable[[Tensor], Tensor]
AGGREGATES: Mapping[str, RowSum] = {
    "mean_abs": lambda values: values.abs().sum(0),
    "rms": lambda values: values.square().sum(0),
    "signed": lambda values: values.sum(0),
}
"""Sums over rows; a mean of them, and for ``rms`` its root, is the importance."""


def importance_from_sums(total: Float[Tensor, "..."], rows: int, aggregate: str) -> Float[Tensor, "..."]:
    """Importance from the sums of :data:`AGGREGATES`."""
    mean = total / rows
    return mean.clamp_min(0).sqrt() if aggregate == "rms" else mean


def importance_by_chunks(
    units: UnitGames, values: Callable[[UnitGames, slice, slice], Float[Tensor, "n u P"]], aggregate: str, elements: int = 1
) -> Float[Tensor, "U P"]:
    """Importance from Shapley values chunk by chunk, see :func:`sums_by_chunks`."""
    return importance_from_sums(sums_by_chunks(units, values, aggregate, elements), len(units.rows), aggregate)


def sums_by_chunks(
    units: UnitGames, values: Callable[[UnitGames, slice, slice], Float[Tensor, "n u P"]], aggregate: str, elements: int = 1
) -> Float[Tensor, "U P"]:
    """Sums over rows from Shapley values chunk by chunk, see :func:`importance_from_sums`.

    Args:
        units: whose links.
        values: of a chunk of rows and units.
        aggregate: of :data:`AGGREGATES`.
        elements: working memory per player, row and unit.
    """
    total = units.weight.new_zeros(units.weight.shape[:2])
    for rows, chosen in units.chunks(elements):
        total[chosen] += AGGREGATES[aggregate](values(units, rows, chosen))
    return total
