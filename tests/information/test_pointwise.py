"""Point-wise information: against the definition by loops, its mean against the estimator, and the map it adds up to."""

from itertools import pairwise as neighbours
from math import log

import pytest
import torch
from scipy.special import digamma
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput
from vesalius.information import MeasurementOptions, information_flow, pointwise_flow
from vesalius.information.estimators import pairwise
from vesalius.information.pointwise import pointwise_information


def gaussian(count, rho, seed=0):
    x, noise = torch.randn(2, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x, rho * x + (1 - rho**2) ** 0.5 * noise


def by_loops(x, y, a, b, k):
    """psi(k) + log N - psi(n_x + 1) - psi(n_y + 1) with ranks, one row after the other."""
    rank = lambda rows, value: ((rows < value).sum() + (rows <= value).sum()) / 2  # noqa: E731
    apart = [(abs(rank(x, u) - rank(x, a)), abs(rank(y, v) - rank(y, b))) for u, v in zip(x, y, strict=True)]
    joint = sorted(max(pair) for pair in apart)
    reach = joint[k - 1]
    if reach == 0:
        k = sum(both == 0 for both in joint)
        inside = [sum(pair[side] == 0 for pair in apart) for side in (0, 1)]
    else:
        inside = [sum(bool(pair[side] < reach) for pair in apart) for side in (0, 1)]
    return digamma(k) + log(len(x)) - digamma(inside[0] + 1) - digamma(inside[1] + 1)


def test_it_is_the_formula():
    x, y = gaussian(40, 0.8)
    z = y.relu()
    found = pointwise_information(
        (x[:, None], torch.stack([y, z], 1)), (torch.tensor([0.3]).double(), torch.tensor([0.1, 0.0]).double()), 3
    )
    for at, side in enumerate((y, z)):
        assert float(found[0, at]) == pytest.approx(by_loops(x, side, 0.3, (0.1, 0.0)[at], 3), rel=1e-9)


def test_its_mean_is_the_information():
    x, y = gaussian(1500, 0.9)
    table = x[:, None], y[:, None]
    mean = torch.stack([pointwise_information(table, (x[i : i + 1], y[i : i + 1]), 3) for i in range(0, 1500, 3)]).mean()
    whole = float(pairwise(*table, estimator="neighbours").values)
    assert float(mean) == pytest.approx(whole, abs=0.08) and whole == pytest.approx(0.83, abs=0.08)


@pytest.fixture(scope="module")
def flowing():
    torch.manual_seed(0)
    network = vs.trace(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), torch.zeros(1, 4))
    data = torch.randn(300, 4)
    return network, data, information_flow(network, data, measuring=MeasurementOptions(estimator="binned"))


def test_a_sample_has_a_map_per_output(flowing):
    network, data, graph = flowing
    found = pointwise_flow(network, graph, data, data[:3])
    assert found.shape == (3, 4, 2)
    units = [data, network.read(data, "1")["1"].detach(), network(data).detach()]
    parts = [pointwise_information((a.double(), b.double()), (a[1].double(), b[1].double()), 3) for a, b in neighbours(units)]
    expected = torch.where(graph.flows[0] > 0, parts[0], 0) @ torch.where(graph.flows[1] > 0, parts[1], 0)
    torch.testing.assert_close(found[1], expected)


def test_maps_add_up_over_skips_too():
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.o = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.o(x + self.b(torch.tanh(self.a(x))))

    data = torch.randn(300, 4)
    network = vs.trace(Block(), data[:1])
    graph = information_flow(network, data, measuring=MeasurementOptions(estimator="binned"))
    found = pointwise_flow(network, graph, data, data[:2])
    seen = {name: rows.detach().double() for name, rows in network.read(data, ["x", "tanh", "b", "add"]).items()}
    units = {"x": seen["x"], "a": seen["tanh"], "b": seen["b"], "add": seen["add"], "output": network(data).detach().double()}
    parts = {}
    for (first, second), flow in zip(graph.joined, graph.flows, strict=True):
        known = units[first], units[second]
        parts[first, second] = torch.where(flow > 0, pointwise_information(known, (known[0][1], known[1][1]), 3), 0)
    branch = parts["x", "a"] @ parts["a", "b"] @ parts["b", "add"]
    torch.testing.assert_close(found[1], (parts["x", "add"] + branch) @ parts["add", "output"])


def test_a_row_is_itself_however_it_was_rounded(flowing):
    """A sample is computed in a batch of another size than the rows were, and moves in its last bits."""
    network, data, _ = flowing
    units = [part.double() for part in (data, network.read(data, "1")["1"].detach(), network(data).detach())]
    for known in neighbours(units):
        exact = pointwise_information(known, (known[0][1], known[1][1]), 3)
        for sign in (-1, 1):
            moved = tuple(part[1] * (1 + sign * 1e-6) for part in known)
            torch.testing.assert_close(pointwise_information(known, moved, 3), exact)


def test_what_has_no_answer_is_refused(flowing):
    network, data, graph = flowing
    labelled = information_flow(network, data, labels=(data[:, 0] > 0).long(), measuring=MeasurementOptions(estimator="binned"))
    with pytest.raises(InvalidInput, match="no label to flow to"):
        pointwise_flow(network, labelled, data, data[:1])
    with pytest.raises(InvalidInput, match="k = 300 neighbours of 300 rows"):
        pointwise_flow(network, graph, data, data[:1], k=300)
    sampled = information_flow(network, data, measuring=MeasurementOptions(estimator="binned", pool="sampled"))
    with pytest.raises(InvalidInput, match="positions drawn for each row"):
        pointwise_flow(network, sampled, data, data[:1])


def test_a_row_whose_neighbours_are_at_the_edge_of_rounding_is_itself():
    """Values a hair more or less than ``ROUNDING`` away: which of them share its rank is decided at the row, not at the sample."""
    x = torch.linspace(-1, 1, 101, dtype=torch.float64)
    x[51] = x[50] + 1e-5
    y = x.flip(0).square()
    known = x[:, None], y[:, None]
    exact = pointwise_information(known, (known[0][50], known[1][50]), 3)
    for moved in (-1e-7, 1e-7):
        torch.testing.assert_close(pointwise_information(known, (known[0][50] + moved, known[1][50] + moved), 3), exact)
