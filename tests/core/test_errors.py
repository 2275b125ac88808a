"""Errors say all that there is, and arrive whole from another process."""

import pickle

import pytest

from vesalius.core import errors


@pytest.mark.parametrize("count", [1, 12, 13, 40])
def test_all_known_names_are_listed_up_to_forty(count):
    names = [f"unit{place:03}" for place in range(count)]
    said = str(errors.UnknownName("column", "?", names))
    assert all(repr(name) in said for name in names)
    assert "more" not in said


def test_of_more_names_the_error_says_how_many_and_where_they_are():
    names = [f"unit{place:03}" for place in range(100)]
    error = errors.UnknownName("column", "?", names)
    assert "and 60 more (all of them: .known of this error)" in str(error)
    assert error.known == names


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidInput("a sentence"),
        errors.UnknownName("column", "b", ["a"]),
        errors.NotTraceable("this", "a loop", "rewrite it"),
        errors.NoRule("deeplift", ["fold"]),
        errors.TooManyPlayers(30, 20, hint="group them"),
        errors.BudgetTooSmall(3, 4, estimator="kernel"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_after_pickle(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
