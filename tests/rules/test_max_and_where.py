"""Maxima, choices and comparisons against their twins, window by window."""

import pytest
import torch
import torch.nn.functional as F

from tests.reference import two_point
from tests.reference.convolution import pool
from tests.rules.single_op import EXACT, TABLES, multipliers, random


def ends(*shape):
    return random(2, *shape, seed=1), random(2, *shape, seed=2)


def windowed(rule, windows, x, b, m):
    """A twin for one window, summed over all windows of a flat row; m has one number for each."""
    out = torch.zeros_like(x)
    for window, weight in zip(windows, m, strict=True):
        out[window] += rule(x[window], b[window], weight)
    return out


POOLS = {
    "max_pool1d": (lambda z: F.max_pool1d(z, 3, 2, 1), (2, 7)),
    "max_pool2d": (lambda z: F.max_pool2d(z, 3, 2, 1), (2, 5, 4)),
    "max_pool2d, dilated": (lambda z: F.max_pool2d(z, 2, 1, 0, 2), (1, 5, 4)),
    "max_pool2d, ceiling": (lambda z: F.max_pool2d(z, 2, ceil_mode=True), (1, 5, 3)),
    "max_pool3d": (lambda z: F.max_pool3d(z, 2, 1), (1, 3, 3, 2)),
    "adaptive_max_pool1d": (lambda z: F.adaptive_max_pool1d(z, 3), (2, 7)),
    "adaptive_max_pool2d": (lambda z: F.adaptive_max_pool2d(z, (2, 3)), (1, 5, 4)),
    "adaptive_max_pool3d": (lambda z: F.adaptive_max_pool3d(z, 2), (1, 3, 4, 2)),
    "amax": (lambda z: z.amax((1, 3)), (3, 2, 4)),
    "amax of one axis": (lambda z: z.amax(2, keepdim=True), (3, 4)),
    "max of an axis": (lambda z: z.max(2)[0], (3, 4)),
    "max of another": (lambda z: torch.max(z, dim=1, keepdim=True).values, (3, 4)),
}


@pytest.mark.parametrize("name", POOLS)
def test_maxima_have_the_two_winners_of_their_windows(name):
    function, shape = POOLS[name]
    (x, b), m = ends(*shape), random(*function(random(1, *shape)).shape[1:], seed=3)
    windows = pool(function, shape).windows
    (found,) = multipliers(function, (x,), (b,), m)
    for i in range(2):
        expected = windowed(two_point.max_multipliers, windows, x[i].flatten(), b[i].flatten(), m.flatten())
        torch.testing.assert_close(found[i].flatten(), expected, **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("table", TABLES)
def test_from_a_zero_image_the_winner_gets_all(name, table):
    """At the baseline every place of a window has its maximum: no place is chosen there, whatever torch's argmax says."""
    function, shape = POOLS[name]
    x = ends(*shape)[0].abs() + 0.1
    m = random(*function(x).shape[1:], seed=3)
    (found,) = multipliers(function, (x,), (torch.zeros_like(x),), m, table)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad((function(leaf) * m).sum(), leaf)
    torch.testing.assert_close(found, expected, **EXACT)


MINIMA = {
    "amin": (lambda z: z.amin(2), lambda z: -(-z).amax(2)),
    "min of an axis": (lambda z: z.min(1).values, lambda z: -(-z).amax(1)),
    "min of all": (lambda z: torch.stack([row.min() for row in z.unbind(1)], 0).min().expand(z.shape[0]), None),
}


@pytest.mark.parametrize("name", ["amin", "min of an axis"])
def test_a_minimum_is_a_maximum_upside_down(name):
    function, turned = MINIMA[name]
    x, b = ends(3, 4)
    m = random(*function(x).shape[1:], seed=3)
    torch.testing.assert_close(multipliers(function, (x,), (b,), m)[0], multipliers(turned, (x,), (b,), m)[0], **EXACT)


PAIRS = {
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "max": torch.max,
    "fmin": torch.fmin,
    "a > b": lambda a, b: (a > b).to(a.dtype),
}


@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_numbers_are_shared_as_shapley_does(name):
    function, m = PAIRS[name], random(5, seed=3)
    (a1, c1), (a0, c0) = [(random(2, 5, seed=s), random(2, 5, seed=s + 1)) for s in (10, 20)]
    found = multipliers(function, (a1, c1), (a0, c0), m)
    of_a = (function(a1, c1) - function(a0, c1) + function(a1, c0) - function(a0, c0)) / 2
    of_c = (function(a1, c1) - function(a1, c0) + function(a0, c1) - function(a0, c0)) / 2
    torch.testing.assert_close(found[0] * (a1 - a0), m * of_a, **EXACT)
    torch.testing.assert_close(found[1] * (c1 - c0), m * of_c, **EXACT)


def step(c1, c0):
    """The secant slope of c > 0."""
    return ((c1 > 0).double() - (c0 > 0).double()) / (c1 - c0)


CHOICES = {
    "where": lambda c, a, b: torch.where(c > 0, a, b),
    "masked_fill": lambda c, a, b: a.masked_fill(~(c > 0), 0.0) + b.masked_fill(c > 0, 0.0),
    "written out": lambda c, a, b: b + (c > 0).to(a.dtype) * (a - b),
    "turned round": lambda c, a, b: torch.where(torch.logical_not(c > 0), b, a),
    "less than": lambda c, a, b: torch.where(c <= 0, b, a),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_a_product_with_a_step(name):
    """b + c (a - b): each factor has the mean of the other, the condition the secant of its step."""
    draws = [tuple(random(2, 6, seed=s + i) for i in range(3)) for s in (10, 20)]
    (c1, a1, b1), (c0, a0, b0) = draws
    m = random(6, seed=3)
    found = multipliers(CHOICES[name], *draws, m)
    chosen = ((c1 > 0).double() + (c0 > 0).double()) / 2
    expected = (step(c1, c0) * (a1 - b1 + a0 - b0) / 2, chosen, 1 - chosen)
    for part, other in zip(found, expected, strict=True):
        torch.testing.assert_close(part, m * other, **EXACT)


LOGIC = {
    "and": (lambda a, b: (a > 0) & (b > 0), lambda p, q: p * q),
    "logical_and": (lambda a, b: torch.logical_and(a > 0, b > 0), lambda p, q: p * q),
    "or": (lambda a, b: (a > 0) | (b > 0), lambda p, q: p + q - p * q),
    "logical_or": (lambda a, b: torch.logical_or(a > 0, b > 0), lambda p, q: p + q - p * q),
    "xor": (lambda a, b: (a > 0) ^ (b > 0), lambda p, q: p + q - 2 * p * q),
    "not and": (lambda a, b: ~((a > 0) & (b > 0)), lambda p, q: 1 - p * q),
}


@pytest.mark.parametrize("name", LOGIC)
def test_logic_is_arithmetic_of_steps(name):
    logic, arithmetic = LOGIC[name]
    draws = [tuple(random(2, 8, seed=s + i) for i in range(2)) for s in (10, 20)]
    m = random(8, seed=3)
    whole = multipliers(lambda a, b: logic(a, b).to(a.dtype), *draws, m)
    parts = multipliers(lambda a, b: arithmetic((a > 0).to(a.dtype), (b > 0).to(b.dtype)), *draws, m)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, **EXACT)
    assert any(part.abs().max() > 0.1 for part in whole)


PLACES = torch.tensor([[4, 0, 0, 2]])
MOVES = {
    "cumsum": lambda z: z.cumsum(1),
    "gather": lambda z: z.gather(1, PLACES.expand(z.shape[0], 4)),
    "index_select": lambda z: z.index_select(1, PLACES[0]),
    "flip and pad": lambda z: F.pad(z.flip(1), (1, 2), value=0.7),
    "roll": lambda z: z.roll(2, 1),
    "repeat": lambda z: z.repeat(1, 2),
    "tril": lambda z: torch.tril(z[:, :, None] * torch.ones(1, 5, dtype=z.dtype)),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_pass_on_what_they_get(name):
    function = MOVES[name]
    x, b = ends(5)
    m = random(*function(x).shape[1:], seed=3)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad((function(leaf) * m).sum(), leaf)
    torch.testing.assert_close(multipliers(function, (x,), (b,), m)[0], expected, **EXACT)
