"""What every op does under every table of two-point rules: it adds up, and it is the gradient where the ends meet."""

from functools import cache

import pytest
import torch

import vesalius as vs
from tests.rules.op_cases import MASKED, OPS, WITHOUT_A_SERIES, drawn
from tests.rules.single_op import EXACT, TABLES, Op, readout, slopes
from vesalius.rules.op_kinds import OPS_BY_KIND as KINDS
from vesalius.trace.question import ask

OPS = {**OPS, **MASKED, **WITHOUT_A_SERIES}


@cache
def traced(name):
    function, shapes = OPS[name]
    xs = drawn(shapes)
    model = Op(function, readout(function, xs)).eval()
    return model, vs.trace(model, *xs)


def shared(found, xs, bs):
    return sum((part * (x - b)).flatten(1).sum(1) for part, x, b in zip(found, xs, bs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", OPS)
def test_adds_up(name, table):
    """From a random baseline, and from a constant one, as zero images are."""
    model, network = traced(name)
    xs = drawn(OPS[name][1], seed=10)
    for bs in (drawn(OPS[name][1], seed=20), tuple(torch.full_like(x[:1], 0.25) for x in xs)):
        bs = tuple(b.expand_as(x) for b, x in zip(bs, xs, strict=True))
        found, total, base = slopes(ask(network, xs), bs, table)
        torch.testing.assert_close(total - base, model(*xs) - model(*bs), **EXACT)
        torch.testing.assert_close(shared(found, xs, bs), total - base, **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", OPS)
def test_is_the_gradient_where_the_ends_meet(name, table):
    model, network = traced(name)
    xs = tuple(x.requires_grad_() for x in drawn(OPS[name][1], seed=30))
    total = model(*xs).sum()
    expected = torch.autograd.grad(total, xs, materialize_grads=True) if total.requires_grad else [torch.zeros_like(x) for x in xs]
    xs = tuple(x.detach() for x in xs)
    found, _, _ = slopes(ask(network, xs), xs, table)
    for part, slope in zip(found, expected, strict=True):
        torch.testing.assert_close(part, slope, **EXACT)


@pytest.mark.slow
def test_every_kind_of_op_is_among_them():
    """The names the rules have seen in these graphs, against the kinds they are written for."""
    graphs = [traced(name)[1].graph("listing ops").graph for name in OPS]
    seen = {node.meta["value"].op for graph in graphs for node in graph.nodes if "value" in node.meta}
    tried = {kind for kind, ops in KINDS.items() if any(op.strip("_") in {found.strip("_") for found in seen} for op in ops.split())}
    assert set(KINDS) - tried <= {"shape", "affine", "detach"}
