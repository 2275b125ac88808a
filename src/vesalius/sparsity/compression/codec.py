"""Weights with few links left, in few bytes: kept values, and where they stand, in whichever of three ways is smallest.

``bitmask``: one bit per weight. ``delta8``, ``delta16``: the distance from each kept weight to the next, less 1, in one byte or two; the
largest number of a byte or two means that many steps without a weight.

Axes: K kept values, G gaps, N bytes of a mask.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped, UInt8, UInt16
from numpy.typing import NDArray
from torch import Tensor, nn

from vesalius.core import store
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.sparsity.compression.rebuild import replace_tensors, tensor_of

KIND = "sparse weights"
GAPS: dict[str, type[np.unsignedinteger[Any]]] = {"delta8": np.uint8, "delta16": np.uint16}

Facts = dict[str, Any]


def encode(tensor: Shaped[Tensor, "..."]) -> tuple[dict[str, Tensor], Facts]:
    """A tensor in the smallest of all encodings, its own among them.

    Returns:
        Its parts, and what is needed to put them together.
    """
    flat = tensor.detach().cpu().contiguous().flatten()
    where = (flat != 0).numpy()
    places = where.nonzero()[0]
    facts: Facts = {"shape": list(tensor.shape), "encoding": "dense"}
    found = {"values": flat.reshape(tensor.shape)}
    if len(places) == len(flat) or not tensor.is_floating_point():
        return found, facts
    values = flat[torch.from_numpy(places)]
    ways = {"bitmask": torch.from_numpy(np.packbits(where))} | {way: torch.from_numpy(_gaps(places, GAPS[way])) for way in GAPS}
    way = min(ways, key=lambda one: ways[one].nbytes)
    if values.nbytes + ways[way].nbytes < flat.nbytes:
        return {"values": values, "where": ways[way]}, facts | {"encoding": way}
    return found, facts


def _gaps(places: np.ndarray, kind: type[np.unsignedinteger[Any]]) -> UInt8[np.ndarray, " G"] | UInt16[np.ndarray, " G"]:
    """Steps between kept places, with fillers where a step is too long for its type."""
    most = int(np.iinfo(kind).max)
    steps = np.diff(places, prepend=-1) - 1
    fillers = steps // most
    found: NDArray[Any] = np.full(len(steps) + int(fillers.sum()), most, dtype=kind)
    found[np.cumsum(fillers + 1) - 1] = steps % most
    return found


def decode(parts: Mapping[str, Tensor], facts: Facts) -> Shaped[Tensor, "..."]:
    """The inverse of :func:`encode`.

    Raises:
        ForeignFile: parts that do not fit together.
    """
    shape, way, values = facts["shape"], facts["encoding"], parts["values"]
    if way == "dense":
        return values.reshape(shape)
    where, size = parts["where"].numpy(), prod(shape)
    if where.ndim != 1 or values.ndim != 1 or where.dtype != GAPS.get(way, np.uint8):
        raise ForeignFile("a weight's places are no places; the file is damaged, export it again")
    if way == "bitmask":
        places = np.unpackbits(where, count=size).nonzero()[0] if len(where) == -(-size // 8) else np.array([size])
    else:
        most = int(np.iinfo(GAPS[way]).max)
        steps = where.astype(np.int64)
        places = (np.cumsum(np.where(steps == most, most, steps + 1)) - 1)[steps != most]
    if len(places) != len(values) or (len(places) and places[-1] >= size):
        raise ForeignFile("a weight's values and places do not fit together; the file is damaged, export it again")
    flat = torch.zeros(size, dtype=values.dtype)
    flat[torch.from_numpy(places)] = values
    return flat.reshape(shape)


def encode_model(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All parameters and buffers of a model, encoded: parts by name, and facts; what several names share is there once."""
    tensors: dict[str, Tensor] = {}
    known: dict[int, str] = {}
    facts: dict[str, Any] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in known:
            facts[name] = {"same_as": known[id(tensor)]}
            continue
        known[id(tensor)] = name
        parts, facts[name] = encode(tensor)
        tensors |= {f"{name}:{part}": found for part, found in parts.items()}
    return tensors, facts


def save_sparse(path: str | Path, model: nn.Module, *, facts: Mapping[str, Any] | None = None) -> Path:
    """Write a model's parameters and buffers, those with few links left in few bytes; whole or not at all.

    Args:
        path: where; by custom with the suffix ``.safetensors``.
        model: without masks; see :func:`vesalius.sparsity.parametrizations.copy_with_plain_weights`.
        facts: kept beside, as JSON.
    """
    tensors, named = encode_model(model)
    return store.write(path, KIND, tensors, {"tensors": named, **(facts or {})})


def size_on_disk(model: nn.Module, *, sparse: bool = True) -> int:
    """Bytes that the parameters and buffers of a model take in a file, without its header."""
    if sparse:
        return sum(part.nbytes for part in encode_model(model)[0].values())
    return sum(tensor.nbytes for tensor in {id(one): one for one in model.state_dict(keep_vars=True).values()}.values())


def read_sparse(path: str | Path, model: nn.Module) -> nn.Module:
    """A copy of a model with the weights of a file; see :func:`vesalius.sparsity.compression.exporting.load_sparse`.

    Raises:
        FileNotFoundError, ForeignFile, InvalidInput.
    """
    tensors, facts = store.read(path, KIND)
    with store.decoding(path):
        named = {name: _check_facts(one) for name, one in store.fact(facts, "tensors", dict).items()}
        if astray := [name for name, one in named.items() if "same_as" in one and "same_as" in named[one["same_as"]]]:
            raise ValueError(f"{astray[0]!r} is the same as what is not there")
    copied = copy.deepcopy(model)
    _check_names(path, copied, named)
    own = {name: tensor_of(copied, name) for name in named}
    largest = max((tensor.numel() for tensor in own.values() if tensor is not None), default=0)
    for name, one in named.items():
        before = own[name]
        _check_shape(path, name, one.get("shape"), [largest] if before is None else list(before.shape))
    with store.decoding(path):
        whole = {name: _decode_tensor(tensors, name, one) for name, one in named.items() if "same_as" not in one}
    for name, one in named.items():
        if "same_as" in one and own[name] is not own[one["same_as"]]:
            raise InvalidInput(
                f"{name!r} and {one['same_as']!r} are one tensor in {path}, and two in this model; give the model that was pruned"
            )
    home = next((tensor.device for tensor in own.values() if tensor is not None), torch.device("cpu"))
    replace_tensors(
        copied,
        {name: tensor.to(home) for name, tensor in whole.items() if (old := own[name]) is None or old.shape != tensor.shape},
    )
    with torch.no_grad():
        for name, tensor in whole.items():
            here = tensor_of(copied, name)
            assert here is not None  # put there above, if it was not there
            here.copy_(tensor)
    return copied


def _check_facts(facts: Any) -> Facts:
    """What a file says of a tensor.

    Raises:
        KeyError, TypeError, ValueError: nothing that makes sense.
    """
    if "same_as" in facts:
        return {"same_as": store.fact(facts, "same_as", str)}
    found = {"shape": list(store.sides(facts["shape"])), "encoding": store.fact(facts, "encoding", str)}
    if found["encoding"] not in ("dense", "bitmask", *GAPS):
        raise ValueError(f"there is no encoding {found['encoding']!r}")
    return found


def _check_shape(path: str | Path, name: str, shape: list[int] | None, before: list[int]) -> None:
    """Whether a tensor is no larger than the one whose place it takes; seen before it is made."""
    if shape is not None and (len(before) != len(shape) or any(here < there for here, there in zip(before, shape, strict=True))):
        raise InvalidInput(f"{name!r} is {shape} in {path} and {before} in this model; give the model that was pruned")


def _decode_tensor(tensors: Mapping[str, Tensor], name: str, facts: Facts) -> Tensor:
    parts = {part: tensors[f"{name}:{part}"] for part in ("values", "where") if f"{name}:{part}" in tensors}
    return decode(parts, facts)


def _check_names(path: str | Path, model: nn.Module, named: Mapping[str, Any]) -> None:
    """Whether file and model speak of the same tensors; a bias may be new, since it takes up what removed units added."""
    own = set(model.state_dict())
    missing = sorted(own - named.keys())
    extra = sorted(name for name in named.keys() - own if not _may_be_new(model, name))
    if missing or extra:
        what = f"it lacks {missing[0]!r}" if missing else f"{extra[0]!r} is not in this model"
        raise InvalidInput(
            f"{path} does not hold the weights of {type(model).__name__}: {what}; give a model of the architecture that was pruned"
        )


def _may_be_new(model: nn.Module, name: str) -> bool:
    path, _, leaf = name.rpartition(".")
    owner = dict(model.named_modules()).get(path)
    return leaf == "bias" and isinstance(owner, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))
