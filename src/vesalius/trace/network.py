"""The noun of this layer: a model one can look into.

Axes: B batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.fx import GraphModule

from vesalius.core import store
from vesalius.core.arguments import noun
from vesalius.core.entry import full_precision, run_precisely, verb
from vesalius.core.errors import ForeignFile, NotTraceable
from vesalius.core.names import name_list, require_known
from vesalius.core.tensor_identity import digest_of, place_of, version_of
from vesalius.trace.any_length import AnyLength
from vesalius.trace.binding import bind_inputs, merge_inputs
from vesalius.trace.copying import PackedGraph, computed_attributes, copy_graph
from vesalius.trace.graph import ModelGraph, Value, bytes_per_sample
from vesalius.trace.graph_axes import GraphAxes
from vesalius.trace.layers import Layer, find_layers
from vesalius.trace.number_reads import KeptNumbers
from vesalius.trace.other_lengths import LengthFamily
from vesalius.trace.precision import cast_graph, parameters_match
from vesalius.trace.serialization import decode_graph, encode_graph
from vesalius.trace.signature import ModelCall
from vesalius.trace.split import Split, split_network
from vesalius.trace.vocabulary import Lookup, check_lookups, find_lookups

UNTRACEABLE_HINT = (
    "Rewrite that line with tensor operations (torch.where), or use the methods that need no graph: integrated_gradients, occlusion, ..."
)
OPAQUE_SAMPLE_BYTES = 1 << 20
"""Memory one sample is assumed to take where the graph is unknown."""

BLACK_BOX_FACTOR = 64
"""What a sample takes in a function outside torch, in multiples of its inputs: such a call costs by the call more than by the row."""

Inputs = Any
"""Rows in any form that :func:`vesalius.core.rows.read_rows` takes."""


@noun("make one with vesalius.trace(model, x)")
@dataclass(eq=False)
class Network:
    """A traced model: callable, readable, cuttable. Made by :func:`vesalius.trace`.

    Attributes:
        name: class name of the model.
        inputs: facts about each input.
        model_graph: the graph; ``None`` for an opaque network.
        reason: why there is no graph, with the line of the user's code; empty otherwise.
        call: the live model; ``None`` when loaded from a file.
        differentiable: whether a gradient reaches an input; what is computed outside torch has none.
        features: names of the columns of the table it was traced on, or empty.
        classes: names of the classes of its output, where the model knows them, or empty.
        numbers: that the model read from its own tensors when it was traced; ``None`` where it read none.
        retrace: how the model is traced again at a length that the graph does not hold for; ``None`` where it cannot be.
    """

    name: str
    inputs: tuple[Value, ...]
    model_graph: ModelGraph | None
    reason: str = ""
    call: ModelCall | None = None
    differentiable: bool = True
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    numbers: KeptNumbers | None = None
    retrace: Callable[[tuple[ModelCall, tuple[Tensor, ...]]], Network] | None = field(default=None, repr=False)
    _programs: dict[tuple[tuple[str, ...], tuple[str, ...]], GraphModule] = field(default_factory=dict, repr=False)
    _digests: dict[tuple[Any, ...], str] = field(default_factory=dict, repr=False)
    _casts: dict[torch.dtype, Network] = field(default_factory=dict, repr=False)
    _family: LengthFamily = field(default_factory=LengthFamily, repr=False)
    _whole: GraphModule | None = field(default=None, repr=False)

    def __call__(self, *args: Tensor, **kwargs: Tensor) -> Float[Tensor, "B ..."]:
        """The output for a batch, in eval semantics.

        Raises:
            InvalidInput, WrongType: inputs of another shape or dtype than the example's.
        """
        with full_precision():
            given = merge_inputs(args, kwargs, [value.name for value in self.inputs])
            network = self.at_lengths_of(given)
            return network.run(network.bind(given))

    def run(self, tensors: Sequence[Tensor]) -> Float[Tensor, "B ..."]:
        """The output for inputs that are already bound, unchecked."""
        if self.model_graph is not None:
            output: Tensor = (self._whole or self.program(self.model_graph.inputs, [self.model_graph.output]))(*tensors)[0]
            return output
        assert self.call is not None
        with nullcontext() if self.differentiable else torch.no_grad():
            return self.call.evaluate(tensors)

    @verb
    def at_lengths_of(self, x: Inputs) -> Network:
        """The same network for inputs of other lengths: it shares the parameters, and its values have the shapes that they have there.

        Where the graph holds at any length, that takes about as long as a call; elsewhere the model is traced again, once for each length.
        What is asked with inputs of another length than the example's (a call, :meth:`read`, every verb) is asked of that network.

        Args:
            x: a batch of inputs, or one sample.

        Returns:
            This network where the lengths are its own, or where something else is wrong with the inputs.

        Raises:
            InvalidInput: the model does not take that length, or its graph holds for no other and there is no model to trace.
        """
        return self._family.find(self, x)

    def at_lengths_of_values(self, names: Sequence[str], tensors: Sequence[Tensor]) -> Network:
        """As :meth:`at_lengths_of`, by inner values that have been computed at some length; this network where they do not tell."""
        return self._family.find_holder(self, names, tensors)

    @property
    def random(self) -> bool:
        """Whether the output for an input differs from call to call."""
        return self.call is not None and self.call.random

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Where the parameters are, in order; empty for a network without any."""
        return tuple(dict.fromkeys(tensor.device for tensor in self.parameters.values()))

    @property
    def opaque(self) -> bool:
        """Whether the graph is unknown."""
        return self.model_graph is None

    def bind(self, x: Inputs, *, holder: str = "sample") -> tuple[Tensor, ...]:
        """Inputs in any form (see :func:`vesalius.core.rows.read_rows`) as a tuple in the network's order, in its dtypes, on its device.

        Args:
            x: the inputs.
            holder: what a row of them is called, if one is refused.

        Raises:
            InvalidInput, WrongType: a missing input, another shape, fractions where whole numbers are meant, ids out of the vocabulary, an
                empty batch; a model whose own numbers are others than when it was traced.
        """
        tensors = bind_inputs(self.name, self.inputs, x, self.devices)
        self.check_ids(tensors, holder)
        if self.numbers is not None and self.call is not None:
            self.numbers.check(self.call, tensors)
        return tensors

    def check_ids(self, tensors: Sequence[Tensor], holder: str, *, strict: bool = False) -> None:
        """Refuse ids that a table has no row for, see :func:`vesalius.trace.vocabulary.check_lookups`.

        Raises:
            InvalidInput: there are some.
        """
        if self.lookups:
            names = [value.name for value in self.inputs]
            given = dict(zip(names, tensors, strict=True))
            inside = [lookup.index for lookup in self.lookups if lookup.index not in given]
            known = {**given, **dict(zip(inside, self.function(names, inside)(*tensors) if inside else (), strict=True))}
            check_lookups(self.lookups, [known[lookup.index] for lookup in self.lookups], given, holder, strict=strict)

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
    def lookups(self) -> tuple[Lookup, ...]:
        """Tables that inputs of whole numbers are looked up in, such as embeddings; none where the graph is unknown."""
        return () if self.model_graph is None else find_lookups(self.model_graph)

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """Every parametrised linear map, by name: its units, its weight and the axes that link them."""
        return find_layers(self.graph("listing layers"))

    @cached_property
    def axes(self) -> GraphAxes:
        """What the axes of every value are: where the samples and the units are in it."""
        return GraphAxes(self.graph("finding axes"))

    def layer(self, name: str) -> Layer:
        """One layer by name; an UnknownName says which there are."""
        require_known("layer", name, self.layers)
        return self.layers[name]

    def weight(self, layer: Layer) -> Tensor:
        """The weight of a layer as it is now, be it a parameter or computed from some."""
        if not layer.computed:
            return self.parameters[layer.weight]
        with torch.no_grad():
            found: Tensor = self.program([], [layer.computed])()[0]
        return found

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
        asked = [names] if isinstance(names, str) else list(name_list("names", names, distinct=False))
        network = self.at_lengths_of(x)
        program = network.function([value.name for value in self.inputs], [network.resolve(name) for name in asked])
        return dict(zip(asked, run_precisely(program, *network.bind(x)), strict=True))

    def split(self, at: str | Sequence[str], output: str | None = None) -> Split:
        """Cut the network at one or several values.

        Args:
            at: values or modules; or inputs.
            output: what the head computes; the network's output by default.
        """
        return split_network(self, at, output)

    def program(self, inputs: Sequence[str], outputs: Sequence[str]) -> GraphModule:
        """The part of the graph from some values to others; kept for the next time."""
        key = (tuple(inputs), tuple(outputs))
        if key not in self._programs:
            self._programs[key] = self.graph("running a part of the network").program(*key)
        return self._programs[key]

    def function(self, inputs: Sequence[str], outputs: Sequence[str]) -> GraphModule:
        """As :meth:`program`, for whoever calls it and looks at no shapes in it: one for all lengths, where the graph holds at any."""
        mine = self.graph("running a part of the network")
        whole: AnyLength | None = mine.any_length
        found = None if whole is None else whole.program(mine.tensors, inputs, outputs)
        return self.program(inputs, outputs) if found is None else found

    @verb
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

    @verb
    def unit_index(self, layer: str) -> Int[Tensor, "..."]:
        """Which unit owns each element of a layer's output (one sample), as :class:`vesalius.Players` wants it."""
        return self.axes.unit_index(self.layer(layer))

    def link_shape(self, layer: str) -> tuple[int, ...]:
        """Shape of a layer's weight."""
        return self.layer(layer).shape

    # ---- facts --------------------------------------------------------------------------------------------------------------------

    @cached_property
    def mixes_precisions(self) -> bool:
        """Whether it computes in several floating types, such as a softmax in another one than the rest."""
        return self.model_graph is not None and len({value.dtype for value in self.values.values() if value.is_floating}) > 1

    @cached_property
    def sample_bytes(self) -> int:
        """Memory that one sample takes during a forward pass, estimated from the graph."""
        if self.model_graph is not None:
            return bytes_per_sample(self.model_graph)
        if self.differentiable:
            return OPAQUE_SAMPLE_BYTES
        return BLACK_BOX_FACTOR * 8 * sum(prod(side for side in value.shape[1:] if side is not None) for value in self.inputs)

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """Parameters, buffers and constants by name; they share memory with the model's."""
        if self.model_graph is not None:
            return self.model_graph.tensors
        assert self.call is not None
        model = self.call.model
        named = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
        return {name: tensor.detach() for name, tensor in named}

    def digest(self) -> str:
        """A short hash of all parameters, to tell one trained model from another; computed again only after they were written to."""
        parameters = sorted(self.parameters.items())
        state = tuple((name, place_of(tensor), version_of(tensor)) for name, tensor in parameters)
        if state not in self._digests:
            self._digests.clear()
            self._digests[state] = digest_of(parameters)
        return self._digests[state]

    def __repr__(self) -> str:
        count = sum(tensor.numel() for tensor in self.parameters.values())
        taken = ", ".join(f"{value.name} {['batch', *value.shape[1:]]}".replace("'", "") for value in self.inputs)
        inside = f"opaque: {self.reason}" if self.model_graph is None else f"{len(self.values)} values, {len(self.layers)} layers"
        inside += f", {self._family.describe(self)}" if self._family.describe(self) else ""
        return f"Network({self.name}: {taken}; {inside}; {count:,} parameters)"

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: a live model goes along, and must be one that pickles."""
        packed = None if self.model_graph is None else PackedGraph.of(self.model_graph, self.call)
        return {**self._own_facts(), "model_graph": packed, "call": self.call}

    def __setstate__(self, state: dict[str, Any]) -> None:
        packed, call = state["model_graph"], state["call"]
        self.__init__(**{**state, "model_graph": None if packed is None else packed.unpack(call)})  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        memo.update({} if self.call is None else computed_attributes(self.call.model))
        call = copy.deepcopy(self.call, memo)
        model_graph = None if self.model_graph is None else copy_graph(self.model_graph, self.call, call, memo)
        return Network(**{**self._own_facts(), "model_graph": model_graph, "call": call})

    def _own_facts(self) -> dict[str, Any]:
        """What is neither the model nor its graph, nor made again when it is needed."""
        names = {known.name for known in fields(self) if not known.name.startswith("_")}
        return {name: getattr(self, name) for name in names - {"model_graph", "call"}}

    def save(self, path: str | Path) -> Path:
        """Write graph and parameters to one file, atomically; the model's source is not needed to load it.

        Raises:
            NotTraceable: an opaque network has nothing to write.
        """
        return store.write(path, "network", *encode_network(self))

    @classmethod
    @verb
    def load(cls, path: str | Path, *, device: torch.device | str = "cpu") -> Network:
        """Read a file written by :meth:`save`; no code in it can run.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, "network")
        with store.decoding(path):
            return decode_network(tensors, facts, torch.device(device))


def encode_network(network: Network) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A network as tensors by name and facts, for a file.

    Raises:
        NotTraceable: an opaque network has nothing to write.
        ForeignFile: an op that could not be found again.
    """
    model_graph = network.graph("saving")
    facts = {"name": network.name, "digest": network.digest(), "features": network.features, "classes": network.classes}
    return dict(model_graph.tensors), {**facts, "graph": encode_graph(model_graph)}


def decode_network(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], device: torch.device) -> Network:
    """The inverse of :func:`encode_network`, without the live model.

    Raises:
        ForeignFile: parameters that are not those that were written; as :func:`vesalius.trace.serialization.decode_graph`.
        KeyError, TypeError: see :func:`vesalius.core.store.decoding`.
    """
    moved = {name: tensor.to(device) for name, tensor in tensors.items()}
    model_graph = decode_graph(store.fact(facts, "graph", dict), moved, device)
    inputs = tuple(model_graph.value(name) for name in model_graph.inputs)
    columns, classes = (tuple(store.words(facts, name)) for name in ("features", "classes"))
    found = Network(store.fact(facts, "name", str), inputs, model_graph, features=columns, classes=classes)
    found.program(model_graph.inputs, [model_graph.output])  # what PyTorch cannot make a program of is no network
    if found.digest() != facts["digest"]:
        raise ForeignFile("the parameters in this file are corrupted: they are not those that were written; write it again with .save()")
    return found
