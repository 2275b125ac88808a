"""A model with other tensors in it, some of them smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn


def tensor_of(model: nn.Module, name: str) -> Tensor | None:
    """A parameter or buffer by its path; ``None`` if the model has none of that name."""
    path, _, leaf = name.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return None
    found = module._parameters.get(leaf, module._buffers.get(leaf))
    return found if isinstance(found, Tensor) else None


def tensors_of(model: nn.Module, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's own tensors where it has them, else those given, by name."""
    found = {name: tensor_of(model, name) for name in names}
    return {name: tensor if found[name] is None else found[name].detach() for name, tensor in names.items()}  # type: ignore[union-attr]


def replace_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors in the place of a model's own, of whatever shape, under all names they have; sizes that PyTorch's modules note down
    follow."""
    for name, tensor in tensors.items():
        before = tensor_of(model, name)
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        if leaf in module._buffers:
            module._buffers[leaf] = tensor
            continue
        new = nn.Parameter(tensor, requires_grad=before is None or before.requires_grad)
        module._parameters[leaf] = new
        for other in model.modules():
            for alias in [alias for alias, one in other._parameters.items() if one is before and before is not None]:
                other._parameters[alias] = new
    for module in model.modules():
        for kind, update in SIZE_UPDATES.items():
            if isinstance(module, kind):
                update(module)


def _update_linear(module: Any) -> None:
    module.out_features, module.in_features = module.weight.shape


def _update_bilinear(module: Any) -> None:
    module.out_features, module.in1_features, module.in2_features = module.weight.shape


def _update_convolution(module: Any) -> None:
    """Of a grouped convolution whole groups go, and each keeps its channels."""
    first, second = module.weight.shape[:2]
    if module.groups > 1:
        module.groups = module.groups * first // (module.in_channels if module.transposed else module.out_channels)
    made, read = (second * module.groups, first) if module.transposed else (first, second * module.groups)
    module.out_channels, module.in_channels = made, read


def _update_channel_norm(module: Any) -> None:
    sized = next((one for one in (module.weight, module.running_mean) if one is not None), None)
    module.num_features = module.num_features if sized is None else len(sized)


def _update_group_norm(module: Any) -> None:
    if module.weight is not None:
        if module.num_groups > 1:
            module.num_groups = module.num_groups * len(module.weight) // module.num_channels
        module.num_channels = len(module.weight)


def _update_embedding(module: Any) -> None:
    module.num_embeddings, module.embedding_dim = module.weight.shape


def _update_prelu(module: Any) -> None:
    module.num_parameters = len(module.weight)


def _update_recurrent(module: Any) -> None:
    module.input_size = module.weight_ih_l0.shape[1]
    module.proj_size = module.weight_hr_l0.shape[0] if module.proj_size else 0
    module.hidden_size = module.weight_hr_l0.shape[1] if module.proj_size else module.weight_hh_l0.shape[1]
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _update_cell(module: Any) -> None:
    module.hidden_size, module.input_size = module.weight_hh.shape[1], module.weight_ih.shape[1]


SIZE_UPDATES: Mapping[Any, Callable[[Any], None]] = {
    nn.Linear: _update_linear,
    nn.Bilinear: _update_bilinear,
    (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d): _update_convolution,
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d): _update_channel_norm,
    (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d): _update_channel_norm,
    nn.GroupNorm: _update_group_norm,
    nn.Embedding: _update_embedding,
    nn.PReLU: _update_prelu,
    (nn.LSTM, nn.GRU, nn.RNN): _update_recurrent,
    (nn.LSTMCell, nn.GRUCell, nn.RNNCell): _update_cell,
}
"""How the sizes that PyTorch's modules note down follow their weights."""
