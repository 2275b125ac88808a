"""The options of a survey that few calls need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options


@dataclass(frozen=True, eq=False, kw_only=True)
class RayOptions(Options):
    """How the work is spread over a Ray cluster.

    Attributes:
        workers: actors that hold the network, >= 1; by default one per GPU where there are any, else one per CPU of the cluster.
        threads: of each worker, >= 1; by default those that this process computes with, so that its sums round as they do here.
        ahead: shards that wait at each worker, >= 1: the rows that are read ahead of the computation are bounded by it.
        restarts: how often a worker that died is started again, and a shard that was lost with it computed again, >= 0.
        object_store_bytes: memory for what is on its way, where the cluster is started here.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "workers": POSITIVE_COUNT,
        "threads": POSITIVE_COUNT,
        "ahead": POSITIVE_COUNT,
        "restarts": Limit(least=0),
        "object_store_bytes": Limit(least=80_000_000),
    }
    workers: int | None = None
    threads: int | None = None
    ahead: int = 2
    restarts: int = 8
    object_store_bytes: int = 200_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class SurveyOptions(Options):
    """The options of :func:`vesalius.scale.survey` that few calls need, together so that its signature stays short.

    Attributes:
        at: a value to explain instead of the input, or several, see :func:`vesalius.attribute`.
        names: of the players, by default those of the columns, where the data has them.
        batch_rows: rows that are computed at once, >= 1.
        shard_rows: rows of a file, >= 1; by default as many as take 64 MB, and at most 1,024 (of sums over rows 16,384, of audits 128).
            What is lost when a run is killed is no more than the shards in work.
        keep_inputs: whether the samples are kept beside their values; beeswarms, dependence and prototypes show them.
        resume: go on where an earlier run stopped; False: begin anew, and remove what a survey left in the folder.
        ray: how the work is spread, with ``engine="ray"``.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"batch_rows": POSITIVE_COUNT, "shard_rows": POSITIVE_COUNT}
    at: Any = None
    names: Sequence[str] = ()
    batch_rows: int = 64
    shard_rows: int | None = None
    keep_inputs: bool = True
    resume: bool = True
    ray: RayOptions = field(default_factory=RayOptions)
