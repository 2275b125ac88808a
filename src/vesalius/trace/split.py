"""A network cut in two at some of its values.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vesalius.core.entry import run_precisely
from vesalius.core.names import place_names

if TYPE_CHECKING:
    from vesalius.trace.network import Network


@dataclass(frozen=True, eq=False)
class Split:
    """A network cut in two: ``head(*front(x)) == network(x)``.

    Attributes:
        front: inputs to the values at the cut, then the context.
        head: the values at the cut, then the context, to the output.
        at: names of the values at the cut.
        context: names of what else the head reads; empty when everything passes through the cut.
    """

    front: Any
    head: Any
    at: tuple[str, ...]
    context: tuple[str, ...]


def split_network(network: Network, at: str | Sequence[str], output: str | None) -> Split:
    """See :meth:`vesalius.trace.Network.split`; both parts take inputs of other lengths as the network does."""
    model_graph = network.graph("cutting the network")
    asked = place_names(at)
    among_inputs = all(name in model_graph.inputs for name in asked)  # a module may have the name of an input
    cut = tuple(asked) if among_inputs else tuple(model_graph.resolve(name) for name in asked)
    end = model_graph.resolve(output) if output else model_graph.output
    context = model_graph.head_context(cut, end)

    def front(*tensors: Tensor) -> Any:
        return run_precisely(network.at_lengths_of(tensors).function(model_graph.inputs, [*cut, *context]), *tensors)

    def head(*tensors: Tensor) -> Any:
        here = network.at_lengths_of_values((*cut, *context), tensors)
        return run_precisely(here.function((*cut, *context), [end]), *tensors)[0]

    return Split(front, head, cut, context)
