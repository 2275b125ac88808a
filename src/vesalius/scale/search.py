"""Samples by their explanation: the nearest maps, clusters with prototypes, the typical and the untypical, and likely errors of labels.

Axes: N rows, K values of a row, C clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.core.lazy import LazyModule
from vesalius.core.numbers import Limit, whole_number
from vesalius.core.random_state import RandomState
from vesalius.scale.result import Survey
from vesalius.scale.statistics import value_rows

cluster: Any = LazyModule("sklearn.cluster")

CLUSTER_BATCH = 1024
"""Rows by which centres are moved at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NearestRows:
    """Rows with the explanations most alike to one.

    Attributes:
        rows: numbers of the rows in the survey, the nearest first.
        similarity: cosine of the maps, from -1 to 1.
    """

    rows: Int[Tensor, " N"]
    similarity: Float[Tensor, " N"]

    def __repr__(self) -> str:
        return ", ".join(f"row {row} ({cosine:.2f})" for row, cosine in zip(self.rows.tolist(), self.similarity.tolist(), strict=True))


@verb
def nearest(survey: Survey, like: Any, *, k: int = 8) -> NearestRows:
    """The rows that are explained most like one: by the cosine of their values.

    Args:
        survey: to look in.
        like: the number of a row, which is left out then, or an allocation of one sample over the same players.
        k: how many rows, 1 or more.

    Raises:
        InvalidInput: an allocation of several samples, or over other players.
    """
    k = whole_number("k", k, Limit(least=1))
    one = like if isinstance(like, Allocation) else survey[whole_number("the number of a row", like)]
    if one.base.ndim:
        raise InvalidInput(f"one explanation is looked for, and this is of {len(one)} samples; take allocation[i]")
    wanted = one.flat.detach().cpu().double().numpy()
    asked = -1 if isinstance(like, Allocation) else whole_number("the number of a row", like) % len(survey)
    cosines = []
    for part in survey.parts():
        rows = value_rows(part)
        if rows.shape[1] != len(wanted):
            raise InvalidInput(f"the survey has {rows.shape[1]} values a row, and the explanation {len(wanted)}; use the same players")
        cosines.append(_unit_rows(rows) @ _unit_rows(wanted[None])[0])
    found = np.concatenate(cosines)
    if asked >= 0:
        found[asked] = -np.inf
    order = np.argsort(-found, kind="stable")[: min(k, len(found) - (asked >= 0))].copy()
    return NearestRows(rows=torch.from_numpy(order), similarity=torch.from_numpy(found[order].copy()))


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplanationClusters:
    """Rows that are explained alike.

    Attributes:
        of_row: [N] the cluster of each row.
        distance: [N] of each row from its centre, from 0 (in its direction) to 2.
        centres: [C K] mean directions.
        sizes: [C] number of rows, the largest first.
        prototypes: [C] the row nearest to each centre.
    """

    of_row: Int[Tensor, " N"]
    distance: Float[Tensor, " N"]
    centres: Float[ndarray, "C K"]
    sizes: Int[Tensor, " C"]
    prototypes: Int[Tensor, " C"]

    def untypical(self, k: int = 8) -> Int[Tensor, " k"]:
        """The rows farthest from the centre of their cluster."""
        return self.distance.argsort(descending=True, stable=True)[:k]

    def typical(self, k: int = 8) -> Int[Tensor, " k"]:
        """The rows nearest to the centre of theirs."""
        return self.distance.argsort(stable=True)[:k]

    def __repr__(self) -> str:
        told = (f"{size} rows like row {row}" for size, row in zip(self.sizes.tolist(), self.prototypes.tolist(), strict=True))
        return "; ".join(told)


@verb
def explanation_clusters(survey: Survey, clusters: int = 8, *, seed: int = 0) -> ExplanationClusters:
    """Rows in groups that are explained alike: k-means of the directions of their values, a shard at a time.

    Args:
        survey: with at least as many rows as clusters.
        clusters: how many, 1 or more.
        seed: of the first centres.

    Raises:
        InvalidInput: fewer rows than clusters.
    """
    clusters = whole_number("clusters", clusters, Limit(least=1, most=len(survey)))
    means = cluster.MiniBatchKMeans(clusters, random_state=seed % (1 << 32), n_init=3, batch_size=CLUSTER_BATCH)
    with RandomState():
        for rows in _blocks_of(survey, max(CLUSTER_BATCH, clusters)):
            means.partial_fit(rows)
    centres = _unit_rows(means.cluster_centers_)
    places, distances = [], []
    for rows in _blocks_of(survey, CLUSTER_BATCH):
        cosine = rows @ centres.T
        places.append(cosine.argmax(1))
        distances.append(1 - cosine.max(1))
    of_row, distance = np.concatenate(places), np.concatenate(distances)
    used, of_row, sizes = np.unique(of_row, return_inverse=True, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    back = np.argsort(order)
    of_row = back[of_row.reshape(-1)]
    nearest_rows = [int(np.flatnonzero(of_row == place)[distance[of_row == place].argmin()]) for place in range(len(used))]
    return ExplanationClusters(
        of_row=torch.from_numpy(of_row),
        distance=torch.from_numpy(distance),
        centres=centres[used[order]],
        sizes=torch.from_numpy(sizes[order].copy()),
        prototypes=torch.tensor(nearest_rows),
    )


@verb
def likely_label_errors(survey: Survey, *, k: int = 20) -> Int[Tensor, " k"]:
    """Rows whose label the model contradicts most, by how far the label's output falls behind the largest, in units of what is usual for
    that label.

    Args:
        survey: of a classifier, with labels.
        k: how many rows at most; only rows that are classified otherwise are given.

    Raises:
        UnknownName: the survey has no margins: there were no labels, or one output only.
    """
    k = whole_number("k", k, Limit(least=1))
    if "margin" not in survey.columns:
        raise UnknownName("column", "margin", survey.columns)
    margins, labels = np.array(survey.column("margin"), float), np.array(survey.column("label"), float)
    scaled = np.zeros_like(margins)
    for label in np.unique(labels):
        own = labels == label
        scaled[own] = margins[own] / max(float(np.median(np.abs(margins[own]))), 1e-30)
    order = np.argsort(scaled, kind="stable")
    return torch.from_numpy(order[margins[order] < 0][:k].copy())


def _blocks_of(survey: Survey, size: int) -> Iterator[Float[ndarray, "_ K"]]:
    """Directions of all rows, in blocks of at least ``size`` rows where there are so many."""
    waiting: list[Float[ndarray, "_ K"]] = []
    left = len(survey)
    for part in survey.parts():
        waiting.append(_unit_rows(value_rows(part)))
        left -= len(part)
        held = sum(map(len, waiting))
        if held >= size and (left >= size or not left):
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _unit_rows(rows: Float[ndarray, "_ K"]) -> Float[ndarray, "_ K"]:
    found: Float[ndarray, "_ K"] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    return found
