"""Integrating a gradient along lines, per sample, until it adds up.

The adaptive rule is a chain of trapezoids. At every node both the target f and its gradient are known, so each panel [a, b] knows its own
defect f(b) - f(a) - (b - a) (f'(a) + f'(b)) / 2: what the panel fails to add up to. Panels with the largest defects are halved. Nothing is
ever computed twice, smooth stretches stay coarse, and kinks (ReLU) and steep starts (LayerNorm at a zero baseline) are closed in on.

Axes: B samples, N points, D elements of one sample, K nodes of one sample's line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Numbers = np.ndarray[Any, np.dtype[Any]]

START_NODES = 5
"""Nodes every line begins with, ends included."""
MIN_CHANGE = 1e-3
"""Gaps below this share of the largest change along the path count as closed, so that f(x) = f(b) can be reached."""
TIE = 1e-4
"""Share by which defects of equal panels may differ by rounding: of such panels all are halved or none."""
STORE_BYTES = 1 << 28
"""Gradients kept at once; more samples than that allows are taken in turn."""


@runtime_checkable
class GradientPath(Protocol):
    """What an integrator asks of a path: see :class:`vesalius.methods.straight_path.StraightPath`."""

    samples: int
    width: int
    dtype: torch.dtype
    device: torch.device
    direction: Float[Tensor, "B D"]

    def gradients(
        self, rows: Int[Tensor, " N"], times: Float[Tensor, " N"], shift: Float[Tensor, "N D"] | None = None
    ) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n D"]]]: ...


@dataclass(frozen=True)
class Integral:
    """Values [B D], gradient evaluations [B], and whether each sample reached the tolerance [B]."""

    values: Float[Tensor, "B D"]
    evaluations: Int[Tensor, " B"]
    converged: Bool[Tensor, " B"]


def gauss_legendre(path: GradientPath, steps: int) -> Float[Tensor, "B D"]:
    """Gauss-Legendre quadrature with the same nodes for every sample."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(steps))
    rows = torch.arange(path.samples, device=path.device).repeat_interleave(steps)
    times = ((nodes + 1) / 2).to(path.device, path.dtype).repeat(path.samples)
    weight = (weights / 2).to(path.device, path.dtype).repeat(path.samples)
    mean = path.direction.new_zeros(path.samples, path.width)
    done = 0
    for owners, _, slopes in path.gradients(rows, times):
        mean.index_add_(0, owners, slopes * weight[done : done + len(owners), None])
        done += len(owners)
    return mean * path.direction


class AdaptiveTrapezoid:
    """One adaptive run over all samples."""

    def __init__(self, path: GradientPath, base: Float[Tensor, " B"], total: Float[Tensor, " B"], *, tol: float, max_steps: int) -> None:
        self.path, self.tol, self.max_steps = path, tol, max_steps
        self.change = (total - base).abs().double().cpu()

    def run(self) -> Integral:
        """Integrate all samples, as many at a time as their gradients can be kept."""
        bytes_each = (self.max_steps + 1) * self.path.width * self.path.direction.element_size()
        group = max(1, STORE_BYTES // bytes_each)
        parts = [self._run(range(start, min(start + group, self.path.samples))) for start in range(0, self.path.samples, group)]
        return Integral(
            torch.cat([part.values for part in parts]),
            torch.cat([part.evaluations for part in parts]),
            torch.cat([part.converged for part in parts]),
        )

    def _run(self, samples: range) -> Integral:
        lines = [_PathNodes(sample) for sample in samples]
        wanted = [(line, float(time)) for line in lines for time in np.linspace(0, 1, START_NODES)]
        while wanted:
            self._evaluate(wanted)
            wanted = [(line, time) for line in lines for time in self._refine(line)]
        values = torch.stack([line.mean() for line in lines]) * self.path.direction[samples.start : samples.stop]
        converged = torch.tensor([self._closed(line) for line in lines])
        return Integral(values, torch.tensor([len(line.times) for line in lines]), converged)

    def _evaluate(self, wanted: list[tuple[_PathNodes, float]]) -> None:
        rows = torch.tensor([line.sample for line, _ in wanted], device=self.path.device)
        times = torch.tensor([time for _, time in wanted], device=self.path.device, dtype=self.path.dtype)
        done = 0
        for owners, targets, slopes in self.path.gradients(rows, times):
            along = (slopes * self.path.direction[owners]).sum(1, dtype=torch.float64).tolist()
            for i, target in enumerate(targets.tolist()):
                line, time = wanted[done + i]
                line.add(time, target, along[i], slopes[i])
            done += len(owners)

    def _refine(self, line: _PathNodes) -> list[float]:
        """Midpoints of the panels to halve: the largest defects, until the rest is within tolerance."""
        room = self.max_steps - len(line.times)
        if room <= 0 or self._closed(line):
            return []
        times, defects = line.defects()
        size = np.abs(defects)
        order = np.argsort(-size, kind="stable")
        left = np.sqrt(np.maximum((size**2).sum() - np.cumsum(size[order] ** 2), 0))
        count = int(np.searchsorted(-left, -self._allowed(line) / 2)) + 1
        # a quarter of the panels at least: few rounds of large batches are faster than many small ones
        wanted = max(count, len(order) // 4)
        wanted = int((size >= (1 - TIE) * size[order[min(wanted, len(order)) - 1]]).sum())  # with all that tie with the last of them
        chosen = order[: min(room, wanted)]
        middles = (times[chosen] + times[chosen + 1]) / 2
        return [float(time) for time in middles if time not in line.times]

    def _closed(self, line: _PathNodes) -> bool:
        """Whether what a line fails to add up to is within tolerance, and not by accident of sign."""
        _, defects = line.defects()
        return bool(max(abs(defects.sum()), np.sqrt((defects**2).sum())) <= self._allowed(line))

    def _allowed(self, line: _PathNodes) -> float:
        return float(max(self.tol * float(self.change[line.sample]), MIN_CHANGE * line.excursion()))


class _PathNodes:
    """The nodes of one sample's line."""

    def __init__(self, sample: int) -> None:
        self.sample = sample
        self.times: dict[float, int] = {}
        self.targets: list[float] = []
        self.along: list[float] = []
        self.slopes: list[Tensor] = []

    def add(self, time: float, target: float, along: float, slope: Float[Tensor, " D"]) -> None:
        self.times[time] = len(self.targets)
        self.targets.append(target)
        self.along.append(along)
        self.slopes.append(slope)

    def ordered(self) -> tuple[Numbers, Numbers]:
        """Node times in increasing order, and where each is stored."""
        times = np.array(sorted(self.times))
        return times, np.array([self.times[time] for time in times])

    def defects(self) -> tuple[Numbers, Numbers]:
        """Node times, and what each panel between them fails to add up to."""
        times, place = self.ordered()
        target, along = np.array(self.targets)[place], np.array(self.along)[place]
        return times, np.diff(target) - np.diff(times) * (along[1:] + along[:-1]) / 2

    def excursion(self) -> float:
        """Largest change of the target from the baseline along the line."""
        targets = np.array(self.targets)
        return float(np.abs(targets - targets[self.times[0.0]]).max())

    def mean(self) -> Float[Tensor, " D"]:
        """Mean gradient along the line, by trapezoids."""
        times, place = self.ordered()
        half = np.diff(times) / 2
        weight = np.concatenate([half, [0]]) + np.concatenate([[0], half])
        slopes = torch.stack([self.slopes[i] for i in place])
        return torch.from_numpy(weight).to(slopes) @ slopes
