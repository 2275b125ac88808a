"""What is fetched from, or sent to, the places of the two largest numbers: shares of the change between two ends, with plain loops.

A rank is a sum of comparisons, each a step of a difference; a place is a step of a rank; what is fetched is a product of both ends' means.
"""

from __future__ import annotations

Numbers = list[float]


def share_of_places(use: str, x: Numbers, b: Numbers, weights: Numbers) -> Numbers:
    """Shares of x - b in the change of the weighted result.

    Args:
        use: ``gather`` from the numbers reversed, ``argsort``: from their cubes, or ``scatter`` of the first two to the places.
        x: one end.
        b: the other.
        weights: of the result's elements.
    """
    n = len(x)
    here, there = _choices(x), _choices(b)
    shares = [0.0] * n
    for rank in range(2):
        for place in range(n):
            value1, value0, slopes = _fetched(use, x, b, rank, place)
            weight = weights[place] if use == "scatter" else weights[rank]
            mean = (here[rank][place] + there[rank][place]) / 2
            for source, slope in slopes:
                shares[source] += weight * mean * slope * (x[source] - b[source])
            due = weight * (value1 + value0) / 2 * (here[rank][place] - there[rank][place])
            _share_rank(shares, due, x, b, place)
    return shares


def _fetched(use: str, x: Numbers, b: Numbers, rank: int, place: int) -> tuple[float, float, list[tuple[int, float]]]:
    """The number at a place (or sent to it) at both ends, and its slope by what it is made of."""
    if use == "argsort":
        return x[place] ** 3, b[place] ** 3, [(place, (x[place] ** 3 - b[place] ** 3) / (x[place] - b[place]))]
    source = rank if use == "scatter" else len(x) - 1 - place
    return x[source], b[source], [(source, 1.0)]


def _choices(z: Numbers) -> list[Numbers]:
    order = sorted(range(len(z)), key=lambda i: -z[i])
    return [[float(order[rank] == place) for place in range(len(z))] for rank in range(2)]


def _share_rank(shares: Numbers, due: float, x: Numbers, b: Numbers, place: int) -> None:
    """What a place won or lost, by those comparisons that changed its rank."""
    moved = {k: float(x[k] > x[place]) - float(b[k] > b[place]) for k in range(len(x)) if k != place}
    rank = sum(moved.values())
    for k, step in moved.items():
        if due and step:
            change = (x[k] - x[place]) - (b[k] - b[place])
            part = due / rank * step / change
            shares[k] += part * (x[k] - b[k])
            shares[place] -= part * (x[place] - b[place])
