"""Which inputs are explained where nobody says so: what carries the content, and never a mask.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.trace.graph import Value, downstream_nodes
from vesalius.trace.network import Network
from vesalius.trace.vocabulary import WHOLE_NAMES, ranked_ids


def default_inputs(network: Network, inputs: Sequence[Tensor]) -> tuple[str, ...]:
    """Names of the inputs that are explained by default.

    All floating inputs; where there are none, or none but a mask of ids, the ids: the input that is looked up in an embedding, and of
    several the one with the largest vocabulary.

    Args:
        network: what is asked.
        inputs: its inputs, bound.

    Raises:
        InvalidInput: it cannot be told which of several inputs is meant.
    """
    floating = [value.name for value in network.inputs if value.is_floating]
    ids = _ids_or_whole(network)
    if not ids:
        return tuple(floating) or (_only(network, [value.name for value in network.inputs]),)
    content = [name for name in floating if not _is_named_mask(name)]
    if content and all(_looks_like_mask(network, inputs, name, ids[0]) for name in content):
        raise InvalidInput(
            f"{_listed(content)} may be what is to be explained, or a mask of {ids[0]!r}: all its numbers are 0 or 1; say which with"
            f" at={ids[0]!r} or at={content[0]!r}"
        )
    return tuple(content) or ((ids[0] if not network.opaque else _only(network, ids)),)


def embedding_behind(network: Network) -> str | None:
    """The value that ids become first, where they are looked up in an embedding; ``None`` where none is seen."""
    if network.opaque:
        return None
    likeliest = ranked_ids(network.lookups)[:1]
    held = {lookup.index for lookup in network.lookups if lookup.verbatim and lookup.inputs == likeliest}
    return next((layer.value for layer in network.layers.values() if layer.op == "embedding" and layer.source in held), None)


def ids_behind(network: Network, name: str) -> str | None:
    """The input of ids that an inner value is computed from, where no floating input but a mask enters it; else ``None``."""
    model_graph = network.model_graph
    if model_graph is None or name in model_graph.inputs or name not in model_graph.nodes:
        return None
    node = model_graph.nodes[name]
    sources = [source for source in model_graph.inputs if node in downstream_nodes([model_graph.nodes[source]])]
    if any(model_graph.value(source).is_floating and not _is_named_mask(source) for source in sources):
        return None
    return next((source for source in ranked_ids(network.lookups) if source in sources), None)


def _ids_or_whole(network: Network) -> list[str]:
    """Inputs of ids; of an opaque network, all that may be."""
    found = ranked_ids(network.lookups)
    named = [name for name in found if not _is_named_mask(name)]
    if found or not network.opaque:
        return named or list(found)
    return [value.name for value in network.inputs if value.dtype in WHOLE_NAMES and not _is_named_mask(value.name)]


def _only(network: Network, names: list[str]) -> str:
    """The one input of whole numbers that is no mask, as far as names and types tell."""
    if len(names) == 1:
        return names[0]
    known = {value.name: value for value in network.inputs}
    likely = [name for name in names if known[name].dtype != "bool" and not _is_named_mask(name)]
    if len(likely) != 1:
        raise InvalidInput(
            f"it cannot be told which of {_listed(likely or names)} is to be explained; say so with at={(likely or names)[0]!r}, or several"
        )
    return likely[0]


def _is_named_mask(name: str) -> bool:
    return "mask" in name.lower()


def _looks_like_mask(network: Network, inputs: Sequence[Tensor], name: str, ids: str) -> bool:
    """Whether a floating input has the shape of the ids and holds zeros and ones alone."""
    known: dict[str, tuple[Value, Tensor]] = {value.name: (value, here) for value, here in zip(network.inputs, inputs, strict=True)}
    (mine, here), (theirs, _) = known[name], known[ids]
    return mine.shape == theirs.shape and bool(((here == 0) | (here == 1)).all()) and here.dtype != torch.bool


def _listed(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names))
