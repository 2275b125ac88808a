"""Which layers are joined: ends, depths, what is gone around, and pairs that cannot be."""

import pytest

from vesalius.core.errors import InvalidInput
from vesalius.information.layer_graph import LayerGraph, layer_graph

BLOCK = LayerGraph((1, 2, 3, 4), ((0, 1), (0, 2), (1, 2), (2, 3)))
"""A residual block: layer 1 is the branch, 2 the sum."""


def test_a_block_has_its_ends_depths_and_a_branch_that_is_gone_around():
    assert BLOCK.sources == (0,) and BLOCK.sinks == (3,) and BLOCK.depths == (0, 1, 2, 3)
    assert BLOCK.bypassed == (1,) and not BLOCK.is_chain
    assert BLOCK.into == ((), (0,), (1, 2), (3,)) and BLOCK.out_of == ((0, 1), (2,), (3,), ())
    chain = LayerGraph.chain([5, 6, 7])
    assert chain.is_chain and chain.bypassed == () and chain.pairs == ((0, 1), (1, 2))


def test_a_graph_turned_round_twice_is_itself():
    assert BLOCK.reverse.sources == (0,) and BLOCK.reverse.sizes == (4, 3, 2, 1) and BLOCK.reverse.reverse == BLOCK


def test_what_is_reached_stops_at_what_is_shut():
    assert BLOCK.reached([0]) == {0, 1, 2, 3} and BLOCK.reached([1]) == {1, 2, 3}
    assert BLOCK.reached([0], without=[2]) == {0, 1} and BLOCK.reached([0], without=[0]) == set()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("a", "d")], "joins 'd', which is none of the layers 'a', 'b', 'c'"),
        ([("b", "a")], "runs backwards"),
        ([("a", "a")], "runs backwards"),
        ([("a", "b"), ("b", "c"), ("a", "b")], "was given twice"),
        ([("a", "b")], "layer 'c' is joined with no other"),
    ],
)
def test_pairs_that_cannot_be_are_refused(pairs, message):
    with pytest.raises(InvalidInput, match=message):
        layer_graph(["a", "b", "c"], [1, 1, 1], pairs)
