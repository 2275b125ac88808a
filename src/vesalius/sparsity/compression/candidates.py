"""The forms in which a pruned network can be run, and what each of them stores and computes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from jaxtyping import Int
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput, VesaliusError
from vesalius.sparsity.compression.dead_units import ShrunkTensors, remove_dead_units
from vesalius.sparsity.compression.sliced_graph import slice_model
from vesalius.sparsity.compression.smaller_model import shrink_model
from vesalius.sparsity.compression.sparse_linear import PickedLinear, SparseLinear
from vesalius.trace.network import Network

MAX_ERROR_LENGTH = 160
"""Characters of an error of PyTorch's that are shown."""
MAX_DENSITY = 0.5
"""Share of links left above which a layer is not stored sparse."""

OutputDifference = Callable[[nn.Module], float]
"""How far a model's output is from that of the masked one, in shares of its largest value."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Form:
    """A model that computes what the masked one does.

    Attributes:
        name: of the form.
        model: ready to run.
        difference: from the masked model's output, as a share of its largest value.
    """

    name: str
    model: nn.Module
    difference: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Forms:
    """All forms of a pruned network that were built and found equal.

    Attributes:
        forms: by name; ``permanent`` first.
        left_out: forms that were not, and why.
        removed: units taken out of the smaller ones, by layer.
        why: layers whose units were left alone, and why.
    """

    forms: Mapping[str, Form]
    left_out: Mapping[str, str]
    removed: Mapping[str, Int[Tensor, " _"]]
    why: Mapping[str, str]


def build_forms(network: Network, check: OutputDifference, tolerance: float) -> Forms:
    """Build all forms and compare each with the masked model.

    Args:
        network: of the model without masks, whose weights hold zeros; of all its outputs.
        check: how far a form is from it.
        tolerance: beyond which a form is left out.
    """
    assert network.call is not None
    base = network.call.model
    found = {"permanent": Form(name="permanent", model=base, difference=check(base))}
    left_out: dict[str, str] = {}

    def offer(name: str, model: nn.Module) -> bool:
        try:
            difference = check(model)
        except VesaliusError:
            raise
        except Exception as error:  # a user's forward may do anything with a layer of another size or kind
            left_out[name] = f"does not run: {(str(error).splitlines() or [type(error).__name__])[0][:MAX_ERROR_LENGTH]}"
            return False
        if not difference <= tolerance:
            left_out[name] = f"its output differs by {difference:.1g} of the largest value"
            return False
        found[name] = Form(name=name, model=model, difference=difference)
        return True

    smaller, shrunk = build_smaller(network, base, offer, left_out)
    builders: dict[str, Callable[[nn.Module], nn.Module | None]] = {
        "picked": to_picked_linear,
        "csr": lambda one: to_sparse_linear(one, "csr"),
        "block": lambda one: to_sparse_linear(one, "block"),
    }
    for name, build in builders.items():
        if (made := build(smaller)) is not None:
            offer(name, made)
    return Forms(forms=found, left_out=left_out, removed=shrunk.removed, why=shrunk.why)


def build_smaller(
    network: Network, base: nn.Module, offer: Callable[[str, nn.Module], bool], left_out: dict[str, str]
) -> tuple[nn.Module, ShrunkTensors]:
    """The model without dead and unused units: in its own code, or where that has sizes written down, as the graph of what it computes.

    Args:
        network: of the model.
        base: the model, whose weights hold zeros.
        offer: whether a model, under a name, computes the same.
        left_out: gets reasons.
    """
    shrunk = remove_dead_units(network, base)
    if not shrunk.tensors:
        return base, shrunk
    model = shrink_model(base, shrunk.tensors, shrunk.units, shrunk.gone)
    if offer("smaller", model):
        return model, shrunk
    reason = left_out.pop("smaller")
    shrunk = remove_dead_units(network, base, new_biases=False)
    try:
        graph = slice_model(network, {**shrunk.whole, **shrunk.tensors}, shrunk.units, shrunk.gone)
    except InvalidInput as error:
        left_out["smaller"] = str(error)
    else:
        if offer("smaller", graph):
            left_out["smaller, in the model's own code"] = reason
            return graph, shrunk
    left_out["smaller, in the model's own code"] = reason
    why = {**shrunk.why, **{name: f"without its units the model {reason}" for name in shrunk.removed}}
    return base, replace(shrunk, tensors={}, removed={}, why=why)


def to_picked_linear(model: nn.Module) -> nn.Module | None:
    """A copy in which linear layers that do not read all of their inputs pick out those they read; ``None`` if there is none."""
    return _replace_linear(model, lambda one: PickedLinear(one.weight, one.bias) if bool((one.weight == 0).all(0).any()) else None)


def to_sparse_linear(model: nn.Module, layout: str) -> nn.Module | None:
    """A copy in which linear layers with few links are stored sparse; ``None`` if there is none."""

    def build(one: nn.Linear) -> nn.Module | None:
        return (
            SparseLinear(one.weight, one.bias, layout=layout) if int((one.weight != 0).sum()) <= MAX_DENSITY * one.weight.numel() else None
        )

    return _replace_linear(model, build)


def _replace_linear(model: nn.Module, build: Callable[[nn.Linear], nn.Module | None]) -> nn.Module | None:
    """A copy with some of its linear layers built anew; a layer that is there twice is built once."""
    copied = copy.deepcopy(model)
    made: dict[int, nn.Module | None] = {}
    for module in list(copied.modules()):
        for leaf, child in module._modules.items():
            if type(child) is nn.Linear:
                if id(child) not in made:
                    made[id(child)] = build(child)
                new = made[id(child)]
                if new is not None:
                    new.train(child.training)
                    module._modules[leaf] = new
    return copied if any(one is not None for one in made.values()) else None
