"""Inverse matrices against reciprocals and against a path integral."""

import torch

from tests.rules.single_op import EXACT, multipliers, random

POINTS, WEIGHTS = torch.linspace(0, 1, 2001).double(), torch.full((2001, 1, 1), 1 / 2000).double()
WEIGHTS[0] = WEIGHTS[-1] = 1 / 4000


def test_of_one_number_it_is_the_reciprocal():
    x, b = torch.tensor([[[4.0]]]).double(), torch.tensor([[[0.5]]]).double()
    (found,) = multipliers(torch.linalg.inv, (x,), (b,), torch.ones(1, 1, 1).double())
    torch.testing.assert_close(found, torch.full((1, 1, 1), -1 / (4 * 0.5)).double(), **EXACT)


def test_it_is_the_path_integral_where_matrices_commute():
    """Of diagonal matrices the inverse is one reciprocal each; and what is beside the diagonal does not change."""
    x, b = torch.diag_embed(random(1, 3, seed=1).abs() + 1), torch.diag_embed(random(1, 3, seed=2).abs() + 1)
    grad = random(1, 3, 3, seed=3)
    (found,) = multipliers(torch.linalg.inv, (x,), (b,), grad)
    inverses = torch.linalg.inv(b + POINTS[:, None, None] * (x - b))
    along = -(inverses.mT @ grad @ inverses.mT * WEIGHTS).sum(0, keepdim=True)
    torch.testing.assert_close((found * (x - b)).diagonal(dim1=1, dim2=2), (along * (x - b)).diagonal(dim1=1, dim2=2), atol=1e-5, rtol=1e-5)


def test_neither_end_comes_first():
    x, b = (random(1, 3, 3, seed=seed) + 4 * torch.eye(3).double() for seed in (1, 2))
    grad = random(1, 3, 3, seed=3)
    (found,), (other,) = multipliers(torch.linalg.inv, (x,), (b,), grad), multipliers(torch.linalg.inv, (b,), (x,), grad)
    torch.testing.assert_close(found, other, **EXACT)
