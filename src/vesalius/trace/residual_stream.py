"""The residual stream read off the graph: what is written to it, by whom, and who reads it.

A residual addition adds to a value something that was computed from it through weights. The values that are added to and the sums are the
*stream*; what is added are its *writers* (the embedding, heads of attention, MLPs); and whatever else uses it are its *readers*: queries,
keys and values of heads, MLPs, the output. A normalisation within the chain (as after each sum of BERT) is a reader and a writer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch.fx import Node

from vesalius.trace.attention import Attention, name_of, op_of
from vesalius.trace.graph import ModelGraph, data_inputs, downstream_nodes

PASSED = frozenset("dropout contiguous clone alias to type_as".split())
"""Ops that leave a value as it is."""
RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten"})
WEIGHT_OPS = frozenset("linear addmm mm matmul bmm baddbmm einsum attention conv1d conv2d conv3d embedding convolution".split())
AFFINE = frozenset({"reshape", "linear"})
"""Families of ops of which a head's share of the output can be told."""
ROLES = "qkv"


@dataclass(frozen=True)
class StreamWriter:
    """What adds to the stream.

    Attributes:
        name: ``embed``, ``L0H1``, ``L0.mlp``.
        value: name of the value that is added, or of which a head's share is.
        attention: whose head it is; ``None`` for all others.
        head: which one.
    """

    name: str
    value: str
    attention: Attention | None = None
    head: int = 0


@dataclass(frozen=True)
class StreamReader:
    """What reads the stream.

    Attributes:
        name: ``L1H0.k``, ``L0.mlp``, ``logits``.
        sink: name of the value that it makes of what it reads.
        streams: names of the values of the stream that it reads.
        layout_axis: the axis of the sink, batch first, along which heads read apart; 0 where there is one reader.
        head: place along that axis.
    """

    name: str
    sink: str
    streams: tuple[str, ...]
    layout_axis: int = 0
    head: int = 0


@dataclass(frozen=True)
class ResidualStream:
    """Writers and readers of all streams of a network.

    Attributes:
        writers: in order of computation.
        sums: for each value of the stream, which writers it is the sum of.
        readers: in order of computation.
        parts: for each residual sum, what is added: the value, and which writers it is.
    """

    writers: tuple[StreamWriter, ...]
    sums: dict[str, tuple[int, ...]]
    readers: tuple[StreamReader, ...]
    parts: tuple[tuple[str, tuple[int, ...]], ...]

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """StreamWriter and reader of each edge, by place: readers in order, and of each what it reads in order."""
        found = []
        for place, reader in enumerate(self.readers):
            read = dict.fromkeys(writer for stream in reader.streams for writer in self.sums[stream])
            found += [(writer, place) for writer in sorted(read)]
        return tuple(found)

    @property
    def edge_names(self) -> tuple[str, ...]:
        """``L0H1->L1H0.k``."""
        return tuple(f"{self.writers[writer].name}->{self.readers[reader].name}" for writer, reader in self.edges)


def unwrap(node: Node) -> Node:
    """The value behind ops that leave it as it is."""
    while op_of(node) in PASSED and node.all_input_nodes and _same_kind(node, node.all_input_nodes[0]):
        node = node.all_input_nodes[0]
    return node


def _same_kind(node: Node, source: Node) -> bool:
    if "value" not in node.meta or "value" not in source.meta:
        return False
    here, there = node.meta["value"], source.meta["value"]
    return bool(here.dtype == there.dtype and here.shape == there.shape)


@dataclass
class _Reading:
    """A stream as it is being read."""

    graph: ModelGraph
    attentions: Sequence[Attention]
    writers: list[StreamWriter] = field(default_factory=list)
    streams: dict[Node, tuple[int, ...]] = field(default_factory=dict)
    bases: list[tuple[Node, int]] = field(default_factory=list)
    parts: list[tuple[Node, tuple[int, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.varying = downstream_nodes(self.graph.nodes[name] for name in self.graph.inputs)
        self.order = {node: place for place, node in enumerate(self.graph.graph.nodes)}
        self.heads = {self.graph.nodes[one.value]: one for one in self.attentions}
        self.before: dict[Node, int] = {}
        for node, place in self.order.items():
            own = 1 << place
            for source in data_inputs(node):
                own |= self.before[source]
            self.before[node] = own

    def depends(self, node: Node, source: Node) -> bool:
        return bool(self.before[node] >> self.order[source] & 1)

    # ---- sums ---------------------------------------------------------------------------------------------------------------------

    def read_sums(self) -> None:
        for node in self.graph.nodes.values():
            pair = self._operands(node)
            if pair is None:
                continue
            stream, branch = pair
            if stream not in self.streams:
                self.streams[stream] = (self._write(self._base_name(stream), stream),)
                self.bases.append((stream, self.streams[stream][0]))
            leaves = self.streams[stream]
            for part in self._split(branch, stream):
                leaves += self._leaves(part)
            self.streams[node] = leaves
        self._read_loose_heads()

    def _operands(self, node: Node) -> tuple[Node, Node] | None:
        """The stream and what is added to it, where a value is a residual sum."""
        terms = [arg for arg in node.args[:2] if isinstance(arg, Node) and "value" in arg.meta] if op_of(node) == "add" else []
        if len(terms) != 2 or len(node.args) > 2 or node.kwargs.get("alpha", 1) != 1 or not all(arg in self.varying for arg in terms):
            return None
        if terms[0].meta["value"].shape != terms[1].meta["value"].shape or len(terms[0].meta["value"].shape) < 2:
            return None
        given = [self._stream_behind(arg) for arg in terms]
        known = [arg in self.streams and arg not in [base for base, _ in self.bases] for arg in given]
        if known[0] != known[1]:
            return (given[0], given[1]) if known[0] else (given[1], given[0])
        for stream, branch in (given, given[::-1]):
            if self.depends(branch, stream) and self._through_weights(branch, stream):
                return stream, branch
        return None

    def _stream_behind(self, term: Node) -> Node:
        """The value of the stream that a term is, in another shape perhaps; else the term."""
        node = unwrap(term)
        while node not in self.streams and op_of(node) in RESHAPES and node.all_input_nodes:
            node = unwrap(node.all_input_nodes[0])
        return node if node in self.streams else unwrap(term)

    def _through_weights(self, branch: Node, stream: Node) -> bool:
        inside = self.region(branch, lambda node: node is stream)
        return any(op_of(node) in WEIGHT_OPS and self.depends(node, stream) for node in inside)

    def region(self, sink: Node, stop: Callable[[Node], bool]) -> list[Node]:
        """What a value is computed of, up to where it is stopped (and those values not)."""
        queue, seen = [sink], {sink}
        for node in queue:
            further = [one for one in data_inputs(node) if one not in seen and not stop(one)]
            seen |= set(further)
            queue += further
        return queue

    def _split(self, branch: Node, stream: Node) -> list[Node]:
        """The terms of what is added, where they are computed apart, as attention and MLP of a parallel block."""
        given = [unwrap(arg) for arg in branch.args[:2] if isinstance(arg, Node)] if op_of(branch) == "add" else []
        if len(given) != 2 or not all(arg in self.varying and self.depends(arg, stream) for arg in given) or branch in self.streams:
            return [branch]
        inside = [{one for one in self.region(arg, lambda node: node in self.streams) if op_of(one) in WEIGHT_OPS} for arg in given]
        apart = not inside[0] & inside[1] and all(inside)
        return [part for arg in given for part in self._split(arg, stream)] if apart else [branch]

    def _leaves(self, part: Node) -> tuple[int, ...]:
        """The writers of what is added: heads where their shares can be told, else one."""
        attentions = self._attentions_behind(part)
        if len(attentions) == 1 and self._is_affine(self.graph.nodes[attentions[0].value], part):
            one = attentions[0]
            found = tuple(self._write(name, part, one, head) for head, name in enumerate(one.names))
        else:
            layer = attentions[0].layer if attentions else self._layer_before(part)
            found = (self._write(f"L{layer}.{'attn' if attentions else 'mlp'}", part),)
        self.parts.append((part, found))
        return found

    def _attentions_behind(self, part: Node) -> list[Attention]:
        inside = self.region(part, lambda node: node in self.streams)
        return [self.heads[node] for node in inside if node in self.heads]

    def _is_affine(self, source: Node, sink: Node) -> bool:
        """Whether a value is an affine function of another, and of nothing else that varies."""
        for node in self.region(sink, lambda one: one is source):
            if node in self.varying and not self.depends(node, source):
                return False
            if self.depends(node, source) and node is not source and not self._is_linear(node):
                return False
        return True

    def _is_linear(self, node: Node) -> bool:
        if "value" not in node.meta:  # several values at once, or a size
            return op_of(node) in ("split", "chunk", "unbind", "split_with_sizes", "unsafe_split")
        if node.meta["value"].family in AFFINE:
            return True
        return op_of(node) in WEIGHT_OPS and sum(arg in self.varying for arg in data_inputs(node)) == 1

    def _layer_before(self, part: Node) -> int:
        """The layer of the last attention before a value; without any, how many parts came before."""
        before = [one.layer for node, one in self.heads.items() if self.order[node] < self.order[part]]
        return max(before) if before else (0 if self.attentions else len(self.parts))

    def _base_name(self, node: Node) -> str:
        if any(self.depends(node, stream) for stream in self.streams):
            return self.graph.value(name_of(node)).module or name_of(node)
        return "embed" if all(writer.name != "embed" for writer in self.writers) else f"embed.{name_of(node)}"

    def _write(self, name: str, node: Node, attention: Attention | None = None, head: int = 0) -> int:
        known = {writer.name for writer in self.writers}
        unique = next(one for one in (name, *(f"{name}.{count}" for count in range(2, 9999))) if one not in known)
        self.writers.append(StreamWriter(unique, name_of(node), attention, head))
        return len(self.writers) - 1

    def _read_loose_heads(self) -> None:
        """Attentions whose output is added to nothing: what merges their heads is a stream of its own."""
        held = {writer.attention for writer in self.writers}
        for node, one in self.heads.items():
            merged = self._merged(node) if self.streams and one not in held else None
            if merged is not None and merged not in self.streams and self._is_affine(node, merged):
                found = tuple(self._write(name, merged, one, head) for head, name in enumerate(one.names))
                self.streams[merged] = found
                self.parts.append((merged, found))

    def _merged(self, node: Node) -> Node | None:
        """The first value in which heads are mixed."""
        while len(users := [user for user in node.users if "value" in user.meta]) == 1:
            node = users[0]
            if op_of(node) in WEIGHT_OPS | {"sum"}:
                return node
            if node.meta["value"].family != "reshape" and op_of(node) not in PASSED:
                return None
        return None

    # ---- readers ------------------------------------------------------------------------------------------------------------------

    def read_readers(self) -> list[StreamReader]:
        found: list[tuple[int, list[StreamReader]]] = []
        for one in self.attentions:
            for sink, roles, axis in _group_operands(one):
                node = self.graph.nodes[sink]
                found.append((self.order[node], self._read_heads(one, node, roles, axis)))
        for part, leaves in (*self.parts, *((base, (leaf,)) for base, leaf in self.bases)):
            heads = self._attentions_behind(part)
            name = f"L{heads[0].layer}.gate" if heads else self.writers[leaves[0]].name
            found.append((self.order[part], self._read(name, part)))
        output = self.graph.nodes[self.graph.output]
        found.append((self.order[output], self._read("logits", output)))
        return [reader for _, readers in sorted(found, key=lambda one: one[0]) for reader in readers]

    def _streams_read(self, sink: Node) -> tuple[Node, ...]:
        read: dict[Node, None] = {}
        queue, seen = [sink], {sink}
        for node in queue:
            if node in self.streams and node is not sink:
                read[node] = None
                continue
            if node in self.heads and node is not sink:
                continue
            further = [one for one in data_inputs(node) if one not in seen]
            seen |= set(further)
            queue += further
        return tuple(sorted(read, key=self.order.__getitem__))

    def _read(self, name: str, sink: Node) -> list[StreamReader]:
        streams = (sink,) if sink in self.streams and name == "logits" else self._streams_read(sink)
        return [StreamReader(name, name_of(sink), tuple(map(name_of, streams)))] if streams else []

    def _read_heads(self, one: Attention, sink: Node, roles: str, axis: int) -> list[StreamReader]:
        streams = tuple(map(name_of, self._streams_read(sink)))
        value = sink.meta["value"]
        count = one.heads if not axis else self._along(one, roles)
        if not streams or value is None:
            return []
        if not axis or count == 1:
            return [StreamReader(f"{one.names[0] if one.heads == 1 else f'L{one.layer}'}.{roles}", name_of(sink), streams)]
        letter = "H" if count == one.heads else "G"
        return [StreamReader(f"L{one.layer}{letter}{head}.{roles}", name_of(sink), streams, axis, head) for head in range(count)]

    def _along(self, one: Attention, roles: str) -> int:
        return one.operand_heads[ROLES.index(roles[0])]


def _group_operands(one: Attention) -> list[tuple[str, str, int]]:
    """Each value that enters an attention, as what, and its axis over heads."""
    roles: dict[str, str] = {}
    for role, name in zip(ROLES, one.operands, strict=True):
        roles[name] = roles.get(name, "") + role
    return [(name, role, one.operand_axes[ROLES.index(role[0])]) for name, role in roles.items()]


def read_residual_stream(model_graph: ModelGraph, attentions: Sequence[Attention]) -> ResidualStream:
    """Writers and readers of the residual streams of a graph; none where it has no residual sums."""
    reading = _Reading(model_graph, attentions)
    reading.read_sums()
    readers = reading.read_readers()
    sums = {name_of(node): leaves for node, leaves in reading.streams.items()}
    parts = tuple((name_of(node), leaves) for node, leaves in reading.parts)
    return ResidualStream(tuple(reading.writers), sums, tuple(readers), parts)
