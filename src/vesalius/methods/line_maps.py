"""What integrators find along lines, and its mean over the baselines of a sample.

Axes: L lines, B samples, D elements of all explained tensors of one sample, laid end to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class LineMaps:
    """Maps of lines, or of samples.

    Attributes:
        values: the maps.
        evaluations: of the gradient, or of secants.
        error: estimated L2 error of each map, in the output's unit.
        converged: whether it is within tolerance.
        doubt: squared error of each value, as far as it is known; only what is in proportion to it counts.
        spiked: whether most of a line's change is where hardly any of its time is.
    """

    values: Float[Tensor, "L D"]
    evaluations: Int[Tensor, " L"]
    error: Float[Tensor, " L"]
    converged: Bool[Tensor, " L"]
    doubt: Float[Tensor, "L D"]
    spiked: Bool[Tensor, " L"]

    @staticmethod
    def unjudged(values: Float[Tensor, "L D"], steps: int) -> LineMaps:
        """Maps by a fixed number of steps, about whose error nothing is known."""
        lines = len(values)
        nothing, yes = torch.zeros(lines, dtype=torch.float64), torch.ones(lines, dtype=torch.bool)
        return LineMaps(values, torch.full((lines,), steps), nothing, yes, torch.zeros_like(values), ~yes)

    def relative_error(self) -> Float[Tensor, " L"]:
        """Error as a share of the map's L2 norm; infinite against no map at all."""
        size = self.values.double().norm(dim=1).cpu()
        return torch.where(self.error == 0, torch.zeros_like(self.error), self.error / size)

    def put(self, rows: Int[Tensor, " n"], found: LineMaps) -> LineMaps:
        """The same with other maps in some rows, whose evaluations are added; in the finer precision of both."""
        parts = {}
        for name in ("values", "error", "converged", "doubt", "spiked"):
            mine, other = getattr(self, name), getattr(found, name)
            mine = mine.to(torch.promote_types(mine.dtype, other.dtype))
            parts[name] = mine.index_copy(0, rows.to(mine.device), other.to(mine))
        spent = self.evaluations.index_add(0, rows.cpu(), found.evaluations)
        return LineMaps(evaluations=spent, **parts)


def concatenate(parts: Sequence[LineMaps]) -> LineMaps:
    """Lines of all parts, one after the other."""
    names = ("values", "evaluations", "error", "converged", "doubt", "spiked")
    return LineMaps(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def average_over_baselines(found: LineMaps, together: int, tol: float, *, independent: bool) -> LineMaps:
    """The mean over the lines of each sample, which come one after the other.

    Args:
        found: of lines.
        together: lines of a sample.
        tol: largest relative error of the mean.
        independent: whether errors of lines are; else they add up.
    """
    if together == 1:
        return found
    values, doubt = (part.reshape(-1, together, part.shape[1]) for part in (found.values, found.doubt))
    errors = found.error.reshape(-1, together)
    error = (errors.square().sum(1).sqrt() if independent else errors.sum(1)) / together
    mean = values.mean(1)
    within = error <= tol * mean.double().norm(dim=1).cpu()
    spent, spiked = found.evaluations.reshape(-1, together).sum(1), found.spiked.reshape(-1, together).any(1)
    return LineMaps(mean, spent, error, within, doubt.sum(1), spiked)
