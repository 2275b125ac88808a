"""Flow graphs from the definitions: every path is walked, with plain loops."""

from itertools import pairwise, product
from math import isclose, prod


def all_paths(flows, first=0, last=None):
    """Every path (positions, one per layer) from layer ``first`` to layer ``last`` with its weights, along edges with a positive weight."""
    last = len(flows) if last is None else last
    sizes = [len(flows[0])] + [flow.shape[1] for flow in flows]
    for units in product(*(range(size) for size in sizes[first : last + 1])):
        weights = [float(flow[a, b]) for flow, a, b in zip(flows[first:last], units, units[1:], strict=False)]
        if all(weight > 0 for weight in weights):
            yield units, weights


def attribution(flows):
    """Sum of products over all paths, for each pair of ends."""
    total = [[0.0] * flows[-1].shape[1] for _ in range(len(flows[0]))]
    for units, weights in all_paths(flows):
        total[units[0]][units[-1]] += prod(weights)
    return total


def strongest_paths(flows, k):
    """All paths, sorted."""
    return sorted(((units, prod(weights)) for units, weights in all_paths(flows)), key=lambda found: -found[1])[:k]


def share_through(flows):
    """Share of the sum over all paths that is of paths through a unit, per layer."""
    sizes = [len(flows[0])] + [flow.shape[1] for flow in flows]
    total = [[0.0] * size for size in sizes]
    for units, weights in all_paths(flows):
        for layer, unit in enumerate(units):
            total[layer][unit] += prod(weights)
    return [[value / sum(layer) if sum(layer) else 0.0 for value in layer] for layer in total]


def betweenness(flows, lengths):
    """Sum over ordered pairs of other units of the share of their shortest paths that pass through a unit."""
    sizes = [len(flows[0])] + [flow.shape[1] for flow in flows]
    found = [[0.0] * size for size in sizes]
    for first in range(len(sizes)):
        for last in range(first + 2, len(sizes)):
            for s, t in product(range(sizes[first]), range(sizes[last])):
                _count(found, _shortest(flows, lengths, (first, s), (last, t)), first)
    return found


def _shortest(flows, lengths, source, target):
    (first, s), (last, t) = source, target
    paths = [units for units, _ in all_paths(flows, first, last) if units[0] == s and units[-1] == t]
    long = [sum(float(lengths[first + i][a, b]) for i, (a, b) in enumerate(pairwise(u))) for u in paths]
    return [units for units, length in zip(paths, long, strict=True) if isclose(length, min(long), rel_tol=1e-9)]


def _count(found, shortest, first):
    for units in shortest:
        for at, unit in enumerate(units[1:-1], start=1):
            found[first + at][unit] += 1 / len(shortest)


def benjamini_hochberg(p, rate):
    """Benjamini-Hochberg: the largest k with p_(k) <= k rate / m, and every p up to that one."""
    ranked = sorted(p)
    passed = [value for k, value in enumerate(ranked, start=1) if value <= k * rate / len(ranked)]
    return [bool(passed) and value <= passed[-1] for value in p]
