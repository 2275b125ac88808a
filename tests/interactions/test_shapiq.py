"""Every index against shapiq's exact computer, which works from the definitions with loops, and games as shapiq sees them."""

from __future__ import annotations

import numpy as np
import pytest
import shapiq
import torch

from vesalius import Game, Players, trace
from vesalius.games.moebius import membership
from vesalius.interactions import harsanyi_dividends

THEIRS = {"shapley": "SV", "banzhaf": "BV", "sii": "SII", "k_sii": "k-SII", "stii": "STII", "fsii": "FSII"}
CASES = [
    *[(index, 1, players) for index in ("shapley", "banzhaf") for players in (2, 7, 10)],
    *[(index, order, players) for index in ("sii", "k_sii", "stii", "fsii") for order, players in [(1, 4), (2, 2), (2, 7), (3, 6), (4, 5)]],
    *[(index, 2, 10) for index in ("sii", "k_sii", "stii", "fsii")],
]


def table_game(players, seed=0):
    table = torch.randn(1 << players, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    place = 1 << torch.arange(players)
    return Game.of(lambda masks: table[masks.long() @ place], players)


@pytest.mark.parametrize(("index", "order", "players"), CASES)
def test_indices_are_those_of_shapiq(index, order, players):
    game = table_game(players)
    computer = shapiq.ExactComputer(game.to_shapiq())
    computer._big_M = 1e10  # it fits FSII with a large weight for an infinite one; its own 1e8 leaves an error of 3e-9
    theirs = computer(THEIRS[index], order)
    ours = harsanyi_dividends(game).reduce(index, order=order)
    coalitions = torch.eye(players).bool() if ours.coalitions is None else ours.coalitions
    expected = [theirs[tuple(row.nonzero().flatten().tolist())] for row in coalitions]
    close = 1e-8 if index == "fsii" and order > 2 else 1e-9  # there the fit itself is badly conditioned
    torch.testing.assert_close(ours.flat, torch.tensor(expected, dtype=torch.float64), atol=close, rtol=0)


def test_dividends_are_their_moebius_transform():
    game = table_game(8)
    theirs = shapiq.ExactComputer(game.to_shapiq())("Moebius", 8)
    ours = harsanyi_dividends(game)
    expected = [theirs[tuple(row.nonzero().flatten().tolist())] for row in ours.coalitions]
    torch.testing.assert_close(ours.values, torch.tensor(expected, dtype=torch.float64), atol=1e-10, rtol=0)


def test_a_game_for_shapiq_has_the_same_values_and_names():
    x = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)
    network = trace(lambda t: t[:, 0] * t[:, 1] + t[:, 2] + 7, x[None])
    game = Game.on(network, x, Players.features(x, names=("length", "width", "height")))
    theirs = game.to_shapiq()
    assert isinstance(theirs, shapiq.Game)
    assert theirs.n_players == 3
    assert theirs(membership(3).numpy()).tolist() == game(membership(3)).tolist()
    assert theirs(np.array([[1, 1, 0]])).tolist() == theirs([(0, 1)]).tolist() == theirs([("length", "width")]).tolist() == [13.0]
    assert theirs(np.zeros(3, dtype=bool)).tolist() == [7.0]


def test_their_estimators_run_on_it_and_are_counted_here():
    game = table_game(6)
    estimate = shapiq.KernelSHAP(n=6, random_state=0).approximate(64, game.to_shapiq())
    expected = harsanyi_dividends(game).reduce("shapley").values
    assert [estimate[(player,)] for player in range(6)] == pytest.approx(expected.tolist(), abs=1e-5)
    assert game.evaluations == 64 + 64
