"""What there is to draw in an allocation: an image, named rows, or the steps from base to total. Nothing here knows how it will look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players
from vesalius.views.style import ends_are_known, gap_verdict, number

IMAGE_PLAYER_KINDS = ("features", "patches", "segments")
"""Kinds of players that may cover an image."""
TABLE_PLAYER_KINDS = ("heads", "experts", "residual")
"""Kinds of players that are a table of layers where they have two axes."""


@dataclass(frozen=True, kw_only=True)
class NamedValue:
    """A named value.

    Attributes:
        name: of the player, the coalition, or ``12 others``.
        value: in the output's unit.
        stderr: its standard error, or ``None`` where it is exact or unknown.
        position: where it stands in ``allocation.flat``; ``None`` for a sum of others.
    """

    name: str
    value: float
    stderr: float | None = None
    position: int | None = None


@dataclass(frozen=True, kw_only=True)
class WaterfallStep:
    """One line of a waterfall, from ``start`` to ``end`` in the output's unit.

    Attributes:
        part: ``base`` and ``total`` (which start where they end), ``value`` of a player, or the ``gap``: what does not add up.
    """

    name: str
    start: float
    end: float
    part: str = "value"


@dataclass(frozen=True, kw_only=True)
class AlignedRow:
    """One name across several allocations.

    Attributes:
        cells: one per allocation, ``None`` where it has no player of this name.
    """

    name: str
    cells: tuple[NamedValue | None, ...]


def require_single_sample(allocation: Any, what: str) -> None:
    """Refuse what is not an allocation of a single sample.

    Raises:
        WrongType, InvalidInput.
    """
    if not isinstance(allocation, Allocation):
        raise WrongType(f"{what} shows an Allocation, not {type(allocation).__name__}; make one with vesalius.attribute(...)")
    if allocation.base.ndim:
        raise InvalidInput(f"{what} shows one sample, and this allocation holds a batch of {len(allocation)}; take allocation[i]")


def divides_image(players: Players) -> bool:
    """Whether players divide an image or are a table of layers, so that a number for each can be shown where it is."""
    if is_layer_table(players):
        return True
    if players.kind not in IMAGE_PLAYER_KINDS or len(players.index) != 1:
        return False
    return players.index[0].ndim in (2, 3) and min(players.index[0].shape[-2:]) > 1


def is_layer_table(players: Players) -> bool:
    """Whether players are a table of layers: heads, experts, positions of the residual stream."""
    return players.kind in TABLE_PLAYER_KINDS and len(players.shape) == 2


def is_heatmap(allocation: Allocation) -> bool:
    """Whether players divide an image and have one value each, so that their values can be shown where they are."""
    return allocation.coalitions is None and divides_image(allocation.players)


def heatmap_values(allocation: Allocation, *, per_pixel: bool = False) -> Float[ndarray, "height width"] | None:
    """The values of one sample in their places.

    Channels are added up, a player that spans several of them counted once, so that a pixel shows all that was allocated to it.

    Args:
        allocation: of a single sample.
        per_pixel: divide each value by the number of pixels that show it. The sum over the image is then the sum of the values, and maps
            of players of different sizes can be compared.

    Returns:
        One value per pixel in the output's unit, bystanders 0; ``None`` if the players do not divide an image.
    """
    return paint_players(allocation.players, values_of(allocation), per_pixel=per_pixel) if is_heatmap(allocation) else None


def paint_players(players: Players, numbers: Float[ndarray, " P"], *, per_pixel: bool = False) -> Float[ndarray, "height width"]:
    """A number per player in its place on the image, as :func:`heatmap_values` has values.

    Args:
        players: who divide an image.
        numbers: one each.
        per_pixel: as in :func:`heatmap_values`.
    """
    if is_layer_table(players):
        return np.asarray(numbers).reshape(players.shape)
    owner = players.index[0].cpu()
    layers = owner if owner.ndim == 3 else owner[None]
    first = torch.stack([~(layers[:channel] == layers[channel]).any(0) for channel in range(len(layers))]) & (layers >= 0)
    values = torch.as_tensor(numbers)
    if per_pixel:
        values = values / torch.bincount(layers[first], minlength=players.n)
    return np.asarray(torch.where(first, values[layers], 0).sum(0).numpy())


def ranked_values(allocation: Allocation, *, most: int | None = None, names: Sequence[str] = ()) -> list[NamedValue]:
    """The values of one sample, largest by size first.

    Args:
        allocation: of a single sample, of any order.
        most: above this number of values, the smallest are added up in a last row, so that the rows still sum to what was allocated.
        names: one per value, instead of the players' own.
    """
    values = values_of(allocation)
    ranked = np.argsort(-np.nan_to_num(np.abs(values), nan=np.inf), kind="stable")
    kept = ranked if most is None or len(ranked) <= most else ranked[: most - 1]
    rest = ranked[len(kept) :]
    rows = _named_values(allocation, kept.tolist(), names)
    return [*rows, NamedValue(name=f"{len(rest):,} others", value=float(values[rest].sum()))] if len(rest) else rows


def aligned_rows(allocations: Sequence[Allocation], *, most: int | None = None, names: Sequence[str] = ()) -> list[AlignedRow]:
    """The values of several allocations side by side, matched by name; the lines with the largest values first.

    Args:
        allocations: of a single sample each.
        most: above this number of lines, the smallest are added up in a last one.
        names: one per value, instead of the players' own, for every allocation with as many values.
    """
    if len(allocations) == 1:
        own = names if len(names) == allocations[0].flat.numel() else ()
        return [AlignedRow(name=row.name, cells=(row,)) for row in ranked_values(allocations[0], most=most, names=own)]
    table: dict[tuple[str, int], list[NamedValue | None]] = {}
    for column, allocation in enumerate(allocations):
        count = allocation.flat.numel()
        seen: Counter[str] = Counter()
        for row in _named_values(allocation, range(count), names if len(names) == count else ()):
            key = (row.name, seen[row.name])
            seen[row.name] += 1
            table.setdefault(key, [None] * len(allocations))[column] = row
    lines = [AlignedRow(name=key[0], cells=tuple(cells)) for key, cells in table.items()]
    lines.sort(key=lambda line: -max(_sort_key(cell.value) for cell in line.cells if cell))
    if most is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], _sum_others(lines[most - 1 :])]


def _named_values(allocation: Allocation, positions: Iterable[int], names: Sequence[str]) -> list[NamedValue]:
    values = values_of(allocation)
    errors = np.full_like(values, np.nan) if allocation.stderr is None else _as_array(allocation.stderr)
    return [
        NamedValue(
            name=names[i] if names else value_name(allocation, i),
            value=float(values[i]),
            stderr=float(errors[i]) if np.isfinite(errors[i]) and errors[i] > 0 else None,
            position=i,
        )
        for i in positions
    ]


def _sum_others(lines: Sequence[AlignedRow]) -> AlignedRow:
    name = f"{len(lines):,} others"
    columns = [[cell.value for cell in column if cell] for column in zip(*(line.cells for line in lines), strict=True)]
    return AlignedRow(name=name, cells=tuple(NamedValue(name=name, value=sum(column)) if column else None for column in columns))


def values_of(allocation: Allocation) -> Float[ndarray, " values"]:
    """All values of one sample, in float64 on the CPU."""
    return _as_array(allocation.flat)


def _as_array(values: Tensor) -> Float[ndarray, " values"]:
    return np.asarray(values.detach().double().cpu().reshape(-1).numpy())


def _sort_key(value: float) -> float:
    """For ranking; what is not a number comes first, to be seen."""
    return float("inf") if value != value else abs(value)


def value_name(allocation: Allocation, position: int) -> str:
    """Name of the player, or of the members of the coalition, at a position of ``allocation.flat``."""
    if allocation.coalitions is None:
        return allocation.players.name(position)
    return " & ".join(allocation.players.name(int(player)) for player in allocation.coalitions[position].nonzero().flatten())


def waterfall_steps(allocation: Allocation, *, most: int | None = None, names: Sequence[str] = ()) -> list[WaterfallStep]:
    """From base to total, one value after the other; a gap that matters is a step of its own.

    Args: as :func:`ranked_values`.

    Raises:
        InvalidInput: base and total are not known.
    """
    if not ends_are_known(allocation):
        raise InvalidInput("a waterfall goes from base to total, which these values came without; give base= and total= with them")
    base, total = float(allocation.base), float(allocation.total)
    steps, here = [WaterfallStep(name="base value", start=base, end=base, part="base")], base
    for row in ranked_values(allocation, most=most, names=names):
        steps.append(WaterfallStep(name=row.name, start=here, end=here + row.value))
        here += row.value
    if gap_verdict(allocation).level != "ok":
        steps.append(WaterfallStep(name="completeness error (gap)", start=here, end=total, part="gap"))
    return [*steps, WaterfallStep(name="output", start=total, end=total, part="total")]


def sample_names(allocation: Allocation, most: int) -> list[str]:
    """What the first samples of a batch are called: by their ids or numbers, and by what is explained of each where that differs."""
    samples = [allocation[i].provenance for i in range(min(len(allocation), most))]
    targets = [str(facts.get("target", "")) for facts in samples]
    names = [sample_name(facts.get("id", i)) for i, facts in enumerate(samples)]
    return names if len(set(targets)) < 2 else [f"{name}, {target}" for name, target in zip(names, targets, strict=True)]


def sample_name(known: object) -> str:
    """What a sample is called: its id, or ``sample 3`` where that is a number."""
    return f"sample {known}" if isinstance(known, int) else str(known)


def explained_picture(allocation: Allocation) -> Float[ndarray, "height width *rgb"] | None:
    """The image that one sample's players divide, from 0 to 1, if it was kept and can be shown: grey, or in three colours."""
    if (
        not is_heatmap(allocation)
        or is_layer_table(allocation.players)
        or len(allocation.explained) != 1
        or not allocation.explained[0].is_floating_point()
    ):
        return None
    image = allocation.explained[0].detach().float().cpu()
    image = image if image.ndim == 3 else image[None]
    if image.ndim != 3 or len(image) not in (1, 3) or image.shape[1:] != allocation.players.index[0].shape[-2:]:
        return None
    low, high = image.min(), image.max()
    shown = ((image - low) / (high - low).clamp_min(1e-12)).movedim(0, -1).numpy()
    return np.asarray(shown[..., 0] if len(image) == 1 else shown)


def names_with_values(allocation: Allocation) -> list[str]:
    """Names of one sample's features with what the sample holds, ``petal width = 1.4``; empty where players are no single features."""
    held = allocation.inputs_by_player if allocation.players.kind == "features" and allocation.coalitions is None else None
    if held is None or held.is_complex():
        return []
    return [f"{name} = {number(value)}" for name, value in zip(allocation.players.names, held.double().cpu().tolist(), strict=True)]


def symmetric_scale(values: Iterable[Float[ndarray, "..."]]) -> float:
    """The largest size among all values: the end of a symmetric scale that they share; 1 if there is none but 0."""
    sizes = [float(np.abs(array[np.isfinite(array)]).max(initial=0)) for array in values]
    return max(sizes, default=0) or 1.0


def output_unit(allocation: Allocation) -> str:
    """The output's unit, such as ``logits``; empty if the allocation does not say."""
    return str(allocation.provenance.get("unit") or "")
