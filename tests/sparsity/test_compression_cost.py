"""Operations of a network, counted by hand."""

import pytest

import vesalius as vs
from tests.trace.laid_out_networks import laid_out
from vesalius.sparsity.compression.cost import count_flop

BY_HAND = {
    "flat": 2 * (5 * 4 * 6 + 5 * 6 * 6 + 5 * 6 * 6 + 6 * 4),
    "film": 2 * (3 * 4 * 4 * 6 * 3 * 3 * 3 + 6 * 4),
    "mixer": 2 * (9 * 8 * 3 * 2 * 2 + 8 * 9 * 5 + 8 * 5 * 9 + 9 * 8 * 8 + 8 * 4),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_layer_is_counted_at_every_position_of_a_sample(name):
    model, x = laid_out(name)
    assert count_flop(vs.trace(model, x), model) == BY_HAND[name]
