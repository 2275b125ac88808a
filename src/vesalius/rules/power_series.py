"""Truncated power series, and functions of them.

A series u(t) = u_0 + u_1 t + ... + u_K t^K is a tensor [K+1 *] of its coefficients, all elements of the tensor at once. A function of it
costs O(K^2): y' = w u' says k y_k = sum over j of j u_j w_{k-j}, where w, the function's derivative, is a series made on the way.

Axes: K+1 orders, * any.

Reference: Griewank2008, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor

Series = Inexact[Tensor, "K1 ..."]
Function = Callable[[Tensor], Tensor]


def product(first: Series, second: Series) -> Series:
    """Cauchy's product; the factors are broadcast."""
    a, b = align_axes(first, second)
    return torch.stack([(a[: k + 1] * b[: k + 1].flip(0)).sum(0) for k in range(len(a))])


def quotient(top: Series, bottom: Series) -> Series:
    """p / q, from q y = p."""
    p, q = align_axes(top, bottom)
    found = [p[0] / q[0]]
    for k in range(1, len(p)):
        found.append((p[k] - _convolve(q[1 : k + 1], found)) / q[0])
    return torch.stack(torch.broadcast_tensors(*found))


def reciprocal(u: Series) -> Series:
    """1 / u."""
    return quotient(constant(torch.ones_like(u[0]), len(u)), u)


def exp(u: Series) -> Series:
    """y' = y u'."""
    return solve_ode(u, torch.exp(u[0]), lambda found: found[-1])


def log(u: Series) -> Series:
    """y' = u' / u."""
    return integrate(torch.log(u[0]), reciprocal(u), u)


def power(u: Series, exponent: float) -> Series:
    """u^r, from u y' = r y u'; whole powers are products, so that u_0 may be 0."""
    if exponent >= 0 and exponent == int(exponent):
        return _integer_power(u, int(exponent))
    weights = weight_by_order(u)
    found = [u[0] ** exponent]
    for k in range(1, len(u)):
        risen = exponent * _convolve(weights[1 : k + 1], found)
        back = sum(((k - j) * u[j] * found[k - j] for j in range(1, k)), torch.zeros_like(u[0]))
        found.append((risen - back) / (k * u[0]))
    return torch.stack(found)


def tanh(u: Series) -> Series:
    """y' = (1 - y^2) u'."""
    return solve_ode(u, torch.tanh(u[0]), lambda found: (1.0 if len(found) == 1 else 0.0) - _convolve(found, found))


def sigmoid(u: Series) -> Series:
    """y' = (y - y^2) u'."""
    return solve_ode(u, torch.sigmoid(u[0]), lambda found: found[-1] - _convolve(found, found))


def softplus(u: Series, beta: float = 1.0, threshold: float = math.inf) -> Series:
    """y' = sigmoid(beta u) u'; torch's straight line above the threshold is left out."""
    del threshold
    return integrate(torch.nn.functional.softplus(u[0], beta, math.inf), sigmoid(beta * u), u)


def erf(u: Series) -> Series:
    """y' = 2 / sqrt(pi) exp(-u^2) u'."""
    return integrate(torch.erf(u[0]), 2 / math.sqrt(math.pi) * exp(-product(u, u)), u)


def gelu(u: Series, approximate: str = "none") -> Series:
    """u Phi(u), or its approximation by a tanh."""
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (u + 0.044715 * power(u, 3))
        return product(u, add_constant(tanh(inner), 1.0)) / 2
    return product(u, add_constant(erf(u / math.sqrt(2)), 1.0)) / 2


def sine_and_cosine(u: Series, sign: float = -1.0) -> tuple[Series, Series]:
    """s' = c u' and c' = sign s u'; the hyperbolic ones for sign = 1."""
    first, second = (torch.sin, torch.cos) if sign < 0 else (torch.sinh, torch.cosh)
    weights = weight_by_order(u)
    sines, cosines = [first(u[0])], [second(u[0])]
    for k in range(1, len(u)):
        sine = _convolve(weights[1 : k + 1], cosines) / k
        cosines.append(sign * _convolve(weights[1 : k + 1], sines) / k)
        sines.append(sine)
    return torch.stack(sines), torch.stack(cosines)


def tan(u: Series) -> Series:
    """sin / cos."""
    return quotient(*sine_and_cosine(u))


def atan(u: Series) -> Series:
    """y' = u' / (1 + u^2)."""
    return integrate(torch.atan(u[0]), reciprocal(add_constant(product(u, u), 1.0)), u)


def asin(u: Series) -> Series:
    """y' = u' / sqrt(1 - u^2)."""
    return integrate(torch.asin(u[0]), power(add_constant(-product(u, u), 1.0), -0.5), u)


def acosh(u: Series) -> Series:
    """y' = u' / sqrt(u^2 - 1)."""
    return integrate(torch.acosh(u[0]), power(add_constant(product(u, u), -1.0), -0.5), u)


def atanh(u: Series) -> Series:
    """y' = u' / (1 - u^2)."""
    return integrate(torch.atanh(u[0]), reciprocal(add_constant(-product(u, u), 1.0)), u)


def asinh(u: Series) -> Series:
    """y' = u' / sqrt(1 + u^2)."""
    return integrate(torch.asinh(u[0]), power(add_constant(product(u, u), 1.0), -0.5), u)


# ---- pieces of the above ----------------------------------------------------------------------------------------------------------


def constant(value: Tensor, length: int) -> Series:
    """A series that does not move."""
    found = value.new_zeros(length, *value.shape)
    found[0] = value
    return found


def add_constant(u: Series, amount: float) -> Series:
    """u + c: a constant enters order 0 alone."""
    found = u.clone()
    found[0] += amount
    return found


def weight_by_order(u: Series) -> Series:
    """j u_j."""
    return u * torch.arange(len(u), dtype=u.dtype, device=u.device).reshape(-1, *[1] * (u.ndim - 1))


def integrate(start: Tensor, derivative: Series, u: Series) -> Series:
    """y with y_0 = start and y' = w u', where w is known."""
    weights = weight_by_order(u)
    found = [start]
    for k in range(1, len(u)):
        found.append((weights[1 : k + 1] * derivative[:k].flip(0)).sum(0) / k)
    return torch.stack(found)


def solve_ode(u: Series, start: Tensor, derivative: Callable[[list[Tensor]], Tensor]) -> Series:
    """y with y_0 = start and y' = w(y) u'.

    Args:
        derivative: from y_0 ... y_k to w_k.
    """
    weights = weight_by_order(u)
    found, known = [start], []
    for k in range(1, len(u)):
        known.append(derivative(found))
        found.append(_convolve(weights[1 : k + 1], known) / k)
    return torch.stack(found)


def align_axes(first: Series, second: Series) -> tuple[Series, Series]:
    """Both with as many axes behind the orders, so that they broadcast."""
    rank = max(first.ndim, second.ndim)
    a, b = (u.reshape(len(u), *[1] * (rank - u.ndim), *u.shape[1:]) for u in (first, second))
    return a, b


def evaluate(u: Series, time: float) -> Tensor:
    """u(t), by Horner's rule."""
    value = u[-1]
    for coefficient in u[:-1].flip(0):
        value = value * time + coefficient
    return value


def _convolve(first: Tensor | list[Tensor], second: list[Tensor]) -> Tensor:
    """sum over j of a_j b_{m-1-j}, of m terms each."""
    total = first[0] * second[-1]
    for j in range(1, len(second)):
        total = total + first[j] * second[-1 - j]
    return total


def _integer_power(u: Series, exponent: int) -> Series:
    """By repeated squares."""
    found = constant(torch.ones_like(u[0]), len(u))
    while exponent:
        if exponent & 1:
            found = product(found, u)
        exponent >>= 1
        u = product(u, u) if exponent else u
    return found


def _log_base(base: float) -> Callable[[Series], Series]:
    return lambda u: log(u) / math.log(base)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "exp": exp,
    "exp2": lambda u: exp(u * math.log(2)),
    "expm1": lambda u: torch.cat([torch.expm1(u[:1]), exp(u)[1:]]),
    "log": log,
    "log2": _log_base(2),
    "log10": _log_base(10),
    "log1p": lambda u: integrate(torch.log1p(u[0]), reciprocal(add_constant(u, 1.0)), u),
    "sqrt": lambda u: power(u, 0.5),
    "rsqrt": lambda u: power(u, -0.5),
    "reciprocal": reciprocal,
    "square": lambda u: product(u, u),
    "tanh": tanh,
    "tanhshrink": lambda u: u - tanh(u),
    "sigmoid": sigmoid,
    "logsigmoid": lambda u: -softplus(-u),
    "log_sigmoid": lambda u: -softplus(-u),
    "log_sigmoid_forward": lambda u: -softplus(-u),
    "softplus": softplus,
    "silu": lambda u: product(u, sigmoid(u)),
    "mish": lambda u: product(u, tanh(softplus(u))),
    "gelu": gelu,
    "erf": erf,
    "erfc": lambda u: torch.cat([torch.erfc(u[:1]), -erf(u)[1:]]),
    "sin": lambda u: sine_and_cosine(u)[0],
    "cos": lambda u: sine_and_cosine(u)[1],
    "sinh": lambda u: sine_and_cosine(u, 1.0)[0],
    "cosh": lambda u: sine_and_cosine(u, 1.0)[1],
    "tan": tan,
    "atan": atan,
    "asinh": asinh,
    "asin": asin,
    "acos": lambda u: torch.cat([torch.acos(u[:1]), -asin(u)[1:]]),
    "acosh": acosh,
    "atanh": atanh,
}
"""Functions of one number that are analytic, by op; further arguments are the op's own."""
