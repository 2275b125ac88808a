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
    return [f"{path}.{leaf}" if path else leaf for path, module in model.named_modules() for leaf in _computed_leaves(module)]


def _computed_leaves(module: nn.Module) -> list[str]:
    """Names in a module of what PyTorch computes in it."""
    leaves = list(module._modules["parametrizations"]._modules) if parametrize.is_parametrized(module) else []  # type: ignore[union-attr]
    return list(dict.fromkeys([*leaves, *(getattr(hook, "_tensor_name", getattr(hook, "name", "")) for hook in _weight_hooks(module))]))


def _weight_hooks(module: nn.Module) -> list[object]:
    hooks = module._forward_pre_hooks.values()
    return [hook for hook in hooks if isinstance(hook, prune.BasePruningMethod) or type(hook).__name__ in OLD_NORMS]


def copy_with_plain_weights(model: nn.Module) -> nn.Module:
    """A copy in which all weights are parameters of their own, with the numbers that they had; the model is left as it is."""
    copied = copy.deepcopy(model, computed_attributes(model))
    for module in list(copied.modules()):
        leaves = _computed_leaves(module)
        trained = any(one.requires_grad for one in module.parameters())
        with torch.no_grad():
            _remove_hooks(module)
            found = {leaf: getattr(module, leaf).detach().clone() for leaf in leaves}
        if parametrize.is_parametrized(module):
            # not remove_parametrizations: it takes the property off the class, which the user's module shares
            module.__class__ = type(module).__bases__[0]
            del module._modules["parametrizations"]
        for leaf, weight in found.items():
            for held in (module._parameters, module._buffers, vars(module)):
                held.pop(leaf, None)
            module.register_parameter(leaf, nn.Parameter(weight, requires_grad=trained))
    return copied


def _remove_hooks(module: nn.Module) -> None:
    """Let masks and the older norms become the weights that they give."""
    for hook in _weight_hooks(module):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)
        else:
            OLD_NORMS[type(hook).__name__](module, getattr(hook, "name", ""))


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
