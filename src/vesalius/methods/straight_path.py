"""The straight lines from baselines to samples, the gradient along them, and values laid out as an allocation.

Axes: B samples, N points, D elements of all explained tensors of one sample, laid end to end.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.games.memory import Batches, rows_at_once
from vesalius.trace.question import Question

BACKWARD_COST = 3
"""Memory of a forward pass with its backward pass, as a multiple of the live values of a forward pass alone (measured on ResNet-20)."""


class NoFiniteGradient(InvalidInput):
    """Somewhere on the way from a baseline to a sample the gradient is NaN or infinite."""


class StraightPath:
    """The straight lines from baselines to samples, and the gradient along them, in batches that fit into memory.

    Args:
        question: what is asked of the network.
        absent: explained tensors at time 0, one row per line.
        owners: the sample that each line leads to; by default there is a line for each.
        open_ended: put 0 where a gradient is not finite at the very end of a line, rather than refuse it.
    """

    def __init__(
        self, question: Question, absent: tuple[Tensor, ...], owners: Int[Tensor, " L"] | None = None, *, open_ended: bool = False
    ) -> None:
        self.question = question
        self.absent = absent
        self.open_ended = open_ended
        self.samples = len(absent[0])
        self.owners = torch.arange(question.batch, device=question.present[0].device) if owners is None else owners
        self.width = sum(tensor[0].numel() for tensor in question.present)
        self.dtype, self.device = question.present[0].dtype, question.present[0].device
        self.batches = Batches(max(1, rows_at_once(question, self.device) // BACKWARD_COST), "the gradient of one sample")
        self.direction = flatten_samples(tuple(tensor[self.owners] for tensor in question.present)) - flatten_samples(absent)

    def at_time(self, time: float) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
        """The same point on every line."""
        rows = torch.arange(self.samples, device=self.device)
        return rows, torch.full((self.samples,), time, device=self.device, dtype=self.dtype)

    def gradients(
        self, rows: Int[Tensor, " N"], times: Float[Tensor, " N"], shift: Float[Tensor, "N D"] | None = None
    ) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n D"]]]:
        """Target and gradient at points of the lines, or beside them, batch by batch: (line, target, gradient).

        Args:
            rows: lines.
            times: 0 at the baseline, 1 at the sample; in double precision, so that times near 1 have their distance from it.
            shift: what is added to each point.

        Raises:
            InvalidInput: the gradient is NaN or infinite.
        """

        def some(part: Int[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor]:
            where = part.to(times.device)
            return (rows[part], *self._gradient(rows[part], times[where], None if shift is None else shift[part]))

        return self.batches.over(torch.arange(len(rows), device=self.device), some)

    def _gradient(
        self, rows: Int[Tensor, " n"], times: Float[Tensor, " n"], shift: Float[Tensor, "n D"] | None
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n D"]]:
        points = []
        shifts = [None] * len(self.absent) if shift is None else shift.split([tensor[0].numel() for tensor in self.absent], 1)
        owners, (after, before) = self.owners[rows], (part.to(self.device, self.dtype) for part in (times, 1 - times))
        for here, gone, beside in zip(self.question.present, self.absent, shifts, strict=True):
            point = _interpolate(gone[rows], here[owners], after, before)
            points.append((point if beside is None else point + beside.reshape(point.shape)).requires_grad_())
        with torch.enable_grad():
            target = self.question.score(points, owners)
            if not target.requires_grad:
                return target.detach(), target.new_zeros(len(rows), self.width)
            found = torch.autograd.grad(target.sum(), points, allow_unused=True)
        slopes = [torch.zeros_like(point) if slope is None else slope for slope, point in zip(found, points, strict=True)]
        gradient = flatten_samples(tuple(slopes))
        if not bool(gradient.sum().isfinite()) and not bool(gradient.isfinite().all()):
            spared = ((after == 0) | (before == 0))[:, None] & self.open_ended
            gradient = torch.where(spared & ~gradient.isfinite(), torch.zeros_like(gradient), gradient)
            if not bool(gradient.isfinite().all()):
                raise NoFiniteGradient("the gradient is NaN or infinite on the way from the baseline to the sample; try another baseline")
        return target.detach(), gradient


def _interpolate(start: Tensor, stop: Tensor, after: Float[Tensor, " n"], before: Float[Tensor, " n"]) -> Tensor:
    """Points of lines, each from the end it is nearer to, so that both ends are reached exactly."""
    after, before = (part.to(stop.dtype).reshape(-1, *[1] * (stop.ndim - 1)) for part in (after, before))
    return torch.where(after < before, start + after * (stop - start), stop - before * (stop - start))


def flatten_samples(tensors: tuple[Tensor, ...]) -> Float[Tensor, "n D"]:
    """Explained tensors laid end to end, one row per sample."""
    rows = [tensor.reshape(len(tensor), -1) for tensor in tensors]
    return rows[0] if len(rows) == 1 else torch.cat(rows, 1)


def require_finite(values: Float[Tensor, "B D"]) -> None:
    """Refuse values that are no numbers.

    Raises:
        InvalidInput: some value is NaN or infinite.
    """
    if not bool(values.isfinite().all()):
        row = int((~values.isfinite()).any(1).nonzero()[0])
        raise InvalidInput(
            f"the values of sample {row} hold NaN or infinity: some function has no finite slope between baseline and sample (a root, a"
            " logarithm or a quotient at 0); try another baseline"
        )


def feature_allocation(
    question: Question,
    values: Float[Tensor, "B D"],
    base: Float[Tensor, " B"],
    total: Float[Tensor, " B"],
    *,
    evaluations: Int[Tensor, " B"],
) -> Allocation:
    """An allocation in which every element is a player.

    Raises:
        InvalidInput: some value is NaN or infinite, or the target is.
    """
    for end, where in ((base, "the baseline"), (total, "the sample")):
        if not bool(end.isfinite().all()):
            row = int((~end.isfinite()).nonzero()[0])
            raise InvalidInput(
                f"the target of sample {row} is {float(end[row])} at {where}; try another baseline, or look at the model there"
            )
    require_finite(values)
    players = Players.features(*(tensor[0] for tensor in question.present))
    shaped = values.reshape(question.batch, *players.shape)
    return Allocation(players=players, values=shaped, base=base, total=total, evaluations=evaluations.cpu())
