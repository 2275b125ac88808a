"""Slow twins of the measures of components, written from their definitions with plain loops in float64."""

from __future__ import annotations

import torch


def covariance(a, b):
    """Mean over elements of E[ab] - E[a] E[b] about a first guess of the mean."""
    a, b = (list(zip(*rows.double().flatten(1).tolist(), strict=True)) for rows in (a, b))
    total = 0.0
    for left, right in zip(a, b, strict=True):
        mean_left, mean_right = sum(left) / len(left), sum(right) / len(right)
        total += sum((x - mean_left) * (y - mean_right) for x, y in zip(left, right, strict=True)) / len(left)
    return total / len(a)


def weighted_significance(parts, rest, head):
    """Var[J c] / Var[J f] with the whole Jacobian written out."""
    feature = parts.sum(0) + rest
    jacobian = torch.autograd.functional.jacobian(lambda z: head(z[None])[0], feature.mean(0))
    total = covariance(feature @ jacobian.T, feature @ jacobian.T)
    return [covariance(part @ jacobian.T, part @ jacobian.T) / total for part in parts]


def coalition_losses(head, loss, parts, rest, targets):
    """Loss of every row under every coalition, one feature at a time: a list per coalition."""
    table = []
    for coalition in range(1 << len(parts)):
        row = []
        for n in range(len(rest)):
            feature = rest[n].clone()
            for place in range(len(parts)):
                if coalition >> place & 1:
                    feature += parts[place, n]
            row.append(float(loss(head(feature[None])[0], targets[n])))
        table.append(row)
    return table


def leave_one_out(features, target):
    """Every row predicted by the normal equations of all other rows."""
    found = []
    for out in range(len(target)):
        kept = [row for row in range(len(target)) if row != out]
        design = torch.cat([torch.ones(len(kept), 1, dtype=torch.float64), features[kept].double()], 1)
        weights = torch.linalg.solve(design.T @ design, design.T @ target[kept].double())
        found.append(float(weights[0] + features[out].double() @ weights[1:]))
    return found


def held_out_r2(source, target, halves, ridge):
    """R^2 of every target column given all source columns: ridge on one half, judged on the other, both ways, by normal equations."""
    missed = total = 0.0
    for fit, held in (halves, halves[::-1]):
        x, y = source[fit].double(), target[fit].double()
        mean_x, mean_y = x.mean(0), y.mean(0)
        square = (x - mean_x).T @ (x - mean_x)
        square = square + ridge * square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
        for row in held:
            guess = mean_y + (source[row].double() - mean_x) @ torch.linalg.solve(square, (x - mean_x).T @ (y - mean_y))
            missed += float((target[row].double() - guess).square().sum())
            total += float((target[row].double() - mean_y).square().sum())
    return 1 - missed / total


def gated_paths(weights, strengths, x):
    """Terms of the gated network of one vector row, path by path: enter at a layer, then cross every gate to the end."""
    deviation = lambda h: float(h.std(correction=0))  # noqa: E731
    x = x / deviation(x)
    gates, h = [], weights[0] @ x
    for weight, strength in zip(weights[1:], strengths, strict=True):
        gates.append(strength * (h > 0).double() / deviation(h))
        h = weight @ (x + gates[-1] * h)
    terms = []
    for order in range(len(weights)):
        entry = len(weights) - 1 - order
        z = weights[entry] @ x
        for layer in range(entry + 1, len(weights)):
            z = weights[layer] @ (gates[layer - 1] * z)
        terms.append(z)
    return terms, h
