"""What becomes of a layer's output before anything but a function of one number reads it: an affine map per unit, then an activation.

Axes: U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.fx import Node

from vesalius.sparsity.activations import Activation
from vesalius.sparsity.elementwise_function import ElementwiseFunction, UnitFunction
from vesalius.sparsity.elementwise_steps import build_function, read_activation, read_affine
from vesalius.sparsity.unit_region import UnitRegion, blocking_op, find_region
from vesalius.trace.graph_axes import GraphAxes
from vesalius.trace.layers import Layer


@dataclass(frozen=True, eq=False, kw_only=True)
class FusedActivation:
    """What follows a layer.

    Attributes:
        activation: the function of one unit; identity if none follows, or if other layers read the sum itself.
        scale, shift: the affine map between layer and activation, such as a batch norm or a bias added on its own: ``scale * z + shift``.
        gain: what the activation's value is multiplied by afterwards, where that is all that is done to it.
        unread: name of an op that follows and is no function of one unit, or not of all that the layer gives; empty otherwise.
    """

    activation: UnitFunction
    scale: Float[Tensor, " U"] | None = None
    shift: Float[Tensor, " U"] | None = None
    gain: Float[Tensor, " U"] | None = None
    unread: str = ""

    def select(self, units: slice | Int[Tensor, " u"]) -> FusedActivation:
        """What follows some of the units."""
        scale, shift, gain = (None if part is None else part[units] for part in (self.scale, self.shift, self.gain))
        return replace(self, activation=self.activation.select(units), scale=scale, shift=shift, gain=gain)

    def value(self, sums: Float[Tensor, "N U"]) -> Float[Tensor, "N U"]:
        """What the sums of units become."""
        scale, shift, gain = (None if part is None else part.to(sums) for part in (self.scale, self.shift, self.gain))
        scaled = sums if scale is None else sums * scale
        found = self.activation.at(-1)(scaled if shift is None else scaled + shift)
        return found if gain is None else found * gain

    def is_same(self, other: FusedActivation) -> bool:
        """Whether another one is known to do the same."""
        pairs = ((self.scale, other.scale), (self.shift, other.shift), (self.gain, other.gain))
        same = all(one is two or (one is not None and two is not None and torch.equal(one, two)) for one, two in pairs)
        return same and self.activation == other.activation and self.unread == other.unread


def find_activation(axes: GraphAxes, layer: Layer) -> FusedActivation:
    """Follow a layer's output through all that is a function of one unit alone, with numbers that may differ from unit to unit.

    A maximum over positions commutes with a function that never falls, and so one of the two is taken to be behind the other.

    Args:
        axes: of the graph.
        layer: of it.
    """
    region = find_region(axes, layer, pools=True)
    found = _read_region(region)
    pooled = next((place for place, node in enumerate(region.path) if region.is_pool(node)), None)
    if pooled is not None:
        behind = _read_region(replace(region, path=region.path[pooled + 1 :], start=region.path[pooled]))
        rises = behind.scale is None or bool((behind.scale >= 0).all())
        if not (behind.activation.monotone and rises and (behind.gain is None or bool((behind.gain >= 0).all()))):
            before = _read_region(find_region(axes, layer, pools=False))
            bends = behind.activation != Activation()
            return replace(before, unread=region.path[pooled].meta["value"].op if bends else "")
    return replace(found, unread=blocking_op(region))


def _read_region(region: UnitRegion) -> FusedActivation:
    """The function of a region: a closed form with affine maps around it where it has one."""
    path = list(region.path)
    scale, shift = _leading_affine(region, path)
    if not path:
        return FusedActivation(activation=Activation(), scale=scale, shift=shift)
    known = read_activation(path[0], region) if region.is_chain(path[0]) else None
    if known is not None:
        rest = path[1:]
        gain, _ = _leading_affine(region, rest)
        if not rest:
            return FusedActivation(activation=known, scale=scale, shift=shift, gain=gain)
    function: ElementwiseFunction = build_function(region, path)
    return FusedActivation(activation=function, scale=scale, shift=shift)


def _leading_affine(region: UnitRegion, path: list[Node]) -> tuple[Tensor | None, Tensor | None]:
    """Affine maps at the head of a path, as one; they are taken off it."""
    scale: Tensor | None = None
    shift: Tensor | None = None
    while path and region.is_chain(path[0]):
        affine = (None, None) if region.moves_only(path[0]) else read_affine(path[0], region)
        if affine is None:
            break
        scale, shift = _compose_affine((scale, shift), affine)
        path.pop(0)
    return scale, shift


Affine = tuple[Tensor | None, Tensor | None]


def _compose_affine(first: Affine, then: Affine) -> Affine:
    """One affine map after another."""
    scale = then[0] if first[0] is None else first[0] if then[0] is None else first[0] * then[0]
    moved = first[1] if first[1] is None or then[0] is None else first[1] * then[0]
    return scale, then[1] if moved is None else moved if then[1] is None else moved + then[1]


def fold_affine(
    found: FusedActivation, weight: Float[Tensor, "U F"], bias: Float[Tensor, " U"]
) -> tuple[Float[Tensor, "U F"], Float[Tensor, " U"]]:
    """Weight and bias of the activation's argument."""
    if found.scale is not None:
        weight, bias = weight * found.scale.to(weight)[:, None], bias * found.scale.to(weight)
    return weight, bias if found.shift is None else bias + found.shift.to(weight)


def same_for_all(found: Sequence[FusedActivation]) -> FusedActivation:
    """What follows all uses of a weight, or identity where that differs."""
    if all(one.is_same(found[0]) for one in found):
        return found[0]
    return FusedActivation(activation=Activation(), unread="functions that differ from use to use")
