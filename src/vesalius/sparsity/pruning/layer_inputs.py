"""What the links of one layer after the other carry, each part of the network computed once.

Axes: G groups, F links into a unit, N rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx import Node

from vesalius.games.memory import batch_size
from vesalius.sparsity.links import MAX_POSITIONS, Links, ReservoirSample, check_finite, read_link_inputs
from vesalius.trace.graph import Value, data_inputs, downstream_nodes
from vesalius.trace.network import Network

MAX_HELD_BYTES = 1 << 31
"""Bytes of the values that are kept between two layers; beyond that they are computed anew for every layer."""


class LayerInputs:
    """A pass over some samples that stops before every layer.

    Layers are asked for in order of computation. Between two of them, the values are kept that are still to be read, so that each op is run
    once, with the weights as they are when the pass comes to it: of a copy that is pruned on the way, layers see what the layers before
    them give after pruning.
    """

    def __init__(self, network: Network, samples: tuple[Tensor, ...], *, rows: int, seed: int) -> None:
        """Args: network: traced; samples: its inputs; rows: kept of each layer; seed: of the draws."""
        self.network, self.samples, self.rows, self.seed = network, samples, rows, seed
        model_graph = network.graph("reading layer by layer")
        self.order = {node: place for place, node in enumerate(model_graph.graph.nodes)}
        self.varying = downstream_nodes(model_graph.nodes[name] for name in model_graph.inputs)
        self.inputs = {name: part for name, part in zip(model_graph.inputs, samples, strict=True)}
        self.held = dict(self.inputs)
        self.place = max((self.order[model_graph.nodes[name]] for name in model_graph.inputs), default=0)
        self.size = batch_size(network, samples[0].device)

    def read(self, links: Links) -> Float[Tensor, "N GF"]:
        """What a layer's links carry; of two networks on the same samples, the same rows in the same order.

        A weight that is used several times is read at all places at once, apart from the pass.
        """
        if len(links.layers) > 1:
            return read_link_inputs({links.name: links}, self.samples, rows=self.rows, seed=self.seed)[links.name]
        kept, draws = ReservoirSample(self.rows, self.seed), torch.Generator().manual_seed(self.seed)
        for value in self._source_batches(links.layer.source):
            part = links.rows(value, positions=MAX_POSITIONS, generator=draws)
            check_finite(links.name, part)
            kept.add(part)
        return kept.tensor()

    def _source_batches(self, source: str) -> Iterator[Tensor]:
        node = self.network.graph("reading layer by layer").nodes[source]
        names = list(self._needed_after(max(self.place, self.order[node]), node))
        if self._bytes(names) > MAX_HELD_BYTES:
            yield from (found[0] for found in self._run(list(self.inputs), [source]))
            return
        if self.order[node] > self.place:
            self._advance(names, self.order[node])
        if source in self.held:
            yield from self.held[source].split(self.size)
        else:
            yield from (found[0] for found in self._run(list(self.held), [source]))

    def _advance(self, names: list[str], place: int) -> None:
        """Compute the values that are needed behind a place of the graph."""
        new = [name for name in names if name not in self.held]
        parts = list(self._run(list(self.held), new)) if new else []
        found = {name: torch.cat([part[position] for part in parts]) for position, name in enumerate(new)}
        self.held = {name: found[name] if name in found else self.held[name] for name in dict.fromkeys([*self.inputs, *names])}
        self.place = place

    @torch.no_grad()
    def _run(self, given: list[str], wanted: list[str]) -> Iterator[tuple[Tensor, ...]]:
        """Values from others, batch by batch."""
        known = self.inputs if given == list(self.inputs) else self.held
        program = self.network.program(given, wanted)
        for start in range(0, len(self.samples[0]), self.size):
            yield tuple(program(*(known[name][start : start + self.size] for name in given)))

    def _needed_after(self, place: int, source: Node) -> dict[str, None]:
        """Values up to a place of the graph that anything behind it reads, or that the source is computed from.

        Only those with a sample for each row are kept; others, and tuples, are computed from them whenever they are read.
        """
        found: dict[str, None] = {}
        queue = [source, *(one for node, at in self.order.items() if at > place for one in data_inputs(node) if self.order[one] <= place)]
        seen: set[Node] = set()
        while queue:
            node = queue.pop()
            if node in seen or node not in self.varying:
                continue
            seen.add(node)
            value: Value | None = node.meta.get("value")
            if value is not None and value.is_tensor and value.batch_axis == 0:
                found[value.name] = None
            else:
                queue += data_inputs(node)
        return found

    def _bytes(self, names: list[str]) -> int:
        values = [self.network.graph("counting bytes").value(name) for name in names]
        each = sum(prod(side or 1 for side in one.shape) * torch.empty(0, dtype=getattr(torch, one.dtype)).element_size() for one in values)
        return each * len(self.samples[0])
