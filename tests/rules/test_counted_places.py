"""Places that are counted or rounded from numbers, against what is known of them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.rules.single_op import EXACT, TABLES, multipliers, random
from vesalius.core.errors import NoRule

TABLE = random(6, 2, seed=4)


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
    "index": (lambda z: TABLE[(z > 0).sum(1)], (5,)),
}


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
