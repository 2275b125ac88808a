"""Slow twins of the methods that only ask a function for values or gradients: their definitions (taylor.md, section 2), point by point.

A function takes [1, n] and gives [1, 1], in float64; x and b are [n]; a map is [n].
"""

from __future__ import annotations

from itertools import product

import numpy
import torch

from tests.reference.shapley import dividends, shapley_by_orders


def value(function, x):
    with torch.no_grad():
        return float(function(x[None]).reshape(()))


def gradient(function, x):
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(function(leaf[None]).sum(), leaf)[0]


def gradient_x_input(function, x, b, at_baseline=False):
    """Method 1, with the gradient at x or at b."""
    return (x - b) * gradient(function, b if at_baseline else x)


def remove_features(x, b, players):
    """x with some of its features absent."""
    out = x.clone()
    out[players] = b[players]
    return out


def occlusion(function, x, b):
    """Method 2: f(x) - f(x without i)."""
    return torch.tensor([value(function, x) - value(function, remove_features(x, b, [i])) for i in range(len(x))], dtype=torch.float64)


def occlusion_patch(function, x, b, patches):
    """Method 3: what a window's absence costs, averaged over the windows that cover a feature."""
    out = torch.zeros_like(x)
    for i in range(len(x)):
        over = [patch for patch in patches if i in patch]
        out[i] = sum(value(function, x) - value(function, remove_features(x, b, patch)) for patch in over) / len(over)
    return out


def prediction_difference(function, x, replacements):
    """Method 4: f(x) - mean over u of f with x_i = u."""
    out = torch.zeros_like(x)
    for i, choices in enumerate(replacements):
        rows = [torch.cat([x[:i], torch.tensor([u], dtype=x.dtype), x[i + 1 :]]) for u in choices]
        out[i] = value(function, x) - sum(value(function, row) for row in rows) / len(rows)
    return out


def integrated_gradients(function, x, b, pieces=80, nodes=4):
    """Method 6 with Gauss-Legendre nodes in equal pieces: exact for gradients of degree < 2 nodes that bend at multiples of 1 / pieces."""
    points, weights = numpy.polynomial.legendre.leggauss(nodes)
    total = torch.zeros_like(x)
    for piece in range(pieces):
        for point, weight in zip(points, weights, strict=True):
            t = float(piece + (point + 1) / 2) / pieces
            total += float(weight) / 2 / pieces * gradient(function, b + t * (x - b))
    return (x - b) * total


def expected_gradients(function, x, background):
    """Method 7: the mean of method 6 over a background."""
    return sum(integrated_gradients(function, x, b) for b in background) / len(background)


def game(function, x, b):
    """The values of all 2^n coalitions: bit i says that feature i is present."""
    n = len(x)
    return [value(function, remove_features(x, b, [i for i in range(n) if not s >> i & 1])) for s in range(1 << n)]


def shapley_value(function, x, b):
    """Method 8."""
    return torch.tensor(shapley_by_orders(game(function, x, b)), dtype=torch.float64)


def effects(function, x, b):
    """Harsanyi dividends that are not 0, by coalition."""
    found = dividends(game(function, x, b))
    n = len(x)
    return {tuple(i for i in range(n) if s >> i & 1): d for s, d in enumerate(found) if abs(d) > 1e-9}


def smooth_grad(function, x, b, std, nodes=5):
    """(x - b) times the gradient's mean under Gaussian noise, by Gauss-Hermite nodes: exact for polynomials of degree < 2 nodes."""
    points, weights = numpy.polynomial.hermite_e.hermegauss(nodes)
    total = torch.zeros_like(x)
    for choice in product(range(nodes), repeat=len(x)):
        noise = torch.tensor([points[i] for i in choice], dtype=x.dtype) * std
        weight = numpy.prod([weights[i] for i in choice]) / (2 * numpy.pi) ** (len(x) / 2)
        total += float(weight) * gradient(function, x + noise)
    return (x - b) * total


def grad_cam(function, maps):
    """Method 5 without its ReLU: (map [height, width], channel weights) for feature maps [1, channel, height, width]."""
    slopes = gradient(lambda stacked: function(stacked[0]), maps)[0]
    weights = slopes.mean((1, 2))
    return sum(weights[k] * maps[0, k] for k in range(len(weights))), weights
