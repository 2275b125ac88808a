"""A copy of a network to prune: the graph with weights of its own, and in the end the model with masks that PyTorch knows."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import prune

from vesalius.core.errors import InvalidInput
from vesalius.sparsity.links import Links
from vesalius.sparsity.parametrizations import copy_with_plain_weights
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

    Weights that were computed from others are parameters of the copy.

    Raises:
        InvalidInput: the network was loaded from a file and has no model.
    """
    if pruned.call is None:
        raise InvalidInput(
            f"{pruned.name} was loaded from a file, and there is no model to mask; load the model's weights into the model, and trace it"
        )
    model = copy_with_plain_weights(pruned.call.model)
    known = dict(model.named_buffers(remove_duplicate=False)) | dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name in known.keys() & pruned.parameters.keys():
            known[name].copy_(pruned.parameters[name])
    return pruned.call, model


def build_masked_model(pruned: Network, masks: Mapping[str, Bool[Tensor, "..."]]) -> tuple[nn.Module, Network]:
    """A copy of the model with the twin's weights under ``torch.nn.utils.prune`` masks, and the network that belongs to it.

    Args:
        pruned: made by :func:`copy_network`, its weights written.
        masks: of parameters, by their names; others are passed over.

    Raises:
        InvalidInput: the network was loaded from a file and has no model.
    """
    call, model = copy_model(pruned)
    known = dict(model.named_parameters(remove_duplicate=False))
    for name in [name for name in masks if name in known]:
        weight = known[name]
        for module in list(model.modules()):
            leaves = [leaf for leaf, parameter in module.named_parameters(recurse=False) if parameter is weight]
            for leaf in leaves:
                prune.custom_from_mask(module, leaf, masks[name].to(weight))
            if leaves and not hasattr(module, "__deepcopy__"):
                vars(module)["__deepcopy__"] = DeepcopyWithMasks(module)
    return model, Network(pruned.name, pruned.inputs, pruned.model_graph, pruned.reason, replace(call, model=model))


def update_weights(network: Network, model: nn.Module) -> None:
    """Give a pruned network the weights that its model under masks has now, trained since or not."""
    with torch.no_grad():
        for name, tensor in network.parameters.items():
            now = _weight_now(model, name)
            if now is not None and now.shape == tensor.shape and not torch.equal(now, tensor):
                tensor.copy_(now)


def _weight_now(model: nn.Module, name: str) -> Tensor | None:
    """A parameter, under its mask if it has one, or a buffer; ``None`` if the model has none of that name."""
    path, _, leaf = name.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return None
    if (under := module._parameters.get(f"{leaf}_orig")) is not None and module._buffers.get(f"{leaf}_mask") is not None:
        found: Tensor = under.detach() * module._buffers[f"{leaf}_mask"]  # type: ignore[operator]
        return found
    plain = module._parameters.get(leaf, module._buffers.get(leaf))
    return None if plain is None else plain.detach()


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


def require_parameters(links: Iterable[Links]) -> None:
    """Refuse weights that no mask of PyTorch's can be put on.

    Raises:
        InvalidInput: one that is no parameter of the model.
    """
    for one in links:
        call = one.network.call
        if call is not None and one.layer.weight not in dict(call.model.named_parameters(remove_duplicate=False)):
            raise InvalidInput(
                f"the weight of layer {one.name!r} is no parameter of the model ({one.layer.weight!r} is a buffer or is computed), so it"
                " cannot be masked; name other layers with Pruning(layers=[...])"
            )
