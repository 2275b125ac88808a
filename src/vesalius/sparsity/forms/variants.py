"""The forms in which a pruned network can be run, and what each of them stores and computes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn

from vesalius.core.errors import VesaliusError
from vesalius.sparsity.forms.layouts import PickedLinear, SparseLinear
from vesalius.sparsity.forms.resized import fill, permanent
from vesalius.sparsity.forms.shrinking import Shrunk, shrink
from vesalius.trace.network import Network

LONGEST = 160
"""Characters of an error of PyTorch's that are shown."""
SPARSE = 0.5
"""Share of links left above which a layer is not stored sparse."""

Check = Callable[[nn.Module], float]
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


def forms_of(network: Network, masked: nn.Module, check: Check, tolerance: float) -> Forms:
    """Build all forms and compare each with the masked model.

    Args:
        network: traced from the model.
        masked: the model under masks, or one whose weights hold zeros.
        check: how far a form is from it.
        tolerance: beyond which a form is left out.
    """
    base = permanent(masked)
    found = {"permanent": Form(name="permanent", model=base, difference=check(base))}
    left_out: dict[str, str] = {}

    def offer(name: str, build: Callable[[], nn.Module]) -> bool:
        try:
            model = build()
            difference = check(model)
        except VesaliusError:
            raise
        except Exception as error:  # a user's forward may do anything with a layer of another size or kind
            left_out[name] = f"does not run: {(str(error).splitlines() or [type(error).__name__])[0][:LONGEST]}"
            return False
        if not difference <= tolerance:
            left_out[name] = f"its output differs by {difference:.1g} of the largest value"
            return False
        found[name] = Form(name=name, model=model, difference=difference)
        return True

    smaller, shrunk = _smaller(network, base, offer, left_out)
    builders = {"picked": picked, "csr": lambda one: sparse(one, "csr"), "block": lambda one: sparse(one, "block")}
    for name, build in builders.items():
        if (made := build(smaller)) is not None:
            offer(name, lambda made=made: made)  # type: ignore[misc]
    return Forms(forms=found, left_out=left_out, removed=shrunk.removed, why=shrunk.why)


def _smaller(
    network: Network, base: nn.Module, offer: Callable[[str, Callable[[], nn.Module]], bool], left_out: dict[str, str]
) -> tuple[nn.Module, Shrunk]:
    """The model without dead and unused units; where a model has sizes of reshapes written down, with those before reshapes."""
    reason = ""
    for reshaped in (True, False):
        shrunk = shrink(network, base, reshaped=reshaped)
        if not shrunk.tensors:
            break
        model = copy.deepcopy(base)
        fill(model, shrunk.tensors)
        if offer("smaller", lambda made=model: made):  # type: ignore[misc]
            if reason:
                left_out["smaller, through reshapes"] = reason
            return model, shrunk
        reason = left_out.pop("smaller")
    why = dict(shrunk.why)
    if reason:
        left_out["smaller"] = reason
        why |= {name: f"without its units the model {reason}" for name in shrunk.removed}
    return base, Shrunk(tensors={}, removed={}, why=why)


def picked(model: nn.Module) -> nn.Module | None:
    """A copy in which linear layers that do not read all of their inputs pick out those they read; ``None`` if there is none."""
    return _replaced(model, lambda one: PickedLinear(one.weight, one.bias) if bool((one.weight == 0).all(0).any()) else None)


def sparse(model: nn.Module, layout: str) -> nn.Module | None:
    """A copy in which linear layers with few links are stored sparse; ``None`` if there is none."""

    def build(one: nn.Linear) -> nn.Module | None:
        return SparseLinear(one.weight, one.bias, layout=layout) if int((one.weight != 0).sum()) <= SPARSE * one.weight.numel() else None

    return _replaced(model, build)


def _replaced(model: nn.Module, build: Callable[[nn.Linear], nn.Module | None]) -> nn.Module | None:
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
