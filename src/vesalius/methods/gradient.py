"""Methods that differentiate the network.

Axes: B samples, N points, D elements of all explained tensors of one sample, laid end to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, MemoryExhausted
from vesalius.core.players import Players
from vesalius.games.absence import Absence
from vesalius.games.memory import batch_size, is_out_of_memory, release
from vesalius.methods.base import Method, ends, one_baseline, register
from vesalius.methods.quadrature import Adaptive, fixed
from vesalius.trace.question import Question

BACKWARD_COST = 3
"""Memory of a forward pass with its backward pass, as a multiple of the live values of a forward pass alone (measured on ResNet-20)."""


@register
@final
@dataclass(frozen=True, kw_only=True)
class GradientXInput(Method):
    """(x_i - b_i) * df/dx_i at x.

    Reference: Shrikumar2016, where the baseline b is 0. In Taylor terms it counts an effect of order k k times (Deng2024, theorem 1), so it
    adds up only where the network is linear between b and x; the gap says how far from that it is.
    """

    name: ClassVar[str] = "gradient_x_input"
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "linear", "sensitive"})

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.differentiable(self.name)
        absent = one_baseline(absence, question, self.name)
        base, total = ends(question, absent)
        path = Path(question, absent)
        values = torch.cat([slope * path.direction[rows] for rows, _, slope in path.gradients(*path.everywhere(1.0))])
        return spread(question, values, base, total, evaluations=torch.full((question.batch,), 3))


@register
@final
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Method):
    """The gradient averaged along the straight line from the baseline to x, times x - baseline.

    By default the line is subdivided per sample, where the gradient changes, until the values add up.

    Attributes:
        tol: largest gap, as a share of |f(x) - f(b)|.
        floor: gaps below this share of the largest change along the path count as closed, so that f(x) = f(b) can be reached.
        max_steps: gradient evaluations per sample at which an adaptive run gives up, reporting ``converged=False``.
        steps: a fixed number of Gauss-Legendre nodes instead, never ``converged`` or not.

    Reference: Sundararajan2017, equation 1.
    Differs from the paper: adaptive steps instead of 20 to 300 fixed ones, and the gap is always reported.
    """

    name: ClassVar[str] = "integrated_gradients"
    claims: ClassVar[frozenset[str]] = frozenset({"complete", "dummy", "symmetric", "linear", "sensitive"})
    tol: float = 1e-2
    floor: float = 1e-3
    max_steps: int = 512
    steps: int | None = None

    def __post_init__(self) -> None:
        if not (self.tol > 0 and self.floor >= 0):
            raise InvalidInput(f"tol must be positive and floor at least 0, not {self.tol} and {self.floor}")
        if self.max_steps < 3 or (self.steps is not None and self.steps < 1):
            raise InvalidInput(f"max_steps must be at least 3 and steps at least 1, not {self.max_steps} and {self.steps}")

    def allocate(self, question: Question, absence: Absence) -> Allocation:
        question.differentiable(self.name)
        absent = one_baseline(absence, question, self.name)
        base, total = ends(question, absent)
        path = Path(question, absent)
        if self.steps is not None:
            values = fixed(path, self.steps)
            return spread(question, values, base, total, evaluations=torch.full((question.batch,), self.steps + 2))
        found = Adaptive(path, base, total, tol=self.tol, floor=self.floor, max_steps=self.max_steps).run()
        return spread(question, found.values, base, total, evaluations=found.evaluations + 2, converged=found.converged)


class Path:
    """The straight lines from baselines to samples, and the gradient along them, in batches that fit into memory."""

    def __init__(self, question: Question, absent: tuple[Tensor, ...]) -> None:
        self.question = question
        self.absent = absent
        self.samples = question.batch
        self.width = sum(tensor[0].numel() for tensor in question.present)
        self.dtype, self.device = question.present[0].dtype, question.present[0].device
        self.batch = max(1, batch_size(question.network, self.device) // BACKWARD_COST)
        self.direction = flat(question.present) - flat(absent)

    def everywhere(self, time: float) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
        """The same point on every line."""
        rows = torch.arange(self.samples, device=self.device)
        return rows, torch.full((self.samples,), time, device=self.device, dtype=self.dtype)

    def gradients(
        self, rows: Int[Tensor, " N"], times: Float[Tensor, " N"]
    ) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n D"]]]:
        """Target and gradient at points of the lines, batch by batch: (rows, target, gradient)."""
        done = 0
        while done < len(rows):
            part = slice(done, done + self.batch)
            try:
                found = (rows[part], *self._gradient(rows[part], times[part]))
            except (RuntimeError, MemoryError) as error:
                self._shrink(error, len(rows[part]))
                continue
            done += len(rows[part])
            yield found

    def _gradient(self, rows: Int[Tensor, " n"], times: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n D"]]:
        points = []
        for here, gone in zip(self.question.present, self.absent, strict=True):
            time = times.reshape(-1, *[1] * (here.ndim - 1))
            points.append(torch.lerp(gone[rows], here[rows], time.to(here.dtype)).requires_grad_())
        with torch.enable_grad():
            target = self.question.score(points, rows)
            if not target.requires_grad:
                return target.detach(), target.new_zeros(len(rows), self.width)
            found = torch.autograd.grad(target.sum(), points, allow_unused=True)
        slopes = [torch.zeros_like(point) if slope is None else slope for slope, point in zip(found, points, strict=True)]
        gradient = flat(tuple(slopes))
        if not bool(gradient.sum().isfinite()) and not bool(gradient.isfinite().all()):
            raise InvalidInput("the gradient is NaN or infinite on the way from the baseline to the sample; try another baseline")
        return target.detach(), gradient

    def _shrink(self, error: RuntimeError | MemoryError, tried: int) -> None:
        if not is_out_of_memory(error):
            raise error
        if tried == 1:
            raise MemoryExhausted("the gradient of one sample does not fit into memory; use a smaller input or another device") from error
        release()
        self.batch = max(1, tried // 2)


def flat(tensors: tuple[Tensor, ...]) -> Float[Tensor, "n D"]:
    """Explained tensors laid end to end, one row per sample."""
    rows = [tensor.reshape(len(tensor), -1) for tensor in tensors]
    return rows[0] if len(rows) == 1 else torch.cat(rows, 1)


def spread(
    question: Question,
    values: Float[Tensor, "B D"],
    base: Float[Tensor, " B"],
    total: Float[Tensor, " B"],
    *,
    evaluations: Int[Tensor, " B"],
    converged: Bool[Tensor, " B"] | None = None,
) -> Allocation:
    """An allocation in which every element is a player."""
    players = Players.features(*(tensor[0] for tensor in question.present))
    shaped = values.reshape(question.batch, *players.shape)
    return Allocation(players=players, values=shaped, base=base, total=total, evaluations=evaluations.cpu(), converged=converged)
