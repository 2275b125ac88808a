"""MODEL: from a factory, an exported program or a saved network to a traced network."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vesalius.cli.checkpoints import load_weights
from vesalius.cli.normalization import require_normalization
from vesalius.core.errors import ForeignFile, InvalidInput, ModelFails, UnknownName, WrongType
from vesalius.trace import Network, from_exported, trace

LIBRARY_PATHS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "importlib", "jaxtyping")
"""Places whose lines of code say nothing to a user about an error of the user's own model."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How to open MODEL.

    Attributes:
        weights: a file of parameters for the module that a factory makes.
        output: which part of the model's result is meant.
        normalize: how pixels were normalised, in words; ``None`` where they are as they were.
        trust: whether a file that can run code may be read, a program or a checkpoint.
        device: where to run.
    """

    weights: Path | None = None
    output: str | None = None
    normalize: str | None = None
    trust: bool = False
    device: str = "cpu"


def open_network(spec: str, x: Tensor, opening: ModelOptions) -> Network:
    """The network that MODEL names.

    Args:
        spec: ``file.py:factory``, ``package.module:factory``, ``*.pt2`` or ``*.safetensors``.
        x: a batch of samples, on the CPU; one is used as an example.
        opening: weights and the like.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInput, UnknownName, WrongType, ForeignFile: each with what to do.
    """
    _check_device(opening.device)
    if ":" in spec and not Path(spec).exists():
        module = _load_module(spec, opening)
        if opening.normalize is None:
            require_normalization(module, spec, x)
        return _trace(module, spec, x, opening)
    path = Path(spec)
    if path.suffix not in (".pt2", ".safetensors"):
        raise InvalidInput(_unknown_model_message(spec))
    for option, given in (("--weights", opening.weights), ("--output", opening.output)):
        if given is not None:
            raise InvalidInput(f"{option} goes with a factory (file.py:factory); {spec} is complete as it is")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        return Network.load(path, device=opening.device)
    if opening.device != "cpu":
        raise InvalidInput(f"{path} runs where it was exported; leave --device out, or give the model as file.py:factory")
    return _load_exported(path, opening.trust)


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, dtype=torch.float32, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidInput(f"--device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error


def _unknown_model_message(spec: str) -> str:
    if spec.endswith((".pt", ".pth", ".bin", ".ckpt")):
        return f"{spec} holds parameters but no model; give the code as file.py:factory, and this file with --weights"
    if spec.endswith(".py"):
        return f"{spec} names a file but no model in it; write {spec}:FACTORY, a function without arguments that returns a torch.nn.Module"
    return f"{spec!r} is not a model; expected file.py:factory, package.module:factory, *.pt2 or *.safetensors"


# ---- factories ----------------------------------------------------------------------------------------------------------------------


def open_module(spec: str, opening: ModelOptions) -> nn.Module:
    """The module that MODEL names, untraced, for data whose rows are of unlike length.

    Raises:
        InvalidInput: not a factory; as :func:`open_network`.
    """
    _check_device(opening.device)
    if ":" not in spec or Path(spec).exists():
        raise InvalidInput(f"texts of any length need the live model, a factory such as file.py:factory, and not {spec}")
    return _load_module(spec, opening).to(opening.device)


def _load_module(spec: str, opening: ModelOptions) -> nn.Module:
    where, _, name = spec.rpartition(":")
    with _import_path(Path(where).parent if where.endswith(".py") else Path.cwd()):
        source = _import_source(where)
        if not hasattr(source, name):
            raise UnknownName(f"factory in {where}:", name, [known for known in vars(source) if not known.startswith("_")])
        made = getattr(source, name)
        if not isinstance(made, nn.Module):
            made = _call_factory(made, spec)
        if not isinstance(made, nn.Module):
            raise WrongType(f"{spec} gave a {type(made).__name__}; expected a torch.nn.Module")
        if opening.weights is not None:
            load_weights(made, opening.weights, trust=opening.trust)
    return made


def _import_source(where: str) -> ModuleType:
    """The module of a factory, run once."""
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except Exception as error:
            raise InvalidInput(f"the module {where!r} could not be imported: {_error_text(error)}") from error
    path = Path(where)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    loading = importlib.util.spec_from_file_location(path.stem, path)
    assert loading is not None and loading.loader is not None
    module = importlib.util.module_from_spec(loading)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses and the like look their module up there while it runs
    try:
        loading.loader.exec_module(module)
    except Exception as error:
        raise InvalidInput(f"{path} could not be run: {_error_text(error)}") from error
    finally:
        if before is not None:
            sys.modules[path.stem] = before
    return module


def _call_factory(factory: Any, spec: str) -> Any:
    if not callable(factory):
        raise WrongType(f"{spec} is a {type(factory).__name__}; expected a function without arguments that returns a torch.nn.Module")
    try:
        return factory()
    except Exception as error:
        raise InvalidInput(f"the factory {spec} failed: {_error_text(error)}") from error


def _error_text(error: BaseException) -> str:
    """An error of the user's own code in one line, with the place it came from."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    calls = traceback.extract_tb(error.__traceback__)
    frames = [call for call in calls if not any(part in call.filename for part in LIBRARY_PATHS)]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


@contextmanager
def _import_path(folder: Path) -> Iterator[None]:
    """Let a factory import what lies beside it."""
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def _trace(model: nn.Module, spec: str, x: Tensor, opening: ModelOptions) -> Network:
    """Trace on one sample; what the model itself raises on it is the user's to mend."""
    dtype = next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)
    example = (x[:1].to(dtype) if x.is_floating_point() else x[:1]).to(opening.device)
    try:
        return trace(model.to(opening.device), example, output=opening.output)
    except ModelFails as error:
        shape = ", ".join(map(str, ["batch", *x.shape[1:]]))
        raise InvalidInput(
            f"{spec} does not take samples of shape [{shape}] and {example.dtype}: {_error_text(error.__cause__ or error)}; check DATA"
        ) from error


# ---- exported programs --------------------------------------------------------------------------------------------------------------


def _load_exported(path: Path, trust: bool) -> Network:
    """An exported program.

    ``torch.export.load`` has no safe mode: it evaluates shape expressions as Python, and unpickles constants and example inputs.
    """
    if not trust:
        raise InvalidInput(
            f"reading {path} can run code hidden in it (torch.export.load unpickles); if you know where it is from, add --trust"
        )
    try:
        program = torch.export.load(path)
    except Exception as error:
        raise ForeignFile(
            f"{path} cannot be read as an exported program ({_error_text(error)}); write it with torch.export.save"
        ) from error
    return from_exported(program, path.stem)
