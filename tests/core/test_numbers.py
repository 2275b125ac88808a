"""Numbers that callers hand over: each form of a number is that number, and nothing else is one."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import (
    POSITIVE,
    SEED,
    SHARE,
    Limit,
    flag,
    number_tuple,
    numbers_per_axis,
    random_source,
    real_number,
    whole_number,
    whole_numbers,
)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_whole_number_of_64_bits_is_itself(value):
    assert whole_number("n", value) == whole_number("n", np.int64(value)) == whole_number("n", torch.tensor(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_a_whole_number_where_it_has_no_fraction(value):
    if value == int(value) and abs(value) < 1 << 63:
        assert whole_number("n", value) == value
    else:
        with pytest.raises(InvalidInput, match="n is a whole number"):
            whole_number("n", value)


@pytest.mark.parametrize("value", [0.1, np.float64(0.1), np.array(0.1), Fraction(1, 10), torch.tensor(0.1, dtype=torch.float64)])
def test_a_real_number_is_the_same_in_every_form(value):
    assert real_number("x", value) == 0.1


@pytest.mark.parametrize("value", [True, np.bool_(False), torch.tensor(True), "1", None, [1], np.array([1]), 1j, {}])
def test_what_is_no_number_is_of_the_wrong_type(value):
    for read in (whole_number, real_number):
        with pytest.raises(WrongType, match=r"budget is a .*number, not "):
            read("budget", value)


def test_a_fraction_is_not_rounded_and_the_error_says_to_what_it_could_be():
    with pytest.raises(InvalidInput, match=r"budget is a whole number, not 7.5; round it first: 7 or 8"):
        whole_number("budget", 7.5)


@pytest.mark.parametrize(
    ("limit", "inside", "outside"),
    [
        (Limit(least=1), [1, 2], [0, -1]),
        (Limit(most=3), [3, -5], [4]),
        (POSITIVE, [1, 1e-9], [0, -1]),
        (SHARE, [0, 0.5, 1], [-0.1, 1.1]),
        (Limit(least=0, below=1), [0, 0.9], [1]),
    ],
)
def test_limits_are_held(limit, inside, outside):
    assert [real_number("x", value, limit) for value in inside] == inside
    for value in outside:
        with pytest.raises(InvalidInput, match=f"x is a number{limit}, not"):
            real_number("x", value, limit)


def test_infinity_is_a_number_where_it_is_allowed():
    assert real_number("x", float("inf"), Limit(infinite=True)) == float("inf")
    for value in (float("inf"), float("nan")):
        with pytest.raises(InvalidInput, match="x is a number, not"):
            real_number("x", value)


def test_a_seed_of_more_than_64_bits_is_refused():
    torch.Generator().manual_seed(whole_number("seed", (1 << 63) - 1, SEED))
    with pytest.raises(InvalidInput, match=r"seed is a whole number, and .* is beyond 64 bits"):
        whole_number("seed", 1 << 63, SEED)


def test_yes_and_no_are_booleans_or_their_numbers():
    assert [flag("keep", value) for value in (True, np.bool_(False), torch.tensor(True), 1, 0)] == [True, False, True, True, False]
    for value in ("no", 2, 0.0, None, [], np.array([True])):
        with pytest.raises(WrongType, match="keep is True or False, not"):
            flag("keep", value)


def test_numbers_of_axes_are_one_for_all_or_one_for_each():
    assert numbers_per_axis("size", np.int64(3), 2) == numbers_per_axis("size", np.array([3, 3]), 2) == (3, 3)
    with pytest.raises(InvalidInput, match="one for each of 2 axes, not 3 numbers"):
        numbers_per_axis("size", (1, 2, 3), 2)


def test_lists_of_numbers_keep_their_order_and_their_values():
    assert whole_numbers("orders", iter([3, np.int64(1), 2.0])) == (3, 1, 2)
    assert number_tuple("rates", np.array([0.5, 0.25]), 2, whole=False) == (0.5, 0.25)
    for value in ({1, 2}, "12", 3, {1: 2}):
        with pytest.raises(WrongType, match="orders is a list of whole numbers"):
            whole_numbers("orders", value)


def test_a_source_of_randomness_is_a_generator_and_no_seed():
    generator = torch.Generator()
    assert random_source(generator) is generator
    assert random_source(None) is None
    with pytest.raises(WrongType, match=r"for a seed: torch.Generator\(\).manual_seed"):
        random_source(3)


@pytest.mark.parametrize("size", [10**400, -(10**400)])
def test_a_whole_number_beyond_all_floats_is_refused(size):
    with pytest.raises(InvalidInput, match="a number"):
        real_number("x", size)
