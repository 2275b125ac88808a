"""LRP of layer norm and RMS norm, in one piece: the deviation counts as a constant, the shift keeps its relevance.

It is what comes of ``decompositions.py`` under the rules of the parts, without their thirty ops.

Reference: Achtibat2024, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vesalius.rules.absorbed import absorb_constant
from vesalius.rules.decompositions import DECOMPOSITIONS
from vesalius.rules.interpreter import Interpreter, OpCall, Rule
from vesalius.rules.op_kinds import op_name
from vesalius.rules.sample_owners import attach_meta
from vesalius.rules.signal import Signal


def norm(run: Interpreter, call: OpCall) -> Any:
    """A norm over the last axes; decomposed where weight or bias depend on the input too."""
    name = op_name(call.target)
    if len(call.signals) > 1 or not isinstance(call.args[0], Signal):
        return DECOMPOSITIONS[name](run, call)
    centred = "rms" not in name
    x, shape, weight = call.args[0].value, tuple(call.args[1]), call.argument(2, "weight")
    bias, eps = (call.argument(3, "bias"), call.argument(4, "eps", 1e-5)) if centred else (None, call.argument(3, "eps"))
    y = _normalise(x, tuple(range(-len(shape), 0)), torch.finfo(x.dtype).eps if eps is None else eps, centred)
    if weight is not None:
        y = y * weight.reshape(shape)
    result: Signal = attach_meta(call, Signal(y))
    if bias is not None:
        shift = bias.reshape(shape)
        value = absorb_constant(y + shift, shift.expand_as(y), run.state.ledger, result.extra.owner)
        result = replace(result, value=value)
    return result if name in ("layer_norm", "rms_norm") else (result, None, None)[: 2 if "fused" in name else 3]


def _normalise(x: Tensor, axes: tuple[int, ...], eps: float, centred: bool) -> Tensor:
    """x (minus its mean) over the root of its mean square plus eps, of which no gradient is taken."""
    if centred:
        x = x - x.mean(axes, keepdim=True)
    with torch.no_grad():
        root = ((x * x).mean(axes, keepdim=True) + eps).sqrt()
    return x / root


NORM_RULES: Mapping[str, Rule] = dict.fromkeys("layer_norm native_layer_norm rms_norm _fused_rms_norm".split(), norm)
"""Norms over the elements of a row, by op."""
