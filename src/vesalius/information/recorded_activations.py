"""One pass of the data through the network, for the units of all sites.

Axes: N rows, U units of a site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.information.estimators.discretization import ATOM_ROWS
from vesalius.information.options import MeasurementOptions
from vesalius.information.text_masks import text_mask
from vesalius.information.units import LayerUnits, draw_positions, pool_units
from vesalius.trace.batches import Data, count_rows, iterate_batches
from vesalius.trace.network import Network

MOST_BYTES = 4 << 30
"""Memory that the units of all rows may take."""
ROUNDING = 1e-6
"""A unit that moves by no more than this share of its size does not move: its rows were computed in batches, which round differently."""
CELLS_AT_ONCE = 1 << 22
"""Values sorted at once."""
LONGEST = 4
"""Times the rounding that the values of an atom may be apart."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordedActivations:
    """Units of all rows.

    Attributes:
        units: one table per site, in float32 on the CPU.
        labels: class of each row, or its real targets, if they were asked for.
    """

    units: tuple[Float32[Tensor, "N _"], ...]
    labels: Shaped[Tensor, "N ..."] | None

    def __len__(self) -> int:
        return len(self.units[0])


def activation_bytes(sites: Sequence[LayerUnits], rows: int) -> int:
    """Bytes that the units of so many rows take."""
    return 4 * rows * sum(site.units for site in sites)


def record_activations(
    network: Network, data: Data, labels: Tensor | str | None, sites: Sequence[LayerUnits], measuring: MeasurementOptions
) -> RecordedActivations:
    """Read all sites, batch by batch.

    Raises:
        InvalidInput: no rows, too few, labels that do not fit, more than 4 GiB of units, NaN or infinite values.
        WrongType: data or labels of another kind.
    """
    most = min(measuring.rows, count_rows(data))
    if (asked := activation_bytes(sites, most)) > MOST_BYTES:
        raise InvalidInput(
            f"{most:,} rows of {sum(site.units for site in sites):,} units would take {asked / 2**30:.1f} GiB, at most"
            f" {MOST_BYTES >> 30} are allowed; name fewer layers, or take fewer rows"
        )
    names = [value.name for value in network.inputs]
    program = network.program(names, [site.value for site in sites])
    parts: list[list[Tensor]] = [[] for _ in sites]
    classes: list[Tensor] = []
    done, generator = 0, torch.Generator().manual_seed(measuring.seed)
    for inputs, given in iterate_batches(network, data, labels, size=measuring.batch, real=True):
        if done >= measuring.rows:
            break
        with torch.no_grad():
            spots = draw_positions(len(inputs[0]), generator)
            rows = pool_units(sites, program(*inputs), measuring.pool, spots, text_mask(network, inputs))
        for part, found in zip(parts, rows, strict=True):
            part.append(found[: measuring.rows - done])
        classes += [] if given is None else [given[: measuring.rows - done].cpu()]
        done += len(rows[0])
        if measuring.report is not None:
            measuring.report(min(done, most), most)
    if not done:
        raise InvalidInput("the data holds no rows")
    return RecordedActivations(
        units=tuple(snap_atoms(snap_constant_units(torch.cat(part))) for part in parts), labels=torch.cat(classes) if classes else None
    )


def snap_constant_units(units: Float32[Tensor, "N U"]) -> Float32[Tensor, "N U"]:
    """Units, with those that only rounding moves held at their first value: nothing that counts ties takes them for units that vary."""
    low, high = units.aminmax(dim=0)
    return torch.where(high - low <= ROUNDING * torch.maximum(low.abs(), high.abs()), units[:1], units)


def snap_atoms(units: Float32[Tensor, "N U"]) -> Float32[Tensor, "N U"]:
    """Units, with values that many rows share but for rounding made the same: a unit of inputs that take few values takes few values
    itself, and were it taken for a continuous one in some batches, its information would be another.

    Values in a row, each within rounding of the one before, become the least of them, if as many rows share them as make an atom, or the
    unit takes few values altogether. Where rows lie so close that a longer stretch is filled, nothing is done: that is no atom.
    """
    return torch.cat([_snap_rows(part.T.contiguous()).T for part in units.split(max(1, CELLS_AT_ONCE // len(units)), dim=1)], 1)


def _snap_rows(units: Float32[Tensor, "U N"]) -> Float32[Tensor, "U N"]:
    """As :func:`snap_atoms`, one unit a row."""
    ordered, place = units.sort(dim=1)
    width = ROUNDING * units.abs().amax(1, keepdim=True)
    begins = torch.cat([torch.ones_like(width, dtype=torch.bool), ordered.diff(dim=1) > width], 1)
    discrete = units.shape[1] >= ATOM_ROWS * begins.sum(1)
    start = begins.flatten().nonzero().flatten()
    count = start.diff(append=torch.tensor([begins.numel()]))
    unit, values = start // units.shape[1], ordered.flatten()
    spread = values[start + count - 1] - values[start]
    atom = ((count >= ATOM_ROWS) | discrete[unit]) & (spread > 0) & (spread <= LONGEST * width[unit, 0])
    for first, many in zip(start[atom].tolist(), count[atom].tolist(), strict=True):
        values[first : first + many] = values[first]
    return units.scatter(1, place, values.view_as(ordered)) if bool(atom.any()) else units
