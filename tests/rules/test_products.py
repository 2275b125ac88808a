"""Products and quotients against their twins, number by number, and the same network in different spellings."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.reference import two_point
from tests.rules.single_op import EXACT, multipliers, random, readout

SIZE, EPS = 5, 1e-3


def close(found, expected):
    torch.testing.assert_close(found, torch.stack(list(expected)), **EXACT)


def ends(*shapes, seed=0):
    """(inputs at x, inputs at b) of two samples."""
    draws = [[random(2, *shape, seed=seed + 10 * i + j) for j, shape in enumerate(shapes)] for i in range(2)]
    return tuple(draws[0]), tuple(draws[1])


@pytest.mark.parametrize("square", [lambda z: z * z, torch.square, lambda z: z**2, lambda z: z.pow(2.0)])
def test_squares(square):
    (x,), (b,) = ends((SIZE,))
    m = random(SIZE, seed=5)
    close(multipliers(square, (x,), (b,), m)[0], [two_point.square(x[i], b[i], m) for i in range(2)])


PRODUCTS = {
    "matmul": torch.matmul,
    "bmm": torch.bmm,
    "einsum": lambda u, v: torch.einsum("bij,bjk->bik", u, v),
    "mul and sum": lambda u, v: (u[:, :, :, None] * v[:, None]).sum(2),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    x, b = ends((3, 4), (4, 2))
    m = random(3, 2, seed=5)
    found = multipliers(PRODUCTS[name], x, b, m)
    each = [two_point.matmul((x[0][i], b[0][i]), (x[1][i], b[1][i]), m) for i in range(2)]
    for place in (0, 1):
        close(found[place], [pair[place] for pair in each])


QUOTIENTS = {
    "a / c": torch.div,
    "a * (1 / c)": lambda a, c: a * (1 / c),
    "a * c.reciprocal()": lambda a, c: a * c.reciprocal(),
    "c ** -1 * a": lambda a, c: c**-1 * a,
}


@pytest.mark.parametrize("name", QUOTIENTS)
@pytest.mark.parametrize("signs", ["one", "both"])
def test_quotients_in_every_spelling(name, signs):
    """Denominators of one sign at both ends are integrated over; those that change theirs have a product with a secant."""
    (a1, c1), (a0, c0) = ends((SIZE,), (SIZE,), seed=7)
    c0 = c0.abs() * (c1.sign() if signs == "one" else -c1.sign())
    m = random(SIZE, seed=5)
    found = multipliers(QUOTIENTS[name], (a1, c1), (a0, c0), m)
    each = [two_point.division((a1[i], a0[i]), (c1[i], c0[i]), m) for i in range(2)]
    for place in (0, 1):
        close(found[place], [pair[place] for pair in each])


@pytest.mark.parametrize("apart", [1.0, 0.05, 1e-2, 9e-3, 1e-4, 1e-8, 0.0])
def test_no_digit_is_lost_between_near_denominators(apart):
    """Down to where the mean of 1 / c is a series, and to where the ends meet."""
    (a1, _), (a0, _) = ends((SIZE,), (SIZE,))
    c0 = torch.full((2, SIZE), 1.7).double()
    c1 = c0 * (1 + apart * torch.tensor([1.0, -0.9, 0.5, 0.1, -0.5]).double())
    m = torch.ones(SIZE).double()
    found = multipliers(torch.div, (a1, c1), (a0, c0), m)
    each = [two_point.division((a1[i], a0[i]), (c1[i], c0[i]), m) for i in range(2)]
    for place in (0, 1):
        torch.testing.assert_close(found[place], torch.stack([pair[place] for pair in each]), rtol=1e-12, atol=1e-12)


MIXED = {
    "avg_pool1d": lambda a, c: a[:, :2] * F.avg_pool1d(1 / c, 2),
    "mean": lambda a, c: a * (1 / c).mean(1, keepdim=True),
    "pad": lambda a, c: a * F.pad((1 / c)[:, :3], (0, 2)),
    "cat": lambda a, c: a * torch.cat([(1 / c)[:, :3], torch.ones_like(c[:, :2])], 1),
    "cumsum": lambda a, c: a * (1 / c).cumsum(1),
    "times zero": lambda a, c: a * (1 / c * torch.tensor([0.0, 1, 2, 3, 4], dtype=c.dtype)),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_is_no_reciprocal_any_more_is_not_taken_for_one(name):
    """``multipliers`` compares the engine's values with the module's, and what they add up to."""
    (a1, c1), (a0, c0) = ends((SIZE,), (SIZE,))
    found = multipliers(MIXED[name], (a1, c1.abs() + 0.1), (a0, c0.abs() + 0.1))
    assert all(part.abs().max() > 0 for part in found)


# ---- norms


def by_hand(z, root):
    centred = z - z.mean(-1, keepdim=True)
    return root(centred, centred.pow(2).mean(-1, keepdim=True) + EPS)


ROOTS = {
    "divided by sqrt": lambda d, v: d / v.sqrt(),
    "times rsqrt": lambda d, v: d * torch.rsqrt(v),
    "rsqrt times": lambda d, v: torch.rsqrt(v) * d,
    "power": lambda d, v: d * v**-0.5,
    "times 1 / sqrt": lambda d, v: d * (1 / v.sqrt()),
    "expanded": lambda d, v: d * torch.rsqrt(v).expand_as(d),
}
LAYER_NORMS = {
    "functional": lambda z: F.layer_norm(z, (SIZE,), eps=EPS),
    "module": nn.LayerNorm(SIZE, eps=EPS).double(),
    "var": lambda z: (z - z.mean(-1, keepdim=True)) / torch.sqrt(z.var(-1, keepdim=True, unbiased=False) + EPS),
    **{name: lambda z, root=root: by_hand(z, root) for name, root in ROOTS.items()},
}
RMS_NORMS = {
    "functional": lambda z: F.rms_norm(z, (SIZE,), eps=EPS),
    "module": nn.RMSNorm(SIZE, eps=EPS).double(),
    **{name: lambda z, root=root: root(z, (z * z).mean(-1, keepdim=True) + EPS) for name, root in ROOTS.items()},
}


@pytest.mark.parametrize("baseline", ["random", "constant"])
@pytest.mark.parametrize(("norms", "twin"), [(LAYER_NORMS, two_point.layer_norm), (RMS_NORMS, two_point.rms_norm)], ids=["layer", "rms"])
def test_norms_are_the_same_in_every_spelling(norms, twin, baseline):
    (x,), (b,) = ends((SIZE,))
    b = b if baseline == "random" else torch.zeros_like(b)
    m = random(SIZE, seed=5)
    expected = torch.stack([twin(x[i], b[i], m, eps=EPS) for i in range(2)])
    for norm in norms.values():
        torch.testing.assert_close(multipliers(norm, (x,), (b,), m)[0], expected, **EXACT)


@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm_of_several_axes_with_weight_and_bias(affine):
    (x,), (b,) = ends((2, 3))
    weight, bias = (random(2, 3, seed=8), random(2, 3, seed=9)) if affine else (None, None)
    m = random(2, 3, seed=5)
    (found,) = multipliers(lambda z: F.layer_norm(z, (2, 3), weight, bias), (x,), (b,), m)
    flat = None if weight is None else weight.flatten()
    close(found.flatten(1), [two_point.layer_norm(x[i].flatten(), b[i].flatten(), m.flatten(), flat) for i in range(2)])


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_and_instance_norms(groups):
    (x,), (b,) = ends((4, 3))
    weight, m = random(4, seed=8), random(4, 3, seed=5)
    expected = [two_point.group_norm((x[i], b[i]), m, groups, weight) for i in range(2)]
    close(multipliers(lambda z: F.group_norm(z, groups, weight), (x,), (b,), m)[0], expected)
    if groups == 4:
        close(multipliers(lambda z: F.instance_norm(z, weight=weight), (x,), (b,), m)[0], expected)


def test_of_one_number_all_that_adds_up_is_the_same():
    """SiLU has one secant, z * sigmoid(z) a product: one change in, one change out, so that the slope is the same."""
    (x,), (b,) = ends((SIZE,))
    m = readout(F.silu, (x,))
    (whole,), (parts,) = (multipliers(function, (x,), (b,), m) for function in (F.silu, lambda z: z * torch.sigmoid(z)))
    torch.testing.assert_close(whole, m * two_point.secant(F.silu, x, b), **EXACT)
    torch.testing.assert_close(parts, whole, **EXACT)


@pytest.mark.parametrize("table", ["revealcancel", "components"])
def test_of_several_players_it_is_not(table):
    """Both spellings add up (``multipliers`` checks it), and yet the maps differ: a gap of 0 does not say that a map is the right one."""
    (x,), (b,) = ends((SIZE,))
    weight, m = random(3, SIZE, seed=11), random(3, seed=12)
    spellings = [lambda z: F.silu(F.linear(z, weight)), lambda z: F.linear(z, weight) * torch.sigmoid(F.linear(z, weight))]
    whole, parts = (multipliers(function, (x,), (b,), m, table)[0] for function in spellings)
    assert (whole - parts).norm() > 0.02 * whole.norm()
