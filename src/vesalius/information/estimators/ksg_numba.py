"""Local information of pairs by nearest neighbours, compiled. Imported only when it is first used, as numba takes a second to import.

The terms are those of ``ksg_kdtree``, which does the same without numba and to which this is held. Functions are compiled from plain
loops over arrays; their arguments are arrays of the types that ``mixed_variables.MixedVariables`` documents.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from vesalius.information.estimators.mixed_variables import BINS, CEILING_SHARE, FEWEST_ON_A_CURVE


@njit(cache=True, nogil=True)
@no_type_check
def insert_distance(nearest, distance):
    """Put a distance that is below the last of an ascending list into it, and drop the last."""
    place = nearest.size - 1
    while place > 0 and nearest[place - 1] > distance:
        nearest[place] = nearest[place - 1]
        place -= 1
    nearest[place] = distance


@njit(cache=True, nogil=True)
@no_type_check
def sort_into_strips(xs, ys, upward, width):
    """Points with ascending xs in strips of so many, each strip by ascending y; ``upward`` are the places of the points by ascending y.

    Bands are of as many points by ascending y; also returned are the band of each point, and how many points each strip has below each
    band, so that where to look first need not be searched.
    """
    strip_x, strip_y = np.empty(xs.size), np.empty(xs.size)
    strips = xs.size // width + 1
    filled, band, below = np.zeros(strips, np.int64), np.empty(xs.size, np.int64), np.empty((strips, strips), np.int64)
    for j in range(xs.size):
        if j % width == 0:
            below[:, j // width] = filled
        place = upward[j]
        strip = place // width
        strip_x[strip * width + filled[strip]] = xs[place]
        strip_y[strip * width + filled[strip]] = ys[place]
        filled[strip] += 1
        band[place] = j // width
    return strip_x, strip_y, band, below


@njit(cache=True, nogil=True)
@no_type_check
def search_strip(strips, start, stop, first, point, nearest):
    """Offer the points of one strip, from those with the nearest y on, up and down; return the k-th distance then.

    ``first`` is at or below the first with a larger y.
    """
    strip_x, strip_y, _, _ = strips
    x, y = point
    eps = nearest[nearest.size - 1]
    low = first
    while low < stop and strip_y[low] < y:
        low += 1
    at = low
    while at < stop and strip_y[at] - y < eps:
        distance = max(abs(strip_x[at] - x), strip_y[at] - y)
        if distance < eps:
            insert_distance(nearest, distance)
            eps = nearest[nearest.size - 1]
        at += 1
    at = low - 1
    while at >= start and y - strip_y[at] < eps:
        distance = max(abs(strip_x[at] - x), y - strip_y[at])
        if distance < eps:
            insert_distance(nearest, distance)
            eps = nearest[nearest.size - 1]
        at -= 1
    return eps


@njit(cache=True, nogil=True)
@no_type_check
def kth_neighbour_distance(xs, strips, width, i, y, nearest):
    """Largest-coordinate distance of point i to its k-th neighbour; ``nearest`` has k + 1 places, the first for the point itself.

    Its own strip is searched, then those to the left and right, the nearer first, until both are as far as the k-th neighbour so far.
    """
    nearest[:] = np.inf
    _, _, band, below = strips
    own, begins = i // width, below[:, band[i]]
    x, start = xs[i], own * width
    eps = search_strip(strips, start, min(start + width, xs.size), start + begins[own], (x, y), nearest)
    left, right, before, behind = start - width, start + width, own - 1, own + 1
    while True:
        gap_left = x - xs[left + width - 1] if left >= 0 else np.inf
        gap_right = xs[right] - x if right < xs.size else np.inf
        if gap_left >= eps and gap_right >= eps:
            return eps
        if gap_left < gap_right:
            eps = search_strip(strips, left, left + width, left + begins[before], (x, y), nearest)
            left, before = left - width, before - 1
        else:
            eps = search_strip(strips, right, min(right + width, xs.size), right + begins[behind], (x, y), nearest)
            right, behind = right + width, behind + 1


@njit(cache=True, nogil=True)
@no_type_check
def build_cell_index(ordered, cells):
    """First place of each of so many equal cells of the range of ascending numbers, and cells per unit of it."""
    scale = cells / max(ordered[-1] - ordered[0], 1e-300)
    first = np.full(cells + 1, ordered.size, np.int64)
    for place in range(ordered.size - 1, -1, -1):
        first[int((ordered[place] - ordered[0]) * scale)] = place
    for cell in range(cells - 1, -1, -1):
        first[cell] = min(first[cell], first[cell + 1])
    return first, scale


@njit(cache=True, nogil=True)
@no_type_check
def count_within(ordered, first, scale, value, eps):
    """How many of some ascending numbers, the value itself included, are nearer than eps.

    Distances are subtracted as they were for eps: ``value - eps`` would round, and count the k-th neighbour itself. It only says where to
    look first.
    """
    cells, low = first.size - 1, ordered[0]
    at = first[int(min(max((value - eps - low) * scale, 0.0), cells))]
    while at < ordered.size and value - ordered[at] >= eps:
        at += 1
    stop = max(first[int(min(max((value + eps - low) * scale, 0.0), cells))], at)
    while stop > at and ordered[stop - 1] - value >= eps:
        stop -= 1
    while stop < ordered.size and ordered[stop] - value < eps:
        stop += 1
    return stop - at


@njit(cache=True, nogil=True)
@no_type_check
def ksg1_terms(xs, ys, upward, asked, how, local):
    """Local terms of KSG-1 of points with ascending xs, at those asked for; returns how many of these are at the ceiling.

    ``upward`` as in :func:`sort_into_strips`. At the ceiling the neighbours on each axis are all but the joint ones: the points lie on a
    curve, as far as so many of them can show. ``how`` is k and the digamma of 0, 1, 2, ... Reference: Kraskov2004, equation 8.
    """
    k, psi = how
    ceiling = 0
    width, cells = int(np.sqrt(xs.size)) + 1, 2 * xs.size
    strips = sort_into_strips(xs, ys, upward, width)
    ordered, nearest = ys[upward], np.empty(k + 1)
    first_x, scale_x = build_cell_index(xs, cells)
    first_y, scale_y = build_cell_index(ordered, cells)
    for i in range(xs.size):
        if not asked[i]:
            continue
        eps = kth_neighbour_distance(xs, strips, width, i, ys[i], nearest)
        near_x, near_y = count_within(xs, first_x, scale_x, xs[i], eps), count_within(ordered, first_y, scale_y, ys[i], eps)
        local[i] = psi[k] + psi[xs.size] - psi[near_x] - psi[near_y]
        ceiling += near_x + near_y <= 4 * k
    return ceiling


@njit(cache=True, nogil=True)
@no_type_check
def add_ksg1_terms(one, other, asked, how, local):
    """Add what the continuous parts of two units say about each other, where there is no atom on either side.

    Returns whether that is more than so many points can show, or a tenth of them are at the ceiling, or half of the steps to the next
    larger y are steps to a neighbour in x: one determines the other, however the two scales are bent.
    """
    atom_x, score_x, order_x, _ = one
    atom_y, score_y, order_y, _ = other
    both, place = order_x[atom_y[order_x] == 0], np.empty(local.size, np.int64)
    if both.size <= 4 * how[0]:
        return False
    place[both] = np.arange(both.size)
    terms, here = np.zeros(both.size), asked[both]
    upward = place[order_y[atom_x[order_y] == 0]]
    ceiling = ksg1_terms(score_x[both], score_y[both], upward, here, how, terms)
    local[both] += terms
    seen, near = max(here.sum(), 1), 0
    for j in range(1, upward.size):
        near += abs(upward[j] - upward[j - 1]) <= how[0]
    determined = terms.sum() > seen * 0.5 * np.log(both.size) or ceiling > CEILING_SHARE * seen or 2 * near > both.size
    return both.size >= FEWEST_ON_A_CURVE and determined


@njit(cache=True, nogil=True)
@no_type_check
def kth_class_distance(xs, members, at, k):
    """Distance from a member of a class to its k-th neighbour in the class; members are places in the ascending xs."""
    left, right, distance = at - 1, at + 1, 0.0
    for _ in range(k):
        below = xs[members[at]] - xs[members[left]] if left >= 0 else np.inf
        above = xs[members[right]] - xs[members[at]] if right < members.size else np.inf
        if below <= above:
            distance, left = below, left - 1
        else:
            distance, right = above, right + 1
    return distance


@njit(cache=True, nogil=True)
@no_type_check
def others_up_to(xs, i, distance):
    """How many other ascending numbers are at most so far from the i-th."""
    first, inside = -1, i
    while inside - first > 1:
        middle = (first + inside) >> 1
        if xs[i] - xs[middle] <= distance:
            inside = middle
        else:
            first = middle
    last, outside = i, xs.size
    while outside - last > 1:
        middle = (last + outside) >> 1
        if xs[middle] - xs[i] <= distance:
            last = middle
        else:
            outside = middle
    return last - inside


@njit(cache=True, nogil=True)
@no_type_check
def class_sizes(classes, count):
    """Rows of each class, and how many classes have any."""
    sizes, used = np.zeros(count, np.int64), 0
    for which in classes:
        used += sizes[which] == 0
        sizes[which] += 1
    return sizes, used


@njit(cache=True, nogil=True)
@no_type_check
def ross_terms(xs, classes, count, asked, how, local):
    """Local terms of a continuous variable, ascending, and a class, at rows asked for; classes of at most k members say nothing.

    Reference: Ross2014.
    """
    local[:] = 0.0
    k, psi = how
    sizes, used = class_sizes(classes, count)
    if used < 2 or xs.size <= 4 * k:
        return
    last_of = np.cumsum(sizes)
    filled, listed = last_of - sizes, np.empty(xs.size, np.int64)
    for i in range(xs.size):
        listed[filled[classes[i]]] = i
        filled[classes[i]] += 1
    for which in range(count):
        if sizes[which] <= k:
            continue
        members = listed[last_of[which] - sizes[which] : last_of[which]]
        for at in range(members.size):
            i = members[at]
            if not asked[i]:
                continue
            distance = kth_class_distance(xs, members, at, k)
            local[i] = psi[xs.size] + psi[k] - psi[members.size] - psi[others_up_to(xs, i, distance)]


@njit(cache=True, nogil=True)
@no_type_check
def table_terms(atom_x, atom_y, count_x, count_y, local):
    """Local terms of the table of atoms, the continuous part as one; returns its bias to first order."""
    rows, used_x = class_sizes(atom_x, count_x + 1)
    columns, used_y = class_sizes(atom_y, count_y + 1)
    table, cells = class_sizes(atom_x * (count_y + 1) + atom_y, (count_x + 1) * (count_y + 1))
    for i in range(local.size):
        joint = table[atom_x[i] * (count_y + 1) + atom_y[i]]
        local[i] = np.log(joint * local.size / (rows[atom_x[i]] * columns[atom_y[i]]))
    return (cells - used_x - used_y + 1) / (2.0 * local.size)


@njit(cache=True, nogil=True)
@no_type_check
def add_ross_terms(one, other, asked, how, local):
    """Add what the continuous part of a unit says about the atoms of the other."""
    _, score, order, _ = one
    atom, _, _, count = other
    terms = np.empty(order.size)
    ross_terms(score[order], atom[order], count + 1, asked[order], how, terms)
    local[order] += terms


@njit(cache=True, nogil=True)
@no_type_check
def pair_terms(one, other, asked, how, local):
    """Local terms of one pair, by the chain rule over atoms and continuous parts: those of the table of atoms of all rows, the others of
    rows asked for. Returns the bias of the table, and whether the continuous part is more than points can show.

    A unit is (atom, score, order of the continuous part alone, number of atoms).
    """
    local[:] = 0.0
    bias = 0.0
    if one[3] > 0 and other[3] > 0:
        bias = table_terms(one[0], other[0], one[3], other[3], local)
    table = local.mean() - bias
    if other[3] > 0:
        add_ross_terms(one, other, asked, how, local)
    if one[3] > 0:
        add_ross_terms(other, one, asked, how, local)
    infinite = add_ksg1_terms(one, other, asked, how, local)
    return table, bias, infinite


@njit(cache=True, nogil=True)
@no_type_check
def coarse_table(bin_x, bin_y, bins, cell):
    """What a table of coarse bins says of each pair of bins, into ``cell``; returns its information, over all rows."""
    joint, rows, columns = np.zeros(bins * bins), np.zeros(bins), np.zeros(bins)
    for i in range(bin_x.size):
        joint[bin_x[i] * bins + bin_y[i]] += 1.0
        rows[bin_x[i]] += 1.0
        columns[bin_y[i]] += 1.0
    total = 0.0
    for a in range(bins):
        for b in range(bins):
            count = joint[a * bins + b]
            if count > 0:
                cell[a * bins + b] = np.log(count * bin_x.size / (rows[a] * columns[b]))
                total += count * cell[a * bins + b]
    return total / bin_x.size


@njit(cache=True, nogil=True)
@no_type_check
def regression_estimate(local, known, whole, rows):
    """Mean of local terms over all rows from those of some, by regression on what is known of all of them; and its variance.

    ``known`` are values at those rows of something whose mean over all rows is ``whole``. Reference: Cochran1977, section 7.
    """
    mean, away = local.mean(), known - known.mean()
    variance = np.square(local - mean).mean()
    spread = np.square(away).mean()
    slope = (away * (local - mean)).mean() / spread if spread > 0 else 0.0
    rest = max(variance - slope * slope * spread, 0.0)
    return mean + slope * (whole - known.mean()), variance, rest * max(1.0 / local.size - 1.0 / rows, 0.0)


@njit(cache=True, nogil=True)
@no_type_check
def estimate_pairs(x, y, chosen, queries, how, found):
    """Into ``found`` [6, pairs]: the value, the variance of the local terms, the bias taken off, the variance that comes from reading terms
    at some rows only, 1 where the continuous part is more than points can show, and the value of the table of atoms alone.

    x and y are (atom, score, order, size, atoms, bin); ``chosen`` [2, pairs] are the units of each pair; ``queries`` are rows at which
    terms of neighbours are read, among all rows; ``how`` is k and the digamma of 0, 1, 2, ...
    """
    atom_x, score_x, order_x, size_x, count_x, bin_x = x
    atom_y, score_y, order_y, size_y, count_y, bin_y = y
    rows = atom_x.shape[1]
    local, asked, cell = np.empty(rows), np.zeros(rows, np.bool_), np.empty(BINS * BINS)
    asked[queries] = True
    for p in range(chosen.shape[1]):
        a, b = chosen[0, p], chosen[1, p]
        one = atom_x[a], score_x[a], order_x[a, : size_x[a]], count_x[a]
        other = atom_y[b], score_y[b], order_y[b, : size_y[b]], count_y[b]
        table, bias, infinite = pair_terms(one, other, asked, how, local)
        found[2, p], found[4, p], found[5, p] = bias, infinite, table
        if size_x[a] + size_y[b] == 0:
            found[0, p], found[1, p], found[3, p] = table, np.square(local - local.mean()).mean(), 0.0
        else:
            whole = coarse_table(bin_x[a], bin_y[b], BINS, cell) if queries.size < rows else 0.0
            known = cell[bin_x[a][queries] * BINS + bin_y[b][queries]] if queries.size < rows else np.zeros(queries.size)
            value, found[1, p], found[3, p] = regression_estimate(local[queries], known, whole, rows)
            found[0, p] = value - bias
