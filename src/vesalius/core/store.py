"""Files that hold our results: safetensors with a JSON header, written whole or not at all, and unable to run code when read.

One file is one thing: tensors by name, and in the safetensors metadata a kind (``allocation``, ``network``), a format version and the
rest as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vesalius.core.errors import ForeignFile

FORMAT_VERSION = 1
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError, ArithmeticError)
"""What code that expects a file of ours meets in one that was damaged; too deep a nesting is a RuntimeError."""

Fact = TypeVar("Fact")


def write(path: str | Path, kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write a file atomically: under a temporary name first, then renamed.

    Args:
        path: where; missing folders are made.
        kind: what the file is; :func:`read` asks for the same.
        tensors: any dtype; shared memory is copied.
        facts: everything else, as JSON.
    """
    path = Path(path)
    header = {"vesalius": json.dumps({"kind": kind, "format": FORMAT_VERSION, "tensors": sorted(tensors), "facts": facts}, allow_nan=True)}
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with _atomic_replace(path) as draft:
        draft.write_bytes(save(whole, metadata=header))  # not save_file, which only its owner may read
    return path


def read(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file back.

    Returns:
        The tensors (on the CPU) and the facts.

    Raises:
        FileNotFoundError: there is no such file.
        ForeignFile: corrupted, not ours, of another kind, or from a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("vesalius", "null"))
            _check_header(path, header, kind)
            # cloned, since tensors in a mapped file lie where they lie: on other addresses kernels take other paths, and round otherwise
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
            if missing := sorted(set(map(str, header.get("tensors", ()))) - set(tensors)):
                raise ForeignFile(f"{path} is damaged: it lacks the tensor {missing[0]!r}; write it again with .save()")
            return tensors, header["facts"]
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ForeignFile(f"{path} is corrupted or not a vesalius file ({error}); write it again with .save()") from error


def to_json_values(facts: Mapping[str, Any]) -> Any:
    """Facts as JSON holds them; what it has no word for as text."""
    return json.loads(json.dumps(dict(facts), default=str))


@contextmanager
def decoding(path: str | Path) -> Iterator[None]:
    """For the code that makes a result of a file's tensors and facts: whatever it trips over is one error that names the file.

    Raises:
        ForeignFile: something is missing, or of another type or size than was written.
    """
    try:
        yield
    except ForeignFile as error:
        raise error if str(path) in str(error) else ForeignFile(f"{path}: {error}") from error
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ForeignFile(f"{path} is damaged ({reason}); write it again with .save()") from error


def fact(facts: Mapping[str, Any], name: str, kind: type[Fact]) -> Fact:
    """A fact of a file that was written as this type.

    Raises:
        TypeError: it is of another; :func:`decoding` says of which file.
    """
    found = facts[name]
    if not isinstance(found, kind):
        raise TypeError(f"{name!r} is of type {type(found).__name__}, not {kind.__name__}")
    return found


def _check_header(path: Path, header: Any, kind: str) -> None:
    if not isinstance(header, dict) or not {"kind", "format", "facts"} <= header.keys():
        raise ForeignFile(f"{path} holds tensors, but was not written by vesalius; expected a file of kind {kind!r}")
    if header["kind"] != kind:
        raise ForeignFile(f"{path} holds a {header['kind']!r}, not a {kind!r}")
    if type(header["format"]) is not int or not isinstance(header["facts"], dict) or not isinstance(header.get("tensors", []), list):
        raise ForeignFile(f"{path} is corrupted: its header does not hold what was written; write it again with .save()")
    if header["format"] > FORMAT_VERSION:
        raise ForeignFile(f"{path} is of format {header['format']}, newer than this version reads ({FORMAT_VERSION}); upgrade vesalius")


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file atomically (UTF-8)."""
    path = Path(path)
    with _atomic_replace(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file of any kind atomically."""
    path = Path(path)
    with _atomic_replace(path) as draft:
        draft.write_bytes(content)
    return path


@contextmanager
def _atomic_replace(path: Path) -> Iterator[Path]:
    """A temporary name beside the target, renamed to it on success and removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
