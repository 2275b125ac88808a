"""Multipliers between two ends, x and b, of one row at a time: each operation as a chain of small steps.

A step is a sum, a product or a quotient of two factors or a function of one number, and its multipliers are means of its derivatives
along the straight line between its ends: for a function of one number the secant slope (s(x) - s(b)) / (x - b) (Rescale, taylor.md,
method 12), for a product u v the mean of v for u and the mean of u for v. A sum passes on what it gets. Multipliers chain like gradients,
so that sum m_in (in_x - in_b) = m_out (out_x - out_b). Rows are float64 [n]; m is the multiplier of the output.

Differs from two_point_rules.md where its rules blow up (``test_two_point_choices.py`` shows how): quotients and softmax have
the mean of their derivatives, by numerical integration here, where the specification has a chain of other steps.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy
import torch

SAME_END_TOLERANCE = 1e-5
"""Below this share of 1 + |x| a difference quotient loses more digits than the slope at the midpoint."""


def secant(function, x, b):
    """(s(x) - s(b)) / (x - b) of every element; s' at the midpoint where the ends (nearly) meet."""
    middle = ((x + b) / 2).detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(middle).sum(), middle)
    apart = (x - b).abs() >= SAME_END_TOLERANCE * (1 + x.abs())
    quotient = (function(x) - function(b)) / torch.where(apart, x - b, torch.ones_like(x))
    return torch.where(apart, quotient, slope).detach()


def secant_slope(function, x, b):
    """The secant slope of a function of one Python number."""
    return float(secant(function, torch.tensor(float(x), dtype=torch.float64), torch.tensor(float(b), dtype=torch.float64)))


def product(u, v, m):
    """Multipliers of both factors of u v; u and v are pairs (x end, b end) of rows."""
    return (
        torch.tensor([float(m[i] * (v[0][i] + v[1][i]) / 2) for i in range(len(m))], dtype=torch.float64),
        torch.tensor([float(m[i] * (u[0][i] + u[1][i]) / 2) for i in range(len(m))], dtype=torch.float64),
    )


def square(x, b, m):
    """z z, a product whose two factors are one number: twice the mean."""
    first, second = product((x, b), (x, b), m)
    return first + second


def integral(function):
    """The integral of a function over [0, 1]: 16 Gauss-Legendre nodes in each of many pieces that shrink towards both ends."""
    halves = [0.0, *(2.0**-k for k in range(40, 0, -1))]
    cuts = [*halves, *(1 - cut for cut in reversed(halves[:-1]))]
    points, weights = numpy.polynomial.legendre.leggauss(16)
    total = 0.0
    for left, right in pairwise(cuts):
        for point, weight in zip(points, weights, strict=True):
            total += float(weight) / 2 * (right - left) * function(left + (right - left) * float(point + 1) / 2)
    return total


def quotient(a, c):
    """Multipliers of two numbers in a / c, each a pair (x end, b end): means of 1 / c and -a / c^2 along the line between the ends.

    Where c changes its sign there is no such line: a product with r = 1 / c then, and the secant slope of r.
    """
    (ax, ab), (cx, cb) = a, c
    if cx * cb > 0:
        at = integral(lambda t: 1 / (cb + t * (cx - cb)))
        return at, integral(lambda t: -(ab + t * (ax - ab)) / (cb + t * (cx - cb)) ** 2)
    return (1 / cx + 1 / cb) / 2, -(ax + ab) / (2 * cx * cb)


def division(a, c, m):
    """a / c, number by number; a and c are pairs (x end, b end) of rows."""
    each = [quotient((float(a[0][i]), float(a[1][i])), (float(c[0][i]), float(c[1][i]))) for i in range(len(m))]
    return tuple(torch.tensor([float(m[i]) * pair[k] for i, pair in enumerate(each)], dtype=torch.float64) for k in (0, 1))


def matmul(u, v, m):
    """u v with u [n, k] and v [k, p], pairs (x end, b end): every output is a sum of k products; m is [n, p]."""
    of_u, of_v = torch.zeros_like(u[0]), torch.zeros_like(v[0])
    for i in range(of_u.shape[0]):
        for j in range(of_v.shape[1]):
            for k in range(of_u.shape[1]):
                of_u[i, k] += m[i, j] * (v[0][k, j] + v[1][k, j]) / 2
                of_v[k, j] += m[i, j] * (u[0][i, k] + u[1][i, k]) / 2
    return of_u, of_v


def logarithmic_mean(p, q):
    """The logarithmic mean of two numbers that are not negative: the integral of p^t q^(1 - t). It is 0 where one of them is."""
    return integral(lambda t: p**t * q ** (1 - t)) if p > 0 and q > 0 else 0.0


def softmax_multipliers(x, b):
    """w_i = L(e_i at x, e_i at b) / L(S at x, S at b), e = exp(z - s) with one s for both ends and S = sum e: multipliers of log S."""
    shift = max(float(x.max()), float(b.max()))
    ex, eb = [math.exp(float(z) - shift) for z in x], [math.exp(float(z) - shift) for z in b]
    return [logarithmic_mean(p, q) / logarithmic_mean(sum(ex), sum(eb)) for p, q in zip(ex, eb, strict=True)]


def softmax(x, b, m):
    """exp(l) of l = z - log sum exp z. A logit that is -inf at both ends gets 0."""
    px, pb = ([math.exp(float(z) - float(row.logsumexp(0))) for z in row] for row in (x, b))
    of_l = torch.tensor([float(m[i]) * logarithmic_mean(px[i], pb[i]) for i in range(len(m))], dtype=torch.float64)
    return log_softmax(x, b, of_l)


def log_softmax(x, b, m):
    """z - log sum exp z."""
    w = softmax_multipliers(x, b)
    return torch.tensor([float(m[i]) - w[i] * float(m.sum()) for i in range(len(m))], dtype=torch.float64)


def logsumexp(x, b, m):
    """log sum exp z, m one number."""
    return torch.tensor([float(m) * w for w in softmax_multipliers(x, b)], dtype=torch.float64)


def rms_multipliers(d, m, weight, eps):
    """d / c weight with c = sqrt(mean of d^2 + eps): multipliers of d; d is a pair (x end, b end) of rows."""
    n = len(m)
    v = [sum(float(z) ** 2 for z in row) / n + eps for row in d]
    c = [math.sqrt(value) for value in v]
    out, of_c = [], 0.0
    for i in range(n):
        of_d, of_root = quotient((float(d[0][i]), float(d[1][i])), c)
        out.append(float(m[i] * weight[i]) * of_d)
        of_c += float(m[i] * weight[i]) * of_root
    of_v = of_c / (c[0] + c[1])  # the secant slope of the root: (c - c') / (c^2 - c'^2)
    return torch.tensor([out[i] + of_v * float(d[0][i] + d[1][i]) / n for i in range(n)], dtype=torch.float64)


def layer_norm(x, b, m, weight=None, eps=1e-5):
    """The mean is taken off first, which is linear: its multiplier is taken off too."""
    weight = torch.ones_like(x) if weight is None else weight
    of_d = rms_multipliers((x - x.mean(), b - b.mean()), m, weight, eps)
    return of_d - of_d.mean()


def rms_norm(x, b, m, weight=None, eps=1e-5):
    """LayerNorm without the mean."""
    weight = torch.ones_like(x) if weight is None else weight
    return rms_multipliers((x, b), m, weight, eps)


def group_norm(ends, m, groups, weight=None, eps=1e-5):
    """LayerNorm of every group of channels; ends is a pair (x end, b end) of [channel, position], weight is per channel."""
    x, b = ends
    channels, positions = x.shape
    weight = torch.ones(channels, dtype=torch.float64) if weight is None else weight
    out = torch.zeros_like(x)
    size = channels // groups
    for first in range(0, channels, size):
        part = slice(first, first + size)
        spread = weight[part, None].expand(size, positions).reshape(-1)
        rows = [t[part].reshape(-1) for t in (x, b, m)]
        out[part] = layer_norm(*rows, spread, eps).reshape(size, positions)
    return out


def max_multipliers(x, b, m):
    """max of a row, m one number: on the straight line from b to x the winner at b is heard until the winner at x overtakes it.

    Where the row's value at b is also taken at x's winner, x's winner is used for both, and the other way round: among equals no place is
    chosen.
    """
    ix, ib = int(x.argmax()), int(b.argmax())
    if b[ix] == b[ib]:
        ib = ix
    elif x[ib] == x[ix]:
        ix = ib
    out = torch.zeros_like(x)
    ahead, behind = float(b[ib] - b[ix]), float(x[ix] - x[ib])
    time = ahead / (ahead + behind) if ahead + behind > 0 else 0.5
    out[ib] += float(m) * time
    out[ix] += float(m) * (1 - time)
    return out


def attention(ends, m, scale=None, mask=None):
    """Multipliers of (q, k, v) for softmax(q k' scale) v; ends is two triples ([n, d], [p, d], [p, e]); mask [n, p] is True where seen."""
    (qx, kx, vx), (qb, kb, vb) = ends
    scale = qx.shape[1] ** -0.5 if scale is None else scale
    seen = torch.ones(len(qx), len(kx), dtype=torch.bool) if mask is None else mask
    logits = [torch.where(seen, q @ k.T * scale, -math.inf) for q, k in ((qx, kx), (qb, kb))]
    weights = [rows.softmax(1) for rows in logits]
    of_weights, of_v = matmul(weights, (vx, vb), m)
    of_logits = torch.stack([softmax(logits[0][i], logits[1][i], of_weights[i]) for i in range(len(qx))]) * scale
    of_q, of_k = matmul((qx, qb), (kx.T, kb.T), of_logits)
    return of_q, of_k.T, of_v
