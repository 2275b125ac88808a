"""Files that hold our results: safetensors with a JSON header, written whole or not at all, and unable to run code when read.

One file is one thing: tensors by name, and in the safetensors metadata a kind (``allocation``, ``network``), a format version and the
rest as JSON, and a digest of all of it. The digest tells damage; it does not tell who wrote a file, so that whoever decodes one believes
nothing in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vesalius.core.arguments import read_argument
from vesalius.core.errors import ForeignFile, InvalidInput, MemoryExhausted

MOST_READS = 10
"""How often a file is read that is replaced meanwhile: its table of contents and its tensors are opened one after the other."""
FORMAT_VERSION = 1
MAX_HEADER_BYTES = 100_000_000
"""Longest table of contents that safetensors reads."""
MAX_DEPTH = 64
"""Deepest nesting of facts."""
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError, ArithmeticError, MemoryError)
"""What code that expects a file of ours meets in one that was damaged; too deep a nesting is a RuntimeError."""

WHOLE = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
"""Types of whole numbers."""

FILE_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What a path may be instead of a file."""

Fact = TypeVar("Fact")


def write(path: str | Path, kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write a file atomically: under a temporary name first, then renamed.

    Args:
        path: where; missing folders are made. Links are followed.
        kind: what the file is; :func:`read` asks for the same.
        tensors: of any dtype that safetensors has; shared memory is copied.
        facts: everything else, as JSON.

    Raises:
        InvalidInput: there is something else than a file, or what is to be written is more than a file can hold.
    """
    path = Path(read_argument("path", path, "str | Path"))
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps({"kind": kind, "format": FORMAT_VERSION, "tensors": sorted(tensors), "facts": facts}, allow_nan=True)
    if _depth(facts) >= MAX_DEPTH:
        raise InvalidInput(f"{path} cannot be written: its facts are nested {MAX_DEPTH} times or more; leave some of its provenance out")
    try:
        content = save(
            whole, metadata={"vesalius": text, "digest": file_digest(text, whole)}
        )  # not save_file, only its owner could read it
    except (SafetensorError, LookupError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be written: {_first_line(error)}; a file holds dense tensors of numbers") from error
    if int.from_bytes(content[:8], "little") > MAX_HEADER_BYTES:
        raise InvalidInput(
            f"{path} cannot be written: names and facts take more than {MAX_HEADER_BYTES:,} bytes; use fewer or shorter names"
        )
    return write_bytes(path, content)


def read(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file back.

    Returns:
        The tensors (on the CPU) and the facts.

    Raises:
        FileNotFoundError: there is no such file.
        ForeignFile: corrupted, not ours, of another kind, or from a newer version.
        MemoryExhausted: it does not fit into memory.
    """
    path = Path(read_argument("path", path, "str | Path"))
    for _ in range(MOST_READS - 1):
        before = _state_of(path)
        try:
            return _read_once(path, kind)
        except ForeignFile:
            if _state_of(path) == before:
                raise
    return _read_once(path, kind)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    """What changes when another file takes a path."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read_once(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    _check_size(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata.get("vesalius", "null"), object_pairs_hook=_unique_keys)
            _check_header(path, header, kind)
            # cloned, since tensors in a mapped file lie where they lie: on other addresses kernels take other paths, and round otherwise
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    except ForeignFile:
        raise
    except MemoryError as error:
        raise MemoryExhausted(f"{path} does not fit into memory") from error
    except (SafetensorError, OSError, *DAMAGE) as error:
        raise ForeignFile(f"{path} is corrupted or not a vesalius file ({_first_line(error)}); write it again with .save()") from error
    if missing := sorted(set(header["tensors"]) - set(tensors)):
        raise ForeignFile(f"{path} is damaged: it lacks the tensor {missing[0]!r}; write it again with .save()")
    if metadata.get("digest") != file_digest(metadata["vesalius"], tensors) or len(header["tensors"]) != len(tensors):
        raise ForeignFile(f"{path} is damaged: it is corrupted, and not what was written; write it again with .save()")
    return tensors, header["facts"]


def read_facts(path: str | Path, kind: str) -> tuple[dict[str, Any], str]:
    """The facts of a file without its tensors, and a digest of them; that the tensors are whole is not known then.

    Raises: as :func:`read`.
    """
    path = Path(read_argument("path", path, "str | Path"))
    _check_size(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get("vesalius", "null")
        header = json.loads(text, object_pairs_hook=_unique_keys)
        _check_header(path, header, kind)
    except ForeignFile:
        raise
    except (SafetensorError, OSError, *DAMAGE) as error:
        raise ForeignFile(f"{path} is corrupted or not a vesalius file ({_first_line(error)}); write it again with .save()") from error
    return header["facts"], hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """A hash of all that is in a file.

    Args:
        text: its header.
        tensors: dense, on the CPU.
    """
    total = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        if tensor.numel():
            total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _check_size(path: Path) -> None:
    """Whether there is a file, and one that can be as long as its table of contents."""
    found = what_is_there(path)
    if not found:
        raise FileNotFoundError(f"there is no file {path}")
    if found != "a file":
        raise ForeignFile(f"{path} is {found} and not a vesalius file; name a file written with .save()")
    with path.open("rb") as file:
        start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(MAX_HEADER_BYTES, path.stat().st_size - 8):
        reason = "it is too short" if len(start) < 8 else f"a header of {length:,} bytes does not fit"
        raise ForeignFile(f"{path} is corrupted or not a vesalius file ({reason}); write it again with .save()")


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _depth(value: Any) -> int:
    """How deep containers are nested, as far as it matters."""
    level, depth = [value], 0
    while level and depth < MAX_DEPTH:
        level = [item for box in level for item in (box.values() if isinstance(box, Mapping) else box)]
        level = [item for item in level if isinstance(item, (Mapping, list, tuple))]
        depth += 1
    return depth


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def json_text(facts: Mapping[str, Any]) -> str:
    """Facts as a file holds them, in one order."""
    return json.dumps(to_json_values(facts), sort_keys=True)


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
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise ForeignFile(f"{path} is damaged ({reason}); write it again with .save()") from error


def fact(facts: Mapping[str, Any], name: str, kind: type[Fact]) -> Fact:
    """A fact of a file that was written as this type.

    Raises:
        TypeError: it is of another; :func:`decoding` says of which file.
    """
    found = facts[name]
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise TypeError(f"{name!r} is of type {type(found).__name__}, not {kind.__name__}")
    return found


def words(facts: Mapping[str, Any], name: str) -> list[str]:
    """A fact of a file that was written as a list of texts.

    Raises:
        TypeError: it is something else; :func:`decoding` says of which file.
    """
    found = fact(facts, name, list)
    if not all(isinstance(word, str) for word in found):
        raise TypeError(f"{name!r} holds something else than texts")
    return found


def provenance(facts: Mapping[str, Any], **kinds: Callable[[Any], object]) -> dict[str, Any]:
    """Where a result comes from.

    Args:
        facts: of the file.
        kinds: what can be made of some of it, such as ``int``; pages show them.

    Raises:
        TypeError, ValueError: that cannot be made of one that is there; :func:`decoding` says of which file.
    """
    found = fact(facts, "provenance", dict)
    for name, kind in kinds.items():
        if name in found:
            kind(found[name])
    return found


def mapping(value: Any) -> dict[str, Any]:
    """What is a mapping.

    Raises:
        TypeError: it is none.
    """
    return fact({"it": value}, "it", dict)


def part(tensors: Mapping[str, Tensor], name: str, shape: Sequence[int] | None = None, *, kind: str = "floating") -> Tensor:
    """A tensor of a file.

    Args:
        tensors: of the file.
        name: of it.
        shape: that it must have; any by default.
        kind: ``"floating"``, ``"whole"`` or ``"boolean"``.

    Raises:
        KeyError, TypeError, ValueError: there is none like that; :func:`decoding` says in which file.
    """
    found = tensors[name]
    kinds = {"floating": found.is_floating_point(), "boolean": found.dtype == torch.bool, "whole": found.dtype in WHOLE}
    if not kinds[kind]:
        raise TypeError(f"the tensor {name!r} is {found.dtype}, and not {kind}")
    if shape is not None and tuple(found.shape) != tuple(shape):
        raise ValueError(f"the tensor {name!r} has shape {list(found.shape)}, not {list(shape)}")
    return found


def sides(value: Any) -> tuple[int, ...]:
    """A shape in the facts of a file.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not isinstance(value, list) or not all(type(side) is int and 0 <= side < 1 << 48 for side in value):
        raise TypeError(f"{str(value)[:100]} is no shape")
    return tuple(value)


def _check_header(path: Path, header: Any, kind: str) -> None:
    if not isinstance(header, dict) or not {"kind", "format", "facts"} <= header.keys():
        raise ForeignFile(f"{path} holds tensors, but was not written by vesalius; expected a file of kind {kind!r}")
    if header["kind"] != kind:
        raise ForeignFile(f"{path} holds a {str(header['kind'])[:100]!r}, not a {kind!r}")
    names = header.get("tensors")
    right = isinstance(names, list) and all(isinstance(name, str) for name in names) and isinstance(header["facts"], dict)
    if type(header["format"]) is int and header["format"] > FORMAT_VERSION:
        raise ForeignFile(f"{path} is of format {header['format']}, newer than this version reads ({FORMAT_VERSION}); upgrade vesalius")
    if type(header["format"]) is not int or header["format"] < 1 or not right or _depth(header["facts"]) >= MAX_DEPTH:
        raise ForeignFile(f"{path} is corrupted: its header does not hold what was written; write it again with .save()")


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file atomically (UTF-8). Raises: as :func:`write_bytes`."""
    return write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file of any kind atomically.

    Raises:
        InvalidInput: there is something else than a file.
    """
    path = Path(read_argument("path", path, "str | Path"))
    with replacing(path) as draft:
        draft.write_bytes(content)
    return path


def what_is_there(path: Path) -> str:
    """``"a file"``, ``"a folder"``, ``"a pipe"``, ..., links followed; empty for nothing."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return FILE_KINDS.get(stat.S_IFMT(mode), "a file")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft beside a file, which takes its place on success and is removed on failure.

    A link stays one, and what it leads to is replaced; a file that was there keeps its mode, and a new one has that of the umask.

    Args:
        path: where; missing folders are made.

    Raises:
        InvalidInput: a folder, a device, a pipe or a socket is there, or a file where a folder should be.
    """
    target = Path(os.path.realpath(path))
    found = what_is_there(target)
    if found not in ("", "a file"):
        raise InvalidInput(f"{path} is {found}, which nothing can be saved to; name a file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidInput(f"{path} cannot be written: part of its path is a file and no folder; name another place") from error
    draft = target.with_name(f".{uuid4().hex}.draft")  # its own for every thread, and no longer than a name may be
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield draft
        if found:
            draft.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
