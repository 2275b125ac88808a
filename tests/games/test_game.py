"""Games: asked once, batched, halved when memory runs out, and the same on networks as by hand."""

import pytest
import torch
from torch import nn

from vesalius import Game, Players, trace
from vesalius.core.errors import InvalidInput, MemoryExhausted, NotTraceable, TooManyPlayers, UnknownName
from vesalius.games.absence import Blur, Marginal, Mean
from vesalius.games.moebius import membership


def counting(function):
    calls = []

    def value(masks):
        calls.append(len(masks))
        return function(masks)

    return value, calls


def test_a_coalition_is_evaluated_once():
    value, calls = counting(lambda masks: masks.double().sum(1))
    game = Game.of(value, 3)
    masks = membership(3)
    assert game(torch.cat([masks, masks])).tolist() == [0, 1, 1, 2, 1, 2, 2, 3] * 2
    game(masks[:4])
    assert sum(calls) == game.evaluations == 8


def test_a_table_holds_all_coalitions_and_is_not_remembered():
    value, calls = counting(lambda masks: masks.double() @ torch.tensor([1.0, 10, 100], dtype=torch.float64))
    game = Game.of(value, 3, batch=3)
    assert torch.equal(game.table(), game(membership(3)))
    assert calls == [3, 3, 2] * 2
    assert Game.of(lambda masks: masks.double().sum(1), 15).table().tolist() == [float(row.bit_count()) for row in range(1 << 15)]


def test_a_table_of_too_many_players_is_refused_before_anything_is_asked():
    value, calls = counting(lambda masks: masks.double().sum(1))
    with pytest.raises(TooManyPlayers, match="25 players, but at most 24"):
        Game.of(value, 25).table()
    assert calls == []


def test_memory_running_out_halves_the_batch_and_loses_nothing():
    def value(masks):
        if len(masks) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return masks.double().sum(1)

    game = Game.of(value, 4, batch=16)
    assert game(membership(4)).tolist() == membership(4).sum(1).tolist()
    assert game.batch == 2
    assert game.evaluations == 16


def test_no_room_for_one_coalition_is_a_clear_error():
    def value(masks):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes")

    with pytest.raises(MemoryExhausted, match="one coalition alone"):
        Game.of(value, 2)(membership(2))


def test_other_errors_pass_through():
    def value(masks):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        Game.of(value, 2)(membership(2))


@pytest.mark.parametrize(
    ("value", "masks", "message"),
    [
        (lambda m: m.double().sum(1), torch.zeros(2, 5, dtype=torch.bool), r"bool \[N, 3\]"),
        (lambda m: m.double().sum(1), torch.zeros(2, 3), "float32"),
        (lambda m: m.double(), torch.zeros(2, 3, dtype=torch.bool), "one value each"),
        (lambda m: torch.full((len(m),), float("nan")), torch.zeros(2, 3, dtype=torch.bool), "the output is nan"),
    ],
)
def test_bad_games_are_named(value, masks, message):
    with pytest.raises(InvalidInput, match=message):
        Game.of(value, 3)(masks)


class Small(nn.Module):
    """Two linear layers with a convolution before them, so that every kind of player has a place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Small().double().eval()
    return model, trace(model, torch.zeros(1, 1, 4, 4, dtype=torch.float64))


def image():
    return torch.randn(1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_hand(model, players, x, stand_in, target):
    """The characteristic function with a loop over coalitions and pixels."""
    values = []
    for coalition in membership(players.n):
        seen = x.clone()
        for row in range(4):
            for column in range(4):
                if not coalition[players.index[0][row, column]]:
                    seen[:, row, column] = stand_in[:, row, column]
        values.append(model(seen[None])[0, target].item())
    return torch.tensor(values, dtype=torch.float64)


def test_patches_with_each_absence_match_loops(small):
    model, network = small
    x, data = image(), torch.randn(5, 1, 4, 4, dtype=torch.float64)
    players = Players.patches(x, 2)
    game = Game.on(network, x, players, target=1, baseline=0.5)
    torch.testing.assert_close(game(membership(4)), by_hand(model, players, x, torch.full_like(x, 0.5), 1))
    game = Game.on(network, x, players, target=1, baseline=Mean(data=data))
    torch.testing.assert_close(game(membership(4)), by_hand(model, players, x, data.mean(0), 1))
    game = Game.on(network, x, players, target=1, baseline=Marginal(background=data))
    each = torch.stack([by_hand(model, players, x, row, 1) for row in data])
    torch.testing.assert_close(game(membership(4)), each.mean(0))


def test_a_blur_is_a_reflected_gaussian(small):
    _, network = small
    x = torch.zeros(1, 4, 4, dtype=torch.float64)
    x[0, 1, 2] = 1
    from vesalius.trace.question import ask

    (fill,) = Blur(sigma=0.8).fill(ask(network, x, target=0))
    weights = torch.zeros(4, 4, dtype=torch.float64)
    for row in range(-4, 8):
        for column in range(-4, 8):
            mirrored = (
                row if 0 <= row < 4 else (-1 - row if row < 0 else 7 - row),
                column if 0 <= column < 4 else (-1 - column if column < 0 else 7 - column),
            )
            for i in range(4):
                for j in range(4):
                    if mirrored == (1, 2):
                        weights[i, j] += torch.exp(torch.tensor(-((row - i) ** 2 + (column - j) ** 2) / (2 * 0.8**2), dtype=torch.float64))
    normal = torch.stack([sum(torch.exp(torch.tensor(-((r - i) ** 2) / (2 * 0.8**2))) for r in range(-4, 8)) for i in range(4)]).double()
    torch.testing.assert_close(fill[0, 0, 0], weights / normal[:, None] / normal, atol=1e-6, rtol=1e-5)


def test_units_are_masked_where_they_live(small):
    model, network = small
    x = image()
    game = Game.on(network, x, Players.units(network, "conv"), target=0)
    for coalition, value in zip(membership(3), game(membership(3)), strict=True):
        hidden = model.conv(x[None]) * coalition.double()[None, :, None, None]
        assert value.item() == pytest.approx(model.fc(torch.relu(hidden).mean((2, 3)))[0, 0].item())


def test_links_are_masked_in_the_weight(small):
    model, network = small
    x = image()
    players = Players.links(network, "fc")
    game = Game.on(network, x, players, target=1)
    hidden = torch.relu(model.conv(x[None])).mean((2, 3))
    for coalition, value in zip(membership(6), game(membership(6)), strict=True):
        weight = model.fc.weight * coalition.reshape(2, 3)
        assert value.item() == pytest.approx((hidden @ weight.T + model.fc.bias)[0, 1].item())


def test_components_replace_the_value_they_add_up_to(small):
    model, network = small
    x = image()
    hidden = network.read(x[None], "mean")["mean"][0]
    parts = [hidden * 0.5, hidden * 0.5]
    game = Game.on(network, x, Players.components(parts), target=0, at="mean")
    empty, half, other, full = game(membership(2)).tolist()
    assert full == pytest.approx(model(x[None])[0, 0].item())
    assert half == pytest.approx(other)
    assert empty == pytest.approx(model.fc.bias[0].item())


def test_questions_a_game_cannot_answer(small):
    _, network = small
    x = image()
    with pytest.raises(InvalidInput, match="a game is about one sample; 2 came"):
        Game.on(network, torch.stack([x, x]), Players.patches(x, 2), target=0)
    with pytest.raises(InvalidInput, match="divide a tensor of shape"):
        Game.on(network, x, Players.patches(torch.zeros(1, 6, 6), 2), target=0)
    with pytest.raises(UnknownName, match="conv"):
        Players.units(network, "conf")
    with pytest.raises(NotTraceable, match="plain callable"):
        Players.units(trace(lambda x: x.sum(1), torch.zeros(1, 3)), "conv")


@pytest.mark.parametrize(
    ("baseline", "x", "message"),
    [
        (Blur(sigma=0.0), torch.zeros(1, 4, 4, dtype=torch.float64), "sigma of a blur, in pixels, is a number above 0"),
        (
            Mean(data=torch.full((2, 1, 4, 4), float("nan"), dtype=torch.float64)),
            torch.zeros(1, 4, 4, dtype=torch.float64),
            "background holds NaN",
        ),
        (Marginal(background=torch.zeros(0, 1, 4, 4, dtype=torch.float64)), torch.zeros(1, 4, 4, dtype=torch.float64), "holds no samples"),
        ((0.0, 1.0), torch.zeros(1, 4, 4, dtype=torch.float64), "a baseline of shape .2. does not fit"),
    ],
)
def test_absences_that_cannot_be(small, baseline, x, message):
    with pytest.raises(InvalidInput, match=message):
        Game.on(small[1], x, Players.patches(x, 2), target=0, baseline=baseline)


def test_only_images_can_be_blurred():
    network = trace(nn.Linear(3, 1), torch.zeros(1, 3))
    with pytest.raises(InvalidInput, match="only images"):
        Game.on(network, torch.zeros(3), Players.features(torch.zeros(3)), baseline=Blur())
