"""What a flow graph is made of: layers of scalar units, and all edges between a layer and one that reads it.

Axes: A units of a layer, B units of one that reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from vesalius.core.arguments import read_argument
from vesalius.core.columns import one_or_several
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import name_list, require_known
from vesalius.core.numbers import is_number, whole_number
from vesalius.information.estimators.estimate import DOUBTS
from vesalius.information.histograms import Histograms

LABELS, TARGETS = "labels", "targets"
"""Layers of what is known of every row beforehand, which the network does not compute."""

UnitKey = tuple[str, int | str]
"""A unit, by its layer and its position there or its label."""


@dataclass(frozen=True, eq=False)
class FlowLayer:
    """A layer of scalar units. :meth:`of` builds one from plain values.

    Attributes:
        name: name of the layer, such as ``relu_1``.
        units: one label per unit, all different.
        kind: what the units are: ``features``, ``neurons``, ``channels``, ``classes``, ...
        dead: units that never change on the data. They carry no information and have no edges.
        within: mutual information between the units of this layer, in nats, where it was measured; on the diagonal what a unit says about
            itself as far as the estimator sees (the entropy of its bins), 0 where that is not known.
        spread: histograms of the units' values, where they were read.
    """

    name: str
    units: tuple[str, ...]
    kind: str
    dead: Bool[Tensor, " A"]
    within: Float64[Tensor, "A A"] | None = None
    spread: Histograms | None = None

    def __post_init__(self) -> None:
        if not self.units:
            raise InvalidInput(f"layer {self.name!r} has no units; leave it out")
        twice = [label for label, count in Counter(self.units).items() if count > 1]
        if twice:
            raise InvalidInput(f"layer {self.name!r} has several units called {', '.join(map(repr, twice[:3]))}; labels must differ")
        _check_flags(self.dead, (len(self),), f"dead of layer {self.name!r}")
        if self.within is not None:
            _check_matrix(self.within, (len(self), len(self)), f"within of layer {self.name!r}", least=None)
        if self.spread is not None and len(self.spread) != len(self):
            raise InvalidInput(f"layer {self.name!r} has {len(self)} units, and histograms of {len(self.spread)}")

    @classmethod
    @verb
    def of(
        cls,
        name: str,
        units: int | Sequence[str],
        *,
        kind: str = "neurons",
        dead: Iterable[int | str] | Bool[Tensor, " A"] = (),
        within: Float[Tensor, "A A"] | None = None,
        spread: Histograms | None = None,
    ) -> FlowLayer:
        """A layer from plain values.

        Args:
            name: name of the layer.
            units: how many, or one label each; units without labels are called by their number.
            kind: what the units are.
            dead: the units that are constant, by position or label, or one boolean per unit.
            within: mutual information between the units, in nats; what is not finite is allowed on the diagonal alone.
            spread: histograms of their values.

        Raises:
            InvalidInput: no units, labels that are not unique, shapes that do not fit, NaN.
            WrongType: dead units as a tensor of something else than booleans.
            UnknownName: a dead unit that the layer does not have.
        """
        name = read_argument("name", name, "str")
        number = is_number(units) or isinstance(units, bool)
        labels = tuple(map(str, range(whole_number("units", units)))) if number else name_list("units", units, distinct=False)
        if within is not None:
            within = within.detach().to("cpu", torch.float64).clone()
            within.diagonal().nan_to_num_(0.0, 0.0, 0.0)
        mask = dead.cpu() if isinstance(dead, Tensor) else torch.zeros(len(labels), dtype=torch.bool)
        layer = cls(name, labels, kind, mask, within, spread)
        if not isinstance(dead, Tensor):
            mask[[layer.position(unit) for unit in one_or_several(dead)]] = True
        return layer

    def __len__(self) -> int:
        return len(self.units)

    def __repr__(self) -> str:
        gone = int(self.dead.sum())
        return f"FlowLayer({self.name}: {len(self)} {self.kind}{f', {gone} constant' if gone else ''})"

    def position(self, unit: int | str) -> int:
        """Place of a unit in the layer, by its place (negative ones count from the end) or label.

        Raises:
            UnknownName: no unit has this label.
            InvalidInput: there are not so many units.
        """
        if isinstance(unit, str):
            require_known(f"unit of layer {self.name!r}", unit, self.units)
            return self.units.index(unit)
        unit = whole_number("the position of a unit", unit)
        if not -len(self) <= unit < len(self):
            raise InvalidInput(f"layer {self.name!r} has units 0 to {len(self) - 1}, no unit {unit}")
        return unit % len(self)

    def title(self, position: int) -> str:
        """Name of a unit for people: its label where that says something, else the layer's name and the unit's number."""
        label = self.units[position]
        return f"{self.name}[{label}]" if label.isdigit() else f"{self.name}: {label}"


@dataclass(frozen=True, eq=False, kw_only=True)
class FlowEdges:
    """All edges from one layer to one that reads it. :meth:`of` builds them from plain matrices.

    Attributes:
        information: mutual information in nats, as estimated: estimates of 0 scatter around 0, so it may be a little negative.
        flow: weights of the edges, at least 0; 0 where there is no edge.
        p: chance that independent units depend as strongly in the sample; ``None`` where nothing was tested.
        stderr: standard error of ``information`` in nats, NaN where it is not known; ``None`` where it is known nowhere.
        doubts: numbers of the reasons not to trust the information of an edge, 0 where there is none; see :meth:`why_unreliable`.
    """

    information: Float64[Tensor, "A B"]
    flow: Float64[Tensor, "A B"]
    p: Float64[Tensor, "A B"] | None = None
    stderr: Float64[Tensor, "A B"] | None = None
    doubts: Int64[Tensor, "A B"]

    def __post_init__(self) -> None:
        shape = tuple(self.information.shape)
        _check_matrix(self.information, shape, "information", least=None)
        _check_matrix(self.flow, shape, "flow", least=0)
        if self.p is not None:
            _check_matrix(self.p, shape, "p", least=0)
            if self.p.numel() and float(self.p.max()) > 1:
                raise InvalidInput(f"p is a probability; the largest here is {float(self.p.max()):.4g}")
        if self.stderr is not None:
            _check_matrix(self.stderr.nan_to_num(0), shape, "stderr", least=0)
        _check_reasons(self.doubts, shape)

    @classmethod
    @verb
    def of(
        cls,
        information: Float[Tensor, "A B"],
        *,
        flow: Float[Tensor, "A B"] | None = None,
        p: Float[Tensor, "A B"] | None = None,
        stderr: Float[Tensor, "A B"] | None = None,
        doubts: Int64[Tensor, "A B"] | None = None,
    ) -> FlowEdges:
        """Edges from matrices of any floating-point type, on any device.

        Args:
            information: mutual information in nats.
            flow: weights, at least 0; the information, cut off at 0, if not given.
            p: p-values in [0, 1].
            stderr: standard errors in nats, at least 0 or NaN.
            doubts: numbers of reasons not to trust an edge, as an estimator gives them; none if not given.

        Raises:
            WrongType: something that is not a tensor of floating-point numbers.
            InvalidInput: matrices of several shapes, NaN or infinite values, a negative weight, a p-value outside [0, 1].
        """
        known = _as_float64(information, "information")
        return cls(
            information=known,
            flow=known.clamp_min(0) if flow is None else _as_float64(flow, "flow"),
            p=None if p is None else _as_float64(p, "p"),
            stderr=None if stderr is None else _as_float64(stderr, "stderr"),
            doubts=torch.zeros_like(known, dtype=torch.int64) if doubts is None else doubts.cpu(),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Units of the layer, and of the one that reads it."""
        rows, columns = self.information.shape
        return rows, columns

    @property
    @verb
    def kept(self) -> Bool[Tensor, "A B"]:
        """Whether there is an edge."""
        return self.flow > 0

    @property
    @verb
    def unreliable(self) -> Bool[Tensor, "A B"]:
        """Pairs whose information is not to be trusted, whatever its error."""
        return self.doubts > 0

    @verb
    def why_unreliable(self, first: int, second: int) -> str:
        """The reason not to trust the information of two units, by their positions in the layers; empty if there is none."""
        return DOUBTS[int(self.doubts[first, second])]


def check_edges(first: FlowLayer, second: FlowLayer, edges: FlowEdges) -> None:
    """Refuse edges that do not fit their layers.

    Raises:
        InvalidInput: another shape, or a weight at a dead unit.
    """
    if edges.shape != (len(first), len(second)):
        raise InvalidInput(
            f"from {first.name!r} to {second.name!r} the matrices have shape {edges.shape}, the layers {(len(first), len(second))} units"
        )
    wrong = edges.kept & (first.dead[:, None] | second.dead)
    if wrong.any():
        row, column = wrong.nonzero()[0].tolist()
        raise InvalidInput(f"{first.title(row)} -> {second.title(column)} has a weight, but one of them is dead; its weight must be 0")


def _as_float64(matrix: Tensor, name: str) -> Float64[Tensor, "A B"]:
    if not isinstance(matrix, Tensor) or not matrix.is_floating_point():
        what = matrix.dtype if isinstance(matrix, Tensor) else type(matrix).__name__
        raise WrongType(f"{name} is {what}; expected a floating-point tensor [units, units of the next layer]")
    if matrix.ndim != 2:
        raise InvalidInput(f"{name} has shape {tuple(matrix.shape)}; expected [units, units of the next layer]")
    return matrix.detach().to("cpu", torch.float64)


def _check_matrix(matrix: Tensor, shape: tuple[int, ...], name: str, *, least: float | None) -> None:
    if tuple(matrix.shape) != shape:
        raise InvalidInput(f"{name} has shape {tuple(matrix.shape)}; expected {shape}")
    bad = ~matrix.isfinite() if least is None else ~(matrix.isfinite() & (matrix >= least))
    if bad.any():
        place = tuple(bad.nonzero()[0].tolist())
        allowed = "finite numbers" if least is None else f"finite numbers of at least {least}"
        raise InvalidInput(f"{name} has {int(bad.sum())} values that are not {allowed}, the first {float(matrix[place]):.4g} at {place}")


def _check_reasons(numbers: Tensor, shape: tuple[int, ...]) -> None:
    if numbers.dtype != torch.int64:
        raise WrongType(f"doubts is {numbers.dtype}; expected numbers of reasons, torch.int64, as PairwiseInformation.doubts holds them")
    if numbers.shape != shape:
        raise InvalidInput(f"doubts has shape {tuple(numbers.shape)}; expected {shape}")
    if numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(DOUBTS):
        raise InvalidInput(f"doubts are numbers of reasons from 0 to {len(DOUBTS) - 1}, not {int(numbers.min())} to {int(numbers.max())}")


def _check_flags(flags: Tensor, shape: tuple[int, ...], name: str) -> None:
    if flags.dtype != torch.bool:
        raise WrongType(f"{name} is {flags.dtype}; expected booleans, one per unit or edge; positions go into a list")
    if tuple(flags.shape) != shape:
        raise InvalidInput(f"{name} has shape {tuple(flags.shape)}; expected {shape}")


def list_layers(layers: Any) -> tuple[FlowLayer, ...]:
    """Layers in order.

    Raises:
        WrongType: something else.
    """
    found = tuple(layers) if isinstance(layers, Iterable) else ()
    if not isinstance(layers, Iterable) or not all(isinstance(layer, FlowLayer) for layer in found):
        raise WrongType("layers are FlowLayers, from input to output: FlowLayer.of('hidden', 8)")
    return found


def read_unit(unit: Any) -> UnitKey:
    """A unit as the name of its layer and its place there.

    Raises:
        WrongType: something else.
    """
    if not isinstance(unit, tuple) or len(unit) != 2:
        raise WrongType(f"a unit is (layer, position or label), such as ('hidden', 0), not {unit!r}")
    return unit


def list_units(units: Any) -> list[UnitKey]:
    """Units, from pairs or by layer.

    Raises:
        WrongType: something else.
    """
    if isinstance(units, Mapping):
        return [(layer, unit) for layer, those in units.items() for unit in one_or_several(those)]
    if isinstance(units, str) or not isinstance(units, Iterable):
        raise WrongType(f"units are pairs (layer, position or label), or positions by layer, not {units!r}")
    return [read_unit(unit) for unit in units]
