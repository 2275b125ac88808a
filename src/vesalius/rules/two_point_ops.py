"""The two-point rules of single ops.

Where an op has a closed form for the mean of its derivative along the straight line between its ends, that is its rule: a secant slope
for elementwise functions, the mean of the other factor for products, the logarithmic mean L(a, b) = (a - b) / log(a / b) for quotients and
for softmax.

Axes: * any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from vesalius.rules.two_point import Endpoint, TwoPointRule

CLOSE_ENDS = {torch.float32: 1e-5, torch.float64: 1e-8}
"""Relative difference of the ends below which a slope is the derivative half way."""
ROUNDING_STEPS = 64
"""Rounding errors of a function that a derivative half way may differ from its change by; where it differs by more it is no slope."""
CLOSE_DENOMINATORS = 1e-2
"""Relative difference of two denominators below which their logarithmic mean is a power series."""


@final
@dataclass(frozen=True, eq=False)
class Elementwise(TwoPointRule):
    """y = s(z) element by element: the slope of the secant.

    Attributes:
        function: s.
        pieces: whether s is made of straight pieces of slope -1, 0 and 1, so that the quotient of differences is exact however small.
        name: of the op; some have a closed form in ``SECANTS`` or in ``SECANTS_BY_VALUES``.
        exponent: of a power that is a sum of products, from 2 on.
    """

    function: Callable[[Tensor], Tensor]
    pieces: bool = False
    name: str = ""
    exponent: int = 0

    @property
    def has_closed_form(self) -> bool:
        """Whether slopes are found without the function's values."""
        return self.name in SECANTS or self.exponent > 0

    def value(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0])

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        # the slope comes first, so that the result lies in memory as the input does; other layouts make the next op slow
        return (times_multiplier(self.slope(here.inputs[0], there.inputs[0], here.output, there.output), grad),)

    def slope(self, z1: Tensor, z0: Tensor, y1: Tensor | None = None, y0: Tensor | None = None) -> Tensor:
        """(s(z1) - s(z0)) / (z1 - z0), the derivative where the ends meet."""
        if self.exponent:
            return _power_secant(z1, z0, self.exponent)
        if self.has_closed_form:
            return SECANTS[self.name](z1, z0)
        y1 = self.function(z1) if y1 is None else y1
        y0 = self.function(z0) if y0 is None else y0
        change = z1 - z0
        if self.name in SECANTS_BY_VALUES:
            return SECANTS_BY_VALUES[self.name](change, y1, y0)
        slope = (y1 - y0) / change
        # a reduction tells whether any ends meet; on a CPU truth values are ten times slower than numbers
        if self.pieces:
            whole, close = not bool(slope.sum().isnan()), slope.isnan
        else:
            apart = change.abs().sub_(z1.abs().add_(1).mul_(CLOSE_ENDS[change.dtype]))
            whole, close = bool(apart.amin() > 0), lambda: ~(apart > 0)  # not a number: both ends infinite
        if whole:
            return slope
        return torch.where(close(), self._slope_half_way((z1, z0), (y1, y0), slope), slope)

    def _slope_half_way(self, ends: tuple[Tensor, Tensor], values: tuple[Tensor, Tensor], secant: Tensor) -> Tensor:
        """The derivative half way, where it says what the function does: near the end of a root it does not."""
        (z1, z0), (y1, y0) = ends, values
        found = derivative(self.function, torch.lerp(z1, z0.expand_as(z1), 0.5).nan_to_num_())
        change = z1 - z0
        missed = (found * change - (y1 - y0)).abs()
        size = y1.abs() + y0.abs() + found.abs() * (z1.abs() + z0.abs())
        untrue = (missed > ROUNDING_STEPS * torch.finfo(z1.dtype).eps * size) | ~found.isfinite()
        # a slope without end times no change is none
        return torch.where(untrue, torch.where(change == 0, torch.zeros_like(secant), secant), found)


def _relu_secant(z1: Tensor, z0: Tensor) -> Tensor:
    """max(z1, z0) over the distance is above 1 where both are positive, below 0 where both are negative, and the slope in between."""
    return torch.maximum(z1, z0).div_((z1 - z0).abs_()).nan_to_num_(0.0).clamp_(0, 1)


def _power_secant(z1: Tensor, z0: Tensor, exponent: int) -> Tensor:
    """(z1**n - z0**n) / (z1 - z0) = z1**(n - 1) + z1**(n - 2) z0 + ... + z0**(n - 1), which needs no division."""
    total = z1 + z0
    right = z0
    for _ in range(exponent - 2):
        right = right * z0
        total = total * z1 + right
    return total


def _tanh_secant(change: Tensor, y1: Tensor, y0: Tensor) -> Tensor:
    """tanh a - tanh b = tanh(a - b) (1 - tanh a tanh b)."""
    return _over_change(torch.tanh(change), change, 1.0) * (1 - y1 * y0)


def _sigmoid_secant(change: Tensor, y1: Tensor, y0: Tensor) -> Tensor:
    """The same of (1 + tanh(z / 2)) / 2, in which all terms are positive."""
    return _over_change(torch.tanh(change / 2), change, 0.5) * (y1 * (1 - y0) + y0 * (1 - y1))


def _over_change(value: Tensor, change: Tensor, limit: float) -> Tensor:
    """A function of a change over the change; its limit where nothing changed."""
    return (value / change).nan_to_num_(limit)


SECANTS_BY_VALUES: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"tanh": _tanh_secant, "sigmoid": _sigmoid_secant}
"""The same from the change of the input and the function's values: exact however small the change, in a fifth of the ops."""


SECANTS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"relu": _relu_secant}
"""Slopes of secants in closed form."""


@final
@dataclass(frozen=True, eq=False)
class Square(TwoPointRule):
    """y = z * z, whose slope needs no division."""

    def value(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * inputs[0]

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        return (grad * (here.inputs[0] + there.inputs[0]).conj(),)


@final
@dataclass(frozen=True, eq=False)
class Product(TwoPointRule):
    """A function linear in each of two inputs (mul, matmul, einsum): each gets the mean of both ends of the other.

    Attributes:
        function: the product.
        back: from (gradient, first, second) to the gradients of both, before they are summed to shape; if ``None``, torch finds them.
    """

    function: Callable[..., Tensor]
    back: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None

    def value(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        return self.gradients(grad, [(end + other) / 2 for end, other in zip(here.inputs, there.inputs, strict=True)])

    def gradients(self, grad: Tensor, points: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """The gradient at some factors."""
        if self.back is None:
            return vjp(self.function, points, grad)
        # a real factor of a complex product hears the real part alone
        pairs = zip(self.back(grad, *points), points, strict=True)
        return [(found if end.is_complex() or not found.is_complex() else found.real).sum_to_size(end.shape) for found, end in pairs]


ELEMENTWISE_PRODUCT = Product(torch.mul, lambda grad, first, second: (grad * second.conj(), grad * first.conj()))
MATRIX_PRODUCT = Product(torch.matmul, lambda grad, first, second: (grad @ second.mH, first.mH @ grad))
"""Products of matrices, or of batches of them."""


@final
@dataclass(frozen=True, eq=False)
class Quotient(TwoPointRule):
    """y = a / c: the mean of the derivatives along the line where c keeps its sign, else a product with the secant of 1 / c.

    Differs from ``two_point_rules.md``, which always takes the product: at a LayerNorm whose input is constant at the baseline that hands
    out effects 1 / (2 sqrt(eps)) times too large, which cancel in the sum.
    """

    def value(self, *inputs: Tensor) -> Tensor:
        return inputs[0] / inputs[1]

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        (a1, c1), (a0, c0) = here.inputs, there.inputs
        numerator, early, late = quotient_multipliers(c1, c0)
        of_c = times_multiplier(-(a0 * early + a1 * late), grad)
        return times_multiplier(numerator, grad).sum_to_size(a1.shape), of_c.sum_to_size(c1.shape)


@final
@dataclass(frozen=True, eq=False)
class Softmax(TwoPointRule):
    """p = exp(l) with l = z - logsumexp(z): the secant slope of exp, and the logarithmic means of :class:`LogSumExp`.

    A shift of all logits between the ends, which softmax does not see, leaves the multipliers as they are. Differs from
    ``two_point_rules.md``, whose exp / sum in one common scale answers such a shift with multipliers that grow as its exponential.
    """

    dim: int

    def value(self, *inputs: Tensor) -> Tensor:
        p = torch.softmax(inputs[0], self.dim)
        return torch.where(inputs[0].isneginf(), torch.zeros_like(p), p)  # a row of nothing but masked logits is 0, not NaN

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        z1, z0 = here.inputs[0], there.inputs[0]
        p1, p0, l1, l0 = here.output, there.output, finite_log_softmax(z1, self.dim), finite_log_softmax(z0, self.dim)
        slope = logarithmic_mean(p1, p0, l1 - l0)  # type: ignore[arg-type]
        given = grad * slope
        return (given - logsumexp_weights(z1, z0, self.dim) * given.sum(self.dim, keepdim=True),)


@final
@dataclass(frozen=True, eq=False)
class LogSoftmax(TwoPointRule):
    """l = z - logsumexp(z)."""

    dim: int

    def value(self, *inputs: Tensor) -> Tensor:
        return torch.log_softmax(inputs[0], self.dim)

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        return (grad - logsumexp_weights(here.inputs[0], there.inputs[0], self.dim) * grad.sum(self.dim, keepdim=True),)


@final
@dataclass(frozen=True, eq=False)
class LogSumExp(TwoPointRule):
    """log sum exp(z): L(e1_i, e0_i) / L(S1, S0) for each z_i, with e = exp(z) and S = sum e in any common scale."""

    dims: tuple[int, ...]
    keepdim: bool

    def value(self, *inputs: Tensor) -> Tensor:
        return torch.logsumexp(inputs[0], self.dims, self.keepdim)

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        z1, z0 = here.inputs[0], there.inputs[0]
        if not self.keepdim:
            for dim in sorted(dim % z1.ndim for dim in self.dims):
                grad = grad.unsqueeze(dim)
        return (grad * logsumexp_weights(z1, z0, self.dims),)


@final
@dataclass(frozen=True, eq=False)
class ElementwisePair(TwoPointRule):
    """A function of two inputs, element by element: the Shapley value of each, over its change.

    For maximum, minimum and comparisons of two signals.
    """

    function: Callable[[Tensor, Tensor], Tensor]

    def value(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)

    def share(self, grad: Tensor, here: Endpoint, there: Endpoint) -> Sequence[Tensor | None]:
        (a1, b1), (a0, b0) = here.inputs, there.inputs
        both, none, first, second = here.output, there.output, self.function(a1, b0), self.function(a0, b1)
        assert both is not None and none is not None
        of_a, of_b = (both - second + first - none) / 2, (both - first + second - none) / 2
        limit_a, limit_b = vjp(self.function, [torch.lerp(a1, a0.expand_as(a1), 0.5), torch.lerp(b1, b0.expand_as(b1), 0.5)], grad)
        return divide_by_change(grad * of_a, a1, a0, limit_a), divide_by_change(grad * of_b, b1, b0, limit_b)


def times_multiplier(slope: Tensor, grad: Tensor) -> Tensor:
    """A multiplier handed on, element by element; where nobody asks for a result, that it has none there does not matter."""
    found = slope * grad
    if bool(found.sum().isfinite()):
        return found
    return torch.where(grad == 0, torch.zeros_like(found), found)


def divide_by_change(effect: Tensor, end: Tensor, other: Tensor, limit: Tensor | None) -> Tensor:
    """An effect over the change that made it, summed to the input's shape; its limit where nothing changed."""
    change = end - other
    summed = effect.sum_to_size(end.shape)
    limit = torch.zeros_like(end) if limit is None else limit.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return torch.where(change == 0, limit, summed / torch.where(change == 0, torch.ones_like(change), change))


def logarithmic_mean(a: Tensor, b: Tensor, difference: Tensor) -> Tensor:
    """L(a, b) of positive numbers, given log(a / b); 0 where both are 0."""
    close = ~(difference.abs() > 4 * CLOSE_ENDS[a.dtype])
    return torch.where(close, (a + b) / 2, (a - b) / torch.where(close, torch.ones_like(difference), difference))


def finite_log_softmax(z: Tensor, dim: int | list[int] | tuple[int, ...]) -> Tensor:
    """z - logsumexp(z), with the lowest finite number for minus infinity, so that differences are finite."""
    return (z - torch.logsumexp(z, dim, keepdim=True)).nan_to_num(nan=0.0, neginf=torch.finfo(z.dtype).min / 4)


def logsumexp_weights(z1: Tensor, z0: Tensor, dim: int | list[int] | tuple[int, ...]) -> Tensor:
    """What each logit's change counts in the change of the log-sum-exp; they add up to at most 1."""
    shift = torch.maximum(z1.amax(dim, keepdim=True), z0.amax(dim, keepdim=True)).nan_to_num(neginf=0.0)
    floor = torch.finfo(z1.dtype).min / 4
    l1, l0 = (z1 - shift).clamp_min(floor), (z0 - shift).clamp_min(floor)
    e1, e0 = l1.exp(), l0.exp()
    part = logarithmic_mean(e1, e0, l1 - l0)
    s1, s0 = e1.sum(dim, keepdim=True), e0.sum(dim, keepdim=True)
    change = torch.logsumexp(l1, dim, keepdim=True) - torch.logsumexp(l0, dim, keepdim=True)
    whole = logarithmic_mean(s1, s0, change)
    return part / torch.where(whole == 0, torch.ones_like(whole), whole)


def quotient_multipliers(c1: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a and c of a quotient a / c count: n for a, and -(a0 early + a1 late) for c."""
    product = c1 * c0
    if not bool((product > 0).all()):
        return _multipliers_across_zero(c1, c0, product)
    first, second = line_means(c1, c0)
    return first, 1 / product - second, second


def _multipliers_across_zero(c1: Tensor, c0: Tensor, product: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same where some c change their sign, or are 0."""
    one_sign = product > 0
    safe1, safe0 = torch.where(one_sign, c1, torch.ones_like(c1)), torch.where(one_sign, c0, torch.ones_like(c0))
    first, second = line_means(safe1, safe0)
    half = 1 / (2 * c1 * c0)
    numerator = torch.where(one_sign, first, (1 / c1 + 1 / c0) / 2)
    return numerator, torch.where(one_sign, 1 / (safe1 * safe0) - second, half), torch.where(one_sign, second, half)


def line_means(c1: Tensor, c0: Tensor) -> tuple[Tensor, Tensor]:
    """Means of 1 / c and of t / c**2 along the line from c0 (t = 0) to c1 (t = 1), both of one sign."""
    change = c1 - c0
    ratio = change / c0
    size = ratio.abs()
    close = size < CLOSE_DENOMINATORS
    some = bool(close.any())
    safe = torch.where(close, torch.ones_like(change), change) if some else change
    log = torch.where(size < 0.5, torch.log1p(ratio), torch.log(c1 / c0))
    first, second = log / safe, (log - change / c1) / safe**2
    if some:  # the series costs as much as all the rest
        first = torch.where(close, _alternating_series(ratio, lambda k: 1 / (k + 1)) / c0, first)
        second = torch.where(close, _alternating_series(ratio, lambda k: (k + 1) / (k + 2)) / c0**2, second)
    return first, second


def _alternating_series(ratio: Tensor, coefficient: Callable[[int], float], terms: int = 9) -> Tensor:
    """sum over k of coefficient(k) * (-ratio)**k."""
    total = torch.full_like(ratio, coefficient(terms - 1))
    for k in reversed(range(terms - 1)):
        total = coefficient(k) - ratio * total
    return total


def derivative(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """s'(z) element by element."""
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        result = function(leaf)
        if not result.requires_grad:
            return torch.zeros_like(z)
        found = torch.autograd.grad(result.sum(), leaf, allow_unused=True)[0]
    return torch.zeros_like(z) if found is None else found


def vjp(function: Callable[..., Any], inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor | None]:
    """Vector-Jacobian products of a function at some inputs."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        output = function(*leaves)
        if not output.requires_grad:
            return [None] * len(leaves)
        return list(torch.autograd.grad(output, leaves, grad, allow_unused=True))
