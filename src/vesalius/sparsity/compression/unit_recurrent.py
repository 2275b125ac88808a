"""How labels of units go through recurrent layers and cells: rows of all gates, the column that reads a unit a step later, the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch.fx import Node

from vesalius.sparsity.compression.unit_layers import read_axis, value_name
from vesalius.sparsity.compression.unit_pass import Moving, Rule, Stored, UnitPass
from vesalius.trace.axis_pass import op_of

Labels = Int[torch.Tensor, " _"]
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
"""Rows of a recurrent layer's weights per unit."""
ZERO_STATES = frozenset("zeros new_zeros".split())
"""Ops that make the states a recurrent layer starts from, where none are given."""


def makes_zeros(node: Any) -> bool:
    """Whether a value is zeros of a size that is written down."""
    return isinstance(node, Node) and op_of(node) in ZERO_STATES


def _recurrent(run: UnitPass, node: Node) -> Any:
    """All layers and directions have equally many units, and the same go; those of a projection are units of their own."""
    op = op_of(node)
    states: list[Any] = list(node.args[1]) if op == "lstm" else [node.args[1]]  # type: ignore[arg-type]
    weights = [run.of(one) for one in node.args[2]]  # type: ignore[union-attr]
    biased, layers, ways = bool(node.args[3]), int(node.args[4]), 1 + bool(node.args[7])  # type: ignore[arg-type]
    each = len(weights) // (layers * ways)
    projected = each == (5 if biased else 3)
    if (not projected and each != (4 if biased else 2)) or not all(isinstance(one, Stored) for one in weights):
        return None
    source = run.moving(node.args[0])
    seen = run.along(source, -1, f"{value_name(node)!r} reads it along another axis")
    given: Labels = weights[1].axes[1]
    cells: Labels = weights[each - 1].axes[1] if projected else given
    for at in range(0, len(weights), each):
        first = at < each * ways
        parts, came = weights[at : at + each], node.args[0] if first else None
        read_axis(run, node, parts[0], 1, seen if first else torch.cat([given] * ways), came)
        if projected:
            _project(run, node, parts.pop(), cells, given)
        _cell(run, node, parts, cells, given)
    zero = _join_states(run, node, list(zip(states, (given, cells), strict=False)))
    run.made[value_name(node)] = cells
    if projected:
        run.made[f"{value_name(node)}.projection"] = given
    batch = source.labels.shape[0 if node.args[8] else 1]
    last = [Moving(one.expand(layers * ways, batch, -1), zero) for one in (given, cells)[: len(states)]]
    return (Moving(torch.cat([given] * ways).expand(*source.labels.shape[:2], -1), zero), *last)


def _project(run: UnitPass, node: Node, weight: Stored, cells: Labels, given: Labels) -> None:
    """A matrix from the cells to what a layer gives."""
    read_axis(run, node, weight, 1, cells)
    run.labels.join(weight.axes[0], given, f"{value_name(node)!r} computes with values that stay")


def _cell(run: UnitPass, node: Node, parts: list[Stored], cells: Labels, given: Labels) -> None:
    """One layer in one direction, less what it reads of others."""
    into, back, *biases = parts
    read_axis(run, node, back, 1, given)
    gates = GATES[op_of(node).removesuffix("_cell")]
    for rows in (into.axes[0], back.axes[0], *(bias.axes[0] for bias in biases)):
        run.labels.join(rows.reshape(gates, -1), cells[None], f"{value_name(node)!r} computes with values that stay")


def _join_states(run: UnitPass, node: Node, states: list[tuple[Any, Labels]]) -> bool:
    """States that are given have the layer's units; whether units without weights stay 0 from there."""
    zero = True
    for state, labels in states:
        if not makes_zeros(state):
            known = run.moving(state)
            run.labels.join(
                run.along(known, -1, f"{value_name(node)!r} reads it along another axis"),
                labels,
                f"{value_name(node)!r} starts from states that are given",
            )
            zero = zero and known.zero
    return zero


def _single_cell(run: UnitPass, node: Node) -> Any:
    """One step of a recurrent layer."""
    states: list[Any] = list(node.args[1]) if op_of(node) == "lstm_cell" else [node.args[1]]  # type: ignore[arg-type]
    weights = [run.of(one) for one in node.args[2:] if one is not None]
    if not all(isinstance(one, Stored) for one in weights):
        return None
    source = run.moving(node.args[0])
    units: Labels = weights[1].axes[1]
    read_axis(run, node, weights[0], 1, run.along(source, -1, f"{value_name(node)!r} reads it along another axis"), node.args[0])
    _cell(run, node, weights, units, units)
    zero = _join_states(run, node, [(state, units) for state in states])
    run.made[value_name(node)] = units
    last = Moving(units.expand(*source.labels.shape[:-1], -1), zero)
    return (last, last) if len(states) == 2 else last


RECURRENT_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(GATES, _recurrent),
    **dict.fromkeys((f"{name}_cell" for name in GATES), _single_cell),
}
"""Rules of recurrent layers and cells; states that are zeros are as wide as the units that are left."""
