"""Which layers of a flow graph are joined: a directed acyclic graph whose nodes are layers.

Layers are counted in an order in which information runs forward only, so a pair (first, second) has first < second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known

Pair = tuple[int, int]
"""A layer and one that reads it, by their numbers."""


@dataclass(frozen=True)
class LayerGraph:
    """Layers and which of them are joined.

    Attributes:
        sizes: units of each layer.
        pairs: layers that are joined, the one that is read first.
    """

    sizes: tuple[int, ...]
    pairs: tuple[Pair, ...]

    @classmethod
    def chain(cls, sizes: Sequence[int]) -> LayerGraph:
        """Each layer joined with the next."""
        return cls(tuple(sizes), tuple(pairwise(range(len(sizes)))))

    @property
    def is_chain(self) -> bool:
        """Whether each layer is joined with the next, and with no other."""
        return self.pairs == tuple(pairwise(range(len(self.sizes))))

    @cached_property
    def into(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, the numbers of the pairs that end there."""
        return tuple(tuple(place for place, pair in enumerate(self.pairs) if pair[1] == at) for at in range(len(self.sizes)))

    @cached_property
    def out_of(self) -> tuple[tuple[int, ...], ...]:
        """For each layer, the numbers of the pairs that begin there."""
        return tuple(tuple(place for place, pair in enumerate(self.pairs) if pair[0] == at) for at in range(len(self.sizes)))

    @property
    def sources(self) -> tuple[int, ...]:
        """Layers that read no other."""
        return tuple(at for at, pairs in enumerate(self.into) if not pairs)

    @property
    def sinks(self) -> tuple[int, ...]:
        """Layers that no other reads."""
        return tuple(at for at, pairs in enumerate(self.out_of) if not pairs)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """For each layer, the pairs on the longest way to it."""
        found: list[int] = []
        for pairs in self.into:
            found.append(max((found[self.pairs[place][0]] + 1 for place in pairs), default=0))
        return tuple(found)

    @property
    def bypassed(self) -> tuple[int, ...]:
        """Layers that some way from a source to a sink goes around, sources and sinks left out."""
        inner = set(range(len(self.sizes))) - {*self.sources, *self.sinks}
        return tuple(at for at in sorted(inner) if any(end in self.sinks for end in self.reached(self.sources, without=(at,))))

    @property
    def reverse(self) -> LayerGraph:
        """All pairs turned round, layers counted from the last; the pairs stay in their order."""
        last = len(self.sizes) - 1
        return LayerGraph(self.sizes[::-1], tuple((last - second, last - first) for first, second in self.pairs))

    def reached(self, starts: Sequence[int], without: Sequence[int] = ()) -> set[int]:
        """Layers that information of some layers comes to, these included, where other layers pass nothing on."""
        found = set(starts) - set(without)
        for first, second in sorted(self.pairs):
            if first in found and second not in without:
                found.add(second)
        return found


def layer_graph(
    names: Sequence[str], sizes: Sequence[int], pairs: Sequence[tuple[str, str]] | None, unseen: Sequence[str] = ()
) -> LayerGraph:
    """Layers with the pairs that are named; a chain where none are.

    Raises:
        InvalidInput: a single layer, two of one name, an unknown one in a pair, a pair twice or backwards, a layer without any.
        UnknownName: one that reads an unseen input is none of the layers.
    """
    if len(names) < 2:
        raise InvalidInput(f"a flow graph has at least two layers, not {len(names)}")
    if len(set(names)) < len(names):
        raise InvalidInput(f"layers need different names; these are {', '.join(map(repr, names))}")
    for name in unseen:
        require_known("layer", name, names)
    if pairs is None:
        return LayerGraph.chain(sizes)
    found: list[Pair] = []
    for pair in pairs:
        if unknown := [name for name in pair if name not in names]:
            raise InvalidInput(f"pair {tuple(pair)} joins {unknown[0]!r}, which is none of the layers {', '.join(map(repr, names))}")
        first, second = map(names.index, pair)
        if first >= second:
            raise InvalidInput(f"pair {tuple(pair)} runs backwards: layers are given in an order in which each reads earlier ones only")
        if (first, second) in found:
            raise InvalidInput(f"pair {tuple(pair)} was given twice")
        found.append((first, second))
    alone = set(range(len(names))) - {at for pair in found for at in pair}
    if alone:
        raise InvalidInput(f"layer {names[min(alone)]!r} is joined with no other; leave it out, or give its pairs")
    return LayerGraph(tuple(sizes), tuple(found))
