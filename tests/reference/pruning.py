"""Slow twins of pruning, from its formulas with plain loops in float64."""

from __future__ import annotations

import torch


def shortest_prefix(scores, level):
    """How many of the highest scores it takes to have a share of the total."""
    ranked, total = sorted(scores, reverse=True), sum(scores)
    summed = 0.0
    for count, score in enumerate(ranked, start=1):
        summed += score
        if summed >= level * total:
            return count
    return len(ranked)


def top_mask(scores, count):
    """A mask of the highest of a list; of equal ones the first."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
    return [place in order[:count] for place in range(len(scores))]


def gate(weight, bias, rows, slope):
    """|w| E|act'(z) (x - E x)|."""
    found = torch.zeros(weight.shape, dtype=torch.float64)
    mean = [sum(float(row[j]) for row in rows) / len(rows) for j in range(weight.shape[1])]
    for i in range(weight.shape[0]):
        for row in rows:
            z = float(bias[i]) + sum(float(weight[i, j]) * float(row[j]) for j in range(weight.shape[1]))
            for j in range(weight.shape[1]):
                found[i, j] += abs(float(weight[i, j])) * slope(z) * abs(float(row[j]) - mean[j]) / len(rows)
    return found


def refit_layer(rows, targets, kept, start, ridge, *, bias=True):
    """Every unit by the normal equations of its own links, with a column of ones that the ridge leaves alone."""
    rows, targets, start = rows.double(), targets.double(), start.double()
    spread = (rows - rows.mean(0) * bias).square().mean()
    weight, shift = torch.zeros_like(start), torch.zeros(len(start), dtype=torch.float64)
    for unit in range(len(start)):
        links = [link for link in range(start.shape[1]) if kept[unit, link]]
        design = torch.cat([rows[:, links], torch.ones(len(rows), int(bias), dtype=torch.float64)], 1)
        pull = torch.zeros(design.shape[1], dtype=torch.float64)
        pull[: len(links)] = ridge * spread
        right = design.T @ targets[:, unit] / len(rows)
        right[: len(links)] += ridge * spread * start[unit, links]
        found = torch.linalg.solve(design.T @ design / len(rows) + torch.diag(pull), right)
        weight[unit, links] = found[: len(links)]
        shift[unit] = found[-1] if bias else 0
    return weight, shift


def refit_net(layers, x, rounds, ridge, score):
    """The whole algorithm on a chain of dense layers: (weight, bias, activation, links kept) each."""
    dense = pruned = x.double()
    made = []
    for weight, bias, activation, count in layers:
        weight, bias = weight.double(), bias.double()
        targets = dense @ weight.T + bias
        now, kept = weight, torch.ones(weight.shape, dtype=torch.bool)
        shift = targets.mean(0) - now @ pruned.mean(0)
        for step in range(1, rounds + 1):
            scores = score(now, shift, pruned)
            scores = torch.where(kept, scores, torch.full_like(scores, -1))
            most = max(count, round(kept.numel() * (count / kept.numel()) ** ((step / rounds) ** 0.5)))
            kept = torch.tensor(top_mask(scores.flatten().tolist(), most)).reshape(kept.shape) & kept
            now, shift = refit_layer(pruned, targets, kept, weight, ridge)
        made.append((now, shift, kept))
        pruned, dense = activation(pruned @ now.T + shift), activation(targets)
    return made


def optimal_brain_surgeon(weight, square, masks, damping):
    """Weights after columns are cut in order, each made up for by the columns behind it: the inverse is taken anew for every column."""
    found, system = weight.double().clone(), square.double() + damping * torch.eye(len(square), dtype=torch.float64)
    for column in range(len(system)):
        inverse = torch.linalg.inv(system[column:, column:])
        for unit in range(len(found)):
            if not masks[unit, column]:
                found[unit, column:] -= found[unit, column] / inverse[0, 0] * inverse[0]
                found[unit, column] = 0
    return found
