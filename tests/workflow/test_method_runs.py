"""Joining batches, and what makes an answer out of date."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.concatenation import join_allocations
from vesalius.games.absence import Constant
from vesalius.methods import METHODS, Occlusion, ShapleyValue
from vesalius.workflow.job import Job
from vesalius.workflow.method_runs import fingerprint


@pytest.fixture(scope="module")
def job():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    network = vs.trace(model, x)
    output = network(x).detach()
    return Job(
        network=network,
        x=x,
        output=output,
        target=output.argmax(1),
        absence=Constant(),
        baseline="zero",
        at=None,
        features=("a", "b", "c"),
        unit="logits",
    )


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"grad_cam"}))  # which needs positions, and a table has none
def test_batches_joined_are_the_whole(name, job):
    method = METHODS[name]()
    whole = vs.attribute(job.network, job.x, method)
    parts = [vs.attribute(job.network, job.x[rows], method, target=job.target[rows]) for rows in (slice(0, 2), slice(2, 5))]
    found = join_allocations(parts)
    for field in ("values", "base", "total", "evaluations"):
        torch.testing.assert_close(getattr(found, field), getattr(whole, field).cpu())
    assert (found.converged is None) == (whole.converged is None) and len(found) == 5
    assert found.absorbed.keys() == whole.absorbed.keys()
    for where, part in whole.absorbed.items():
        torch.testing.assert_close(found.absorbed[where], part.cpu(), atol=1e-6, rtol=1e-4)


def test_everything_that_matters_changes_the_fingerprint(job):
    first = fingerprint(job, Occlusion())
    players = vs.Players.segments(torch.tensor([0, 0, 1]))
    others = [
        fingerprint(replace(job, x=job.x + 1), Occlusion()),
        fingerprint(replace(job, output=job.output + 1), Occlusion()),
        fingerprint(replace(job, target=1 - job.target), Occlusion()),
        fingerprint(replace(job, target=None), Occlusion()),
        fingerprint(replace(job, absence=Constant(value=1.0)), Occlusion()),
        fingerprint(replace(job, absence=Constant(value=torch.ones(3))), Occlusion()),
        fingerprint(replace(job, at="relu"), Occlusion()),
        fingerprint(job, Occlusion(players=players)),
        fingerprint(job, Occlusion(players=vs.Players.segments(torch.tensor([0, 1, 1])))),
        fingerprint(job, ShapleyValue()),
        fingerprint(job, ShapleyValue(seed=1)),
    ]
    assert len({first, *others}) == 1 + len(others)
    assert fingerprint(replace(job, x=job.x.clone()), Occlusion()) == first
