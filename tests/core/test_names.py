"""Words and lists of names that callers hand over."""

import numpy as np
import pandas
import pytest

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.names import name_list, numbered_repeats, require_known, resolve_choice
from vesalius.core.rows import read_rows


@pytest.mark.parametrize("names", [["a", "b"], ("a", "b"), iter("ab"), np.array(["a", "b"]), pandas.Index(["a", "b"])])
def test_names_are_taken_from_whatever_has_an_order(names):
    assert name_list("names", names) == ("a", "b")


@pytest.mark.parametrize("names", ["ab", b"ab", 3, {"a", "b"}, {0: "a", 1: "b"}])
def test_a_word_and_what_has_no_order_are_no_list_of_names(names):
    with pytest.raises(WrongType, match="names is a list of names"):
        name_list("names", names)


def test_the_same_name_twice_is_refused_with_its_places():
    with pytest.raises(InvalidInput, match="'a' is at positions 0 and 2"):
        name_list("names", ["a", "b", "a"])
    assert name_list("names", ["a", "b", "a"], distinct=False) == ("a", "b", "a")


def test_columns_of_one_name_are_numbered_and_never_meet_another():
    assert numbered_repeats(["x", "x", "x.1", "y", "x"]) == ("x", "x.2", "x.1", "y", "x.3")
    frame = pandas.DataFrame([[1.0, 2.0]], columns=["x", "x"])
    assert read_rows(frame).features == ("x", "x.1")


def test_an_unhashable_name_is_refused_like_any_other():
    with pytest.raises(WrongType, match="the name of a mode is a string, not list"):
        require_known("mode", ["a"], {"a": 1})
    with pytest.raises(UnknownName, match="there is no mode 'c'"):
        require_known("mode", "c", {"a": 1})


def test_a_choice_is_a_name_a_class_or_an_instance():
    known = {"one": int, "other": float}
    assert resolve_choice("kind", "one", known, int) == resolve_choice("kind", int, known, int) == 0
    assert resolve_choice("kind", 7, known, int) == 7
    for given in (str, "seven", 0.5, None):
        with pytest.raises((WrongType, UnknownName)):
            resolve_choice("kind", given, known, int)
