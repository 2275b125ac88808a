"""Models of any kind as a module, or as a callable from tensors to a tensor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from vesalius.core.errors import WrongType
from vesalius.core.rows import LABELS, Rows, has_labels, to_tensor
from vesalius.inputs.scikit_learn import convert_estimator, output_function

_CONVERTED: WeakKeyDictionary[Any, tuple[tuple[int, ...], nn.Module]] = WeakKeyDictionary()
"""Networks that estimators became, by estimator and the identity of its weights: the same network for the same weights."""


@dataclass(frozen=True, eq=False)
class ArrayFunction:
    """A function that is called outside torch, so that no gradient passes.

    Attributes:
        function: from arrays (or tensors) to numbers in any form.
        arrays: whether it takes NumPy arrays; else tensors without gradients.
        columns: names of the columns, where it wants a pandas DataFrame.
    """

    function: Callable[..., Any]
    arrays: bool = True
    columns: tuple[str, ...] = ()

    @property
    def __name__(self) -> str:
        owner = getattr(self.function, "__self__", None)
        return type(owner).__name__ if owner is not None else getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, *tensors: Tensor) -> Tensor:
        given: list[Any] = [tensor.detach() for tensor in tensors]
        if self.arrays:
            given = [tensor.cpu().numpy() for tensor in given]
        if self.columns:
            given = [sys.modules["pandas"].DataFrame(array, columns=list(self.columns)) for array in given]
        found = to_tensor(self.function(*given)).detach().to(tensors[0].device)
        if found.is_complex():
            raise WrongType(f"the function gave complex numbers ({found.dtype}); return a real number made of them: .abs(), .real")
        if not found.is_floating_point():
            found = found.to(torch.get_default_dtype())
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


@dataclass(frozen=True, eq=False)
class GivenModel:
    """A model as it can be traced.

    Attributes:
        model: a module, or a callable on tensors.
        classes: names of its classes, where it knows them.
    """

    model: Callable[..., Any]
    classes: tuple[str, ...] = ()


def as_model(model: Any, rows: Rows | None = None) -> Iterator[GivenModel]:
    """Ways to call a model, the likeliest first; the first that works on an example is meant.

    Args:
        model: an ``nn.Module``; a function of tensors or of NumPy arrays; an estimator of scikit-learn.
        rows: that it will be called on, in the form they came.

    Raises:
        WrongType: none of these.
    """
    if isinstance(model, nn.Module):
        yield GivenModel(model, _class_names(model))
        return
    if hasattr(model, "predict") and hasattr(model, "fit"):
        yield _estimator(model, rows)
        return
    if not callable(model):
        raise WrongType(f"expected a torch.nn.Module, a function or an estimator of scikit-learn, not {type(model).__name__}")
    ways = [model, ArrayFunction(model, arrays=False), ArrayFunction(model)]
    if rows is not None and not rows.typed:
        ways = [ways[2], ways[0], ways[1]]
    yield from map(GivenModel, ways)


def _estimator(model: Any, rows: Rows | None) -> GivenModel:
    """An estimator as a network where it is one, else as a black box."""
    classes = tuple(str(name) for name in getattr(model, "classes_", ()))
    if (module := _converted(model)) is not None:
        return GivenModel(module, classes)
    columns = rows.features if rows is not None and hasattr(model, "feature_names_in_") and "pandas" in sys.modules else ()
    return GivenModel(ArrayFunction(output_function(model), columns=columns), classes)


def _converted(model: Any) -> nn.Module | None:
    found = convert_estimator(model)
    if found is None:
        return None
    module, weights = found
    key = tuple(id(array) for array in weights)
    known = _CONVERTED.get(model)
    if known is not None and known[0] == key:
        return known[1]
    _CONVERTED[model] = (key, module)
    return module


def _class_names(model: nn.Module) -> tuple[str, ...]:
    """Names of classes as a Hugging Face model has them; names such as ``LABEL_0`` say nothing."""
    names = getattr(getattr(model, "config", None), "id2label", None)
    if not isinstance(names, dict) or not names or any(str(name).startswith("LABEL_") for name in names.values()):
        return ()
    return tuple(str(names[place]) for place in sorted(names))


def example_forms(model: Any, rows: Rows) -> Iterator[Rows]:
    """Ways in which rows may be meant as a batch of a model's inputs, the likeliest first: with or without a batch axis, in which dtype."""
    module, device = model if isinstance(model, nn.Module) else None, module_device(model)
    for meant in _without_labels(rows):
        for batched, dtypes in product(_batchings(module, meant), _dtypes(module, meant)):
            yield batched.map(lambda tensor, kinds=dtypes: _cast(tensor, kinds, device))


def _without_labels(rows: Rows) -> list[Rows]:
    """All tensors as inputs; then all but the last, where that may be a label per row."""
    parts = rows.tensors
    if not isinstance(parts, tuple) or not has_labels(parts, len(parts) - 1):
        return [rows]
    kept = parts[:-1]
    return [rows, replace(rows, tensors=kept[0] if len(kept) == 1 else kept, labels=parts[-1])]


def _batchings(module: nn.Module | None, rows: Rows) -> list[Rows]:
    lone = rows.map(lambda tensor: tensor[None])
    if rows.single:
        return [lone]
    first = rows.parts[0]
    if first.ndim == 0:
        return [rows]
    wanted = _convolution_axes(module)
    if wanted is not None:
        return [lone, rows] if first.ndim == wanted - 1 else [rows]
    return [lone, rows] if first.ndim == 1 else [rows, lone]


def _convolution_axes(module: nn.Module | None) -> int | None:
    """Axes of a batch for the first convolution, which would also take a sample without a batch axis."""
    axes = {nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}
    kinds = (type(part) for part in module.modules()) if module is not None else iter(())
    return next((axes[kind] for kind in kinds if kind in axes), None)


SEQUENCE_MODULES = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.TransformerDecoder)
"""Modules that take a batch of sequences [B, T, D], and one sequence [T, D] as well."""


def may_be_one_sequence(model: Any, rows: Rows) -> bool:
    """Whether rows [A, D] may be a batch of A rows as well as one sequence, since some module takes both."""
    first = rows.parts[0]
    if rows.single or first.ndim != 2 or not first.is_floating_point() or not isinstance(model, nn.Module):
        return False
    return any(isinstance(part, SEQUENCE_MODULES) for part in model.modules())


def _dtypes(module: nn.Module | None, rows: Rows) -> Sequence[tuple[torch.dtype, bool]]:
    """Floating dtype, and whether whole numbers become floating, in the order they are tried."""
    parts = rows.parts
    parameters = () if module is None else tuple(p for p in module.parameters() if p.is_floating_point())
    own = next((part.dtype for part in parts if part.is_floating_point()), torch.get_default_dtype())
    floating = parameters[0].dtype if parameters else own
    if all(part.is_floating_point() for part in parts):
        return [(floating, False)] if module is not None else list(dict.fromkeys([(own, False), (torch.get_default_dtype(), False)]))
    embeds = module is not None and any(isinstance(part, (nn.Embedding, nn.EmbeddingBag)) for part in module.modules())
    keep = rows.typed or embeds
    return [(floating, not keep), (floating, keep)]


def _cast(tensor: Tensor, kinds: tuple[torch.dtype, bool], device: torch.device | None) -> Tensor:
    floating, whole = kinds
    if tensor.is_floating_point() or whole:
        return tensor.to(device, floating)
    return tensor.to(device) if tensor.dtype == torch.bool else tensor.to(device, torch.long)


def module_device(model: Any) -> torch.device | None:
    """Where a module's parameters are; ``None`` for anything else, and for a module without any."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    return tensors[0].device if tensors else None


def arguments_of(rows: Rows) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Two rows as positional and keyword arguments; labels behind the inputs are left out where they can be known."""
    two = rows.map(lambda tensor: tensor[:2]).tensors
    if isinstance(two, dict):
        named = {name: tensor for name, tensor in two.items() if name not in LABELS}
        return (), named or dict(two)
    return (two if isinstance(two, tuple) else (two,)), {}
