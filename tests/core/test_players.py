"""Players against loops written from their definition."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from vesalius.core.allocation import Allocation
from vesalius.core.default_players import default_players
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players
from vesalius.games.moebius import membership


def owner_of_pixel(row, column, size, width):
    return (row // size) * -(-width // size) + column // size


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 8))
def test_patches_own_the_pixels_of_their_rectangle(height, width, size):
    size = min(size, height, width)
    players = Players.patches(torch.zeros(2, height, width), size)
    expected = [[owner_of_pixel(r, c, size, width) for c in range(width)] for r in range(height)]
    assert players.index[0].tolist() == expected
    assert players.n == max(max(row) for row in expected) + 1


def test_composing_puts_absent_values_where_players_are_absent():
    x, gone = torch.arange(1.0, 9.0).reshape(2, 2, 2), torch.full((2, 2, 2), -1.0)
    players = Players.patches(x, 1)
    masks = membership(4)
    (seen,) = players.compose(masks, (x,), (gone,))
    for coalition in range(16):
        for channel in range(2):
            for pixel in range(4):
                row, column = divmod(pixel, 2)
                expected = x[channel, row, column] if coalition >> pixel & 1 else gone[channel, row, column]
                assert seen[coalition, channel, row, column] == expected


def test_features_span_several_tensors():
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])
    players = Players.features(a, b)
    assert players.n == 3
    masks = torch.tensor([[True, False, True], [False, True, False]])
    first, second = players.compose(masks, (a, b), (torch.zeros(2), torch.zeros(1, 1)))
    assert first.tolist() == [[1, 0], [0, 2]]
    assert second.tolist() == [[[3]], [[0]]]


def test_negative_labels_are_bystanders():
    players = Players.segments(torch.tensor([5, -1, 5, 9]))
    assert players.n == 2
    (seen,) = players.compose(torch.zeros(1, 2, dtype=torch.bool), (torch.ones(4),), (torch.zeros(4),))
    assert seen.tolist() == [[0, 1, 0, 0]]


def test_components_add_up_on_top_of_the_absent_value():
    parts = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([4.0, 4.0])]
    players = Players.components(parts)
    (seen,) = players.compose(membership(3), (torch.zeros(2),), (torch.tensor([10.0, 20.0]),))
    expected = [[10 + sum(parts[k][e].item() for k in range(3) if s >> k & 1) + (10 if e else 0) for e in range(2)] for s in range(8)]
    assert seen.tolist() == expected


def test_tokens_and_channels_run_along_their_axis():
    assert Players.tokens(torch.zeros(5, 3)).expand(torch.eye(5, dtype=torch.bool)).shape == (5, 5, 1)
    assert Players.channels(torch.zeros(3, 4, 4)).n == 3
    assert Players.channels(torch.zeros(3, 4, 6), axis=-1).n == 6


@given(st.integers(1, 4), st.integers(2, 6), st.integers(1, 3))
def test_gather_sums_what_scatter_shows(batch, side, size):
    players = Players.patches(torch.zeros(side, side), min(size, side))
    values = torch.randn(batch, players.n, dtype=torch.float64)
    counts = torch.bincount(players.index[0].reshape(-1), minlength=players.n)
    torch.testing.assert_close(players.gather([players.scatter(values)]), values * counts)


def test_grouping_finds_the_coarser_owner():
    x = torch.zeros(1, 4, 4)
    owner = Players.patches(x, 1).within(Players.patches(x, 2))
    assert owner.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]


def test_grouping_refuses_to_cut_a_player_in_two():
    x = torch.zeros(1, 6, 6)
    with pytest.raises(InvalidInput, match="cut in two"):
        Players.patches(x, 2).within(Players.patches(x, 3))


@pytest.mark.parametrize(
    "others",
    [
        Players.tokens(torch.zeros(8)),
        Players.features(torch.zeros(4)),
        Players.features(torch.zeros(8, 3), torch.zeros(8)),
        Players.plain(5),
        Players.components([torch.zeros(8, 3)] * 2),
    ],
    ids=["ids", "columns", "two tensors", "plain", "components"],
)
def test_grouping_into_players_of_another_tensor_is_refused_in_words(others):
    values = torch.zeros(8, 3)
    mine = Allocation(players=Players.features(values), values=values, base=torch.tensor(0.0), total=torch.tensor(0.0))
    with pytest.raises(InvalidInput, match=r"divide|components"):
        mine.group(others)


def test_grouping_into_what_is_no_players_is_refused_in_words(as_a_user):
    with pytest.raises(WrongType, match="not str"):
        Players.features(torch.zeros(3)).within("tokens")


def test_tokens_of_ids_are_not_taken_for_columns_where_a_sequence_is_as_long_as_it_is_wide():
    of_ids, square = Players.tokens(torch.zeros(4)), torch.zeros(4, 4)
    with pytest.raises(InvalidInput, match=r"first axis of .4, 4. or its last"):
        of_ids.check([square])
    with pytest.raises(InvalidInput, match=r"first axis of .4, 4. or its last"):
        Players.features(square).within(of_ids)
    Players.tokens(square).check([square])
    Players.segments(torch.arange(4)).check([square])


def test_grouping_refuses_to_lose_a_player():
    with pytest.raises(InvalidInput, match="belong to none"):
        Players.features(torch.zeros(3)).within(Players.segments(torch.tensor([0, 0, -1])))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Players.patches(torch.zeros(4), 2), InvalidInput, "patches need an image"),
        (lambda: Players.patches(torch.zeros(4, 4), 0), InvalidInput, "size is a whole number of at least 1, not 0"),
        (lambda: Players.segments(torch.zeros(4)), WrongType, "labels are integers"),
        (lambda: Players.segments(torch.full((3,), -1)), InvalidInput, "no label is 0 or more"),
        (lambda: Players.tokens(torch.tensor(1.0)), InvalidInput, "axis 0 does not exist"),
        (lambda: Players.features(torch.zeros(3), names=["a"]), InvalidInput, "1 names were given for 3 players"),
        (lambda: Players.features(torch.zeros(0)), InvalidInput, "no players"),
        (lambda: Players.features(torch.zeros(3)).check((torch.zeros(4),)), InvalidInput, r"not \(4,\)"),
        (lambda: Players.features(torch.zeros(3)).check((torch.zeros(3), torch.zeros(3))), InvalidInput, "divide 1 tensors"),
        (lambda: Players.components([torch.zeros(3)]).check((torch.zeros(2),)), InvalidInput, "components have shape"),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_names_are_readable():
    assert Players.patches(torch.zeros(1, 4, 4), 2).names == ("patch 0,0", "patch 0,1", "patch 1,0", "patch 1,1")
    assert Players.features(torch.zeros(2), names=["petal", "sepal"]).name(1) == "sepal"
    assert Players.tokens(torch.zeros(3, dtype=torch.long)).name(2) == "token 2"


@pytest.mark.parametrize(
    ("sample", "kind", "n"),
    [
        (torch.zeros(13), "features", 13),
        (torch.zeros(1, 28, 28), "patches", 49),
        (torch.zeros(3, 32, 32), "patches", 64),
        (torch.zeros(3, 224, 224), "patches", 64),
        (torch.zeros(128, 16), "tokens", 128),
        (torch.zeros(12, dtype=torch.long), "tokens", 12),
    ],
)
def test_default_players_are_what_a_user_expects(sample, kind, n):
    players = default_players([sample])
    assert (players.kind, players.n) == (kind, n)


def test_edges_of_a_graph_are_one_player_in_both_directions():
    players = Players.edges(torch.rand(5, 2), torch.tensor([[0, 1, 1, 2, 0], [1, 0, 2, 1, 2]]))
    assert players.names == ("0-1", "1-2", "0-2")
    assert players.index[0].flatten().tolist() == [0, 0, 1, 1, 2]
    assert Players.edges(torch.rand(2), torch.tensor([[0, 1], [1, 0]]), directed=True).names == ("0->1", "1->0")


@pytest.mark.parametrize("edge_index", [torch.zeros(2, 3).long(), torch.zeros(5, 2).long(), torch.zeros(2, 5)])
def test_edges_that_do_not_fit_are_refused(edge_index):
    with pytest.raises(InvalidInput, match="two whole numbers for each of the 5 edges"):
        Players.edges(torch.rand(5), edge_index)


def test_nodes_are_rows_of_features():
    players = Players.nodes(torch.rand(3, 4))
    assert players.names == ("node 0", "node 1", "node 2")
    assert players.expand(torch.tensor([[True, False, True]])).shape == (1, 3, 1)
