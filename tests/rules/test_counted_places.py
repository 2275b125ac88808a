"""Places that are counted or rounded from numbers, against what is known of them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.rules.single_op import EXACT, TABLES, multipliers, random
from vesalius.core.errors import NoRule
from vesalius.rules.network_contributions import ReferenceComparison
from vesalius.rules.rescale import RESCALE
from vesalius.trace.question import ask

TABLE = random(6, 2, seed=4)
EDGES = torch.tensor([-0.5, 0.0, 0.5]).double()


def counted(z):
    """The number at the place that says how many are above 0."""
    return TABLE[:, 0].expand(len(z), -1).gather(1, (z > 0).sum(1, keepdim=True))


def binned(z):
    return F.embedding((2 * z.sigmoid() * 2.99).long(), TABLE).flatten(1)


def marked(z):
    return F.one_hot((z > 0).sum(1), 6).to(z.dtype) * TABLE[:, 1]


def written(z):
    return torch.zeros_like(z).scatter(1, (z[:, 1:] > 0).sum(1, keepdim=True, dtype=torch.long), z[:, :1])


def put(z):
    rows, top = torch.arange(len(z))[:, None], z[..., 0].topk(2)[1]
    found = z.mean(1, keepdim=True).expand(-1, z.shape[1], -1).clone()
    found[rows, top, :] = 2 * z[rows, top, :]
    return found


CASES = {
    "counted": (counted, (5,)),
    "binned": (binned, (4,)),
    "marked": (marked, (5,)),
    "written": (written, (5,)),
    "put": (put, (4, 2)),
    "asked as a truth": (lambda z: (z > 0).to(z.dtype).bool() * z, (4,)),
    "bucketize": (lambda z: torch.bucketize(z, EDGES).to(z.dtype) * z, (4,)),
    "bucketize, closed": (lambda z: F.one_hot(torch.bucketize(z, EDGES, right=True), 4).to(z.dtype).flatten(1), (4,)),
    "searchsorted": (lambda z: torch.searchsorted(EDGES, z, side="right").to(z.dtype).square(), (4,)),
    "searchsorted, a row each": (lambda z: torch.searchsorted(EDGES.expand(len(z), -1).contiguous(), z).to(z.dtype), (4,)),
    "take": (lambda z: torch.take(TABLE, (2 * z.sigmoid() * 2.99).long()), (4,)),
    "take_along_dim of all": (lambda z: TABLE.take_along_dim((z > 0).sum(1)), (5,)),
    "index": (lambda z: TABLE[(z > 0).sum(1)], (5,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", CASES)
def test_it_adds_up(name, table):
    function, shape = CASES[name]
    multipliers(function, (random(3, *shape, seed=1),), (random(3, *shape, seed=2),), table=table)


def test_a_step_to_another_place_is_owed_to_the_number_that_made_it():
    """One of three crosses 0: the count goes from 1 to 2, and what is read there changes by the difference of two rows."""
    x, b = torch.tensor([[0.5, 0.25, -1.0]]).double(), torch.tensor([[0.75, -0.25, -2.0]]).double()
    (found,) = multipliers(counted, (x,), (b,), torch.ones(1).double())
    due = float(TABLE[2, 0] - TABLE[1, 0]) / 0.5
    torch.testing.assert_close(found, torch.tensor([[0.0, due, 0.0]], dtype=torch.float64), **EXACT)


def test_a_mask_that_depends_on_the_input_is_refused():
    class Masked(nn.Module):
        def forward(self, x):
            return x + x[0][x[0] > 0].sum()

    with pytest.raises((NoRule, vs.core.errors.NotTraceable, vs.core.errors.InvalidInput)):
        vs.attribute(vs.trace(Masked(), torch.ones(1, 3)), torch.ones(2, 3), "deeplift_rescale", target=0)


class Towers(nn.Module):
    """With modules that have the names of its inputs."""

    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, user, item):
        return F.cosine_similarity(self.user(user), self.item(item))


def test_inputs_may_have_the_names_of_modules():
    torch.manual_seed(0)
    pair = torch.randn(2, 3).double(), torch.randn(2, 3).double()
    found = vs.attribute(vs.trace(Towers().double(), *pair), pair, "deeplift_rescale", baseline=0.1)
    assert found.relative_gap.max() < 1e-10


def test_crossing_an_edge_is_owed_to_the_number_that_crosses():
    x, b = torch.tensor([[0.5, 0.25, -1.0]]).double(), torch.tensor([[-1.0, 0.2, -2.0]]).double()
    (found,) = multipliers(lambda z: torch.bucketize(z, EDGES).to(z.dtype), (x,), (b,), torch.ones(1, 3).double())
    assert (found * (x - b))[0].tolist() == pytest.approx([2.0, 0.0, 0.0]), "0.5 itself is below no edge but two"


def test_what_a_rule_cannot_do_is_refused_in_words():
    def broken(run, call):
        raise IndexError("tuple index out of range")

    network = vs.trace(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), torch.zeros(2, 2))
    comparison = ReferenceComparison(ask(network, torch.ones(2, 2), target=0), replace(RESCALE, ops={"tanh": broken}))
    with pytest.raises(NoRule, match=r"tanh .* as it is used here \(IndexError: tuple index out of range\)"):
        comparison.rescale(torch.arange(2), [torch.zeros(2, 1, 2)])


def test_out_of_memory_goes_through():
    def full(run, call):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    network = vs.trace(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), torch.zeros(2, 2))
    comparison = ReferenceComparison(ask(network, torch.ones(2, 2), target=0), replace(RESCALE, ops={"tanh": full}))
    with pytest.raises(RuntimeError, match="allocate"):
        comparison.rescale(torch.arange(2), [torch.zeros(2, 1, 2)])


class ReadsAsOneRow(nn.Module):
    """Places of all rows in one axis: one row of a reference cannot stand for the others."""

    def forward(self, x):
        return TABLE.take_along_dim((x.abs() + 0.5).floor().clamp(0, 9).long().flatten()).reshape(x.shape)


def test_references_are_as_many_as_rows_where_places_of_rows_share_an_axis():
    x = random(3, 4, seed=5)
    found = vs.attribute(ReadsAsOneRow(), x, "deeplift_rescale", target=lambda y: y.sum(1))
    assert found.gap.abs().max() < 1e-12


class Rolled(torch.nn.Module):
    """A series rolled by the lags at which its scores are best, by an index or by a sum over all lags."""

    def __init__(self, by_index):
        super().__init__()
        self.by_index, (self.scores, self.fc) = by_index, seeded(lambda: (torch.nn.Linear(6, 6), torch.nn.Linear(6, 2)), 3)

    def forward(self, x):
        weights, lags = self.scores(x).topk(2, dim=-1)
        steps = torch.arange(6)
        if self.by_index:
            places = (steps + lags[..., None]) % 6
            rolled = x[:, None].expand(-1, 2, -1).gather(2, places)
        else:
            each = torch.stack([x.roll(-lag, -1) for lag in range(6)], 1)
            rolled = torch.nn.functional.one_hot(lags, 6).to(x.dtype) @ each
        return self.fc((rolled * weights.softmax(-1)[..., None]).sum(1).tanh())


def seeded(build, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_revealcancel", "integrated_gradients"])
def test_a_series_rolled_by_lags_that_it_finds_is_a_sum_over_all_lags(method):
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).double()
    baseline = torch.randn(6, generator=torch.Generator().manual_seed(2)).double()
    by_index, by_sum = (vs.attribute(Rolled(form).double(), x, method, target=1, baseline=baseline) for form in (True, False))
    assert (by_index.relative_gap < 1e-10).all()
    torch.testing.assert_close(by_index.values, by_sum.values, rtol=1e-6, atol=1e-8)
