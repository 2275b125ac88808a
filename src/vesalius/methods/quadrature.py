"""Integrating a gradient along lines, per sample, until the map is known to a tolerance.

A line is one panel at first, with nested rules in a graded variable (:mod:`vesalius.methods.clenshaw_curtis`). Three rules of one set
of nodes tell how fast they converge and so how far the best of them still is from the integral; and as both ends of a panel are nodes, what
the rule fails to add up to is known for each panel, and an error is never said to be smaller. A panel that is not good enough gets twice
the nodes; where most of its change is between two neighbouring nodes (a spike at the baseline, a kink) these get a panel of their own, and
the panels beside it are graded towards them.

Axes: L lines, N points, D elements of one sample, P panels, K nodes of a panel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.methods.clenshaw_curtis import graded_nodes, nested_weights
from vesalius.methods.line_maps import LineMaps

Numbers = np.ndarray[Any, np.dtype[Any]]

GRADING = 1.5
"""Logarithm of how much denser nodes are at the baseline. 1 to 2 are as good, 0 needs a third more nodes (16 unlike networks)."""
FIRST_NODES = 9
"""Nodes of a new panel: the fewest that hold three rules."""
MOST_NODES = 513
"""Nodes of a panel that is halved rather than refined."""
SHARE_OF_SPIKE = 0.5
"""A panel is cut where more than this share of all changes is between two neighbouring nodes: of a new one, at its ends alone."""
ROUNDING = 8
"""Rounding of a gradient, in units of the precision; at least what 16 unlike networks show."""
NARROWEST = 1e-30
"""Panels are not cut below this width."""


@runtime_checkable
class GradientPath(Protocol):
    """What an integrator asks of a path: see :class:`vesalius.methods.straight_path.StraightPath`."""

    samples: int
    width: int
    dtype: torch.dtype
    device: torch.device
    direction: Float[Tensor, "L D"]

    def gradients(
        self, rows: Int[Tensor, " N"], times: Float[Tensor, " N"], shift: Float[Tensor, "N D"] | None = None
    ) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n D"]]]: ...


def gauss_legendre(path: GradientPath, steps: int) -> Float[Tensor, "L D"]:
    """Gauss-Legendre quadrature with the same nodes for every line."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(steps))
    rows = torch.arange(path.samples, device=path.device).repeat_interleave(steps)
    times = ((nodes + 1) / 2).repeat(path.samples)
    weight = (weights / 2).to(path.device, path.dtype).repeat(path.samples)
    mean = path.direction.new_zeros(path.samples, path.width)
    done = 0
    for owners, _, slopes in path.gradients(rows, times):
        mean.index_add_(0, owners, slopes * weight[done : done + len(owners), None])
        done += len(owners)
    return mean * path.direction


@dataclass(eq=False)
class _Panel:
    """A piece of a line.

    Attributes:
        line, start, stop: which line, and its piece of time.
        grading: see :func:`vesalius.methods.clenshaw_curtis.graded_nodes`.
        targets, shares: target, and gradient times direction, at the nodes in order.
        value: the integral over the panel.
        doubt: squared change of its elements at the last refinement.
        error: estimated L2 error of it.
        changes: how far shares change between neighbouring nodes, times their distance; and how far the target changes there without them.
    """

    line: int
    start: float
    stop: float
    grading: float
    targets: list[float] = field(default_factory=list)
    shares: list[Tensor] = field(default_factory=list)
    value: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float32))
    doubt: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float32))
    error: float = math.inf
    changes: Numbers = field(default_factory=lambda: np.zeros(0))

    @property
    def width(self) -> float:
        return self.stop - self.start

    @property
    def spiked(self) -> bool:
        """Whether most of the change is between two neighbouring nodes."""
        settled = len(self.targets) > FIRST_NODES or self.changes.argmax() in (0, len(self.changes) - 1)
        return bool(settled and self.changes.max() > SHARE_OF_SPIKE * self.changes.sum())

    def times(self, count: int) -> Numbers:
        """Times of ``count`` nodes."""
        found: Numbers = self.start + self.width * graded_nodes(count, self.grading)[0]
        found[-1] = self.stop
        return found

    def missing(self) -> Numbers:
        """Times of the nodes that come next: the first ones, or those between all that are there."""
        if not self.targets:
            return self.times(FIRST_NODES)
        return self.times(2 * len(self.targets) - 1)[1::2]

    def insert(self, targets: Sequence[float], shares: Sequence[Tensor]) -> None:
        """Add what was found at the missing nodes."""
        if not self.targets:
            self.targets, self.shares = list(targets), list(shares)
            return
        self.targets = [*(each for pair in zip(self.targets, targets, strict=False) for each in pair), self.targets[-1]]
        self.shares = [*(each for pair in zip(self.shares, shares, strict=False) for each in pair), self.shares[-1]]


class AdaptiveClenshawCurtis:
    """An adaptive run over lines, which can be taken up again.

    Args:
        path: the lines.
        tol: largest L2 error of each map, relative to its size.
        smooth: whether gradients are known to be smooth between singular points, so that rules converge ever faster; else their error is
            taken to be halved at best when their nodes are doubled, whatever they show, and that of a new panel not even so.
        together: how many lines, one after the other, have only the mean of their maps asked for, whose size counts.

    Attributes:
        first: the target where each line begins.
    """

    def __init__(self, path: GradientPath, *, tol: float, smooth: bool, together: int = 1) -> None:
        self.path, self.tol, self.smooth, self.together = path, tol, smooth, together
        self.panels: list[list[_Panel]] = [[_Panel(line, 0.0, 1.0, GRADING)] for line in range(path.samples)]
        self.spent = [0] * path.samples
        self.first = torch.zeros(path.samples, dtype=torch.float64)

    def run(self, most: int, lines: Sequence[int] | None = None) -> LineMaps:
        """Integrate.

        Args:
            most: gradient evaluations of a line at which it is given up.
            lines: which to go on with; by default all.
        """
        lines = range(self.path.samples) if lines is None else lines
        wanted = [panel for line in lines for panel in self.panels[line] if not panel.targets]
        while True:
            if wanted:
                self._evaluate(wanted)
            sizes = self._sizes()
            wanted = [panel for line in lines for panel in self._refine(line, sizes[line], most - self.spent[line])]
            if not wanted:
                return self._found(sizes)

    def _found(self, sizes: Numbers) -> LineMaps:
        values, doubt = (
            torch.stack([sum((getattr(panel, name) for panel in panels[1:]), getattr(panels[0], name)) for panels in self.panels])
            for name in ("value", "doubt")
        )
        error = torch.tensor([self._error(line) for line in range(self.path.samples)], dtype=torch.float64)
        spiked = torch.tensor([len(panels) > 1 or panels[0].spiked for panels in self.panels])
        return LineMaps(values, torch.tensor(self.spent), error, error <= self.tol * torch.from_numpy(sizes), doubt, spiked)

    def _sizes(self) -> Numbers:
        """Size of the map that each line belongs to."""
        maps = torch.stack([sum((panel.value for panel in panels[1:]), panels[0].value) for panels in self.panels])
        means = maps.reshape(-1, self.together, maps.shape[1]).mean(1)
        found: Numbers = means.double().norm(dim=1).repeat_interleave(self.together).cpu().numpy()
        return found

    def _error(self, line: int) -> float:
        return sum(panel.error for panel in self.panels[line])

    # ---- nodes --------------------------------------------------------------------------------------------------------------------

    def _evaluate(self, wanted: list[_Panel]) -> None:
        """Nodes that are missing, and what follows from them; panels with equally many nodes together."""
        times = [panel.missing() for panel in wanted]
        rows = torch.tensor([panel.line for panel, each in zip(wanted, times, strict=True) for _ in each], device=self.path.device)
        targets: list[float] = []
        shares: list[Tensor] = []
        for owners, found, slopes in self.path.gradients(rows, torch.from_numpy(np.concatenate(times))):
            targets += found.tolist()
            shares += list(slopes * self.path.direction[owners])
        done = 0
        by_count: dict[int, list[_Panel]] = {}
        for panel, each in zip(wanted, times, strict=True):
            if panel.start == 0 and not panel.targets:
                self.first[panel.line] = targets[done]
            panel.insert(targets[done : done + len(each)], shares[done : done + len(each)])
            by_count.setdefault(len(panel.targets), []).append(panel)
            self.spent[panel.line] += len(each)
            done += len(each)
        for panels in by_count.values():
            self._integrate(panels)

    def _integrate(self, panels: list[_Panel]) -> None:
        """Value and estimated error of panels with equally many nodes."""
        count = len(panels[0].targets)
        shares = torch.stack([torch.stack(panel.shares) for panel in panels])
        speeds = np.stack([graded_nodes(count, panel.grading)[1] * panel.width for panel in panels])
        weights = nested_weights(count, 3) * speeds[:, None]
        best, second, third = torch.einsum("plk,pkd->lpd", torch.from_numpy(weights).to(shares), shares).unbind()
        change, before = ((a - b).double().norm(dim=1).cpu().numpy() for a, b in ((best, second), (second, third)))
        if self.smooth:
            error = change * np.minimum(1, change / np.maximum(before, np.finfo(np.float64).tiny))
        else:
            error = np.maximum(change, before / 2) / (1 if count == FIRST_NODES else 2)
        sums = best.sum(1, dtype=torch.float64).cpu().numpy()
        ends = np.array([(panel.targets[0], panel.targets[-1]) for panel in panels])
        noise = ROUNDING * torch.finfo(shares.dtype).eps * np.abs(ends).max(1)
        missing = np.maximum(np.abs(ends[:, 1] - ends[:, 0] - sums) - noise, 0)
        sizes = shares.double().norm(dim=2).cpu().numpy()
        rounding = ROUNDING * torch.finfo(shares.dtype).eps * (np.abs(weights[:, 0]) * sizes).sum(1)
        jumps = (shares[:, 1:] - shares[:, :-1]).double().norm(dim=2).cpu().numpy()
        sums_along = shares.sum(2, dtype=torch.float64).cpu().numpy()
        for i, panel in enumerate(panels):
            panel.value, panel.doubt = best[i], (best[i] - second[i]).square()
            panel.error = max(error[i], missing[i], rounding[i])
            panel.changes = jumps[i] * np.diff(panel.times(count)) + _unexplained(panel, sums_along[i])

    # ---- refinement ---------------------------------------------------------------------------------------------------------------

    def _refine(self, line: int, size: float, room: int) -> Iterator[_Panel]:
        """Panels of a line that need nodes, if its map is not good enough yet."""
        allowed, panels = self.tol * size, self.panels[line]
        if self._error(line) <= allowed:
            return
        order = sorted(panels, key=lambda panel: -panel.error)
        rest = self._error(line)
        for panel in order:
            if rest <= allowed / 2:
                return
            rest -= panel.error
            parts = self._split(panel)
            cost = sum(len(part.missing()) for part in parts)
            if cost > room:
                return
            room -= cost
            if parts != [panel]:
                panels.remove(panel)
                panels += parts
            yield from parts

    def _split(self, panel: _Panel) -> list[_Panel]:
        """The panel itself, to be given more nodes; or the panels it is cut into."""
        cell, count = int(panel.changes.argmax()), len(panel.targets)
        if not panel.spiked and count < MOST_NODES:
            return [panel]
        times = panel.times(count)
        left, right = (times[cell], times[cell + 1]) if panel.spiked else (panel.start, times[count // 2])
        if right - left < max(NARROWEST, 4 * np.spacing(left)):
            return [panel] if count < MOST_NODES else []
        left, right = self._narrow(panel, left, right)
        made = [_Panel(panel.line, left, right, GRADING if left == 0 else -GRADING if right == 1 else 0.0)]
        if left > panel.start:
            made.append(_Panel(panel.line, panel.start, left, -math.log1p((left - panel.start) / (right - left))))
        if right < panel.stop:
            made.append(_Panel(panel.line, right, panel.stop, math.log1p((panel.stop - right) / (right - left))))
        return made

    def _narrow(self, panel: _Panel, left: float, right: float) -> tuple[float, float]:
        """Where a spike at an end of the line falls within: as wide as its height at the end and its flank say."""
        first, width = panel.shares, right - left
        if left == 0:
            return left, left + min(width, max(4 * width * _ratio(first[1], first[0]), NARROWEST))
        if right == 1:
            return right - min(width, max(4 * width * _ratio(first[-2], first[-1]), np.spacing(1.0))), right
        return left, right


def _unexplained(panel: _Panel, slopes: Numbers) -> Numbers:
    """By how much the target changes between neighbouring nodes, beyond what the slopes at both say."""
    found: Numbers = np.abs(np.diff(panel.targets) - np.diff(panel.times(len(slopes))) * (slopes[1:] + slopes[:-1]) / 2)
    return found


def _ratio(flank: Tensor, top: Tensor) -> float:
    """How high the flank of a spike is beside its top; a sixteenth where the top is not known."""
    height = float(top.double().norm())
    return float(flank.double().norm()) / height if height else 1 / 64
