"""Linear layers that store what is left compute what the whole matrix does."""

import copy

import pytest
import torch
from torch import nn

from vesalius.core.errors import InvalidInput
from vesalius.sparsity.compression.sparse_linear import PickedLinear, SparseLinear


def thin(units=19, inputs=21, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(units, inputs, generator=generator, dtype=dtype)
    weight[torch.rand(units, inputs, generator=generator) < 0.9] = 0
    weight[:, 4] = 0
    return weight, torch.randn(units, generator=generator, dtype=dtype)


@pytest.mark.parametrize("shape", [(1, 21), (7, 21), (2, 3, 21), (21,)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("form", ["csr", "block", "picked"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_as_the_matrix(form, shape, biased, dtype):
    weight, bias = thin(dtype=dtype)
    bias = bias if biased else None
    layer = PickedLinear(weight, bias) if form == "picked" else SparseLinear(weight, bias, layout=form)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), nn.functional.linear(x, weight, bias))


@pytest.mark.parametrize("layout", ["csr", "block"])
def test_only_what_is_left_is_stored_and_copies_are_their_own(layout):
    weight, bias = thin()
    weight[8:16, 8:16] = 0  # one of nine blocks
    layer = SparseLinear(weight, bias, layout=layout)
    assert torch.equal(layer.dense(), weight)
    assert layer.kept == {"csr": int((weight != 0).sum()), "block": 64 * 8}[layout]
    other = copy.deepcopy(layer)
    other.values.zero_()
    assert torch.equal(layer.dense(), weight)
    assert not other.dense().any()
    moved = SparseLinear(weight * 0, bias, layout=layout).double()
    assert moved.matrix.dtype == torch.float64
    fresh = SparseLinear(weight, bias * 0, layout=layout)
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(fresh(torch.ones(2, 21)), layer(torch.ones(2, 21)))


def test_inputs_that_are_not_read_may_be_anything():
    weight, bias = thin()
    x = torch.ones(2, 21)
    x[:, 4] = torch.nan
    assert torch.isfinite(PickedLinear(weight, bias)(x)).all()
    assert PickedLinear(weight, bias).weight.shape[1] == int((weight != 0).any(0).sum())


def test_another_layout_is_refused():
    with pytest.raises(InvalidInput, match="'csr' or 'block', not 'coo'"):
        SparseLinear(*thin(), layout="coo")
