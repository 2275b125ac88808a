"""Units stand where few edges cross, and places add up."""

from itertools import combinations, pairwise

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from vesalius.views.flow.layout import crossings, layer_blocks, order_units, skip_rise, split_budget, unit_positions


def brute(order, pairs, ends, weights):
    """Crossings, pair by pair."""
    total = 0.0
    for at, ((left, right), part) in enumerate(zip(pairs, ends, strict=True)):
        for i, (a, b) in enumerate(part):
            for j, (c, d) in enumerate(part[:i]):
                first = list(order[left]).index(a) - list(order[left]).index(c)
                second = list(order[right]).index(b) - list(order[right]).index(d)
                total += weights[at][i] * weights[at][j] * (first * second < 0)
    return total


@st.composite
def nets(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    further = [pair for pair in combinations(range(len(sizes)), 2) if pair[1] > pair[0] + 1 and draw(st.booleans())]
    pairs = [*pairwise(range(len(sizes))), *further]
    shapes = [(sizes[left], sizes[right]) for left, right in pairs]
    blocks = [random.random(shape) * (random.random(shape) < 0.5) for shape in shapes]
    return sizes, pairs, [np.argwhere(block) for block in blocks], [block[block > 0] for block in blocks]


@given(nets())
def test_an_order_has_every_unit_once_and_no_more_crossings_than_before(net):
    sizes, pairs, ends, weights = net
    found = order_units(sizes, pairs, ends, weights)
    assert [sorted(column) for column in found] == [list(range(size)) for size in sizes]
    linked = [set() for _ in sizes]
    for (left, right), part in zip(pairs, ends, strict=True):
        for first, second in part.tolist():
            linked[left].add(first)
            linked[right].add(second)
    start = [sorted(range(size), key=lambda unit: unit not in here) for size, here in zip(sizes, linked, strict=True)]
    assert (
        crossings([np.array(c) for c in found], pairs, ends, weights)
        <= crossings([np.array(c) for c in start], pairs, ends, weights) + 1e-9
    )
    for column, here in zip(found, linked, strict=True):
        assert not [unit for unit in column[len(here) :] if unit in here], "units without edges go last"


@given(nets())
def test_crossings_are_counted_as_by_hand(net):
    sizes, pairs, ends, weights = net
    order = [np.random.default_rng(0).permutation(size) for size in sizes]
    np.testing.assert_allclose(crossings(order, pairs, ends, weights), brute(order, pairs, ends, weights), atol=1e-9)


def test_what_can_be_untangled_is():
    shuffled = np.array([[0, 2], [1, 0], [2, 3], [3, 1]])
    found = order_units([4, 4], [(0, 1)], [shuffled], [np.ones(4)])
    assert crossings([np.array(column) for column in found], [(0, 1)], [shuffled], [np.ones(4)]) == 0


def test_places_are_spread_around_the_middle():
    assert unit_positions(4, 4.0) == [0.5, 1.5, 2.5, 3.5]
    np.testing.assert_allclose(unit_positions(2, 8.0), [3.2, 4.8])
    assert unit_positions(0, 8.0) == []


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 100))
def test_nothing_is_handed_out_twice_and_nothing_is_kept_back(available, most):
    found = split_budget(available, most)
    assert all(0 <= got <= lot for got, lot in zip(found, available, strict=True))
    assert sum(found) == min(sum(available), most)
    assert split_budget([100, 2, 100], 30) == [14, 2, 14]


def test_an_edge_rises_for_each_column_that_it_goes_past():
    rises = [skip_rise(2, column) for column in range(3, 12)]
    assert rises[0] == 0 < rises[1] < rises[2] and rises == sorted(rises) and rises[-1] == rises[-2], (
        "and no higher than the drawing can hold"
    )


def test_layers_of_one_module_are_a_block():
    resnet = ["x", "conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.0/relu_1", "layer1.1.conv1", "layer1.1/relu_1", "output"]
    assert layer_blocks(resnet) == [("layer1.0", 2, 4), ("layer1.1", 5, 6)]
    encoder = ["add", "layers.layers.0.self_attn/attention", "layers.layers.0/add", "layers.layers.1.linear1", "stem.a", "stem.b", "stem.a"]
    assert layer_blocks(encoder) == [("layers.layers.0", 1, 2), ("stem", 4, 6)]
    assert layer_blocks(["0", "1", "2"]) == layer_blocks(["a", "b"]) == layer_blocks([]) == []
