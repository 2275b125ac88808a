"""Why quotients and softmax do not follow two_point_rules.md: its rules add up as well, but hand out effects that cancel.

The judge is the integral of the op's own gradient along the straight line between its ends.
"""

import pytest
import torch
from torch.nn import functional as F

from tests.reference import two_point
from tests.reference.black_box import integrated_gradients
from tests.reference.two_point import product, secant_slope


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def specified_softmax(x, b, m):
    """e = exp(z - s), s one shift for both ends; S = sum e; y = e r with r = 1 / S, a product."""
    shift = torch.maximum(x.max(), b.max())
    ex, eb = (x - shift).exp(), (b - shift).exp()
    of_e, of_r = product((ex, eb), (1 / ex.sum().expand_as(x), 1 / eb.sum().expand_as(x)), m)
    of_sum = of_r.sum() * secant_slope(torch.reciprocal, ex.sum(), eb.sum())
    return (of_e + of_sum) * two_point.secant(torch.exp, x - shift, b - shift)


def specified_layer_norm(x, b, m, eps):
    """y = d r with r = (v + eps)^(-1/2), a product."""
    dx, db = x - x.mean(), b - b.mean()
    vx, vb = dx.square().mean() + eps, db.square().mean() + eps
    of_d, of_r = product((dx, db), (vx.rsqrt().expand_as(x), vb.rsqrt().expand_as(x)), m)
    of_d = of_d + of_r.sum() * secant_slope(torch.rsqrt, vx, vb) * (dx + db) / len(x)
    return of_d - of_d.mean()


def compare_with_integral(function, specified, ours, ends, m):
    """Size of the specified map, and distance of ours, as multiples of the size of the integral."""
    x, b = ends
    change = (m * (function(x) - function(b))).sum()
    exact = integrated_gradients(lambda row: (function(row[0]) * m).sum()[None, None], x, b, pieces=300, nodes=8)
    maps = [rule(x, b, m) * (x - b) for rule in (specified, ours)]
    for found in (exact, *maps):
        torch.testing.assert_close(found.sum(), change, rtol=1e-6, atol=1e-6)
    return float(maps[0].norm() / exact.norm()), float((maps[1] - exact).norm() / exact.norm())


@pytest.mark.parametrize("seed", range(4))
def test_softmax_under_a_shift_of_all_logits(seed):
    x, m = random(6, seed=seed), random(6, seed=10 + seed)
    b = x - 5 + 0.5 * random(6, seed=20 + seed)
    larger, away = compare_with_integral(lambda z: z.softmax(0), specified_softmax, two_point.softmax, (x, b), m)
    assert larger > 10
    assert away < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_layer_norm_from_a_constant_row(seed):
    x, b, m = random(6, seed=seed), torch.zeros(6).double(), random(6, seed=10 + seed)
    larger, away = compare_with_integral(
        lambda z: F.layer_norm(z, (6,), eps=1e-5),
        lambda x, b, m: specified_layer_norm(x, b, m, 1e-5),
        lambda x, b, m: two_point.layer_norm(x, b, m, eps=1e-5),
        (x, b),
        m,
    )
    assert larger > 10
    assert away < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_a_maximum_with_two_winners_is_the_integral(seed):
    x, b, m = random(2, seed=seed), random(2, seed=20 + seed), torch.ones(1).double()
    times = (torch.arange(4000).double() + 0.5) / 4000
    along = b + times[:, None] * (x - b)
    exact = torch.stack([(along[:, 0] > along[:, 1]), (along[:, 0] <= along[:, 1])], 1).double().mean(0)
    torch.testing.assert_close(two_point.max_multipliers(x, b, float(m)), exact, rtol=0, atol=5e-4)
