"""Functions of one number: the secant slope, whatever its spelling."""

import pytest
import torch

from tests.reference.two_point import secant
from tests.rules.op_cases import EVERYWHERE, POSITIVE, M, together
from tests.rules.single_op import EXACT, random, slopes
from vesalius.rules.op_kinds import OPS_BY_KIND as KINDS
from vesalius.rules.two_point_ops import CLOSE_ENDS, Elementwise
from vesalius.trace.question import ask

FUNCTIONS = {**EVERYWHERE, **POSITIVE}
SMOOTH = ["gelu", "silu", "sigmoid", "tanh", "exp", "expm1", "softplus", "mish", "sin", "log", "sqrt", "rsqrt", "reciprocal", "pow 3"]


def drawn(name, seed):
    z = 1.5 * random(2, 7, seed=seed)
    return z.abs() + 0.05 if name in POSITIVE else z


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_its_secant_slope(name):
    function, x, b = FUNCTIONS[name], drawn(name, 1), drawn(name, 2)
    positive = name in POSITIVE
    place = list(POSITIVE if positive else EVERYWHERE).index(name)
    (found,), total, base = slopes(ask(together(positive), x, target=place), (b,), "rescale")
    torch.testing.assert_close(found, M * secant(function, x, b), **EXACT)
    torch.testing.assert_close((found * (x - b)).sum(1), total - base, **EXACT)
    torch.testing.assert_close(total - base, (function(x) - function(b)) @ M, **EXACT)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_its_gradient_where_the_ends_meet(name):
    x = drawn(name, 1).requires_grad_()
    (expected,) = torch.autograd.grad((FUNCTIONS[name](x) @ M).sum(), x)
    positive = name in POSITIVE
    place = list(POSITIVE if positive else EVERYWHERE).index(name)
    (found,), _, _ = slopes(ask(together(positive), x.detach(), target=place), (x.detach(),), "rescale")
    torch.testing.assert_close(found, expected, **EXACT)


def test_no_function_with_a_rule_is_left_out():
    """Names of the table, against the names that were tried; the rest are decomposed or renamed by torch before a rule sees them."""
    spelled = {name.split()[0] for name in FUNCTIONS} | {"pow"}
    assert set(KINDS["elementwise"].split()) - spelled == {"log_sigmoid", "log_sigmoid_forward"}


@pytest.mark.parametrize("apart", [1e-5, 1e-7, 3e-9, 1e-11])
@pytest.mark.parametrize("name", SMOOTH)
def test_no_digit_is_lost_on_the_way_to_the_gradient(name, apart):
    """Ends that come together: the slope is the derivative half way, which it differs from by the square of their distance."""
    function, x = FUNCTIONS[name], drawn(name, 4)
    step = apart * random(2, 7, seed=5).sign()
    middle = (x + step / 2).requires_grad_()
    (expected,) = torch.autograd.grad(function(middle).sum(), middle)
    torch.testing.assert_close(Elementwise(function).slope(x, x + step), expected, rtol=2e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_straight_pieces_have_exact_slopes_however_small(dtype):
    rule = Elementwise(torch.relu, pieces=True)
    tiny = torch.tensor([1e-30, -1e-30, 3e-30], dtype=dtype)
    slopes = rule.slope(tiny, torch.tensor([0.0, 0.0, -1e-30], dtype=dtype))
    torch.testing.assert_close(slopes, torch.tensor([1.0, 0.0, 0.75], dtype=dtype))
    assert rule.slope(tiny[:1], tiny[:1]).item() == 1


def test_a_saturated_function_at_infinite_ends_has_slope_zero():
    rule = Elementwise(torch.exp)
    ends = torch.tensor([-torch.inf, -torch.inf, 0.0]).double()
    found = rule.slope(ends, torch.tensor([-torch.inf, 0.0, -torch.inf]).double())
    assert found[1:].tolist() == [0, 0]
    assert found.isfinite().all()
    assert CLOSE_ENDS[torch.float64] < CLOSE_ENDS[torch.float32]
