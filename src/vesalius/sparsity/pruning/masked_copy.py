"""A copy of a network to prune: the graph with weights of its own, and in the end the model with masks that PyTorch knows."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import prune

from vesalius.core.errors import InvalidInput
from vesalius.sparsity.links import Links
from vesalius.trace.copying import computed_attributes
from vesalius.trace.network import Network
from vesalius.trace.signature import ModelCall


def copy_network(network: Network) -> Network:
    """The same graph on copies of all tensors; tensors that share memory share it in the copy.

    Raises:
        NotTraceable: an opaque network.
    """
    model_graph = network.graph("pruning")
    copies: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Tensor] = {}
    tensors = {}
    for name, tensor in model_graph.tensors.items():
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride()) if tensor.numel() else (-len(copies) - 1, (), ())
        tensors[name] = copies.setdefault(key, tensor.detach().clone())
    return Network(network.name, network.inputs, replace(model_graph, tensors=tensors), network.reason, network.call)


def write_weights(links: Links, weight: Float[Tensor, "U F"], bias: Float[Tensor, " U"] | None) -> None:
    """Put a weight, and a bias where the layer has one, into a copy made by :func:`copy_network`."""
    tensors = links.network.parameters
    home = tensors[links.layer.weight]
    home.copy_(links.to_weight_shape(weight).to(home))
    if bias is not None and links.layer.bias:
        tensors[links.layer.bias].copy_(bias.to(tensors[links.layer.bias]))


def copy_model(pruned: Network) -> tuple[ModelCall, nn.Module]:
    """How the user's model is called, and a copy of it with the parameters and statistics of a network made by :func:`copy_network`.

    Raises:
        InvalidInput: the network was loaded from a file and has no model.
    """
    if pruned.call is None:
        raise InvalidInput(
            f"{pruned.name} was loaded from a file, and there is no model to mask; load the model's weights into the model, and trace it"
        )
    model = copy.deepcopy(pruned.call.model, computed_attributes(pruned.call.model))
    known = dict(model.named_buffers(remove_duplicate=False)) | dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name in known.keys() & pruned.parameters.keys():
            known[name].copy_(pruned.parameters[name])
    return pruned.call, model


def build_masked_model(pruned: Network, masks: Mapping[str, tuple[Links, Bool[Tensor, "..."]]]) -> tuple[nn.Module, Network]:
    """A copy of the model with the twin's weights under ``torch.nn.utils.prune`` masks, and the network that belongs to it.

    Args:
        pruned: made by :func:`copy_network`, its weights written.
        masks: links and mask in the weight's shape, by layer.

    Raises:
        InvalidInput: the network was loaded from a file and has no model; a weight is no parameter of the model.
    """
    call, model = copy_model(pruned)
    known = dict(model.named_parameters(remove_duplicate=False))
    for links, mask in masks.values():
        _check_is_parameter(links, known)
        weight = known[links.layer.weight]
        for module in list(model.modules()):
            leaves = [leaf for leaf, parameter in module.named_parameters(recurse=False) if parameter is weight]
            for leaf in leaves:
                prune.custom_from_mask(module, leaf, mask.to(weight.dtype))
            if leaves and not hasattr(module, "__deepcopy__"):
                vars(module)["__deepcopy__"] = DeepcopyWithMasks(module)
    return model, Network(pruned.name, pruned.inputs, pruned.model_graph, pruned.reason, replace(call, model=model))


class DeepcopyWithMasks:
    """What ``copy.deepcopy`` asks of a module under masks.

    A masked weight is a product that prune leaves on its module, and PyTorch refuses to copy products: no moving average and no best
    model so far could be kept. Here it is copied as a value, which the next call computes anew. It is pickled as ``None``, which deepcopy
    passes over, so that a file of the model needs nothing but PyTorch.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, memo: dict[int, Any]) -> nn.Module:
        memo.update(computed_attributes(self.module))
        own = vars(self.module).pop("__deepcopy__")
        try:
            copied = copy.deepcopy(self.module, memo)
        finally:
            vars(self.module)["__deepcopy__"] = own
        vars(copied)["__deepcopy__"] = DeepcopyWithMasks(copied)
        return copied

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(None), ()


def _check_is_parameter(links: Links, known: Mapping[str, nn.Parameter]) -> None:
    if links.layer.weight not in known:
        raise InvalidInput(
            f"the weight of layer {links.name!r} is no parameter of the model ({links.layer.weight!r} is a buffer or is computed), so it"
            " cannot be masked; name other layers with Pruning(layers=[...])"
        )
