"""The noun of this layer: a model one can look into.

Axes: B batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.fx import GraphModule

from vesalius.core import store
from vesalius.core.errors import ForeignFile, InvalidInput, NotTraceable, UnknownName, WrongType
from vesalius.trace.graph import ModelGraph, Value, bytes_per_sample
from vesalius.trace.layers import Layer, find_layers
from vesalius.trace.precision import cast_graph, parameters_match
from vesalius.trace.serialization import decode_graph, encode_graph
from vesalius.trace.signature import ModelCall, eval_mode

UNTRACEABLE_HINT = (
    "Rewrite that line with tensor operations (torch.where), or use the methods that need no graph: integrated_gradients, occlusion, ..."
)
OPAQUE_SAMPLE_BYTES = 1 << 20
"""Memory one sample is assumed to take where the graph is unknown."""

Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Split:
    """A network cut in two: ``head(*front(x)) == network(x)``.

    Attributes:
        front: inputs to the values at the cut, then the context.
        head: the values at the cut, then the context, to the output.
        at: names of the values at the cut.
        context: names of what else the head reads; empty when everything passes through the cut.
    """

    front: Any
    head: Any
    at: tuple[str, ...]
    context: tuple[str, ...]


@dataclass(eq=False)
class Network:
    """A traced model: callable, readable, cuttable. Made by :func:`vesalius.trace`.

    Attributes:
        name: class name of the model.
        inputs: facts about each input.
        model_graph: the graph; ``None`` for an opaque network.
        reason: why there is no graph, with the line of the user's code; empty otherwise.
        call: the live model; ``None`` when loaded from a file.
    """

    name: str
    inputs: tuple[Value, ...]
    model_graph: ModelGraph | None
    reason: str = ""
    call: ModelCall | None = None
    _programs: dict[tuple[tuple[str, ...], tuple[str, ...]], GraphModule] = field(default_factory=dict, repr=False)
    _digests: dict[tuple[Any, ...], str] = field(default_factory=dict, repr=False)
    _casts: dict[torch.dtype, Network] = field(default_factory=dict, repr=False)

    def __call__(self, *args: Tensor, **kwargs: Tensor) -> Float[Tensor, "B ..."]:
        """The output for a batch, in eval semantics.

        Raises:
            InvalidInput, WrongType: inputs of another shape or dtype than the example's.
        """
        return self.run(self.bind(_merge_inputs(args, kwargs, [value.name for value in self.inputs])))

    def run(self, tensors: Sequence[Tensor]) -> Float[Tensor, "B ..."]:
        """The output for inputs that are already bound, unchecked."""
        if self.model_graph is not None:
            output: Tensor = self.program([value.name for value in self.inputs], [self.model_graph.output])(*tensors)[0]
            return output
        assert self.call is not None
        with eval_mode(self.call.model):
            return self.call.run([tensor.clone() for tensor in tensors])  # a model may write to its inputs

    @property
    def opaque(self) -> bool:
        """Whether the graph is unknown."""
        return self.model_graph is None

    def bind(self, x: Inputs) -> tuple[Tensor, ...]:
        """Inputs in any form as a checked tuple in the network's order.

        Raises:
            InvalidInput, WrongType: a missing input, another shape or dtype, an empty batch.
        """
        names = [value.name for value in self.inputs]
        if isinstance(x, Tensor):
            x = (x,)
        if not isinstance(x, (Mapping, Sequence)):
            raise WrongType(f"expected a tensor, or a sequence or mapping of tensors, not {type(x).__name__}")
        tensors: tuple[Any, ...] = tuple(x.get(name) for name in names) if isinstance(x, Mapping) else tuple(x)
        if isinstance(x, Mapping) and (unknown := set(x) - set(names)):
            raise UnknownName("input", sorted(unknown)[0], names)
        if len(tensors) != len(names) or any(tensor is None for tensor in tensors):
            raise InvalidInput(f"{self.name} takes {len(names)} inputs ({', '.join(names)}); {len(x)} came")
        for value, tensor in zip(self.inputs, tensors, strict=True):
            _check_input(value, tensor)
        homes = {tensor.device for tensor in self.model_graph.tensors.values()} if self.model_graph is not None else set()
        if homes and (astray := {tensor.device for tensor in tensors} - homes):
            raise InvalidInput(f"an input is on {astray.pop()}, the network on {homes.pop()}; move the input with .to(device)")
        if len({len(tensor) for tensor in tensors}) > 1:
            raise InvalidInput(f"all inputs need the same batch size, found {[len(tensor) for tensor in tensors]}")
        return tensors

    # ---- looking in ---------------------------------------------------------------------------------------------------------------

    def graph(self, need: str) -> ModelGraph:
        """The graph, or the error that explains why there is none.

        Raises:
            NotTraceable: the network is opaque.
        """
        if self.model_graph is None:
            raise NotTraceable(need, self.reason, UNTRACEABLE_HINT)
        return self.model_graph

    @property
    def values(self) -> dict[str, Value]:
        """Every value the model computes, by name, in order of computation."""
        model_graph = self.graph("listing values")
        return {name: model_graph.value(name) for name in model_graph.nodes}

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """Every parametrised linear map, by name: its units, its weight and the axes that link them."""
        return find_layers(self.graph("listing layers"))

    def layer(self, name: str) -> Layer:
        """One layer by name.

        Raises:
            UnknownName: no such layer.
        """
        if name not in self.layers:
            raise UnknownName("layer", name, self.layers)
        return self.layers[name]

    def resolve(self, name: str) -> str:
        """The value meant by a value's name or a module's path."""
        return self.graph(f"finding {name!r}").resolve(name)

    def read(self, x: Inputs, names: str | Sequence[str]) -> dict[str, Tensor]:
        """Values computed on the way to the output, for a batch.

        Args:
            x: a batch of inputs.
            names: values or modules.

        Returns:
            A tensor [B ...] per name asked for, in that order.
        """
        asked = [names] if isinstance(names, str) else list(names)
        found = self.program([value.name for value in self.inputs], [self.resolve(name) for name in asked])(*self.bind(x))
        return dict(zip(asked, found, strict=True))

    def split(self, at: str | Sequence[str], output: str | None = None) -> Split:
        """Cut the network at one or several values.

        Args:
            at: values or modules; or inputs.
            output: what the head computes; the network's output by default.
        """
        model_graph = self.graph("cutting the network")
        cut = tuple(model_graph.resolve(name) for name in ([at] if isinstance(at, str) else at))
        end = model_graph.resolve(output) if output else model_graph.output
        context = model_graph.head_context(cut, end)
        inputs = [value.name for value in self.inputs]
        return Split(self.program(inputs, [*cut, *context]), self._head((*cut, *context), end), cut, context)

    def _head(self, starts: tuple[str, ...], end: str) -> Any:
        program = self.program(starts, [end])
        return lambda *tensors: program(*tensors)[0]

    def program(self, inputs: Sequence[str], outputs: Sequence[str]) -> GraphModule:
        """The part of the graph from some values to others; kept for the next time."""
        key = (tuple(inputs), tuple(outputs))
        if key not in self._programs:
            self._programs[key] = self.graph("running a part of the network").program(*key)
        return self._programs[key]

    def cast(self, dtype: torch.dtype) -> Network:
        """The same network computing in another precision; a copy of its parameters as they are now, kept until they change.

        Raises:
            NotTraceable: the network is opaque.
        """
        mine = self.graph(f"computing in {dtype}")
        found = self._casts.get(dtype)
        if found is None or not parameters_match(mine, found.graph("comparing"), dtype):
            model_graph = cast_graph(mine, dtype)
            found = self._casts[dtype] = Network(self.name, tuple(model_graph.value(name) for name in model_graph.inputs), model_graph)
        return found

    # ---- for players --------------------------------------------------------------------------------------------------------------

    def unit_index(self, layer: str) -> Int[Tensor, "..."]:
        """Which unit owns each element of a layer's output (one sample), as :class:`vesalius.Players` wants it."""
        found = self.layer(layer)
        shape = self.values[found.value].shape
        place = [found.units if axis == found.unit_axis else 1 for axis in range(1, len(shape))]
        return torch.arange(found.units).reshape(place)

    def link_shape(self, layer: str) -> tuple[int, ...]:
        """Shape of a layer's weight."""
        return self.layer(layer).shape

    # ---- facts --------------------------------------------------------------------------------------------------------------------

    @cached_property
    def sample_bytes(self) -> int:
        """Memory that one sample takes during a forward pass, estimated from the graph."""
        return bytes_per_sample(self.model_graph) if self.model_graph is not None else OPAQUE_SAMPLE_BYTES

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """Parameters, buffers and constants by name; they share memory with the model's."""
        if self.model_graph is not None:
            return self.model_graph.tensors
        assert self.call is not None
        return {name: tensor.detach() for name, tensor in self.call.model.state_dict().items()}

    def digest(self) -> str:
        """A short hash of all parameters, to tell one trained model from another; computed again only after they were written to."""
        parameters = sorted(self.parameters.items())
        state = tuple((name, tensor.data_ptr(), tensor._version) for name, tensor in parameters)
        if state not in self._digests:
            total = hashlib.blake2b(digest_size=8)
            for name, tensor in parameters:
                total.update(name.encode())
                total.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            self._digests.clear()
            self._digests[state] = total.hexdigest()
        return self._digests[state]

    def __repr__(self) -> str:
        count = sum(tensor.numel() for tensor in self.parameters.values())
        taken = ", ".join(f"{value.name} {['batch', *value.shape[1:]]}".replace("'", "") for value in self.inputs)
        inside = f"opaque: {self.reason}" if self.model_graph is None else f"{len(self.values)} values, {len(self.layers)} layers"
        return f"Network({self.name}: {taken}; {inside}; {count:,} parameters)"

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write graph and parameters to one file, atomically; the model's source is not needed to load it.

        Raises:
            NotTraceable: an opaque network has nothing to write.
        """
        model_graph = self.graph("saving")
        return store.write(
            path, "network", model_graph.tensors, {"name": self.name, "digest": self.digest(), "graph": encode_graph(model_graph)}
        )

    @classmethod
    def load(cls, path: str | Path, *, device: torch.device | str = "cpu") -> Network:
        """Read a file written by :meth:`save`; no code in it can run.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, "network")
        model_graph = decode_graph(
            facts.get("graph", {}), {name: tensor.to(device) for name, tensor in tensors.items()}, torch.device(device)
        )
        found = cls(facts["name"], tuple(model_graph.value(name) for name in model_graph.inputs), model_graph)
        if found.digest() != facts["digest"]:
            raise ForeignFile(f"{path} is corrupted: its parameters are not those that were written; write it again with .save()")
        return found


def _merge_inputs(args: Sequence[Tensor], kwargs: Mapping[str, Tensor], names: Sequence[str]) -> Inputs:
    if not kwargs:
        return args
    if len(args) > len(names):
        raise InvalidInput(f"expected at most {len(names)} inputs ({', '.join(names)}), {len(args) + len(kwargs)} came")
    given = dict(zip(names, args, strict=False))
    if twice := sorted(given.keys() & kwargs.keys()):
        raise InvalidInput(f"input {twice[0]!r} came twice, by position and by name")
    return {**given, **kwargs}


def _check_input(value: Value, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise WrongType(f"input {value.name!r} is a {type(tensor).__name__}; expected a torch.Tensor")
    expected = getattr(torch, value.dtype)
    if tensor.dtype != expected:
        raise WrongType(
            f"input {value.name!r} has dtype {tensor.dtype}; the network was traced with {expected}. Convert it with .to({expected})"
        )
    wanted = ["batch", *value.shape[1:]]
    if tensor.ndim != len(wanted) or tuple(tensor.shape[1:]) != tuple(value.shape[1:]):
        raise InvalidInput(
            f"input {value.name!r} has shape {list(tensor.shape)}; the network was traced for {wanted}".replace("'batch'", "batch")
            + ". Trace again with an example of the new shape" * (tensor.ndim == len(wanted))
            + "; add a batch axis with x[None]" * (tensor.ndim == len(wanted) - 1)
        )
    if len(tensor) == 0:
        raise InvalidInput(f"input {value.name!r} holds no samples")
