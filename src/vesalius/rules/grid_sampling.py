"""Sampling at places that depend on the input: spatial transformers, deformable convolutions, warping by a flow.

Axes: B samples; C channels; *in positions of what is sampled; *out places that are asked for, each with its R coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, final

import torch
from torch import Tensor

from vesalius.rules.interpreter import Interpreter, OpCall
from vesalius.rules.op_kinds import op_name
from vesalius.rules.signal import Signal
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point
from vesalius.rules.two_point_ops import divide_by_change, vjp


@final
@dataclass(frozen=True, eq=False)
class GridSample(TwoPointRule):
    """y = sum_p w_p(g) v_p, a product of values and of weights that the grid makes: each gets the mean of both ends of the other.

    What is due to the weights is shared among the coordinates of each place by their Shapley values, so that kinks between pixels, and the
    steps of the nearest one, need no derivative.

    Attributes:
        function: of values [B C *in] and grid [B *out R].
        constant: the values where the grid alone varies.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    constant: Tensor | None = None

    def value(self, *inputs: Tensor) -> Tensor:
        return self.function(*self._both(inputs))

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        (v1, g1), (v0, g0) = self._both(here.inputs), self._both(there.inputs)
        v0, g0 = v0.expand_as(v1), g0.expand_as(g1)
        mean = (v1 + v0) / 2
        of_grid = self._share_of_grid(grad, mean, g1, g0)
        if self.constant is not None:
            return (of_grid,)
        at_ends = [vjp(lambda v, grid=grid: self.function(v, grid), [mean], grad)[0] for grid in (g1, g0)]
        found = sum(part for part in at_ends if part is not None)
        return found / 2 if isinstance(found, Tensor) else None, of_grid

    def _both(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return (inputs[0], inputs[1]) if self.constant is None else (self.constant, inputs[0])

    def _share_of_grid(self, grad: Tensor, values: Tensor, g1: Tensor, g0: Tensor) -> Tensor:
        """Multipliers [B *out R] of the coordinates."""
        axes = range(g1.shape[-1])
        reached = {
            moved: (grad * self.function(values, torch.stack([(g1 if axis in moved else g0)[..., axis] for axis in axes], -1))).sum(1)
            for size in range(len(axes) + 1)
            for moved in combinations(axes, size)
        }
        (slope,) = vjp(lambda grid: self.function(values, grid), [torch.lerp(g0, g1, 0.5)], grad)
        found = []
        for axis in axes:
            effect = torch.zeros_like(g1[..., 0])
            for moved, before in reached.items():
                if axis not in moved:
                    after = reached[tuple(sorted((*moved, axis)))]
                    effect = effect + (after - before) / (len(axes) * comb(len(axes) - 1, len(moved)))
            limit = None if slope is None else slope[..., axis]
            found.append(divide_by_change(effect, g1[..., axis], g0[..., axis], limit))
        return torch.stack(found, -1)


def samples_moving_grid(call: OpCall) -> bool:
    """Whether a call samples at places that depend on the input."""
    return op_name(call.target).startswith("grid_sampler") and isinstance(call.args[1], Signal)


def sample_grid(run: Interpreter, call: OpCall) -> Any:
    """grid_sample whose grid varies, and whose values may."""

    def function(values: Tensor, grid: Tensor) -> Tensor:
        found: Tensor = call.target(values, grid, *call.args[2:], **call.kwargs)
        return found

    values = call.args[0]
    return apply_two_point(run, GridSample(function, None if isinstance(values, Signal) else values), *call.signals)
