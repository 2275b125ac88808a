"""Pruned networks in a file, and how they come to a live model again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from vesalius.core import store
from vesalius.core.errors import InvalidInput
from vesalius.sparsity.compression.exporting import example_inputs
from vesalius.sparsity.links import links_of
from vesalius.sparsity.parametrizations import plain_network
from vesalius.sparsity.pruning.masked_copy import build_masked_model
from vesalius.trace.copying import computed_attributes
from vesalius.trace.network import Network, decode_network, encode_network
from vesalius.trace.signature import ModelCall

KIND = "sparsified"


def encode_sparsified(
    networks: Mapping[str, Network], tables: Mapping[str, Mapping[str, Tensor]], provenance: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The parts of a pruned network as tensors by name and facts; tensors of the pruned network that pruning left alone are there once."""
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {"provenance": store.to_json_values(provenance)}
    for which, network in networks.items():
        held, facts[which] = encode_network(network)
        first = next(iter(networks))
        known = {name: tensors.get(f"{first}.{name}") for name in held}
        tensors |= {f"{which}.{name}": tensor for name, tensor in held.items() if not _is_equal(tensor, known[name])}
        facts[f"{which} tensors"] = sorted(held)
    for table, found in tables.items():
        facts[table] = list(found)
        tensors |= {f"{table}.{place}": tensor for place, tensor in enumerate(found.values())}
    return tensors, facts


def decode_part(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], which: str, other: str, device: torch.device) -> Network:
    """One of the networks of a file; what it does not hold of its own is that of the other."""
    names = store.words(facts, f"{which} tensors")
    held = {name: tensors.get(f"{which}.{name}", tensors.get(f"{other}.{name}")) for name in names}
    if missing := [name for name, tensor in held.items() if tensor is None]:
        raise KeyError(missing[0])
    whole = {name: tensor.clone() for name, tensor in held.items() if tensor is not None}
    return decode_network(whole, store.fact(facts, which, dict), device)


def decode_tables(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], dense: Network) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Masks and scores by layer, in the shapes of the layers' weights.

    Raises:
        KeyError, TypeError, ValueError: as :func:`vesalius.core.store.part`; no masks, or other layers than those that have scores.
    """
    kinds = {"masks": "boolean", "importance": "floating"}
    masks, importance = (
        {
            name: store.part(tensors, f"{table}.{place}", _weight_shape(dense, name), kind=kind)
            for place, name in enumerate(store.words(facts, table))
        }
        for table, kind in kinds.items()
    )
    if not masks or masks.keys() - importance.keys():
        raise ValueError("there are no masks, or there are no scores of what they mask")
    return masks, importance


def _weight_shape(dense: Network, name: str) -> tuple[int, ...]:
    """That of the weight whose links go by a name."""
    return next(iter(links_of(dense, [name]).values())).layer.shape


def attach_model(
    pruned: Network, dense: Network, masks: Mapping[str, Bool[Tensor, "..."]], network: Network
) -> tuple[nn.Module, Network, Network]:
    """The model under masks, its network, and the dense network, on copies of a live model with the weights of a file.

    Args:
        pruned, dense: of the file.
        masks: of the file.
        network: traced from a model of the same architecture, whatever its weights.

    Raises:
        InvalidInput: a network without a model, or of another architecture.
    """
    if network.call is None:
        raise InvalidInput(f"{network.name} was loaded from a file and has no model; trace the model: network=vesalius.trace(model, x)")
    network = plain_network(network, example_inputs(network))
    assert network.call is not None
    if network.opaque or list(network.values) != list(dense.values) or not _has_same_shapes(network, dense):
        raise InvalidInput(f"{network.name} is of another architecture than the network that was pruned, {dense.name}; give that")
    before = _copy_with(network.call, dense)
    model, traced = build_masked_model(
        replace(pruned, call=network.call), {one.layer.weight: masks[name] for name, one in links_of(dense, list(masks)).items()}
    )
    return model, traced, replace(dense, call=before)


def _copy_with(call: ModelCall, network: Network) -> ModelCall:
    """The call of a copy of the model that holds a network's tensors."""
    model = copy.deepcopy(call.model, computed_attributes(call.model))
    with torch.no_grad():
        for name, own in (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)):
            if name in network.parameters:
                own.copy_(network.parameters[name])
    return replace(call, model=model)


def _has_same_shapes(one: Network, other: Network) -> bool:
    mine, theirs = one.parameters, other.parameters
    return mine.keys() == theirs.keys() and all(mine[name].shape == theirs[name].shape for name in mine)


def _is_equal(tensor: Tensor, known: Tensor | None) -> bool:
    return known is not None and tensor.shape == known.shape and tensor.dtype == known.dtype and bool((tensor == known).all())
