"""Weights that are computed from others: under masks, normalised, or parametrised in any way; and the plain weights that they are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from vesalius.trace.copying import computed_attributes
from vesalius.trace.network import Network
from vesalius.trace.trace import trace_call

OLD_NORMS = {"WeightNorm": nn.utils.remove_weight_norm, "SpectralNorm": nn.utils.remove_spectral_norm}
"""Hooks by which older functions of PyTorch's compute a weight, and what takes them off."""


def computed_weights(model: nn.Module) -> list[str]:
    """Names of the weights of a model that PyTorch computes from others."""
    found = []
    for path, module in model.named_modules():
        leaves = list(module.parametrizations) if parametrize.is_parametrized(module) else []
        leaves += [getattr(hook, "_tensor_name", getattr(hook, "name", "")) for hook in _weight_hooks(module)]
        found += [f"{path}.{leaf}" if path else leaf for leaf in dict.fromkeys(leaves)]
    return found


def _weight_hooks(module: nn.Module) -> list[object]:
    hooks = module._forward_pre_hooks.values()
    return [hook for hook in hooks if isinstance(hook, prune.BasePruningMethod) or type(hook).__name__ in OLD_NORMS]


def copy_with_plain_weights(model: nn.Module) -> nn.Module:
    """A copy in which all weights are parameters of their own, with the numbers that they had; the model is left as it is."""
    copied = copy.deepcopy(model, computed_attributes(model))
    for name in computed_weights(copied):
        path, _, leaf = name.rpartition(".")
        module = copied.get_submodule(path)
        trained = any(one.requires_grad for one in module.parameters())
        with torch.no_grad():
            _make_plain(module, leaf)
        found = getattr(module, leaf).detach().clone()
        for held in (module._parameters, module._buffers, vars(module)):
            held.pop(leaf, None)
        module.register_parameter(leaf, nn.Parameter(found, requires_grad=trained))
    return copied


def _make_plain(module: nn.Module, leaf: str) -> None:
    if parametrize.is_parametrized(module, leaf):
        parametrize.remove_parametrizations(module, leaf, leave_parametrized=True)
        return
    for hook in _weight_hooks(module):
        if isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == leaf:
            prune.remove(module, leaf)
        elif type(hook).__name__ in OLD_NORMS and getattr(hook, "name", "") == leaf:
            OLD_NORMS[type(hook).__name__](module, leaf)


def plain_network(network: Network, rows: Sequence[Tensor]) -> Network:
    """The network of a copy of its model with plain weights; the network itself where all of them are.

    Args:
        network: traced.
        rows: some inputs, for a graph of the copy where it is another.
    """
    if network.call is None or not computed_weights(network.call.model):
        return network
    call = replace(network.call, model=copy_with_plain_weights(network.call.model))
    held = {name for name, _ in (*call.model.named_parameters(remove_duplicate=False), *call.model.named_buffers(remove_duplicate=False))}
    if not any(layer.computed for layer in network.layers.values()) and not set(network.parameters) - held:
        return replace(network, call=call)
    found = trace_call((call, tuple(part[:2] for part in rows)))
    found.features, found.classes = network.features, network.classes
    return found


def bounds_of(network: Network) -> dict[str, Bool[Tensor, "..."]]:
    """Masks of ``torch.nn.utils.prune`` that a model has, by the names of its weights: what they cut stays cut."""
    if network.call is None:
        return {}
    found = {}
    for path, module in network.call.model.named_modules(remove_duplicate=False):
        for leaf, mask in module.named_buffers(recurse=False):
            stem = leaf.removesuffix("_mask")
            if stem != leaf and f"{stem}_orig" in module._parameters:
                found[f"{path}.{stem}" if path else stem] = mask != 0
    return found
