"""Layers as units by incoming links, and the rows of inputs that these links carry: the one place where both are read off a network.

Axes: U units, F links into a unit (fan-in), G groups, N rows, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.games.memory import batch_size
from vesalius.sparsity.activations import Activation
from vesalius.sparsity.convolution_patches import ConvolutionWindow, TransposedWindow, patches, transposed_patches
from vesalius.sparsity.einsum_links import EINSUM_OP, einsum_inputs, einsum_layers
from vesalius.sparsity.elementwise_function import UnitFunction
from vesalius.sparsity.fused_activation import FusedActivation, find_activation, fold_affine, same_for_all
from vesalius.sparsity.recurrent import RECURRENT_OPS, gate_inputs, recurrent_layers
from vesalius.trace.batches import Data, iterate_batches
from vesalius.trace.layers import Layer
from vesalius.trace.network import Network
from vesalius.trace.precision import HALF_DTYPES

LINEAR_OPS = frozenset({"linear", "addmm", "matmul", "mm"})
CONVOLUTION_OPS = frozenset({"conv1d", "conv2d", "conv3d"})
TRANSPOSED_OPS = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
MAX_ROWS = 8192
"""Rows of a layer's inputs that are kept; 2,000 are enough for a mask (measured)."""
MAX_POSITIONS = 16
"""Positions of a convolution that are looked at in each sample."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Links:
    """One weight, as the links into its units.

    Attributes:
        name: of the layer; of the module that owns the weight, where it is used several times.
        network: traced.
        layers: the places where the weight is used this way round; more than one where a module is called more than once.
        tied: names of other layers that use the same weight the other way round, such as a tied decoder.
        after: activation, and the affine map before it. Identity if the uses differ.
    """

    name: str
    network: Network
    layers: tuple[Layer, ...]
    tied: tuple[str, ...]
    after: FusedActivation

    @property
    def layer(self) -> Layer:
        """The first place where the weight is used."""
        return self.layers[0]

    @property
    def activation(self) -> UnitFunction:
        """What a unit applies to its sum."""
        return self.after.activation

    @property
    def units(self) -> int:
        """Units that the links lead to."""
        return self.layer.shape[self.layer.out_axis] * (self.layer.groups if self.turned else 1)

    @property
    def turned(self) -> bool:
        """Whether it is a transposed convolution, whose weight has the inputs of all groups, then the units of one."""
        return self.layer.op in TRANSPOSED_OPS

    @property
    def kernel(self) -> int:
        """Weights between one input channel and one unit: elements of a convolution's kernel, else 1."""
        return prod(side for axis, side in enumerate(self.layer.shape) if axis not in (self.layer.out_axis, self.layer.in_axis))

    @property
    def fan_in(self) -> int:
        """Weights into one unit: input channels (of its group) times elements of the kernel."""
        return prod(self.layer.shape) // self.units

    def matrix(self, tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "U F"]:
        """A tensor of the weight's own shape, as units by fan-in."""
        if self.turned:
            by_group = tensor.reshape(self.layer.groups, -1, *tensor.shape[1:])
            return by_group.transpose(1, 2).flatten(0, 1).flatten(1)
        return tensor.movedim((self.layer.out_axis, self.layer.in_axis), (0, 1)).flatten(1)

    def to_weight_shape(self, matrix: Shaped[Tensor, "U F"]) -> Shaped[Tensor, "..."]:
        """Units by fan-in, as a tensor of the weight's own shape; the inverse of :meth:`matrix`."""
        if self.turned:
            read, units, *kernel = self.layer.shape
            by_group = matrix.reshape(self.layer.groups, units, read // self.layer.groups, *kernel)
            return by_group.transpose(1, 2).flatten(0, 1).contiguous()
        axes = (self.layer.out_axis, self.layer.in_axis)
        rest = [side for axis, side in enumerate(self.layer.shape) if axis not in axes]
        return matrix.reshape(self.units, self.layer.shape[self.layer.in_axis], *rest).movedim((0, 1), axes).contiguous()

    @property
    def weight(self) -> Float[Tensor, "U F"]:
        """The weight as it is now, in the layer's precision, float32 if that is half."""
        return self.matrix(_at_least_float32(self.network.weight(self.layer)))

    @property
    def bias(self) -> Float[Tensor, " U"]:
        """The layer's bias; zeros if it has none."""
        if not self.layer.bias:
            return self.weight.new_zeros(self.units)
        return _at_least_float32(self.network.parameters[self.layer.bias])

    def argument(self) -> tuple[Float[Tensor, "U F"], Float[Tensor, " U"]]:
        """Weight and bias of the activation's argument: with a batch norm in between, not those of the layer."""
        return fold_affine(self.after, self.weight, self.bias)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the values the weight is applied to, one per use."""
        return tuple(layer.source for layer in self.layers)

    def split(self, rows: Float[Tensor, "N GF"]) -> Iterator[tuple[slice, Float[Tensor, "N F"]]]:
        """Units and the inputs that they read: all and all, but one part per group of a grouped convolution."""
        each = self.units // self.layer.groups
        for group in range(self.layer.groups):
            yield slice(group * each, (group + 1) * each), rows[:, group * self.fan_in : (group + 1) * self.fan_in]

    def rows(
        self, value: Float[Tensor, "..."], use: int = 0, *, positions: int | None = None, generator: torch.Generator | None = None
    ) -> Float[Tensor, "N GF"]:
        """The inputs of all links, from the value that a layer reads: every sample, every token, every position is a row.

        Args:
            value: of :attr:`sources`, for a batch.
            use: which of :attr:`layers` read it.
            positions: of a convolution, at most so many per sample, drawn anew for each; ``None`` for all of them.
            generator: for the draw, on the CPU.

        Returns:
            For convolutions the patches under the kernel, zeros where it was padded, in the order of :meth:`matrix`, group by group; for
            transposed ones what each element of the kernel brings to a position, which is nothing where its stride passes that by.
        """
        value = _at_least_float32(value)
        if self.layer.op in LINEAR_OPS:
            return value.reshape(-1, value.shape[-1])
        if self.layer.op in RECURRENT_OPS:
            known = {name: _at_least_float32(tensor) for name, tensor in self.network.parameters.items()}
            return gate_inputs(self.network.graph("reading gates"), self.layers[use], value, known)
        if self.layer.op == EINSUM_OP:
            return einsum_inputs(self.network.graph("reading products"), self.layers[use], value)
        node = self.network.graph("reading patches").nodes[self.layers[use].value]
        if self.turned:
            return transposed_patches(value, TransposedWindow.of(node.args, self.layer), positions=positions, generator=generator)
        return patches(value, ConvolutionWindow.of(node.args, self.layer), positions=positions, generator=generator)


@verb
def links_of(network: Network, layers: Sequence[str] | None = None) -> dict[str, Links]:
    """The links of layers, by the layer's name, in order of computation.

    Args:
        network: traced.
        layers: names; by default all linear layers and convolutions, transposed ones too; and, by the names of their weights, the gates of
            recurrent layers and matrices in ``torch.einsum``. Embeddings are left out, as their inputs are no activations. A weight that is
            used several times the same way round is listed once, with all its uses.

    Raises:
        UnknownName: no such layer.
        InvalidInput: a layer of another kind was asked for; none at all.
        NotTraceable: an opaque network.
        WrongType: not a Network.
    """
    if not isinstance(network, Network):
        raise WrongType(f"expected a Network, not {type(network).__name__}; make one with vesalius.trace(model, x)")
    if layers is not None and not layers:
        raise InvalidInput("layers= names no layer; leave it out for all linear layers and convolutions")
    usable = _layers_with_links(network)
    merged: dict[tuple[str, int], list[Layer]] = {}
    for layer in usable:
        merged.setdefault((layer.weight, layer.out_axis), []).append(layer)
    found = {_links_name(uses): uses for uses in merged.values()}
    if layers is None and not found:
        raise InvalidInput(f"{network.name} has no linear layer or convolution whose links could be scored")
    names = list(found) if layers is None else [_resolve_name(network, name, found) for name in layers]
    return {name: _build_links(network, name, found) for name in dict.fromkeys(names)}


def _layers_with_links(network: Network) -> list[Layer]:
    """Layers whose links can be scored, in order of computation."""
    model_graph = network.graph("finding links")
    plain = [one for one in network.layers.values() if one.source and one.op in LINEAR_OPS | CONVOLUTION_OPS | TRANSPOSED_OPS]
    gates, products = list(recurrent_layers(model_graph)), list(einsum_layers(model_graph))
    if not gates and not products:
        return plain
    order = {node.name: place for place, node in enumerate(model_graph.graph.nodes)}
    places = {one.value: order[one.value] for one in gates}
    places |= {one.value: order[model_graph.nodes[one.value].name] for one in (*plain, *products)}
    return sorted([*plain, *gates, *products], key=lambda one: places[one.value])


def _links_name(uses: Sequence[Layer]) -> str:
    """The layer's, or that of the module that owns the weight if there are several."""
    return uses[0].name if len(uses) == 1 else uses[0].weight.rpartition(".")[0] or uses[0].weight


def _resolve_name(network: Network, name: str, found: Mapping[str, Sequence[Layer]]) -> str:
    """The name under which links are listed, for that of a layer."""
    if name in found:
        return name
    if (several := [own for own, uses in found.items() if any(use.name == name for use in uses)]) and several:
        return several[0]
    if name in network.layers:
        raise InvalidInput(f"{name!r} is a layer of kind {network.layers[name].op}; links are of linear layers and convolutions")
    raise UnknownName("layer", name, found)


def _build_links(network: Network, name: str, found: Mapping[str, Sequence[Layer]]) -> Links:
    uses = found[name]
    tied = tuple(other for other, layers in found.items() if other != name and layers[0].weight == uses[0].weight)
    if uses[0].op in RECURRENT_OPS:
        after = FusedActivation(activation=Activation(), unread=f"the gates of {uses[0].op}")
    else:
        after = same_for_all([find_activation(network.axes, use) for use in uses])
    return Links(name=name, network=network, layers=tuple(uses), tied=tied, after=after)


def _at_least_float32(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.float() if tensor.dtype in HALF_DTYPES else tensor


def read_link_inputs(
    links: Mapping[str, Links], data: Data, *, rows: int = MAX_ROWS, positions: int | None = MAX_POSITIONS, seed: int = 0
) -> dict[str, Float[Tensor, "N GF"]]:
    """The inputs of all links, in one pass over the data; a uniform sample of rows where there are more than are kept.

    Args:
        links: of one network.
        data: see :data:`vesalius.trace.batches.Data`; labels are passed over.
        rows: at most so many are kept per layer, whatever the data's length.
        positions: see :meth:`Links.rows`.
        seed: of the draws.

    Raises:
        InvalidInput: no rows, NaN or infinite activations.
    """
    if rows < 1:
        raise InvalidInput(f"rows is how many rows are kept, 1 or more, not {rows}")
    network = next(iter(links.values())).network
    program = network.program([value.name for value in network.inputs], [source for one in links.values() for source in one.sources])
    samples = {name: ReservoirSample(rows, seed) for name in links}
    draws = torch.Generator().manual_seed(seed)
    device = next(iter(network.parameters.values())).device
    for inputs, _ in iterate_batches(network, data, size=batch_size(network, device)):
        with torch.no_grad():
            values = iter(program(*inputs))
        for name, one in links.items():
            for use in range(len(one.layers)):
                part = one.rows(next(values), use, positions=positions, generator=draws)
                check_finite(name, part)
                samples[name].add(part)
    if not all(sample.parts for sample in samples.values()):
        raise InvalidInput("the data holds no rows")
    return {name: sample.tensor() for name, sample in samples.items()}


class ReservoirSample:
    """A uniform sample of rows that come in parts: those with the smallest random keys; all of them, in order, if they are few."""

    def __init__(self, most: int, seed: int) -> None:
        self.most = most
        self.draws = torch.Generator().manual_seed(seed)
        self.parts: list[Tensor] = []
        self.keys: list[Tensor] = []
        self.held = 0

    def add(self, part: Float[Tensor, "N F"]) -> None:
        keys = torch.rand(len(part), generator=self.draws, dtype=torch.float64)
        self.parts.append(part)
        self.keys.append(keys)
        self.held += len(part)
        if self.held > 2 * self.most:
            self._drop_excess()

    def _drop_excess(self) -> None:
        rows, keys = torch.cat(self.parts), torch.cat(self.keys)
        if len(rows) > self.most:
            kept = keys.topk(self.most, largest=False, sorted=False).indices.sort().values
            rows, keys = rows[kept.to(rows.device)], keys[kept]
        self.parts, self.keys, self.held = [rows], [keys], len(rows)

    def tensor(self) -> Float[Tensor, "N F"]:
        self._drop_excess()
        return self.parts[0]


def check_finite(name: str, rows: Float[Tensor, "N F"]) -> None:
    if not bool(rows.isfinite().all()):
        raise InvalidInput(f"the inputs of layer {name!r} hold NaN or infinity; clean the data, or look at the network's weights")
