"""Parts of a network's inside as players: heads, neurons, layers, values of the residual stream, experts, and edges between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.errors import WrongType

if TYPE_CHECKING:
    from vesalius.core.players import Players

EDGE_SITES = ("edges",)
"""The sites of edges, which divide no value of the network, but what its parts read of each other."""
EXPERT_SITES = ("experts",)
"""The sites of experts, whose elements are not the same from input to input."""
LayerChoice = int | str | Sequence[int | str] | None
"""Layers by number, as in ``L0H1``, or by the path of a module they are in; ``None`` for all."""


@runtime_checkable
class HasLayers(Protocol):
    """What :meth:`vesalius.Players.units` and :meth:`vesalius.Players.links` ask of a network."""

    def unit_index(self, layer: str) -> Int[Tensor, "*event"]: ...
    def link_shape(self, layer: str) -> tuple[int, ...]: ...


@dataclass(frozen=True, eq=False)
class InteriorParts:
    """What a network says of parts of its inside.

    Attributes:
        sites: the values that they divide.
        index: which part owns each element of each value, see :class:`vesalius.Players`.
        shape: in which values are reported, such as layers by heads.
        names: one per part.
    """

    sites: tuple[str, ...]
    index: tuple[Int[Tensor, "..."], ...]
    shape: tuple[int, ...]
    names: tuple[str, ...]


@runtime_checkable
class ShowsParts(Protocol):
    """What is asked of a network's inside."""

    def heads(self, layers: Any) -> InteriorParts: ...
    def neurons(self, layers: Any) -> InteriorParts: ...
    def residual(self, layers: Any, positions: Any) -> InteriorParts: ...
    def blocks(self, layers: Any) -> InteriorParts: ...
    def experts(self, layers: Any) -> InteriorParts: ...
    def edges(self) -> InteriorParts: ...


@runtime_checkable
class ShowsInterior(Protocol):
    """Through which a network shows its inside."""

    @property
    def interior(self) -> ShowsParts: ...


@runtime_checkable
class HasInterior(Protocol):
    """A traced network."""

    @property
    def axes(self) -> ShowsInterior: ...


class InteriorPlayers:
    """The constructors of :class:`vesalius.Players` that read a network's graph; the players know where they are, so ``at=`` need not be
    said."""

    @classmethod
    @verb
    def heads(cls, network: Any, *, layers: LayerChoice = None) -> Players:
        """Attention heads of all layers, ``L0H0``, ``L0H1``, ...: what each has gathered, before it is projected back.

        Args:
            network: a traced network.
            layers: of which layers, by number or by the path of a module; by default all.

        Raises:
            InvalidInput: the graph shows no heads.
            UnknownName: no such layer.
        """
        return _made(cls, "heads", _interior_of(network, "heads").heads(layers))

    @classmethod
    @verb
    def neurons(cls, network: Any, *, layers: LayerChoice = None) -> Players:
        """Neurons of all hidden layers, ``L0N0``, ...: the activations that another layer reads, at all positions.

        Those of experts whose weights are picked for each token are not among them, see :meth:`experts`.

        Args and Raises: as :meth:`heads`.
        """
        return _made(cls, "neurons", _interior_of(network, "neurons").neurons(layers))

    @classmethod
    @verb
    def residual(cls, network: Any, *, layers: LayerChoice = None, positions: bool = False) -> Players:
        """Values of the residual stream: after the embedding, after each attention and each MLP.

        Args:
            network: a traced network.
            layers: after which layers, by number or by the path of a module; by default all, and the embedding.
            positions: whether each position of a sequence is a player of its own, which makes a table of layers by positions.

        Raises:
            InvalidInput: the graph shows no residual stream; positions of a value that has none.
            UnknownName: no such layer.
        """
        return _made(cls, "residual", _interior_of(network, "values of the residual stream").residual(layers, positions))

    @classmethod
    @verb
    def layers(cls, network: Any, *, layers: LayerChoice = None) -> Players:
        """What each attention and each MLP adds to the residual stream, ``L0.attn``, ``L0.mlp``, ...; without a stream, outputs of layers.

        Args and Raises: as :meth:`heads`.
        """
        return _made(cls, "layers", _interior_of(network, "layers").blocks(layers))

    @classmethod
    @verb
    def experts(cls, network: Any, *, layers: LayerChoice = None) -> Players:
        """Experts of mixtures, ``L0E0``, ...: an absent expert is given the weight 0 wherever it was chosen, and no other in its place.

        Args and Raises: as :meth:`heads`.
        """
        return _made(cls, "experts", _interior_of(network, "experts").experts(layers))

    @classmethod
    @verb
    def residual_edges(cls, network: Any) -> Players:
        """Edges through the residual stream, ``L0H1->L1H0.k``: what one part writes and another reads.

        Writers are the embedding, heads and MLPs; readers are queries, keys and values of heads, MLPs, and the output with the last norm.
        An absent edge means that the reader sees, in place of what the writer writes now, what it writes in the baseline; everything is
        computed anew from there.

        Args:
            network: a traced network.

        Raises:
            InvalidInput: the graph shows no residual stream.
        """
        return _made(cls, "edges", _interior_of(network, "edges").edges())


def _interior_of(network: object, what: str) -> ShowsParts:
    if not isinstance(network, HasInterior):
        raise WrongType(f"{what} are of a traced network, not of a {type(network).__name__}; make one with vesalius.trace(model, x)")
    return network.axes.interior


def _made(cls: Any, kind: str, parts: InteriorParts) -> Players:
    found: Players = cls(parts.index, parts.shape, kind, parts.names, sites=parts.sites)
    return found
