"""Parameters from a file: state dicts and checkpoints as training scripts, DataParallel, torch.compile and Lightning write them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vesalius.core.errors import ForeignFile, InvalidInput, MemoryExhausted
from vesalius.core.progress import say

CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "params", "weights")
"""Under which names training scripts keep the parameters in a checkpoint, the likeliest first."""

WRAPPER_PARTS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What torch's own wrappers (compile, FSDP, activation checkpoints) put into names of parameters, wherever they stand."""

MAX_KEYS_SHOWN = 5
"""Keys named in an error about weights."""


def load_weights(model: nn.Module, path: Path, *, trust: bool = False) -> None:
    """Put parameters into a module: all that it has, and of the file all but what belongs to other modules than it.

    Names may begin with the place at which a wrapper held the module (``module.``, ``model.``, ``net.``, any attribute), in the file or
    in the module. What a checkpoint holds beside that place, such as a loss or a metric, is left out, and the user is told.

    Args:
        model: a module of a factory.
        path: a *.safetensors, or a file of ``torch.save``.
        trust: whether a file that can run code may be read.

    Raises:
        FileNotFoundError: there is no such file.
        ForeignFile: it holds no parameters, or they cannot be read.
        InvalidInput: keys or shapes differ, or fit at several places; they are listed.
    """
    found, wanted, note = _read_parameters(path, trust), model.state_dict(), ""
    if set(found) != set(wanted):
        found, note = _renamed(found, wanted, path)
    wrong = [f"{key} {list(found[key].shape)} for {list(wanted[key].shape)}" for key in wanted if _is_other_shape(key, found, wanted)]
    complaints = {
        "missing": [key for key in wanted if key not in found],
        "not in the model": [key for key in found if key not in wanted],
        "of another shape": wrong,
    }
    if any(complaints.values()):
        text = "; ".join(f"{len(keys)} {what}: {_list_keys(keys)}" for what, keys in complaints.items() if keys)
        raise InvalidInput(f"the weights in {path} do not fit the model: {text}")
    try:
        model.load_state_dict(found)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidInput(f"the weights in {path} do not fit the model: {reason}; save dense tensors of numbers") from error
    if note:
        say(note)


# ---- names --------------------------------------------------------------------------------------------------------------------------


def _renamed(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], str]:
    """The file's parameters by the module's names, as far as there is one way to do so, else as they are; and what was left out.

    Raises:
        InvalidInput: the module's parameters are there at several places.
    """
    own = {_unwrapped(key): key for key in wanted}
    held = {_unwrapped(key): tensor for key, tensor in found.items()}
    if len(own) < len(wanted) or len(held) < len(found):  # two names that only a wrapper tells apart
        return dict(found), ""
    place = _place_of(held, {name: wanted[key] for name, key in own.items()}, path)
    outer = "" if place else next(iter(_places(own, held)), "")
    beside = [name for name in held if not name.startswith(place)]
    note = f"of {path}, {place}* are the model's parameters; {len(beside)} others are left out: {_list_keys(beside)}" if beside else ""
    inside = {outer + name.removeprefix(place): tensor for name, tensor in held.items() if name.startswith(place)}
    return {own.get(name, name): tensor for name, tensor in inside.items()}, note


def _place_of(held: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> str:
    """At which prefix a file holds all that is wanted; empty if at none, or without one."""
    places = [] if set(wanted) <= set(held) else _places(held, wanted)
    fitting = [place for place in places if all(held[place + name].shape == tensor.shape for name, tensor in wanted.items())]
    if len(fitting) > 1:
        keys = ", ".join(f"{place}*" for place in fitting)
        raise InvalidInput(
            f"{path} holds the model's parameters {len(fitting)} times ({keys}); save the one that is meant, for example"
            f" {{k.removeprefix({fitting[0]!r}): v for k, v in state.items() if k.startswith({fitting[0]!r})}}"
        )
    return next(iter(fitting or places), "")


def _places(names: Iterable[str], parts: Iterable[str]) -> list[str]:
    """Prefixes that end in a dot, at each of which there are all ``parts``."""
    known, inner = set(names), set(parts)
    first = min(inner, default="")
    ends = [name.removesuffix(first) for name in sorted(known) if first and name.endswith(f".{first}")]
    return [place for place in ends if all(place + part in known for part in inner)]


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPER_PARTS)


def _is_other_shape(key: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    return key in found and found[key].shape != wanted[key].shape


def _list_keys(keys: list[str]) -> str:
    return ", ".join(keys[:MAX_KEYS_SHOWN]) + (f", and {len(keys) - MAX_KEYS_SHOWN} more" if len(keys) > MAX_KEYS_SHOWN else "")


# ---- files --------------------------------------------------------------------------------------------------------------------------


def _read_parameters(path: Path, trust: bool) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} of weights")
    try:
        plain = path.suffix == ".safetensors"
        held: Any = load_file(path) if plain else torch.load(path, map_location="cpu", weights_only=not trust)
    except MemoryError as error:
        raise MemoryExhausted(f"{path} does not fit into memory") from error
    except Exception as error:  # readers of files raise whatever the bytes lead them to
        reason, more = (str(error).strip().splitlines() or [type(error).__name__])[0], ""
        if isinstance(error, pickle.UnpicklingError) and not trust:  # torch's own words advise to let the file run its code
            reason = "it holds something else than names and tensors"
            more = "; or, if you know where the file is from, add --trust, which lets it run code"
        raise ForeignFile(
            f"{path} cannot be read as weights ({reason}); save model.state_dict() with safetensors or torch.save{more}"
        ) from error
    inside = _state_dict_in(held)
    if inside is None:
        raise ForeignFile(f"{path} holds no state dict (names and tensors), but a {type(held).__name__}; save model.state_dict()")
    return inside


def _state_dict_in(held: Any) -> dict[str, Tensor] | None:
    """The state dict that a file holds, under one of the usual names or as it is; ``None`` if there is none."""
    if isinstance(held, nn.Module):
        return held.state_dict()
    if not isinstance(held, Mapping):
        return None
    inside = next((held[name] for name in CHECKPOINT_KEYS if isinstance(held.get(name), (Mapping, nn.Module))), None)
    if inside is not None:
        return _state_dict_in(inside)
    plain = all(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in held.items())
    return dict(held) if plain else None
