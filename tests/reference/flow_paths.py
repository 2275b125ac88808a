"""Flow graphs from the definitions: every path is walked, with plain loops.

A graph is a list of matrices and the numbers of the layers that each joins; a chain of layers where these are not given.
"""

from itertools import pairwise
from math import isclose, prod


def joined(flows, pairs):
    """Sizes of the layers, and the pairs."""
    pairs = list(pairwise(range(len(flows) + 1))) if pairs is None else list(pairs)
    sizes = {at: side for flow, pair in zip(flows, pairs, strict=True) for at, side in zip(pair, flow.shape, strict=True)}
    return [sizes[at] for at in range(len(sizes))], pairs


def ends_of(sizes, pairs):
    """Layers where paths begin, and where they end."""
    starts = [at for at in range(len(sizes)) if all(second != at for _, second in pairs)]
    return starts, [at for at in range(len(sizes)) if all(first != at for first, _ in pairs)]


def paths_from(flows, pairs, start):
    """Every path ((layer, position), ...) of at least one edge from a unit, with its weights, along edges with a positive weight."""
    for at, (first, second) in enumerate(pairs):
        if first == start[0]:
            for unit, weight in enumerate(flows[at][start[1]].tolist()):
                if weight > 0:
                    yield (start, (second, unit)), [weight]
                    for units, weights in paths_from(flows, pairs, (second, unit)):
                        yield (start, *units), [weight, *weights]


def all_paths(flows, pairs=None):
    """Every path from end to end."""
    sizes, pairs = joined(flows, pairs)
    starts, stops = ends_of(sizes, pairs)
    for at in starts:
        for unit in range(sizes[at]):
            yield from (found for found in paths_from(flows, pairs, (at, unit)) if found[0][-1][0] in stops)


def attribution(flows, pairs=None):
    """Sum of products over all paths, for each pair of ends."""
    sizes, joins = joined(flows, pairs)
    starts, stops = ends_of(sizes, joins)
    rows = [(at, unit) for at in starts for unit in range(sizes[at])]
    columns = [(at, unit) for at in stops for unit in range(sizes[at])]
    total = [[0.0] * len(columns) for _ in rows]
    for units, weights in all_paths(flows, pairs):
        total[rows.index(units[0])][columns.index(units[-1])] += prod(weights)
    return total


def strongest_paths(flows, k, pairs=None):
    """All paths, sorted."""
    return sorted(((units, prod(weights)) for units, weights in all_paths(flows, pairs)), key=lambda found: -found[1])[:k]


def share_through(flows, pairs=None):
    """Share of the sum over all paths that is of paths through a unit, per layer."""
    sizes, _ = joined(flows, pairs)
    total, everything = [[0.0] * size for size in sizes], 0.0
    for units, weights in all_paths(flows, pairs):
        everything += prod(weights)
        for layer, unit in units:
            total[layer][unit] += prod(weights)
    return [[value / everything if everything else 0.0 for value in layer] for layer in total]


def betweenness(flows, lengths, pairs=None):
    """Sum over ordered pairs of other units of the share of their shortest paths that pass through a unit."""
    sizes, pairs = joined(flows, pairs)
    found = [[0.0] * size for size in sizes]
    for at, size in enumerate(sizes):
        for unit in range(size):
            paths = [units for units, _ in paths_from(flows, pairs, (at, unit))]
            for end in {units[-1] for units in paths}:
                _count(found, _shortest([units for units in paths if units[-1] == end], lengths, pairs))
    return found


def _shortest(paths, lengths, pairs):
    def long(units):
        return sum(float(lengths[pairs.index((a, b))][i, j]) for (a, i), (b, j) in pairwise(units))

    least = min(map(long, paths))
    return [units for units in paths if isclose(long(units), least, rel_tol=1e-9)]


def _count(found, shortest):
    for units in shortest:
        for layer, unit in units[1:-1]:
            found[layer][unit] += 1 / len(shortest)


def benjamini_hochberg(p, rate):
    """Benjamini-Hochberg: the largest k with p_(k) <= k rate / m, and every p up to that one."""
    ranked = sorted(p)
    passed = [value for k, value in enumerate(ranked, start=1) if value <= k * rate / len(ranked)]
    return [bool(passed) and value <= passed[-1] for value in p]
