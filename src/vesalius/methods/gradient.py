"""Methods that differentiate the network.

Axes: B samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import POSITIVE, Limit
from vesalius.core.spread import normal_equivalent
from vesalius.games.absence import Absence
from vesalius.methods.base import Method, base_and_total, register
from vesalius.methods.straight_path import StraightPath, feature_allocation, flatten_samples
from vesalius.trace.question import Question


@register
@final
@dataclass(frozen=True, kw_only=True)
class GradientXInput(Method):
    """(x_i - b_i) * df/dx_i at x.

    Reference: Shrikumar2016, where the baseline b is 0. In Taylor terms it counts an effect of order k k times (Deng2024, theorem 1), so it
    adds up only where the network is linear between b and x; the gap says how far from that it is. Of several baselines, the mean.
    """

    name: ClassVar[str] = "gradient_x_input"
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "linear", "sensitive"})

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.require_differentiable(self.name)
        fills = absence.fill(question)
        base, total = base_and_total(question, fills)
        path = StraightPath(question, tuple(fill.mean(1) for fill in fills))
        values = torch.cat([slope * path.direction[rows] for rows, _, slope in path.gradients(*path.at_time(1.0))])
        return feature_allocation(question, values, base, total, evaluations=torch.full((question.batch,), 2 + fills[0].shape[1]))


@register
@final
@dataclass(frozen=True, kw_only=True)
class GradientXInputAtBaseline(Method):
    """(x_i - b_i) * df/dx_i at b: the first-order Taylor term.

    Reference: Deng2024, where it is what Gradient x Input is taken to be. Of several baselines, the mean.
    """

    name: ClassVar[str] = "gradient_x_input_at_baseline"
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "linear", "sensitive"})

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.require_differentiable(self.name)
        fills = absence.fill(question)
        base, total = base_and_total(question, fills)
        values = torch.zeros((), dtype=torch.float64)
        count = fills[0].shape[1]
        for m in range(count):
            path = StraightPath(question, tuple(fill[:, m] for fill in fills))
            found = torch.cat([slope * path.direction[rows] for rows, _, slope in path.gradients(*path.at_time(0.0))])
            values = values.to(found) + found / count
        return feature_allocation(question, values, base, total, evaluations=torch.full((question.batch,), 1 + 2 * count))


@register
@final
@dataclass(frozen=True, kw_only=True)
class SmoothGrad(Method):
    """(x_i - b_i) times the gradient averaged over noisy copies of x.

    Attributes:
        samples: noisy copies per sample, in pairs of opposite noise.
        level: standard deviation of the noise, as a share of the range of the sample's values.
        deviation: the same in the input's own unit, instead of ``level``.
        seed: of the noise; every sample gets the same.

    The standard error is that of the draws; a single pair has none.

    Reference: Smilkov2017. Differs from the paper: times x - b, so that values are in the output's unit, and the noise comes in pairs.
    """

    name: ClassVar[str] = "smooth_grad"
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "linear", "sensitive"})
    limits: ClassVar[Mapping[str, Limit]] = {"samples": Limit(least=2), "level": POSITIVE, "deviation": POSITIVE}
    samples: int = 32
    level: float = 0.1
    deviation: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples % 2:
            raise InvalidInput(f"samples is even, since noise comes in pairs of opposite sign, not {self.samples}")

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.require_differentiable(self.name)
        fills = absence.fill(question)
        base, total = base_and_total(question, fills)
        path = StraightPath(question, tuple(fill.mean(1) for fill in fills))
        generator = torch.Generator().manual_seed(self.seed)
        mean = torch.zeros_like(path.direction)
        squares = torch.zeros_like(path.direction)
        for done in range(self.samples // 2):
            noise = torch.randn(path.width, generator=generator, dtype=torch.float64).to(path.direction)
            pair = [
                torch.cat([slope for _, _, slope in path.gradients(*path.at_time(1.0), noise * sign * self._noise_scale(path))])
                for sign in (1, -1)
            ]
            step = (pair[0] + pair[1]) / 2 - mean
            mean = mean + step / (done + 1)
            squares = squares + step * step * done / (done + 1)
        count = self.samples // 2
        evaluations = torch.full((question.batch,), self.samples + 1 + fills[0].shape[1])
        found = feature_allocation(question, mean * path.direction, base, total, evaluations=evaluations)
        if count == 1:
            return found
        error = (squares / (count * (count - 1))).sqrt() * normal_equivalent(count - 1)
        return replace(found, stderr=(error * path.direction.abs()).reshape(found.values.shape))

    def _noise_scale(self, path: StraightPath) -> Float[Tensor, "B 1"]:
        """Standard deviation of the noise of each sample."""
        here = flatten_samples(path.question.present)
        if self.deviation is not None:
            return torch.full_like(here[:, :1], self.deviation)
        return self.level * (here.amax(1, keepdim=True) - here.amin(1, keepdim=True))
