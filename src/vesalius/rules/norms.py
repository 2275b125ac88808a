"""The two-point rule of layer norm, RMS norm, group norm and instance norm.

It is the chain of the rules of its parts (``decompositions.py`` has them one by one): centre, mean square, root, quotient.

Axes: * rows that are normalised, each on its own; K elements of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from vesalius.rules.decompositions import DECOMPOSITIONS
from vesalius.rules.interpreter import Interpreter, OpCall
from vesalius.rules.op_kinds import op_name
from vesalius.rules.two_point import Endpoint, TwoPointRule, apply_two_point
from vesalius.rules.two_point_ops import quotient_multipliers

aten = torch.ops.aten


@final
@dataclass(frozen=True, eq=False)
class Norm(TwoPointRule):
    """y = w a / c + bias, with a = x (minus the mean of its row) and c = sqrt(mean of a**2 + eps).

    Attributes:
        function: the op.
        rows: its input laid out as [* K].
        weight: w, broadcastable to x; or ``None``.
        eps: added under the root.
        centred: whether the mean is taken away.
    """

    function: Callable[[Tensor], Tensor]
    rows: Callable[[Tensor], Tensor]
    weight: Tensor | None
    eps: float
    centred: bool

    def value(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0])

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        (a1, c1), (a0, c0) = self._parts(here.inputs[0]), self._parts(there.inputs[0])
        grad = self.rows(grad if self.weight is None else grad * self.weight)
        numerator, early, late = quotient_multipliers(c1, c0)
        of_root = -((grad * a0).sum(-1, keepdim=True) * early + (grad * a1).sum(-1, keepdim=True) * late)
        of_square = of_root / (c1 + c0)
        found = grad * numerator + (a1 + a0) * (of_square / a1.shape[-1])
        if self.centred:
            found = found - found.mean(-1, keepdim=True)
        return (found.reshape(here.inputs[0].shape),)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """a and c."""
        a = self.rows(x)
        if self.centred:
            a = a - a.mean(-1, keepdim=True)
        return a, ((a * a).mean(-1, keepdim=True) + self.eps).sqrt()


def norm(run: Interpreter, call: OpCall) -> Any:
    """All norms over elements of one sample; decomposed where weight or bias depend on the input too."""
    name = op_name(call.target)
    if len(call.signals) > 1:
        return DECOMPOSITIONS[name](run, call)
    if name == "instance_norm" and not call.args[5]:
        return DECOMPOSITIONS[name](run, call)  # by running statistics, a batch norm
    native = "native" in name or "fused" in name

    def function(x: Tensor) -> Tensor:
        found: Any = call.on([x])
        result: Tensor = found[0] if native else found
        return result

    read = _read_layer_norm if name.endswith(("layer_norm", "rms_norm")) else _read_group_norm
    found = apply_two_point(run, Norm(function, *read(call, name)), call.signals[0])
    return (found, None, None)[: 2 if "fused" in name else 3] if native else found


def _read_layer_norm(call: OpCall, name: str) -> tuple[Callable[[Tensor], Tensor], Tensor | None, float, bool]:
    """Rows, weight, eps and whether it is centred, of a norm over the last axes."""
    centred = "rms" not in name
    shape, weight = tuple(call.args[1]), call.argument(2, "weight")
    eps = call.argument(4, "eps", 1e-5) if centred else call.argument(3, "eps")
    if eps is None:
        eps = torch.finfo(call.signals[0].value.dtype).eps
    return lambda x: x.flatten(-len(shape)), weight, eps, centred


def _read_group_norm(call: OpCall, name: str) -> tuple[Callable[[Tensor], Tensor], Tensor | None, float, bool]:
    """The same of a norm over groups of channels and all positions."""
    value = call.signals[0].value
    if name == "native_group_norm":
        weight, groups, eps = call.args[1], call.args[6], call.args[7]
    elif name == "group_norm":
        weight, groups, eps = call.argument(2, "weight"), call.args[1], call.argument(4, "eps", 1e-5)
    else:
        weight, groups, eps = call.args[1], value.shape[1], call.args[7]
    weight = None if weight is None else weight.reshape(-1, *[1] * (value.ndim - 2))
    return lambda x: x.reshape(len(x), groups, -1), weight, eps, True
