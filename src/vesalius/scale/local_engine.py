"""Shard after shard in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vesalius.scale.aggregate import Answers
from vesalius.scale.options import RayOptions
from vesalius.scale.stream import RowBlock
from vesalius.scale.task import SurveyTask
from vesalius.trace.network import Network


def run_here(network: Network, task: SurveyTask, blocks: Iterable[RowBlock], ray: RayOptions) -> Iterator[tuple[RowBlock, Answers]]:
    """Every block with its answers, in order; a block is read when the one before is done."""
    for block in blocks:
        yield block, task.run(network, block)
