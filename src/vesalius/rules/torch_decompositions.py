"""Ops that torch itself writes in terms of others, opened where no rule is written for them.

torch is asked at run time, with the tensors at hand: what comes out is a small program of simpler ops, which is run as a decomposition of
our own would be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from vesalius.core.errors import NoRule
from vesalius.rules.interpreter import Interpreter, OpCall, Rule, describe_call
from vesalius.rules.signal import Signal


def find_torch_decomposition(target: Callable[..., Any]) -> Rule | None:
    """The rule of an op that torch can open; ``None`` where it cannot."""
    if not isinstance(target, torch._ops.OpOverload):
        return None
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    return open_by_torch if target in decomposition_table or target.has_kernel_for_dispatch_key(composite) else None


def open_by_torch(run: Interpreter, call: OpCall) -> Any:
    """An op as the simpler ones that torch computes it by.

    Raises:
        NoRule: one of them has no rule either, or which they are depends on the numbers.
    """
    missing = NoRule(run.table.name, [describe_call(call)])
    if any(signal.boolean for signal in call.signals):
        raise missing
    try:
        make = make_fx(torch.func.functionalize(lambda *values: call.on(values)), dict(_decompositions_without_a_rule(run)))
        program = make(*(part.value.detach() for part in call.signals))
    except RuntimeError as error:
        raise missing from error
    program.graph.eliminate_dead_code()
    if any(node.target is call.target for node in program.graph.nodes):
        raise missing
    try:
        return _run_program(run, program, call.signals)
    except NoRule as error:
        raise missing from error


def _decompositions_without_a_rule(run: Interpreter) -> Mapping[Any, Callable[..., Any]]:
    """torch's table, less what the rules know."""
    return {op: function for op, function in decomposition_table.items() if run.table.find_written(op) is None}


def _run_program(run: Interpreter, program: GraphModule, signals: list[Signal]) -> Any:
    known: dict[Node, Any] = {}
    given = iter(signals)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            known[node] = next(given)
        elif node.op == "get_attr":
            known[node] = getattr(program, str(node.target))
        elif node.op == "call_function":
            args, kwargs = map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = run(node.target, *args, **kwargs)
        else:
            return map_arg(node.args[0], known.__getitem__)
    raise AssertionError("a program ends with its output")
