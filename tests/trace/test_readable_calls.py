"""Calls that are read as others give what torch gives."""

import pytest
import torch

import vesalius as vs
from vesalius.trace.readable_calls import matrix_norm


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [(-2, -1), (0, 2), (2, 0)])
@pytest.mark.parametrize("order", ["fro", "nuc", 2, -2, 1])
def test_norms_of_matrices(order, dim, keepdim):
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(matrix_norm(x, order, dim, keepdim), torch.linalg.matrix_norm(x, order, dim, keepdim))


class LargestStretch(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.matrix_norm(x, 2)


def test_a_spectral_norm_is_traced_for_any_batch():
    x = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(1))
    network = vs.trace(LargestStretch(), x)
    assert not network.opaque, network.reason
    for rows in (x, x[:1]):
        torch.testing.assert_close(network(rows), torch.linalg.matrix_norm(rows, 2))
