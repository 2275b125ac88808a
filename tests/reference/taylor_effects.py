"""Slow twins of Taylor effects: derivatives by autograd within autograd, and sums over subsets by plain loops.

A function takes [1, n] and gives one number, in float64; x and b are [n].
"""

from __future__ import annotations

from itertools import product
from math import factorial, prod

import torch
from torch.nn import functional as F


def derivatives(function, order):
    """function(t) and its derivatives at t = 0."""
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = function(t)
    found = [float(value.detach())]
    for _ in range(order):
        value = torch.autograd.grad(value, t, create_graph=True, allow_unused=True)[0] if value.requires_grad else None
        value = torch.zeros(()) if value is None else value
        found.append(float(value.detach()))
    return found


def taylor_coefficients(function, b, d, order):
    """g_0 to g_K of g(t) = f(b + t d); b and d may be several tensors."""
    bs, ds = (b, d) if isinstance(b, tuple) else ((b,), (d,))
    found = derivatives(lambda t: function(*(start + t * step for start, step in zip(bs, ds, strict=True))).reshape(()), order)
    return torch.tensor([value / factorial(k) for k, value in enumerate(found)], dtype=torch.float64)


def taylor_effect(function, x, b, kappa):
    """I(kappa), one partial derivative after the other."""
    leaf = b.clone().requires_grad_()
    value = function(leaf[None]).reshape(())
    for i, degree in enumerate(kappa):
        for _ in range(degree):
            slope = torch.autograd.grad(value, leaf, create_graph=True, allow_unused=True)[0] if value.requires_grad else None
            value = torch.zeros(()) if slope is None else slope[i]
    return float(value.detach()) * prod(float(x[i] - b[i]) ** k / factorial(k) for i, k in enumerate(kappa))


def degrees(n, order):
    """All kappa of an order."""
    return [kappa for kappa in product(range(order + 1), repeat=n) if sum(kappa) == order]


def subset_order(function, x, b, members, order):
    """I_k(S): the sum of I(kappa) over degrees of players that are all of S and no others."""
    kappas = [kappa for kappa in degrees(len(x), order) if {i for i, k in enumerate(kappa) if k} == set(members)]
    return sum(taylor_effect(function, x, b, kappa) for kappa in kappas)


def masked_order(function, x, b, members, order):
    """The same, by inclusion and exclusion of the series of masked inputs."""
    total = 0.0
    for chosen in product((False, True), repeat=len(members)):
        masked = b.clone()
        for player, there in zip(members, chosen, strict=True):
            if there:
                masked[player] = x[player]
        sign = (-1) ** (len(members) - sum(chosen))
        total += sign * float(taylor_coefficients(lambda z: function(z[None]), b, masked - b, order)[order])
    return total


def monomial_weights(method, kappa, x, b):
    """w_{i,kappa} of a method that is linear in the function: its map of the single monomial (x - b)^kappa, over its value."""

    def monomial(z):
        return torch.stack([(z[:, i] - b[i]) ** k for i, k in enumerate(kappa) if k]).prod(0)[:, None]

    return method(monomial, x, b) / float(monomial(x[None]))


def layer_norm(z, width, eps=1e-5):
    """Over the last axis, spelled out: from the third derivative on, autograd of torch's own is wrong (2.13)."""
    centred = z - z.mean(-1, keepdim=True)
    assert z.shape[-1] == width
    return centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()


SPELLED_OUT_OPS = {
    "layer_norm": lambda z: layer_norm(z, 5),
    "instance_norm": lambda z: layer_norm(z, 4),
    "celu": lambda z: torch.where(z > 0, z, 1.3 * torch.expm1(z / 1.3)),
    "hardsigmoid": lambda z: (z / 6 + 0.5).clamp(0, 1),
    "rrelu": lambda z: F.leaky_relu(z, (1 / 8 + 1 / 3) / 2),
    "logcumsumexp": lambda z: z.exp().cumsum(1).log(),
    "cdist": lambda a, b: (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1).sqrt(),
    "cdist of order 1": lambda a, b: (a.unsqueeze(-2) - b.unsqueeze(-3)).abs().sum(-1),
}
"""Functions of which torch has no correct higher derivatives, in terms of those of which it has."""
