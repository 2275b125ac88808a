"""The feature that is disentangled, and what its disentanglers see: both read once and kept for all epochs.

Axes: N rows, B rows of a batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.fx import Node

from vesalius.complexity.networks import RowShapes
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.trace.batches import Data, iterate_batches
from vesalius.trace.graph import Value, downstream_nodes
from vesalius.trace.network import Inputs, Network
from vesalius.trace.precision import HALF_DTYPES
from vesalius.trace.split import Split

ACTIVATIONS = frozenset("relu relu6 leaky_relu prelu rrelu threshold elu selu celu gelu silu mish hardswish softplus".split())
"""Activations whose input is taken in place of their output, as the paper does."""
BATCH = 256
"""Rows that run through the network at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureSource:
    """Where the feature and the disentanglers' input are read.

    Attributes:
        network: traced.
        at: name of the feature's value.
        inputs: names of the values the disentanglers see: the network's own floating inputs, or the embedding of its tokens.
    """

    network: Network
    at: str
    inputs: tuple[str, ...]

    @property
    def shape(self) -> RowShapes:
        """Shapes of a row, from the graph."""
        sides = [tuple(int(side or 0) for side in self.network.values[name].event) for name in (*self.inputs, self.at)]
        seen = sides[0] if len(self.inputs) == 1 else (sum(map(prod, sides[:-1])),)
        read = self._unit_axis(self.inputs[0]) if len(self.inputs) == 1 and len(seen) > 1 else None
        return RowShapes(x=seen, f=sides[-1], axis=self._unit_axis(self.at) if len(sides[-1]) > 1 else None, source_axis=read)

    def _unit_axis(self, name: str) -> int | None:
        """Axis of units in a row of a value, as far as the graph says."""
        found = self.network.axes.values[name].units
        return None if found is None else found - 1

    def read(self, x: Inputs) -> tuple[Float32[Tensor, "B ..."], Float[Tensor, "B ..."]]:
        """The disentanglers' input and the feature, for a batch; the feature in the network's own precision, if that is not half."""
        program = self.network.program([value.name for value in self.network.inputs], [*self.inputs, self.at])
        with torch.no_grad():
            *seen, feature = program(*self.network.bind(x))
        if len(seen) > 1:
            seen = [torch.cat([part.flatten(1) for part in seen], 1)]
        return seen[0].float(), feature.float() if feature.dtype in HALF_DTYPES else feature

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        """The rest of the network, on features as :meth:`read` gives them.

        Raises:
            InvalidInput: something bypasses the feature; see :func:`cut_at`.
        """
        half = getattr(torch, self.network.values[self.at].dtype) in HALF_DTYPES
        return cut_at(self.network.cast(torch.float32) if half else self.network, self.at, pre_activation=False).head  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False, kw_only=True)
class CachedRows:
    """All rows, in float32 on the CPU; in a file that is mapped into memory where they are large.

    Attributes:
        x: what the disentanglers see.
        f: the feature.
        mapped: whether they are in a file.
    """

    x: Float32[Tensor, "N ..."]
    f: Float32[Tensor, "N ..."]
    mapped: bool

    def __len__(self) -> int:
        return len(self.x)


def resolve_feature(network: Network, at: str, *, pre_activation: bool = True) -> str:
    """Name of the value meant by ``at``: before its activation, where it is the output of one and that is asked for.

    Raises:
        UnknownName, NotTraceable: see :meth:`vesalius.Network.resolve`.
        InvalidInput: the value has no batch axis in front, or is not of real numbers.
    """
    model_graph = network.graph("finding a feature")
    node = model_graph.nodes[network.resolve(at)]
    if pre_activation and node.meta["value"].op in ACTIVATIONS and "value" in node.all_input_nodes[0].meta:
        node = node.all_input_nodes[0]
    value: Value = node.meta["value"]
    if not _can_be_feature(value):
        raise InvalidInput(
            f"{value.name!r} is {value.dtype} of shape {list(value.shape)}; a feature is of real numbers, with the batch as its first axis"
            " and at least one more; choose another value"
        )
    return value.name


def parameter_device(network: Network) -> torch.device:
    """The device a network's parameters are on; the CPU if it has none."""
    return next((tensor.device for tensor in network.parameters.values()), torch.device("cpu"))


@verb
def cut_at(network: Network, at: str, *, pre_activation: bool = True) -> Split:
    """The network cut at a feature that everything passes through: ``head(f)`` is the output.

    Args:
        network: traced.
        at: a value or module.
        pre_activation: cut before the activation, if the value is the output of one.

    Raises:
        InvalidInput: something bypasses the value, such as a skip connection; names the nearest later value that nothing bypasses.
        UnknownName, NotTraceable: see :func:`resolve_feature`.
    """
    name = resolve_feature(network, at, pre_activation=pre_activation)
    split = network.split(name)
    if not split.context:
        return split
    raise InvalidInput(
        f"{name!r} is bypassed: the output also depends on {', '.join(map(repr, split.context[:3]))}, so it is no function of the feature"
        f" alone. The nearest later value that nothing bypasses is {_next_cut(network, name)!r}; use at={_next_cut(network, name)!r}"
    )


def _next_cut(network: Network, name: str) -> str:
    """The first value after another that nothing bypasses; the output, if there is none before it."""
    model_graph = network.graph("finding a cut")
    after = downstream_nodes([model_graph.nodes[name]]) - {model_graph.nodes[name]}
    later = [other for other, node in model_graph.nodes.items() if node in after and _can_be_feature(node.meta["value"])]
    return next((other for other in later if not model_graph.head_context((other,), model_graph.output)), model_graph.output)


def _can_be_feature(value: Value) -> bool:
    return value.is_floating and value.batch_axis == 0 and len(value.shape) > 1


def feature_source(network: Network, at: str, *, pre_activation: bool = True) -> FeatureSource:
    """Where to read a feature and what its disentanglers see.

    Raises: as :func:`resolve_feature`; InvalidInput where the network takes neither real numbers nor tokens that it embeds.
    """
    name = resolve_feature(network, at, pre_activation=pre_activation)
    floating = tuple(value.name for value in network.inputs if value.is_floating)
    return FeatureSource(network=network, at=name, inputs=floating or (_find_embedding(network),))


def _find_embedding(network: Network) -> str:
    """The first embedding of an integer input: from there on the network is a function of real numbers."""
    model_graph = network.graph("finding the embedding")
    reached = downstream_nodes(model_graph.nodes[name] for name in model_graph.inputs)

    def is_embedding(node: Node) -> bool:
        value: Value | None = node.meta.get("value")
        return node in reached and value is not None and value.op == "embedding" and _can_be_feature(value)

    for name, node in model_graph.nodes.items():
        if is_embedding(node):
            return name
    raise InvalidInput(f"{network.name} takes integers and embeds none of them; components need an input of real numbers")


@contextmanager
def cache_rows(where: FeatureSource, data: Data, *, limit: int, report: Callable[[int], None] | None = None) -> Iterator[CachedRows]:
    """Read all rows once and keep them while the block runs; a file that holds them is removed after it.

    Args:
        where: what to read.
        data: see :data:`vesalius.trace.batches.Data`; labels are passed over.
        limit: bytes above which rows go to a file.
        report: told how many rows are read.

    Raises:
        InvalidInput: no rows, NaN or infinite values.
    """
    with tempfile.TemporaryDirectory(prefix="vesalius-") as folder:
        seen, features = _SpillBuffer(Path(folder) / "x", limit // 2), _SpillBuffer(Path(folder) / "f", limit // 2)
        for inputs, _ in iterate_batches(where.network, data, size=BATCH):
            x, f = where.read(inputs)
            for what, table, part in (("the input", seen, x), (repr(where.at), features, f)):
                _check_finite(what, part, table.rows)
                table.append(part.float())
            if report is not None:
                report(seen.rows)
        if not seen.rows:
            raise InvalidInput("the data holds no rows")
        yield CachedRows(x=seen.tensor(), f=features.tensor(), mapped=seen.mapped or features.mapped)


class _SpillBuffer:
    """Rows that grow in memory, and move to a file when they outgrow it."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit
        self.parts: list[Tensor] = []
        self.rows = self.bytes = 0
        self.event: Sequence[int] = ()

    @property
    def mapped(self) -> bool:
        return self.bytes > self.limit

    def append(self, part: Float[Tensor, "B ..."]) -> None:
        part = part.cpu().contiguous()
        self.parts.append(part)
        self.rows, self.bytes, self.event = self.rows + len(part), self.bytes + part.nbytes, part.shape[1:]
        if self.mapped:
            with self.path.open("ab") as file:
                for rows in self.parts:
                    rows.numpy().tofile(file)
            self.parts = []

    def tensor(self) -> Float32[Tensor, "N ..."]:
        if not self.mapped:
            return torch.cat(self.parts)
        # mode c: torch wants memory it may write to, and the file stays as it is
        return torch.from_numpy(np.memmap(self.path, dtype=np.float32, mode="c", shape=(self.rows, *self.event)))


def _check_finite(what: str, part: Float[Tensor, "B ..."], before: int) -> None:
    if bool(part.isfinite().all()):
        return
    row = before + int((~part.isfinite()).flatten(1).any(1).nonzero()[0])
    raise InvalidInput(f"{what} holds NaN or infinity, first in row {row}; clean or drop those rows")
