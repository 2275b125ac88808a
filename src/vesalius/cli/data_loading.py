"""DATA: from a file or folder to the samples that are to be explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Shaped
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vesalius.cli import pictures, tables
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName, WrongType
from vesalius.workflow.samples import Samples

Labels = Sequence[str] | Sequence[int] | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What to read from DATA.

    Attributes:
        rows: which rows, as ``0:8``, ``5`` or ``1,4,9``.
        label: the column or array that holds the labels.
        labels: a file of labels, one per row, where DATA has none.
        names: names of the classes in the model's order: a file with one per line, or a list with commas.
        features: names of the elements of a row, likewise.
        size: pictures are resized to this many pixels squared.
        mean: whether the mean of all rows is needed.
        background: rows to compare with, likewise; empty for none.
        flow: rows to measure the flow of information on, likewise.
    """

    rows: str = "0:8"
    label: str | None = None
    labels: Path | None = None
    names: str | None = None
    features: str | None = None
    size: int | None = None
    mean: bool = False
    background: str = ""
    flow: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class RawData:
    """All of DATA, as a file holds it.

    Attributes:
        x: [rows *event]; an array where it holds words, which is refused later.
        labels: one per row, or ``None``.
        features: names of the columns, where the file has them.
    """

    x: Tensor | Shaped[np.ndarray, "..."]
    labels: Labels | None = None
    features: tuple[str, ...] = ()


def load_samples(path: Path, wanted: DataOptions) -> Samples:
    """Read DATA.

    Args:
        path: npz, npy, safetensors, csv or parquet; or a folder of pictures.
        wanted: which rows and labels.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInput, WrongType, ForeignFile, UnknownName: it holds no rows, the wrong kind of numbers, NaN, no such column, ...
    """
    if path.is_dir():
        return _add_names(_read_images(path, wanted), wanted)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if path.suffix.lower() not in READERS:
        raise InvalidInput(f"{path} is of no kind read here; expected {', '.join(READERS)} or a folder of pictures")
    whole = READERS[path.suffix.lower()](path, wanted)
    x = _to_float_or_long(whole.x, path)
    rows = parse_rows(wanted.rows, len(x))
    labels = whole.labels if wanted.labels is None else _read_labels(wanted.labels)
    if labels is not None and len(labels) != len(x):
        raise InvalidInput(f"{len(labels)} labels for {len(x)} rows; expected one per row")
    features = _parse_names(wanted.features) or whole.features
    others = parse_rows(wanted.background, len(x)) if wanted.background else ()
    flowing = parse_rows(wanted.flow, len(x)) if wanted.flow else ()
    _check_finite(x, range(len(x)) if wanted.mean else (*rows, *others, *flowing), features)
    mean, background = _mean(x) if wanted.mean else None, x[list(others)] if others else None
    found = Samples(x=x[list(rows)], rows=rows, of=len(x), features=features, mean=mean, background=background)
    found = replace(found, flow=x[list(flowing)] if flowing else None)
    return _add_names(_add_labels(found, labels, wanted), wanted)


def parse_rows(text: str, count: int) -> tuple[int, ...]:
    """Rows named by ``0:8``, ``5``, ``-3:`` or ``1,4,9``, out of ``count``.

    Raises:
        InvalidInput: not a choice of rows, a row that does not exist, or none at all.
    """
    rows: list[int] = []
    for part in text.split(","):
        try:
            ends = [int(end) if end.strip() else None for end in part.split(":")]
            chosen = list(range(count)[slice(*ends)]) if len(ends) > 1 else [range(count)[int(part)]]
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"--rows {text!r} is not a choice of rows; expected 0:8, 5 or 1,4,9") from error
        except IndexError as error:
            raise InvalidInput(f"--rows {text!r} names a row that does not exist; there are {count}") from error
        rows += chosen
    if not rows:
        raise InvalidInput(f"--rows {text!r} chooses none of the {count} rows")
    return tuple(dict.fromkeys(rows))


# ---- files --------------------------------------------------------------------------------------------------------------------------


def _read_npz(path: Path, wanted: DataOptions) -> RawData:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, BadZipFile, EOFError) as error:
        raise ForeignFile(f"{path} cannot be read as npz ({error}); write it with numpy.savez(path, x=..., y=...)") from error
    return _pick_arrays(path, {name: _to_tensor(array, f"{name!r} in {path}") for name, array in arrays.items()}, wanted)


def _read_npy(path: Path, wanted: DataOptions) -> RawData:
    return RawData(x=torch.as_tensor(_numeric_array(_load_npy(path), str(path))))


def _load_npy(path: Path) -> Shaped[np.ndarray, "..."]:
    try:
        array: Shaped[np.ndarray, "..."] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ForeignFile(f"{path} cannot be read as npy ({error}); write it with numpy.save(path, x)") from error
    return array


def _read_safetensors(path: Path, wanted: DataOptions) -> RawData:
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ForeignFile(f"{path} cannot be read as safetensors ({error})") from error
    return _pick_arrays(path, tensors, wanted)


def _pick_arrays(path: Path, arrays: Mapping[str, Any], wanted: DataOptions) -> RawData:
    """Samples and labels among named arrays: ``x`` (or the only one) and ``y`` (or --label)."""
    rest = {name: array for name, array in arrays.items() if name not in ("y", wanted.label)}
    name = next((name for name in ("x", "X") if name in rest), next(iter(rest)) if len(rest) == 1 else "x")
    for asked in (name, wanted.label or name):
        if asked not in arrays:
            raise UnknownName(f"array in {path}:", asked, arrays)
    labels = arrays.get(wanted.label or "y")
    return RawData(x=arrays[name], labels=None if labels is None else labels.reshape(-1).tolist())


def _read_table(path: Path, wanted: DataOptions) -> RawData:
    columns, labels = tables.read(path, wanted.label)
    return RawData(x=torch.tensor(list(columns.values()), dtype=torch.float64).T, labels=labels, features=tuple(columns))


READERS: Mapping[str, Callable[[Path, DataOptions], RawData]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".safetensors": _read_safetensors,
    ".csv": _read_table,
    ".parquet": _read_table,
}
"""Readers of files by suffix."""


def _to_tensor(array: Shaped[np.ndarray, "..."], what: str) -> Any:
    """An array as a tensor; words stay an array, since they may be labels."""
    return array if array.dtype.kind == "U" else torch.as_tensor(_numeric_array(array, what))


def _numeric_array(array: Shaped[np.ndarray, "..."], what: str) -> Shaped[np.ndarray, "..."]:
    if array.dtype.kind not in "fiub":
        raise WrongType(f"{what} holds {array.dtype}; expected numbers")
    return array.astype(array.dtype.newbyteorder("="))


def _read_labels(path: Path) -> Labels:
    """Labels from a .npy file, or one per line."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} of labels")
    if path.suffix != ".npy":
        return _read_lines(path)
    found: Labels = np.asarray(_load_npy(path)).reshape(-1).tolist()
    return found


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ForeignFile(f"{path} is not text in UTF-8; expected one name or label per line") from error


# ---- checks -------------------------------------------------------------------------------------------------------------------------


def _to_float_or_long(x: Any, path: Path) -> Tensor:
    """Samples as floating point or int64."""
    if not isinstance(x, Tensor) or x.dtype in (torch.uint8, torch.bool) or x.is_complex():
        kind = x.dtype if isinstance(x, Tensor) else "words"
        raise WrongType(f"the samples in {path} are {kind}; a model takes float32: convert them, and divide pictures of 0..255 by 255")
    if x.ndim < 2 or x.numel() == 0:
        raise InvalidInput(f"the samples in {path} have shape {list(x.shape)}; expected [rows, ...] with at least one row")
    return x if x.is_floating_point() else x.long()


def _check_finite(x: Tensor, rows: Sequence[int], features: Sequence[str]) -> None:
    chosen = x[list(rows)].reshape(len(rows), -1)
    bad = (~chosen.isfinite()).nonzero()
    if not len(bad):
        return
    row, place = bad[0].tolist()
    where = f"column {features[place]!r}" if place < len(features) else f"element {place}"
    raise InvalidInput(
        f"row {rows[row]} holds {float(chosen[row, place])} ({where}); {len(bad[:, 0].unique())} of {len(rows)} rows are like that: "
        "clean them or leave them out with --rows"
    )


def _mean(x: Tensor) -> Tensor:
    return x.double().mean(0).to(x.dtype if x.is_floating_point() else torch.float32)


# ---- names --------------------------------------------------------------------------------------------------------------------------


def _add_labels(samples: Samples, labels: Labels | None, wanted: DataOptions) -> Samples:
    """Labels as classes if they are whole numbers or words, else as numbers in words."""
    if labels is None:
        return samples
    given = _parse_names(wanted.names)
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return _add_word_labels([str(label) for label in labels], given, samples)
    if not all(number.is_integer() for number in numbers):
        return replace(samples, labels=tuple(f"{numbers[row]:.4g}" for row in samples.rows))
    top = len(given) if given else max(numbers) + 1
    if min(numbers) < 0 or max(numbers) >= top:
        raise InvalidInput(f"labels go from {min(numbers):g} to {max(numbers):g}; expected 0 to {top - 1:g}, the class of each row")
    y = torch.tensor([int(numbers[row]) for row in samples.rows])
    return replace(samples, y=y, labels=tuple(given[i] if given else str(i) for i in y.tolist()))


def _add_word_labels(labels: Sequence[str], given: tuple[str, ...], samples: Samples) -> Samples:
    classes = given or tuple(sorted(set(labels)))
    chosen = [labels[row] for row in samples.rows]
    for label in chosen:
        if label not in classes:
            raise UnknownName("class among --names", label, classes)
    y = torch.tensor([classes.index(label) for label in chosen])
    return replace(samples, y=y, labels=tuple(chosen), classes=classes, ordered=bool(given))


def _add_names(samples: Samples, wanted: DataOptions) -> Samples:
    """Class names from --names, and as many feature names as there are elements."""
    count = samples.x[0].numel()
    if samples.features and len(samples.features) != count:
        raise InvalidInput(f"--features names {len(samples.features)} elements, and a row has {count}")
    return replace(samples, classes=_parse_names(wanted.names) or samples.classes)


def _parse_names(text: str | None) -> tuple[str, ...]:
    """Names from a file with one per line, or from a list with commas."""
    if not text:
        return ()
    lines = _read_lines(Path(text)) if "," not in text and Path(text).is_file() else text.split(",")
    return tuple(line.strip() for line in lines if line.strip())


def _read_images(folder: Path, wanted: DataOptions) -> Samples:
    """Samples from a folder; only the chosen files are read, unless the mean of all is wanted."""
    files = pictures.listed(folder)
    rows = parse_rows(wanted.rows, len(files))
    x = pictures.read([files[row] for row in rows], wanted.size)
    mean = pictures.mean(files, wanted.size) if wanted.mean else None
    others = parse_rows(wanted.background, len(files)) if wanted.background else ()
    background = pictures.read([files[row] for row in others], wanted.size) if others else None
    paths = tuple(str(files[row].relative_to(folder)) for row in rows)
    flowing = parse_rows(wanted.flow, len(files)) if wanted.flow else ()
    flow = pictures.read([files[row] for row in flowing], wanted.size) if flowing else None
    found = Samples(x=x, rows=rows, of=len(files), files=paths, mean=mean, background=background, flow=flow)
    labels = _read_labels(wanted.labels) if wanted.labels else pictures.labels(files, folder)
    return _add_labels(found, labels, wanted)
