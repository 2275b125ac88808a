"""What is drawn of interactions, against sums over the coalitions by hand."""

import numpy as np
import pytest
import torch

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players
from vesalius.views.interactions.chart_data import (
    largest_effects,
    node_positions,
    pair_graph,
    pair_values,
    require_coalitions,
    sums_by_size,
)


def test_effects_are_the_largest_first_with_their_members(named):
    found = largest_effects(named, most=3)
    assert [(effect.row.name, effect.members) for effect in found[:2]] == [("a", (0,)), ("a & b", (0, 1))]
    assert found[2].row.name == "13 others" and found[2].members == () and found[2].row.value == pytest.approx(0.9)


def test_sizes_add_up_what_raises_and_what_lowers(named):
    found = sums_by_size(named)
    assert [(size.size, size.count, size.raises, size.lowers) for size in found[:2]] == [(1, 4, 3.0, 0.0), (2, 6, 0.0, -2.0)]
    assert found[2].net == pytest.approx(0.9) and found[2].strength == pytest.approx(0.9)
    assert sum(size.net for size in found) == pytest.approx(float(named.total - named.base))


def test_pairs_have_larger_effects_shared_out_and_still_add_up(named):
    found = pair_values(named)
    assert found.index == "k_sii"
    np.testing.assert_allclose(found.together, found.together.T)
    assert found.together[1, 3] == pytest.approx(0.6 / 2), "of three players a pair gets 1 / (3 - 1)"
    assert found.single.sum() + found.together.sum() / 2 == pytest.approx(float(named.values.sum()))
    np.testing.assert_allclose(found.involvement, np.abs(found.together).sum(1))


def test_pairs_of_an_index_are_taken_as_they_are(named):
    index = named.reduce("sii", order=2)
    found = pair_values(index)
    assert found.index == "sii"
    assert found.together[0, 1] == float(index.values[4])


def test_a_graph_keeps_the_strongest_pairs(named):
    graph = pair_graph(named, most=2)
    strongest = graph.edges[0]
    assert (strongest.first, strongest.second) == (0, 1) and strongest.value == pytest.approx(-2 + 0.3 / 2)
    assert len(graph.edges) == 2 and graph.left_out == len(pair_graph(named).edges) - 2
    assert not graph.placed and [node.name for node in graph.nodes] == ["a", "b", "c", "d"]


def test_players_of_an_image_stand_where_they_are():
    wide = Players.patches(torch.zeros(1, 2, 4), 2)
    np.testing.assert_allclose(node_positions(wide), [[0.25, 0.5], [0.75, 0.5]])
    circle = node_positions(Players.features(torch.zeros(4)))
    np.testing.assert_allclose(circle, [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]], atol=1e-12)


@pytest.mark.usefixtures("as_a_user")
def test_what_is_no_interaction_is_refused(table, stack):
    with pytest.raises(InvalidInput, match="one per player"):
        require_coalitions(table, "it")
    with pytest.raises(InvalidInput, match="batch of 2"):
        require_coalitions(stack(table, 2), "it")
    with pytest.raises(WrongType, match="not str"):
        require_coalitions("a", "it")
