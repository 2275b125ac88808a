"""What removing units or links costs: accuracy against how many are gone, in the order of their flow, their magnitude, or none.

Axes: N rows, U units or links, T steps, R repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.core.rows import to_tensor
from vesalius.information.graph import FlowGraph
from vesalius.information.layers import LABELS, TARGETS
from vesalius.information.text_masks import position_of_each, text_mask
from vesalius.information.units import find_layer_units
from vesalius.trace.network import Inputs, Network

ABLATABLE = ("units", "links")
BATCH = 1024


@dataclass(frozen=True, eq=False, kw_only=True)
class AblationCurves:
    """Accuracy while units or links are taken away, the least of them first.

    Attributes:
        layer: whose units, or links into whom.
        what: ``units`` or ``links``.
        removed: [T] share that is gone, from 0 to 1.
        accuracy: [R T] by order: ``flow``, ``magnitude`` (one row each) and ``random`` (a row per repeat).
    """

    layer: str
    what: str
    removed: Float64[Tensor, " T"]
    accuracy: Mapping[str, Float64[Tensor, "_ T"]]

    @property
    def areas(self) -> dict[str, float]:
        """Mean accuracy over all shares removed, by order; the higher, the better the order knows what is not needed."""
        return {name: float(torch.trapezoid(rows.median(0).values, self.removed)) for name, rows in self.accuracy.items()}

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """The curves; returns the matplotlib figure. See :func:`vesalius.views.flow.charts.plot_ablation`."""
        return load_view("ablation_plot")(self, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("ablation_html")(self))


@dataclass(frozen=True, kw_only=True)
class AblationOptions(Options):
    """How to remove.

    Attributes:
        what: ``"units"``, which are set to 0, or ``"links"``, whose weights (kernels between channels) are.
        steps: accuracies taken on the way, at most.
        repeats: random orders.
        seed: of these.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"steps": Limit(least=2), "repeats": POSITIVE_COUNT}
    what: str = "units"
    steps: int = 21
    repeats: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("what to remove", self.what, ABLATABLE)


@verb
def ablation_curves(
    network: Network, graph: FlowGraph, x: Inputs, labels: Int[Tensor, " N"], *, layer: str, removing: AblationOptions | None = None
) -> AblationCurves:
    """Accuracy against the share of a layer's units or links that is removed, by flow beside magnitude and chance.

    The model is not touched: units are set to 0 on their way, weights are replaced in the graph.

    Args:
        network: that the graph was made of.
        graph: from :func:`vesalius.information_flow`.
        x: rows to measure accuracy on, best not those of the graph.
        labels: their classes; of a language model, the token behind the position that the graph was made at.
        layer: a layer of the graph with a weight; links are those from the layer that it reads.
        removing: what, and in how many steps.

    Raises:
        UnknownName: no such layer in the graph or the network.
        InvalidInput: links between layers that no single weight connects; labels that do not fit.
    """
    how, place = removing or AblationOptions(), graph.place(layer)
    tensors, labels = network.bind(x), to_tensor(labels)
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise WrongType(f"labels are class numbers, not {labels.dtype}; make them with labels.long()")
    if labels.shape != tensors[0].shape[:1]:
        raise InvalidInput(f"{len(tensors[0])} rows need as many labels; these have shape {list(labels.shape)}")
    ablate = _unit_ablation if how.what == "units" else _link_ablation
    every, scores = ablate(network, graph, tensors, place)
    position = graph.provenance.get("options", {}).get("position")
    run = every if position is None else partial(_at_position, every, position, text_mask(network, tensors))
    count = len(scores["flow"])
    steps = torch.linspace(0, count, min(how.steps, count + 1), dtype=torch.float32).round().long()
    draw = torch.Generator().manual_seed(how.seed)
    orders = {name: score.argsort(stable=True)[None] for name, score in scores.items()}
    orders["random"] = torch.stack([torch.randperm(count, generator=draw) for _ in range(how.repeats)])
    accuracy = {
        name: torch.tensor([[_accuracy_without(run, order, int(step), labels) for step in steps] for order in rows], dtype=torch.float64)
        for name, rows in orders.items()
    }
    return AblationCurves(layer=layer, what=how.what, removed=steps.double() / count, accuracy=accuracy)


MaskedForward = Callable[[Bool[Tensor, " U"]], Tensor]
"""The output with only some units or links left."""


def _at_position(every: MaskedForward, position: int, mask: Bool[Tensor, "N T"] | None, kept: Bool[Tensor, " U"]) -> Tensor:
    """The output at one position of each text."""
    output = every(kept)
    return output[:, position] if mask is None else output[torch.arange(len(output)), position_of_each(mask, position)]


@torch.no_grad()
def _accuracy_without(run: MaskedForward, order: Int[Tensor, " U"], gone: int, labels: Int[Tensor, " N"]) -> float:
    kept = torch.ones(len(order), dtype=torch.bool)
    kept[order[:gone]] = False
    output = run(kept)
    if gone == 0 and not (int(labels.min()) >= 0 and int(labels.max()) < output.shape[1]):
        raise InvalidInput(f"labels go from {int(labels.min())} to {int(labels.max())}; the network has classes 0 to {output.shape[1] - 1}")
    return float((output.argmax(1).cpu() == labels.cpu()).double().mean())


@torch.no_grad()
def _unit_ablation(
    network: Network, graph: FlowGraph, x: Sequence[Tensor], place: int
) -> tuple[MaskedForward, dict[str, Float64[Tensor, " U"]]]:
    """Units of a layer: how to run without some, and what they are worth."""
    names, options = [name for name in graph.names if name not in (LABELS, TARGETS)], graph.provenance.get("options", {})
    reading = options.get("unit", "post_activation"), options.get("steps"), options.get("position")
    site = find_layer_units(network, names, *reading)[place]
    if site.step is not None:
        raise InvalidInput(f"{site.name!r} is one step of a recurrent layer; units are removed from whole layers")
    if site.axis is None:
        raise InvalidInput(f"{site.name!r} is an end of the network; units are removed between its ends")
    cut = network.split(site.value)
    layouts = [network.axes.batch_layout(name) for name in (*cut.at, *cut.context)]
    held = [layout.batch_first(tensor) for layout, tensor in zip(layouts, cut.front(*x), strict=True)]
    value, axis = held[0], site.axis
    shape = [site.units if at == axis else 1 for at in range(value.ndim)]

    def run(kept: Tensor) -> Tensor:
        mask = kept.to(value).reshape(shape)
        found = []
        for part, *context in zip(*(tensor.split(BATCH) for tensor in held), strict=True):
            found.append(cut.head(*(layout.restore(one) for layout, one in zip(layouts, (part * mask, *context), strict=True))))
        return torch.cat(found)

    strength = value.double().movedim(axis, 0).flatten(1).abs().mean(1).cpu()
    return run, {"flow": graph.through()[site.name], "magnitude": strength}


@torch.no_grad()
def _link_ablation(
    network: Network, graph: FlowGraph, x: Sequence[Tensor], place: int
) -> tuple[MaskedForward, dict[str, Float64[Tensor, " U"]]]:
    """Links into a layer from the one that it reads in the graph: how to run without some, and what they are worth."""
    layer = network.layer(graph.names[place])
    weight = network.weight(layer)
    read = graph.structure.into[place]
    flow = graph.flows[read[0]] if len(read) == 1 else torch.zeros(0, 0, dtype=torch.float64)
    table = weight.movedim((layer.in_axis, layer.out_axis), (0, 1))
    table = table.reshape(*table.shape[:2], -1)
    if tuple(table.shape[:2]) != tuple(flow.shape):
        raise InvalidInput(
            f"the weight of {layer.name!r} connects {table.shape[0]} with {table.shape[1]} units, and the graph has"
            f" {' by '.join(map(str, flow.shape))} edges there; links can be removed where one weight lies between two layers of the graph"
        )
    inputs = [value.name for value in network.inputs]
    program = network.program([*inputs, layer.weight_value], [network.graph("removing links").output])

    def run(kept: Tensor) -> Tensor:
        mask = kept.to(weight).reshape(*flow.shape, *[1] * (weight.ndim - 2)).movedim((0, 1), (layer.in_axis, layer.out_axis))
        return torch.cat([program(*part, weight * mask)[0] for part in zip(*(tensor.split(BATCH) for tensor in x), strict=True)])

    return run, {"flow": flow.flatten(), "magnitude": table.double().norm(dim=2).flatten().cpu()}
