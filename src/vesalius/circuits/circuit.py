"""The noun: edges of a network that are kept, and how much of its behaviour they carry.

Axes: E edges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core import store
from vesalius.core.arguments import noun
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput

KIND = "circuit"
SHOWN = 12
"""Edges that are printed."""
ATTENTION_READER = re.compile(r"(L\d+)(H\d+)?(?:G\d+)?\.(?:[qkv]+|gate)")
"""``L0H1.q`` of a head; ``L0.k``, ``L0G1.v`` and ``L0.gate`` of several."""
NUMBERS = ("whole", "empty", "value", "rest")


@noun("make one with vesalius.circuits.circuit_of(...) or vesalius.circuits.acdc(...)")
@dataclass(frozen=True, eq=False, kw_only=True)
class Circuit:
    """Some edges of a network's residual stream, with what the network computes when all others are patched.

    Attributes:
        names: of all edges, ``L0H1->L1H0.k``, writers and readers in order of computation.
        scores: of all edges, by which they were chosen, in the target's unit; NaN where an edge was removed before it was scored.
        kept: which edges are in the circuit.
        whole: mean of the target over the prompts, with all edges.
        empty: with none.
        value: with those of the circuit.
        rest: with all others.
        provenance: model, target, baseline, how it was found.
    """

    names: tuple[str, ...]
    scores: Float[Tensor, " E"]
    kept: Bool[Tensor, " E"]
    whole: float
    empty: float
    value: float
    rest: float
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.scores) == len(self.kept) or not self.names:
            raise InvalidInput(f"{len(self.names)} edges, {len(self.scores)} scores and {len(self.kept)} marks are no circuit")
        if bad := [name for name in self.names if name.count("->") != 1]:
            raise InvalidInput(f"an edge is written writer->reader, not {bad[0]!r}")

    def __len__(self) -> int:
        return int(self.kept.sum())

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Writer and reader of each edge that is kept, ``("L0H1", "L1H0.k")``."""
        kept = self.kept.tolist()
        return tuple((name.partition("->")[0], name.partition("->")[2]) for name, one in zip(self.names, kept, strict=True) if one)

    @cached_property
    def connected(self) -> tuple[tuple[str, str], ...]:
        """Edges of the circuit that are on a way from where nothing comes in to ``logits``; others change nothing."""
        return _on_a_way(self.edges)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Writers and readers on such ways, in order of computation; queries, keys and values count as their head."""
        ends = dict.fromkeys(node_of(end) for edge in self.connected for end in edge)
        order = {name: place for place, name in enumerate(dict.fromkeys(name.partition("->")[0] for name in self.names))}
        return tuple(sorted(ends, key=lambda name: order.get(name, len(order))))

    @property
    def faithfulness(self) -> float:
        """Share of the change from no edge to all that the circuit alone makes: 1 is all of it."""
        return (self.value - self.empty) / (self.whole - self.empty)

    @property
    def completeness(self) -> float:
        """The same share of everything but the circuit: 0 if nothing that matters was left out."""
        return (self.rest - self.empty) / (self.whole - self.empty)

    @verb
    def summary(self) -> str:
        """A few lines for people."""
        facts = self.provenance
        asked = ", ".join(f"{name} {facts[name]}" for name in ("target", "baseline") if facts.get(name))
        head = f"Circuit of {len(self)} of {len(self.names)} edges{f' ({asked})' if asked else ''}"
        lines = [head, f"faithfulness {self.faithfulness:.3f}, completeness (of the rest) {self.completeness:.3f}"]
        by_score = sorted(self.edges, key=lambda edge: -abs(self._score(edge)))
        lines += [f"  {writer:>8} -> {reader:<10} {self._score((writer, reader)):+.4g}" for writer, reader in by_score[:SHOWN]]
        return "\n".join([*lines, *([f"  and {len(self) - SHOWN} others"] if len(self) > SHOWN else [])])

    def _score(self, edge: tuple[str, str]) -> float:
        found = float(self.scores[self.names.index("->".join(edge))])
        return 0.0 if found != found else found

    def __repr__(self) -> str:
        return self.summary()

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """The circuit as a layered graph; returns the matplotlib figure. See :func:`vesalius.views.circuits.charts.plot_circuit`."""
        return load_view("circuit_plot")(self, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("circuit_html")(self))

    def save(self, path: str | Path) -> Path:
        """Write to one file (safetensors with a JSON header), atomically."""
        numbers = torch.tensor([getattr(self, name) for name in NUMBERS], dtype=torch.float64)
        tensors = {"scores": self.scores, "kept": self.kept, "numbers": numbers}
        return store.write(path, KIND, tensors, {"names": list(self.names), "provenance": store.to_json_values(self.provenance)})

    @classmethod
    @verb
    def load(cls, path: str | Path) -> Circuit:
        """Read a file written by :meth:`save`; no code in it can run.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, KIND)
        with store.decoding(path):
            names = tuple(store.words(facts, "names"))
            scores = store.part(tensors, "scores", (len(names),))
            kept = store.part(tensors, "kept", (len(names),), kind="boolean")
            numbers = dict(zip(NUMBERS, store.part(tensors, "numbers", (len(NUMBERS),)).tolist(), strict=True))
            made = store.provenance(facts, options=store.mapping)
            return cls(names=names, scores=scores, kept=kept, provenance=made, **numbers)


def node_of(end: str) -> str:
    """The part that an end of an edge belongs to: ``L1H0`` for ``L1H0.k``."""
    stem, _, role = end.rpartition(".")
    return stem if stem and role and set(role) <= set("qkv") else end


def feeds(reader: str, writer: str) -> bool:
    """Whether what a reader reads goes into what a writer writes: its own; where keys are shared, or heads cannot be told apart as writers,
    that of the attention."""
    if node_of(reader) == writer:
        return True
    found = ATTENTION_READER.fullmatch(reader)
    if found is None:
        return False
    layer, head = found.groups()
    return writer == f"{layer}.attn" or (not head and re.fullmatch(rf"{layer}H\d+", writer) is not None)


def _on_a_way(edges: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Edges that lead from a writer that reads nothing (the embedding) to the output."""
    ahead: set[str] = {"embed", *(writer for writer, _ in edges if writer.startswith("embed."))}
    behind: set[str] = set()
    for _ in range(len(edges) + 1):
        reached = {reader for writer, reader in edges if writer in ahead}
        grown = ahead | {writer for writer, _ in edges if any(feeds(reader, writer) for reader in reached)}
        if grown == ahead:
            break
        ahead = grown
    for _ in range(len(edges) + 1):
        useful = {writer for writer, reader in edges if reader == "logits" or reader in behind}
        grown = behind | {reader for _, reader in edges if any(feeds(reader, writer) for writer in useful)}
        if grown == behind:
            break
        behind = grown
    return tuple((writer, reader) for writer, reader in edges if writer in ahead and (reader == "logits" or reader in behind))
