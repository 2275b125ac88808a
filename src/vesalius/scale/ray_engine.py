"""Shards on a Ray cluster: actors that hold the network, and a driver that reads the data, hands out blocks and writes what comes back.

Workers write nothing, so that no shared file system is needed, and one that is lost takes nothing with it: its block is computed again by
the actor's successor. A block is read only when a worker is free for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from vesalius.core.errors import InvalidInput, NotTraceable, VesaliusError
from vesalius.core.lazy import LazyModule
from vesalius.scale.aggregate import Answers
from vesalius.scale.options import RayOptions
from vesalius.scale.stream import RowBlock
from vesalius.scale.task import SurveyTask
from vesalius.trace.network import Network

ray: Any = LazyModule("ray")
ray_exceptions: Any = LazyModule("ray.exceptions")

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""What a cluster that is started here is told: to report to nobody, to look for no other environment, to leave devices as they are."""


class SurveyWorker:
    """An actor with a network in memory.

    Args:
        threads: to compute with.
        gpu: whether it has one of its own.
    """

    def __init__(self, threads: int, gpu: bool) -> None:
        torch.set_num_threads(threads)
        self._device = "cuda" if gpu else "cpu"
        self._ready: tuple[Network, SurveyTask] | None = None

    def run(self, sent: Sequence[Any], block: RowBlock) -> Answers:
        """The answers for some rows.

        Args:
            sent: references to the bytes of a file of :meth:`vesalius.Network.save`, and to what is asked of every row; they are fetched
                once, and again after the actor was started again.
            block: the rows.
        """
        if self._ready is None:
            network, task = ray.get(list(sent))
            with TemporaryDirectory(prefix="vesalius-") as folder:
                path = Path(folder) / "network.safetensors"
                path.write_bytes(network)
                self._ready = Network.load(path, device=self._device), task
        network, task = self._ready
        found: Answers = task.run(network, block)
        return found


def run_on_ray(network: Network, task: SurveyTask, blocks: Iterable[RowBlock], options: RayOptions) -> Iterator[tuple[RowBlock, Answers]]:
    """Every block with its answers, in the order in which they are done.

    Raises:
        ModuleNotFoundError: Ray, an optional extra, is not installed.
        InvalidInput: a network that no file can hold; a worker that died too often.
        Whatever a method raises about its rows.
    """
    _require_ray()
    packed = pack_network(network)
    with _cluster(options):
        sent = [ray.put(packed), ray.put(task)]
        workers = _start_workers(options)
        try:
            yield from _spread(workers, sent, blocks, options.ahead)
        finally:
            for worker in workers:
                ray.kill(worker)


def pack_network(network: Network) -> bytes:
    """A network as the bytes of its file.

    Raises:
        InvalidInput: it has no graph, or one that no file can hold.
    """
    with TemporaryDirectory(prefix="vesalius-") as folder:
        try:
            return network.save(Path(folder) / "network.safetensors").read_bytes()
        except (NotTraceable, VesaliusError) as error:
            raise InvalidInput(
                f"engine='ray' sends the network in a file, which this one cannot be written to ({error}); use engine='local'"
            ) from error


def _require_ray() -> None:
    try:
        ray.is_initialized()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("engine='ray' needs Ray; install it: pip install 'vesalius[ray]'", name=error.name) from error


@contextmanager
def _cluster(options: RayOptions) -> Iterator[None]:
    """The cluster the caller is connected to, or that RAY_ADDRESS names; else one of this machine, gone afterwards."""
    if ray.is_initialized():
        yield
        return
    there = os.environ.get("RAY_ADDRESS")
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update({name: value for name, value in QUIET.items() if before[name] is None})
    given: dict[str, Any] = {"address": there} if there else _local_cluster(options)
    try:
        ray.init(**given, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        yield
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _local_cluster(options: RayOptions) -> dict[str, Any]:
    cpus = options.workers or os.cpu_count() or 1
    return {"address": "local", "num_cpus": cpus, "include_dashboard": False, "object_store_memory": options.object_store_bytes}


def _start_workers(options: RayOptions) -> list[Any]:
    """Actors, one per GPU where there are any."""
    found = ray.cluster_resources()
    gpus = int(found.get("GPU", 0))
    count = options.workers or gpus or max(1, int(found.get("CPU", 1)))
    each = {"num_gpus": 1} if gpus else {"num_cpus": 1}
    kind = ray.remote(SurveyWorker).options(**each, max_restarts=options.restarts, max_task_retries=options.restarts)
    threads = options.threads or torch.get_num_threads()
    return [kind.remote(threads, bool(gpus)) for _ in range(count)]


def _spread(workers: list[Any], sent: Sequence[Any], blocks: Iterable[RowBlock], ahead: int) -> Iterator[tuple[RowBlock, Answers]]:
    """Hand blocks to whoever has fewest, never more than ``ahead`` to each, and give back what is done."""
    waiting: dict[Any, tuple[int, RowBlock]] = {}
    load = [0] * len(workers)
    source = iter(blocks)
    block = next(source, None)
    while block is not None or waiting:
        while block is not None and min(load) < ahead:
            place = load.index(min(load))
            waiting[workers[place].run.remote(sent, block)] = (place, block)
            load[place] += 1
            block = next(source, None)
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        place, finished = waiting.pop(done)
        load[place] -= 1
        yield finished, _take(done, finished)


def _take(done: Any, block: RowBlock) -> Answers:
    """What a worker made, or what it met, as it would have been met here."""
    try:
        found: Answers = ray.get(done)
    except ray_exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None
    except ray_exceptions.RayError as error:
        raise InvalidInput(
            f"the workers that computed rows {block.start:,} to {block.start + len(block) - 1:,} died, too often to go on"
            f" ({type(error).__name__}); what is finished stays: give them more memory or fewer batch_rows, and call again"
        ) from error
    return found
