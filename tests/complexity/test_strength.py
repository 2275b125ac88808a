"""Strength against the definition by loops, least squares, and a head that undoes a rotation."""

import pytest
import torch

from tests.reference import complexity as slow
from vesalius.complexity import strength
from vesalius.core.errors import InvalidInput, UnknownName


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("rows", [1, 7, 2500])
@pytest.mark.parametrize("event", [(3,), (2, 2, 2)])
def test_variance_and_covariance_are_the_definition(rows, event):
    a, b = draw(rows, *event), draw(rows, *event, seed=1) + 0.5 * draw(rows, *event)
    assert float(strength.variance(a)) == pytest.approx(slow.covariance(a, a), rel=1e-10, abs=1e-15)
    assert float(strength.covariance(a, b)) == pytest.approx(slow.covariance(a, b), rel=1e-10, abs=1e-15)


def test_a_large_mean_costs_no_digits():
    spread = draw(5000, 4)
    assert float(strength.variance(spread + 1e7)) == pytest.approx(float(strength.variance(spread)), rel=1e-8)


def test_significance_as_variance_and_as_deviation():
    parts = draw(2, 400, 6) * torch.tensor([3.0, 1.0])[:, None, None]
    feature = parts.sum(0)
    rho = strength.significance(parts, feature)
    assert rho.tolist() == pytest.approx([slow.covariance(part, part) / slow.covariance(feature, feature) for part in parts])
    torch.testing.assert_close(strength.significance(parts, feature, stat="std"), rho.sqrt())
    assert rho[0] > 5 * rho[1]


def test_a_rotation_that_the_head_undoes_changes_only_the_plain_significance():
    parts, rest = draw(3, 200, 4), draw(200, 4, seed=5)
    change = torch.linalg.qr(draw(4, 4, seed=6))[0] @ torch.diag(torch.tensor([10.0, 1, 1, 0.1], dtype=torch.float64))
    weight = draw(4, 3, seed=8)
    head = lambda z: (z @ weight).tanh()  # noqa: E731
    moved = lambda z: head(z @ change.inverse())  # noqa: E731
    before = strength.weighted_significance(parts, rest, head)
    after = strength.weighted_significance(parts @ change, rest @ change, moved)
    torch.testing.assert_close(before, after)
    plain = strength.significance(parts, parts.sum(0) + rest)
    assert (plain - strength.significance(parts @ change, (parts.sum(0) + rest) @ change)).abs().max() > 0.01


def test_the_jacobian_is_the_full_one():
    parts, rest, weight = draw(2, 50, 3), draw(50, 3, seed=1), draw(3, 2, seed=2)
    head = lambda z: (z @ weight).sin()  # noqa: E731
    assert strength.weighted_significance(parts, rest, head).tolist() == pytest.approx(slow.weighted_significance(parts, rest, head))


def test_a_head_with_one_output_per_row():
    parts, rest = draw(2, 50, 3), draw(50, 3, seed=1)
    found = strength.weighted_significance(parts, rest, lambda z: z[:, 0])
    torch.testing.assert_close(found, strength.significance(parts[..., :1], (parts.sum(0) + rest)[:, :1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_is_summed_in_double(dtype):
    parts = draw(2, 3000, 4).to(dtype)
    torch.testing.assert_close(strength.strengths(parts), strength.strengths(parts.double()), rtol=1e-9, atol=0)


def test_what_cannot_be_measured_is_refused():
    parts = draw(2, 10, 3)
    with pytest.raises(InvalidInput, match="does not vary"):
        strength.significance(parts, torch.ones(10, 3, dtype=torch.float64))
    with pytest.raises(InvalidInput, match="NaN or infinite"):
        strength.significance(parts, parts[0] / 0)
    with pytest.raises(InvalidInput, match="needs rows"):
        strength.variance(parts[0, :0])
    with pytest.raises(InvalidInput, match="needs rows"):
        strength.weighted_significance(parts[:, :0], parts[0, :0], lambda z: z)
    with pytest.raises(UnknownName, match="'std'"):
        strength.significance(parts, parts[0], stat="stdev")
