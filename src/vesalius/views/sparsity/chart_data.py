"""What there is to show of a pruned network: its layers, why their links stayed, and what it makes of samples.

Axes: U units, F links into a unit, B samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.numbers import POSITIVE_COUNT, whole_numbers
from vesalius.sparsity.links import LINEAR_OPS, Links, links_of
from vesalius.sparsity.metrics import apply_in_batches, mean_row_error, reconstruction_error
from vesalius.sparsity.sparsified import Sparsified
from vesalius.trace.network import Network
from vesalius.views.line_chart import ChartLabels

MOST_UNITS = 24
"""Units whose links are drawn as pictures, those with the most importance."""
MOST_SAMPLES = 5
"""Samples that are shown before and after."""
CURVE_POINTS = 60
"""Places along a curve of importance."""
LISTED_LINKS = 3
"""Links of a layer that are listed."""

CURVE_LABELS = ChartLabels(
    title="cumulative importance of links", x="share of the links, strongest first", y="share of the importance", percent=(True, True)
)


@dataclass(frozen=True, eq=False, kw_only=True)
class PrunedLayer:
    """A pruned layer.

    Attributes:
        name: of the layer.
        links: how its weight is read.
        mask: true where a link stayed.
        scores: importance of all links.
    """

    name: str
    links: Links
    mask: Bool[Tensor, "U F"]
    scores: Float[Tensor, "U F"]

    @property
    def kept(self) -> int:
        """Links that stayed."""
        return int(self.mask.sum())

    @property
    def alive(self) -> int:
        """Units with a link left."""
        return int(self.mask.any(1).sum())

    @property
    def read(self) -> int:
        """Inputs with a link left."""
        return int(self.mask.any(0).sum())

    @property
    def carried(self) -> float:
        """Share of the importance that stayed."""
        total = float(self.scores.double().sum())
        return float(self.scores[self.mask].double().sum()) / total if total else float("nan")

    @property
    def unit_importance(self) -> Float[Tensor, " F"]:
        """Mean importance of the links that go out of each input, before."""
        return self.scores.mean(0)


@dataclass(frozen=True, kw_only=True)
class RankedLink:
    """A link, and where it stands in its layer.

    Attributes:
        layer: name.
        source, unit: which input, and which unit it leads to.
        score: its importance.
        rank: 1 is the largest of its layer.
        share: its part of its layer's importance.
        kept: whether it stayed.
    """

    layer: str
    source: int
    unit: int
    score: float
    rank: int
    share: float
    kept: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class BeforeAfter:
    """A sample, and what the network makes of it before and after; images in 0..1."""

    image: Float[ndarray, "channels height width"]
    before: Float[ndarray, "channels height width"]
    after: Float[ndarray, "channels height width"]


def require_sparsified(shown: object) -> Sparsified:
    """Refuse anything else.

    Raises:
        WrongType.
    """
    if not isinstance(shown, Sparsified):
        raise WrongType(f"expected a Sparsified, not {type(shown).__name__}; make one with vesalius.sparsify(...)")
    return shown


def pruned_layers(shown: Sparsified) -> list[PrunedLayer]:
    """The pruned layers, in order of computation."""
    found = links_of(shown.dense, list(shown.masks))
    return [
        PrunedLayer(name=name, links=one, mask=one.matrix(shown.masks[name]).cpu(), scores=one.matrix(shown.importance[name]).cpu())
        for name, one in found.items()
    ]


def image_shape(shown: Sparsified, shape: Sequence[int] | None) -> tuple[int, ...] | None:
    """Channels, height and width of the image that the network reads: as given, or as its input has them; else ``None``.

    Raises:
        InvalidInput: a shape of another number of elements.
    """
    sides = tuple(int(side) for side in shown.dense.inputs[0].shape[1:] if side is not None)
    given = whole_numbers("shape", shape, POSITIVE_COUNT) if shape is not None else sides if len(sides) in (2, 3) else None
    if given is None:
        return None
    if len(given) not in (2, 3) or prod(given) != prod(sides):
        raise InvalidInput(f"samples have shape {sides}; {given} is none of an image of so many: give (height, width), or channels first")
    return given if len(given) == 3 else (1, *given)


def sum_channels(values: Float[Tensor, " F"], shape: tuple[int, ...]) -> Float[ndarray, "height width"]:
    """One value per element of an image in its place, channels added up."""
    return np.asarray(values.double().reshape(shape).sum(0).numpy())


def most_important_units(cut: PrunedLayer, most: int = MOST_UNITS) -> Int[Tensor, " K"]:
    """Units with the most importance left, the most important first."""
    left = (cut.scores * cut.mask).sum(1)
    ranked = left.sort(descending=True, stable=True).indices[:most]
    return ranked[left[ranked] > 0]


def reads_input(cut: PrunedLayer, shown: Sparsified) -> bool:
    """Whether a layer's links come straight from the elements of the input."""
    elements = prod(side for side in shown.dense.inputs[0].shape[1:] if side is not None)
    return cut.links.layer.op in LINEAR_OPS and cut.links.fan_in == elements


def importance_curve(scores: Float[Tensor, "U F"]) -> tuple[Float[ndarray, " T"], Float[ndarray, " T"]]:
    """Share of the links, strongest first, and of the importance that these carry."""
    ranked = scores.double().flatten().sort(descending=True).values.clamp_min(0).cumsum(0)
    places = np.unique(np.round(np.linspace(0, 1, CURVE_POINTS) ** 2 * len(ranked)).astype(int))
    shares = np.concatenate([[0.0], (ranked / ranked[-1].clamp_min(1e-300)).numpy()])[places]
    return places / len(ranked), shares


def ranked_links(cut: PrunedLayer) -> list[RankedLink]:
    """The strongest links of a layer, the weakest that stayed, and the strongest that did not."""
    flat, mask = cut.scores.double().flatten(), cut.mask.flatten()
    order = flat.sort(descending=True, stable=True).indices
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(1, len(order) + 1))
    stayed, went = order[mask[order]], order[~mask[order]]
    picked = dict.fromkeys([*stayed[:LISTED_LINKS].tolist(), *stayed[-1:].tolist(), *went[:1].tolist()])
    total = float(flat.sum()) or 1.0
    return [
        RankedLink(
            layer=cut.name,
            source=place % cut.scores.shape[1],
            unit=place // cut.scores.shape[1],
            score=float(flat[place]),
            rank=int(rank[place]),
            share=float(flat[place]) / total,
            kept=bool(mask[place]),
        )
        for place in picked
    ]


def before_after_images(shown: Sparsified, x: Tensor, shape: tuple[int, ...]) -> list[BeforeAfter]:
    """Images before and after, of an autoencoder of images."""
    few = x[:MOST_SAMPLES]
    before, after = (apply_in_batches(_as_function(network), few) for network in (shown.dense, shown.network))
    rows = [part.detach().cpu().float().reshape(len(few), *shape).numpy() for part in (few, before, after)]
    return [BeforeAfter(image=image, before=first, after=second) for image, first, second in zip(*rows, strict=True)]


def output_errors(shown: Sparsified, x: Tensor) -> Mapping[str, float]:
    """Mean squared difference of the outputs; of an autoencoder also that of each, and of the mean sample, from the samples."""
    before, after = _as_function(shown.dense), _as_function(shown.network)
    dense = apply_in_batches(before, x)
    found = {"from the dense output": float((apply_in_batches(after, x) - dense).double().square().mean())}
    if dense.shape == x.shape and x.is_floating_point():
        error, mean = reconstruction_error(before, x), mean_row_error(x, x)
        if error < mean:  # an output of the samples' shape may be something else, such as as many classes as there are columns
            found |= {"error, dense": error, "error, pruned": reconstruction_error(after, x), "error of the mean sample": mean}
    return found


def _as_function(network: Network) -> Callable[[Tensor], Tensor]:
    """A network as a function of samples."""
    return lambda x: network.run(network.bind(x))
