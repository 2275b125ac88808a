"""Units that a network could do without, as far as the flow of information tells.

Axes: A units of a layer, B units of one that reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float64
from torch import Tensor

from vesalius.core.numbers import Limit, real_number
from vesalius.information.layer_graph import LayerGraph
from vesalius.information.layers import FlowLayer
from vesalius.information.paths import throughput


def prunable_units(
    layers: Sequence[FlowLayer],
    structure: LayerGraph,
    flows: Sequence[Float64[Tensor, "_ _"]],
    share: float,
    unseen: Sequence[str] = (),
    factors: Sequence[str] = (),
) -> dict[str, dict[int, str]]:
    """Units between the first layers and the last that carry at most a share of the flow, each with the reason.

    All live units of a layer that everything passes through are never listed together: the output is a function of them, so that none of
    them seems to carry anything says that the measurement fails there. The same holds for layers side by side.

    Args:
        layers: all layers.
        structure: which are joined.
        flows: weights, one matrix per layer pair.
        share: most that passes through a unit, of all that flows, in [0, 1).
        unseen: names of layers that read an input besides that is no layer; what begins there counts as well.
        factors: names of layers that are multiplied with others, or choose among them; a unit there may say nothing alone and everything
            together with the other, so that only dead ones are listed.

    Returns:
        For each layer that has such units, their positions and why.
    """
    share = real_number("share", share, Limit(least=0, below=1))
    carried = [part.tolist() for part in throughput(structure, flows)]
    begin = [at for at, layer in enumerate(layers) if layer.name in unseen]
    besides = [part.tolist() for part in throughput(structure, flows, begin)] if begin else carried
    inner = [at for at in range(len(layers)) if structure.into[at] and structure.out_of[at]]
    chosen = {at: {unit for unit, flow in enumerate(carried[at]) if max(flow, besides[at][unit]) <= share} for at in inner}
    live = [set((~layer.dead).nonzero().flatten().tolist()) for layer in layers]
    spare = {at for at in inner if live[at] and live[at] <= chosen[at]}
    for at in needed_layers(structure, spare, without=[at for at, units in enumerate(live) if not units]):
        chosen[at] -= live[at]
    for at in inner:
        chosen[at] -= live[at] if layers[at].name in factors else set()
    return {
        layers[at].name: {unit: _prune_reason(layers[at], structure, flows, (at, unit), carried[at][unit]) for unit in sorted(units)}
        for at, units in chosen.items()
        if units
    }


def needed_layers(structure: LayerGraph, spare: set[int], without: Sequence[int]) -> set[int]:
    """Of layers that seem to be spare, those that cannot be: without them, nothing would reach some last layer.

    They are those on the ways to it that pass the fewest seemingly spare layers, where each way passes one at least.

    Args:
        structure: which layers are joined.
        spare: layers.
        without: layers that pass nothing on.
    """
    shut, found = set(without), set[int]()
    to = _fewest_passed(structure, spare, shut)
    open_pairs = LayerGraph(structure.sizes, tuple(pair for pair in structure.pairs if pair[0] in to and pair[1] in to))
    for sink in structure.sinks:
        fewest = to.get(sink, 0)
        if not fewest:
            continue
        left = _fewest_left(open_pairs, sink, spare)
        found |= {at for at in spare if at in to and at in left and to[at] + left[at] == fewest}
    return found


def _fewest_passed(structure: LayerGraph, spare: set[int], shut: set[int]) -> dict[int, int]:
    """For each layer that can be reached through open ones, the fewest spare layers on a way to it, itself counted."""
    found = dict.fromkeys(set(structure.sources) - shut, 0)
    for first, second in sorted(structure.pairs):
        if first in found and second not in shut:
            count = found[first] + (second in spare)
            found[second] = min(found.get(second, count), count)
    return found


def _fewest_left(structure: LayerGraph, sink: int, spare: set[int]) -> dict[int, int]:
    """For each layer from which a last layer can be reached, the fewest spare layers on the way there, itself not counted."""
    found = {sink: 0}
    for first, second in sorted(structure.pairs, reverse=True):
        if second in found:
            count = found[second] + (second in spare)
            found[first] = min(found.get(first, count), count)
    return found


def _prune_reason(layer: FlowLayer, structure: LayerGraph, flows: Sequence[Tensor], unit: tuple[int, int], carried: float) -> str:
    at, position = unit
    if layer.dead[position]:
        return "dead"
    if not any((flows[place][:, position] > 0).any() for place in structure.into[at]):
        return "no information flows in"
    if not any((flows[place][position] > 0).any() for place in structure.out_of[at]):
        return "no information flows out"
    return f"carries {carried:.2g} of the flow" if carried else "on no path from the first layer to the last"
