"""Samples of a batch: which are meant, and the facts that each has of its own.

A batch's provenance holds what is true of all its samples, and under ``samples`` lists with an entry for each (``target``, ``id``).

Axes: B samples, N samples chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vesalius.core.errors import WrongType

PER_SAMPLE = "samples"
CHOICE = "samples are chosen by a number, a slice, a list of numbers, or a boolean each: a[2], a[2:5], a[[0, 3]]"


def resolve_rows(samples: Any, count: int) -> int | Int[Tensor, " N"]:
    """The position of the sample meant by a number, or the positions of those meant by a slice, by numbers or by a boolean each.

    Raises:
        IndexError: there are not so many samples.
        WrongType: something else.
    """
    if isinstance(samples, slice):
        return torch.tensor(range(count)[samples], dtype=torch.long)
    try:
        chosen = (
            samples.cpu() if isinstance(samples, Tensor) else torch.from_numpy(np.array(None if isinstance(samples, tuple) else samples))
        )
    except TypeError as error:
        raise WrongType(CHOICE) from error
    if chosen.dtype == torch.bool and chosen.ndim == 1:
        if len(chosen) != count:
            raise IndexError(f"booleans choose samples one by one: {count} are needed, and {len(chosen)} came")
        return chosen.nonzero().flatten()
    if chosen.ndim > 1 or chosen.dtype == torch.bool or (chosen.is_floating_point() and chosen.numel()):
        raise WrongType(CHOICE)
    rows = chosen.long()
    astray = (rows < -count) | (rows >= count)
    if bool(astray.any()):
        raise IndexError(f"sample {int(rows[astray].flatten()[0])} of a batch of {count}")
    return rows if rows.ndim else int(rows)


def sample_facts(provenance: Mapping[str, Any], rows: Int[Tensor, " N"] | int) -> dict[str, Any]:
    """The provenance of some samples, or of one, whose own facts take the place of those of the batch."""
    each: Mapping[str, Sequence[Any]] = provenance.get(PER_SAMPLE) or {}
    if isinstance(rows, int):
        return {name: value for name, value in provenance.items() if name != PER_SAMPLE} | {name: own[rows] for name, own in each.items()}
    chosen = {name: [own[row] for row in rows.tolist()] for name, own in each.items()}
    return {**provenance, PER_SAMPLE: chosen} if each else dict(provenance)


def take_samples(held: Mapping[str, Any], rows: Int[Tensor, " N"] | int) -> dict[str, Any]:
    """The fields of an allocation of several samples, for some of them or for one, whose own players come along."""
    players = held["players"].of(rows) if isinstance(rows, int) else held["players"].only(rows.tolist())
    shape = None if players is held["players"] or held["coalitions"] is not None else players.shape

    def take(part: Tensor, *, cut: bool = False) -> Tensor:
        found = part[rows if isinstance(rows, int) else rows.to(part.device)]
        return found[..., : shape[0]] if cut and shape is not None else found

    names = ("values", "base", "total", "stderr", "converged", "map_error")
    own = {name: None if held[name] is None else take(held[name], cut=name in ("values", "stderr")) for name in names}
    return {
        **own,
        "players": players,
        "absorbed": {where: take(part) for where, part in held["absorbed"].items()},
        "evaluations": take(held["evaluations"]) if held["evaluations"].ndim else held["evaluations"],
        "explained": tuple(take(part) for part in held["explained"]),
        "provenance": sample_facts(held["provenance"], rows),
    }


def sample_ids(provenance: Mapping[str, Any], *, single: bool) -> list[Any] | None:
    """What the samples are called, where they have names."""
    if single:
        return [provenance["id"]] if "id" in provenance else None
    found: Sequence[Any] | None = (provenance.get(PER_SAMPLE) or {}).get("id")
    return None if found is None else list(found)


def join_provenances(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The provenance of several batches as one: that of the first, with the facts of the samples of all."""
    each = [part.get(PER_SAMPLE) or {} for part in parts]
    common = [name for name in each[0] if all(name in part for part in each)]
    joined = {name: [value for part in each for value in part[name]] for name in common}
    return {**parts[0], PER_SAMPLE: joined} if joined else dict(parts[0])
