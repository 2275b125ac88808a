"""Integrated gradients as chains of secants, refined per line until the map is known to a tolerance.

A line from baseline to sample is cut into pieces. A first, coarse chain over ``PILOT_PIECES`` pieces shows where the mean gradient changes;
each piece is then cut again, finer where it changes more, and the difference between a piece's coarse and fine map tells how far the fine
one still is from the integral. Errors of pieces are independent and fall as the length to the power 1.5 (measured; networks with kinks), so
that they add in squares. Every map adds up to the target's change to rounding, however coarse.

Axes: L lines, D elements of all explained tensors of one sample, P pieces of the pilot.

Differs from ``taylor.md``, section 8, which cuts lines evenly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.games.memory import Batches
from vesalius.methods.line_maps import LineMaps
from vesalius.methods.quadrature import GRADING, ROUNDING
from vesalius.methods.straight_path import require_finite
from vesalius.rules.network_contributions import ReferenceComparison

Numbers = np.ndarray[Any, np.dtype[Any]]

PILOT_PIECES = 4
"""Pieces of the first chain."""
ROWS_AT_ONCE = 16
"""Chains that are run one secant after the other; fewer would leave a processor idle."""
MIN_SECANTS = 8
"""Fewest secants after the pilot: where few kinks make the error, fewer are no estimate."""
TIE = 1e-4
"""Share of the largest gain within which two pieces gain the same: maps of the same line in another batch differ by rounding."""
MAX_REFINEMENTS = 5
"""Refinements after which a line is given up as not converged."""


@dataclass(frozen=True)
class SecantLines:
    """Straight lines from absent to present values of the explained tensors.

    Attributes:
        comparison: what is integrated.
        rows: the sample each line belongs to.
        start: explained tensors at time 0, one row per line.
        end: the same at time 1.
        batches: how many lines are run at once.
        together: how many lines, one after the other, have only the mean of their maps asked for.
    """

    comparison: ReferenceComparison
    rows: Int[Tensor, " L"]
    start: Sequence[Tensor]
    end: Sequence[Tensor]
    batches: Batches
    together: int = 1

    def chain(self, lines: Int[Tensor, " n"], times: Float[Tensor, "n m"]) -> Float[Tensor, "n D"]:
        """Maps of some lines (with repetition), each over its own piece of time, cut at given times.

        Few chains are run as single secants side by side: their left ends are evaluated once more, but none waits for another.
        """
        count = times.shape[1] - 1
        owners = torch.arange(len(lines), device=lines.device)
        if len(lines) < ROWS_AT_ONCE:
            owners, times = owners.repeat_interleave(count), times.unfold(1, 2, 1).reshape(-1, 2)
        total = torch.zeros(len(lines), self.comparison.width, device=times.device, dtype=times.dtype)

        def some(part: Int[Tensor, " k"]) -> None:
            which = lines[owners[part]]
            ends = [tensor[which] for tensor in self.start], [tensor[which] for tensor in self.end]
            chained = [shares for shares, _ in self.comparison.chain(self.rows[which], ends, times[part])]
            total.index_add_(0, owners[part], torch.stack(chained).sum(0) if len(chained) > 1 else chained[0])

        list(self.batches.over(torch.arange(len(owners), device=lines.device), some))
        return total


@dataclass
class _LineState:
    """What is known of one line.

    Attributes:
        coarse: maps of the pilot's pieces.
        density: at the pilot's nodes, how fine the line should be cut there.
        counts: secants in each piece.
        tol: largest relative error.
        fine: maps of the pieces when last cut.
        spent: secants so far.
    """

    coarse: Float[Tensor, "P D"]
    density: Numbers
    counts: Numbers
    tol: float
    fine: list[Tensor | None] = field(default_factory=lambda: [None] * PILOT_PIECES)
    spent: int = PILOT_PIECES

    def distances(self) -> Numbers:
        """How far each piece's fine map is from its coarse one."""
        return np.array([float((fine - coarse).norm()) for fine, coarse in zip(self._cut(), self.coarse, strict=True)])

    def value(self) -> Float[Tensor, " D"]:
        """The map: fine pieces; it adds up as they do."""
        return torch.stack(self._cut()).sum(0)

    def error(self, counts: Numbers | None = None) -> float:
        """Estimated error of the map, relative to its size, now or with other numbers of secants."""
        size = max(float(self.value().norm()), float(np.finfo(np.float32).tiny))
        counts = self.counts if counts is None else counts
        return float(np.sqrt((self.distances() ** 2 / counts**2.0).sum())) / size

    def _cut(self) -> list[Tensor]:
        return [fine for fine in self.fine if fine is not None]


def initial_nodes(count: int) -> Numbers:
    """Nodes of a chain of ``count`` secants whose line nothing is known about."""
    return np.expm1(GRADING * np.linspace(0, 1, count + 1)) / math.expm1(GRADING)


def integrate_fixed(lines: SecantLines, count: int) -> Float[Tensor, "L D"]:
    """Chains of as many secants as asked for, for every line."""
    times = torch.from_numpy(initial_nodes(count)).to(lines.start[0]).expand(len(lines.rows), -1)
    return lines.chain(torch.arange(len(lines.rows), device=lines.rows.device), times)


def integrate_adaptive(lines: SecantLines, tol: float, most: int) -> LineMaps:
    """Chains of as many secants as each map needs.

    Args:
        lines: what to integrate.
        tol: relative L2 error of each map, or of the mean of those that belong together: their errors are independent.
        most: secants of a line at which it is given up.
    """
    known = _run_pilot(lines, tol, most)
    wanted = [(place, piece) for place, _ in enumerate(known) for piece in range(PILOT_PIECES)]
    for _ in range(MAX_REFINEMENTS):
        _cut_pieces(lines, known, wanted)
        wanted = [(place, piece) for place, line in enumerate(known) for piece in _refine_line(line, most)]
        if not wanted:
            break
    values = torch.stack([line.value() for line in known])
    spent = torch.tensor([line.spent for line in known])
    rounding = ROUNDING * torch.finfo(values.dtype).eps * spent.double()
    relative = torch.maximum(torch.tensor([line.error() for line in known], dtype=torch.float64), rounding)
    within = relative <= torch.tensor([line.tol for line in known], dtype=torch.float64)
    error = relative * values.double().norm(dim=1).cpu()
    return LineMaps(values, spent, error, within, torch.zeros_like(values), torch.zeros_like(within))


def _run_pilot(lines: SecantLines, tol: float, most: int) -> list[_LineState]:
    """A coarse chain over every line, and how many secants each piece should get."""
    nodes = initial_nodes(PILOT_PIECES)
    lines_of_pieces = torch.arange(len(lines.rows), device=lines.rows.device).repeat_interleave(PILOT_PIECES)
    times = torch.from_numpy(nodes).to(lines.start[0]).unfold(0, 2, 1).repeat(len(lines.rows), 1)
    coarse = lines.chain(lines_of_pieces, times).reshape(len(lines.rows), PILOT_PIECES, -1)
    require_finite(coarse.sum(1))
    tols = tol * _tolerance_factors(coarse.sum(1), lines.together)
    return [_plan_line(maps, nodes, float(allowed), most) for maps, allowed in zip(coarse, tols, strict=True)]


def _tolerance_factors(maps: Float[Tensor, "L D"], together: int) -> Float[Tensor, " L"]:
    """How much larger a line's relative error may be than that of the mean of the maps it belongs to."""
    if together == 1:
        return torch.ones(len(maps), dtype=torch.float32)
    groups = maps.reshape(-1, together, maps.shape[1])
    allowed = math.sqrt(together) * groups.mean(1, keepdim=True).norm(dim=2) / groups.norm(dim=2).clamp_min(torch.finfo(maps.dtype).tiny)
    found: Tensor = allowed.reshape(-1).cpu()
    return found


def _plan_line(coarse: Float[Tensor, "P D"], nodes: Numbers, tol: float, most: int) -> _LineState:
    """Where a line should be cut: the density of nodes that makes the error least for their number."""
    lengths = np.diff(nodes)
    rates = coarse.double() / torch.from_numpy(lengths).to(coarse.device)[:, None]
    size = max(float(coarse.sum(0).norm()), float(np.finfo(np.float32).tiny))
    jumps = (rates[1:] - rates[:-1]).norm(dim=1).cpu().numpy() / size
    inner = jumps**2 / ((lengths[1:] + lengths[:-1]) / 2)
    roughness = np.concatenate([inner[:1], inner, inner[-1:]])
    whole = 0.25 * math.sqrt(float((lengths**2 * (roughness[1:] + roughness[:-1]) / 2).sum()))
    count = int(np.clip(math.ceil(PILOT_PIECES * whole / (0.9 * tol)), MIN_SECANTS, max(most - PILOT_PIECES, MIN_SECANTS)))
    density = np.sqrt(roughness) + 1e-3 * np.sqrt(roughness).mean() + 1e-12
    weight = lengths * (density[1:] + density[:-1]) / 2
    return _LineState(coarse, density, _distribute_secants(np.full(PILOT_PIECES, 2), weight**4, count), tol)


def _distribute_secants(counts: Numbers, weight: Numbers, total: int) -> Numbers:
    """More secants where one more lowers the squared error most, until there are ``total``."""
    counts = counts.copy()
    while counts.sum() < total:
        counts[_most_useful(weight, counts)] += 1
    return counts


def _most_useful(weight: Numbers, counts: Numbers) -> int:
    """The piece whose squared error one more secant lowers most; of several that differ by rounding the first."""
    gain = weight * (1 / counts**2.0 - 1 / (counts + 1) ** 2.0)
    return int(np.flatnonzero(gain >= (1 - TIE) * gain.max())[0])


def _cut_pieces(lines: SecantLines, known: list[_LineState], wanted: list[tuple[int, int]]) -> None:
    """Chains over the pieces that are to be cut (again), those with equally many secants together."""
    nodes = initial_nodes(PILOT_PIECES)
    by_count: dict[int, list[tuple[int, int]]] = {}
    for place, piece in wanted:
        by_count.setdefault(int(known[place].counts[piece]), []).append((place, piece))
    for group in by_count.values():
        times = np.stack([_cut_times(nodes, known[place], piece) for place, piece in group])
        which = torch.tensor([place for place, _ in group], device=lines.rows.device)
        found = lines.chain(which, torch.from_numpy(times).to(lines.start[0]))
        for (place, piece), shares in zip(group, found, strict=True):
            known[place].fine[piece] = shares
            known[place].spent += int(known[place].counts[piece])


def _cut_times(nodes: Numbers, line: _LineState, piece: int) -> Numbers:
    """Times that cut a piece so that each part holds the same share of the density, which is linear between nodes."""
    left, right = line.density[piece], line.density[piece + 1]
    share = np.linspace(0, 1, int(line.counts[piece]) + 1)
    if abs(right - left) > 1e-9 * (right + left):
        share = (np.sqrt(left**2 + share * (right**2 - left**2)) - left) / (right - left)
    share[-1] = 1.0
    times: Numbers = nodes[piece] + share * (nodes[piece + 1] - nodes[piece])
    return times


def _refine_line(line: _LineState, most: int) -> Iterator[int]:
    """Pieces to be cut again, with their new numbers of secants, if the map is not good enough yet."""
    if line.error() <= line.tol or line.spent >= most:
        return
    before = line.counts.copy()
    weight, counts = line.distances() ** 2, before.copy()
    while line.error(counts) > 0.9 * line.tol and line.spent + counts[counts > before].sum() < most:
        counts[_most_useful(weight, counts)] += 1
    line.counts = counts
    yield from np.flatnonzero(counts > before).tolist()
