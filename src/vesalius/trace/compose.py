"""A network continued by a function of its output, so that rules and gradients go through the function as through any layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from vesalius.trace.network import Network
from vesalius.trace.target import TargetFunction
from vesalius.trace.trace import recall


def compose(network: Network, function: TargetFunction, inputs: Sequence[Tensor]) -> Network | None:
    """The network of ``function(output)``, with the names of its values as they were; ``None`` where that has no graph, or one that does
    not do what the function does.

    Args:
        network: traced from a live model.
        function: of the output, [N, ...] -> [N].
        inputs: of the network, bound; two rows are looked at.
    """
    if network.call is None:
        return None
    found = recall((replace(network.call, function=function), tuple(tensor[:2] for tensor in inputs)))
    return None if found.opaque else found
