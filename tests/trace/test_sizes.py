import sys

import sympy

from vesalius.trace.sizes import MOST_SIZE, decode_size, evaluate_size, read_size

LENGTH = sympy.Symbol("s", integer=True, positive=True)


def test_the_largest_integer_for_no_end_is_a_size_that_a_file_may_hold():
    condition = read_size(sympy.Le(LENGTH, sys.maxsize))
    assert condition == ("<=", "s", MOST_SIZE)
    assert decode_size(condition, frozenset({"s"})) == condition
    assert evaluate_size(condition, {"s": 1 << 40}) == 1


def test_other_numbers_are_what_they_are():
    assert read_size(sympy.Ge(LENGTH, 2)) == (">=", "s", 2)
    assert evaluate_size(read_size(3 * LENGTH + 1), {"s": 5}) == 16
