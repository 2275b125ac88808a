"""Recurrent layers, decomposed step by step into linear maps, gates and products.

Axes: T steps, B batch, F features, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vesalius.core.errors import NoRule
from vesalius.rules.interpreter import Interpreter, OpCall, Rule
from vesalius.rules.op_kinds import op_name

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class CellWeights:
    """One direction of one layer; ``projection`` of an LSTM's visible states, where they are fewer than its hidden ones."""

    inner: Any
    hidden: Any
    inner_bias: Any = None
    hidden_bias: Any = None
    projection: Any = None


Cell = Callable[[Interpreter, Any, tuple[Any, ...], CellWeights], tuple[Any, ...]]
"""From the input's part [B gates*H] and the states before to the states after, the visible one first."""


def lstm_cell(run: Interpreter, given: Any, states: tuple[Any, ...], weights: CellWeights) -> tuple[Any, ...]:
    """Gates in torch's order: input, forget, cell, output."""
    hidden, cell = states
    gates = run(aten.add.Tensor, given, run(aten.linear.default, hidden, weights.hidden, weights.hidden_bias))
    enter, keep, fresh, leave = run(aten.chunk.default, gates, 4, -1)
    kept = run(aten.mul.Tensor, run(aten.sigmoid.default, keep), cell)
    entered = run(aten.mul.Tensor, run(aten.sigmoid.default, enter), run(aten.tanh.default, fresh))
    cell = run(aten.add.Tensor, kept, entered)
    visible = run(aten.mul.Tensor, run(aten.sigmoid.default, leave), run(aten.tanh.default, cell))
    return visible if weights.projection is None else run(aten.linear.default, visible, weights.projection), cell


def gru_cell(run: Interpreter, given: Any, states: tuple[Any, ...], weights: CellWeights) -> tuple[Any, ...]:
    """Gates in torch's order: reset, update, new."""
    (hidden,) = states
    reset, update, fresh = run(aten.chunk.default, given, 3, -1)
    reset_h, update_h, fresh_h = run(aten.chunk.default, run(aten.linear.default, hidden, weights.hidden, weights.hidden_bias), 3, -1)
    reset = run(aten.sigmoid.default, run(aten.add.Tensor, reset, reset_h))
    update = run(aten.sigmoid.default, run(aten.add.Tensor, update, update_h))
    fresh = run(aten.tanh.default, run(aten.add.Tensor, fresh, run(aten.mul.Tensor, reset, fresh_h)))
    return (run(aten.add.Tensor, fresh, run(aten.mul.Tensor, update, run(aten.sub.Tensor, hidden, fresh))),)


def rnn_cell(function: Any) -> Cell:
    """h = s(W x + U h)."""

    def cell(run: Interpreter, given: Any, states: tuple[Any, ...], weights: CellWeights) -> tuple[Any, ...]:
        linear = run(aten.linear.default, states[0], weights.hidden, weights.hidden_bias)
        return (run(function, run(aten.add.Tensor, given, linear)),)

    return cell


def unroll(cell: Cell, states: int) -> Rule:
    """An op of torch for whole sequences, from its cell."""

    def sequence(run: Interpreter, call: OpCall) -> Any:
        if call.target._overloadname == "data":  # type: ignore[attr-defined]
            raise NoRule(run.table.name, [f"{op_name(call.target)} of packed sequences"])
        x, hx, params, biased, layers, _, _, both, batch_first = call.args
        given = list(hx) if states > 1 else [hx]
        directions = 2 if both else 1
        weights = _read_weights(params, biased, layers * directions)
        steps = run(aten.transpose.int, x, 0, 1) if batch_first else x
        finals = []
        for layer in range(layers):
            sides = []
            for side in range(directions):
                place = layer * directions + side
                start = tuple(run(aten.select.int, state, 0, place) for state in given)
                outputs, final = _run_direction(run, cell, steps, start, (weights[place], bool(side)))
                sides.append(outputs)
                finals.append(final)
            steps = run(aten.cat.default, sides, -1) if both else sides[0]
        last = [run(aten.stack.default, [final[i] for final in finals], 0) for i in range(states)]
        return (run(aten.transpose.int, steps, 0, 1) if batch_first else steps, *last)

    return sequence


def _run_direction(
    run: Interpreter, cell: Cell, steps: Any, states: tuple[Any, ...], how: tuple[CellWeights, bool]
) -> tuple[Any, tuple[Any, ...]]:
    """All outputs [T B H] of one direction, and its last states."""
    weights, backwards = how
    given = list(run(aten.unbind.int, run(aten.linear.default, steps, weights.inner, weights.inner_bias), 0))
    outputs = []
    for part in reversed(given) if backwards else given:
        states = cell(run, part, states, weights)
        outputs.append(states[0])
    return run(aten.stack.default, outputs[::-1] if backwards else outputs, 0), states


def _read_weights(params: Sequence[Any], biased: bool, count: int) -> list[CellWeights]:
    size = len(params) // count
    rows = [params[i * size : (i + 1) * size] for i in range(count)]
    maps = 4 if biased else 2
    return [CellWeights(row[0], row[1], *(row[2:4] if biased else (None, None)), *row[maps:]) for row in rows]


def single_step(cell: Cell, states: int) -> Rule:
    """An op of torch for one step, from its cell."""

    def step(run: Interpreter, call: OpCall) -> Any:
        x, hx, *weights = call.args
        own = CellWeights(*weights)
        given = run(aten.linear.default, x, own.inner, own.inner_bias)
        found = cell(run, given, tuple(hx) if states > 1 else (hx,), own)
        return found if states > 1 else found[0]

    return step


RECURRENT_DECOMPOSITIONS: Mapping[str, Rule] = {
    "lstm": unroll(lstm_cell, 2),
    "gru": unroll(gru_cell, 1),
    "rnn_tanh": unroll(rnn_cell(aten.tanh.default), 1),
    "rnn_relu": unroll(rnn_cell(aten.relu.default), 1),
    "lstm_cell": single_step(lstm_cell, 2),
    "gru_cell": single_step(gru_cell, 1),
    "rnn_tanh_cell": single_step(rnn_cell(aten.tanh.default), 1),
    "rnn_relu_cell": single_step(rnn_cell(aten.relu.default), 1),
}
"""Recurrent layers, by op."""
