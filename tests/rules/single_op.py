"""One op at a time: a traced module that is just that op with a linear readout, and its multipliers under a table of rules."""

from __future__ import annotations

import torch
from torch import nn

import vesalius as vs
from vesalius.rules.deep_shap import DEEP_SHAP, UnitShapley
from vesalius.rules.interpreter import Interpreter
from vesalius.rules.network_contributions import ReferenceComparison
from vesalius.rules.rescale import RESCALE
from vesalius.rules.reveal_cancel import REVEAL_CANCEL, RevealCancel
from vesalius.rules.signal import Signal
from vesalius.rules.two_point import Tape, TwoPointState
from vesalius.trace.question import ask

EXACT = {"rtol": 1e-10, "atol": 1e-10}
BY_UNITS = {"revealcancel": (REVEAL_CANCEL, RevealCancel), "components": (DEEP_SHAP, UnitShapley)}
TABLES = ["rescale", *BY_UNITS]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Op(nn.Module):
    """The sum of an op's results [B, ...], weighted with m."""

    def __init__(self, function, m):
        super().__init__()
        self.function = function
        self.register_buffer("m", m)

    def forward(self, *inputs):
        return (self.function(*inputs) * self.m).reshape(inputs[0].shape[0], -1).sum(1)


def readout(function, xs, seed=99):
    """Random weights of one sample's results."""
    return random(*function(*xs).shape[1:], seed=seed)


def multipliers(function, xs, bs, m=None, table="rescale"):
    """Multipliers of every input of an op between the ends xs and bs, one batch of each; they are checked to add up."""
    m = readout(function, xs) if m is None else m
    model = Op(function, m).double().eval()
    question = ask(vs.trace(model, *xs), xs)
    found, total, base = slopes(question, bs, table)
    with torch.no_grad():
        torch.testing.assert_close(total, model(*xs), **EXACT)
        torch.testing.assert_close(base, model(*bs).expand_as(base), **EXACT)
    shared = sum((part * (x - b)).flatten(1).sum(1) for part, x, b in zip(found, xs, bs, strict=True))
    torch.testing.assert_close(shared, total - base, **EXACT)
    return found


def slopes(question, bs, table):
    """Multipliers of all explained tensors, and the target at both ends, from the engine's own passes."""
    comparison = ReferenceComparison(question, RESCALE if table == "rescale" else BY_UNITS[table][0])
    rows = torch.arange(question.batch)
    leaves = comparison.leaves(rows)
    if table == "rescale":
        there = Tape()
        total = comparison.run(leaves, rows, TwoPointState(Tape(), there))
        base = comparison.reference(bs, rows, there.rewind())
    else:
        signals = [Signal(leaf, base=b) for leaf, b in zip(leaves, bs, strict=True)]
        end = Interpreter(comparison.table, BY_UNITS[table][1]()).through(comparison.plan, signals)
        total, base = (question.pick(value, rows) for value in (end.value, end.base))
    found = torch.autograd.grad(total.sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if part is None else part for part, leaf in zip(found, leaves, strict=True)], total.detach(), base


def row_by_row(rule, xs, bs, m):
    """A twin for single rows, applied to every sample."""
    return [rule(*[(x[i], b[i]) for x, b in zip(xs, bs, strict=True)], m) for i in range(len(xs[0]))]
