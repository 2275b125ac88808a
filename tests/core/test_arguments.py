"""Arguments are read by the annotation they are handed over to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

import vesalius as vs
from vesalius.core.arguments import read_argument, typed
from vesalius.core.errors import InvalidInput, WrongType


@typed
def taken(count: int, share: float | None = None, *rest: int, names: Sequence[str] = (), free=None):
    """Arguments as they arrive."""
    return count, share, rest, names, free


def test_arguments_arrive_as_they_are_annotated():
    assert taken(np.int64(3), torch.tensor(0.5), names=iter("ab"), free="x") == (3, 0.5, (), ("a", "b"), "x")
    assert taken(3.0, None) == (3, None, (), (), None)


def test_what_is_not_annotated_for_itself_arrives_as_it_is():
    one = np.int64(1)
    assert taken(2, 0.5, one)[2][0] is one


@pytest.mark.parametrize(("args", "error"), [((2.5,), InvalidInput), (("a",), WrongType), ((1, "a"), WrongType), ((None,), WrongType)])
def test_an_argument_of_another_kind_is_refused(args, error):
    with pytest.raises(error, match=r"count|share"):
        taken(*args)


def test_a_noun_of_ours_is_asked_for_by_its_name():
    game = vs.Game.of(lambda masks: masks.sum(1), 2)
    assert read_argument("game", game, "Game") is game
    with pytest.raises(WrongType, match=r"game: a Game was expected, not int 3; make one: vesalius.Game.of"):
        read_argument("game", 3, "Game")


def test_a_class_of_the_same_name_elsewhere_is_not_ours():
    assert read_argument("network", 3, "Network | None", ours=False) == 3
