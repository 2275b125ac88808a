"""Integrated gradients from the definition: a plain sum over midpoints, one sample and one element at a time, in float64."""

import torch


def integrated_gradients(function, x, baseline, steps):
    """function: [1 *event] -> a scalar tensor; x and baseline: [*event] float64."""
    total = torch.zeros_like(x)
    for step in range(steps):
        point = (baseline + (step + 0.5) / steps * (x - baseline)).clone().requires_grad_()
        function(point[None]).backward()
        total += point.grad / steps
    return (x - baseline) * total
