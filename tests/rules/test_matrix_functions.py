"""Functions of matrices against functions of numbers, against a path integral of many points, and where there is none."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.single_op import EXACT, multipliers, random
from vesalius.core.errors import NoRule

TIMES = ((torch.arange(4000).double() + 0.5) / 4000)[:, None, None]
FUNCTIONS = {
    "matrix_exp": torch.matrix_exp,
    "cholesky": lambda z: torch.linalg.cholesky(z @ z.mT + torch.eye(3).double()),
    "logdet": lambda z: torch.logdet(z @ z.mT + torch.eye(3).double())[:, None],
    "eigvalsh": lambda z: torch.linalg.eigvalsh(z + z.mT),
    "orthogonal factor": lambda z: torch.linalg.qr(z.tanh() - 4 * torch.eye(3).double())[0],
}
ONE_OP = {"matrix_exp": torch.matrix_exp, "det": lambda z: torch.linalg.det(z)[:, None], "singular values": torch.linalg.svdvals}


@pytest.mark.parametrize("name", ONE_OP)
def test_it_is_the_path_integral(name):
    x, b = random(1, 3, 3, seed=1), random(1, 3, 3, seed=2)
    grad = random(*ONE_OP[name](x).shape[1:], seed=3)
    (found,) = multipliers(ONE_OP[name], (x,), (b,), grad)
    points = (b + TIMES * (x - b)).requires_grad_()
    (slopes,) = torch.autograd.grad((ONE_OP[name](points) * grad).sum(), points)
    torch.testing.assert_close(found[0], slopes.mean(0), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_neither_end_comes_first(name):
    x, b = random(1, 3, 3, seed=1), random(1, 3, 3, seed=2)
    grad = random(*FUNCTIONS[name](x).shape[1:], seed=3)
    (found,), (other,) = multipliers(FUNCTIONS[name], (x,), (b,), grad), multipliers(FUNCTIONS[name], (b,), (x,), grad)
    torch.testing.assert_close(found, other, atol=1e-8, rtol=1e-8)


def test_the_exponential_of_diagonal_matrices_is_that_of_numbers():
    x, b = torch.diag_embed(random(2, 3, seed=1)), torch.diag_embed(random(2, 3, seed=2))
    (found,) = multipliers(torch.matrix_exp, (x,), (b,), torch.eye(3).double())
    one, other = x.diagonal(dim1=1, dim2=2), b.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(found.diagonal(dim1=1, dim2=2), (one.exp() - other.exp()) / (one - other), **EXACT)


def test_a_kink_on_the_way_is_found():
    """The nuclear norm of one number is its size."""
    x, b = torch.tensor([[[0.7]], [[2.0]]]).double(), torch.tensor([[[-0.4]], [[-0.1]]]).double()
    (found,) = multipliers(lambda z: torch.linalg.matrix_norm(z, "nuc")[:, None], (x,), (b,), torch.ones(1).double())
    torch.testing.assert_close(found, (x.abs() - b.abs()) / (x - b), atol=1e-6, rtol=1e-6)


def test_where_the_line_crosses_a_matrix_without_an_inverse_it_is_refused():
    x = torch.diag_embed(torch.tensor([[1.0, 2.0]])).double()
    model = nn.Sequential(nn.Identity()).double()
    model.forward = lambda z: torch.linalg.slogdet(z)[1][:, None]
    with pytest.raises(NoRule, match=r"slogdet.*no derivative, or jumps"):
        vs.attribute(model, x, "deeplift_rescale", target=0, baseline=-0.5 * torch.diag_embed(torch.tensor([[-1.0, 2.0]])).double())
