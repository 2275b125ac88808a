"""DATA: from a file or folder to the samples that are to be explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from vesalius.cli import pictures, tables
from vesalius.cli.arrays import read_npy, read_npz, read_safetensors
from vesalius.cli.normalization import normalize_samples, parse_normalization
from vesalius.core.errors import ForeignFile, InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.store import what_is_there
from vesalius.workflow.samples import LabelledRows, Labels, RowSelection, Samples, choose_rows, label_samples, select_samples


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
        resize: or so that their shorter side has this many.
        crop: what is then kept of their middle, squared.
        normalize: how pixels are normalised, in words, see :func:`vesalius.cli.normalization.parse_normalization`.
        mean: whether the mean of all rows is needed.
        background: rows to compare with, likewise; empty for none.
        flow: rows to measure the flow of information on, likewise.
        whole: most rows that are read beside those, to disentangle a value; 0 for none.
    """

    rows: str = "0:8"
    label: str | None = None
    labels: Path | None = None
    names: str | None = None
    features: str | None = None
    size: int | None = None
    resize: int | None = None
    crop: int | None = None
    normalize: str | None = None
    mean: bool = False
    background: str = ""
    flow: str = ""
    whole: int = 0


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
    normalization = parse_normalization(wanted.normalize)
    return normalize_samples(_read_images(path, wanted) if path.is_dir() else _read_file(path, wanted), normalization)


def _read_file(path: Path, wanted: DataOptions) -> Samples:
    """Samples from a file."""
    found = what_is_there(path)
    if not found:
        raise FileNotFoundError(f"there is no file or folder {path}")
    if found != "a file":
        raise InvalidInput(f"{path} is {found}; expected a file or a folder of pictures")
    if path.suffix.lower() not in READERS:
        raise InvalidInput(f"{path} is of no kind read here; expected {', '.join(READERS)} or a folder of pictures")
    for option, given in (("--size", wanted.size), ("--resize", wanted.resize), ("--crop", wanted.crop)):
        if given is not None:
            raise InvalidInput(f"{option} goes with a folder of pictures; the rows of {path} are taken as they are, so leave it out")
    raw = READERS[path.suffix.lower()](path, wanted)
    whole = LabelledRows(
        x=_to_float_or_long(raw.x, path),
        labels=raw.labels if wanted.labels is None else _read_labels(wanted.labels),
        classes=parse_names(wanted.names),
        features=parse_names(wanted.features) or raw.features,
    )
    background, flow = wanted.background or None, wanted.flow or None
    return select_samples(whole, RowSelection(rows=wanted.rows, mean=wanted.mean, background=background, flow=flow, whole=wanted.whole))


# ---- files --------------------------------------------------------------------------------------------------------------------------


def _read_npz(path: Path, wanted: DataOptions) -> RawData:
    arrays = read_npz(path)
    return _pick_arrays(path, {name: _to_tensor(array, f"{name!r} in {path}") for name, array in arrays.items()}, wanted)


def _read_npy(path: Path, wanted: DataOptions) -> RawData:
    return RawData(x=torch.as_tensor(_numeric_array(read_npy(path), str(path))))


def _read_safetensors(path: Path, wanted: DataOptions) -> RawData:
    return _pick_arrays(path, read_safetensors(path), wanted)


def _pick_arrays(path: Path, arrays: Mapping[str, Any], wanted: DataOptions) -> RawData:
    """Samples and labels among named arrays: ``x`` (or the only one) and ``y`` (or --label)."""
    rest = {name: array for name, array in arrays.items() if name not in ("y", wanted.label)}
    name = next((name for name in ("x", "X") if name in rest), next(iter(rest)) if len(rest) == 1 else "x")
    for asked in (name, wanted.label or name):
        require_known(f"array in {path}:", asked, arrays)
    labels = arrays.get(wanted.label or "y")
    return RawData(x=arrays[name], labels=None if labels is None else _labels_of(labels, f"{wanted.label or 'y'!r} in {path}"))


def _labels_of(array: Any, what: str) -> Labels:
    """Labels as plain values: words or real numbers."""
    kind = "c" if isinstance(array, Tensor) and array.is_complex() else "f" if isinstance(array, Tensor) else array.dtype.kind
    if kind not in "Ufiub":
        raise WrongType(f"{what} holds {array.dtype}; labels are words or numbers")
    found: Labels = array.reshape(-1).tolist()
    return found


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
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise WrongType(f"{what} holds {array.dtype}; expected numbers")
    return array.astype(array.dtype.newbyteorder("="))


def _read_labels(path: Path) -> Labels:
    """Labels from a .npy file, or one per line."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} of labels")
    if path.suffix != ".npy":
        return _read_lines(path)
    return _labels_of(read_npy(path), str(path))


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


# ---- names --------------------------------------------------------------------------------------------------------------------------


def parse_names(text: str | None) -> tuple[str, ...]:
    """Names from a file with one per line, or from a list with commas."""
    if not text:
        return ()
    lines = _read_lines(Path(text)) if "," not in text and Path(text).is_file() else text.split(",")
    return tuple(line.strip() for line in lines if line.strip())


def _read_images(folder: Path, wanted: DataOptions) -> Samples:
    """Samples from a folder; only the chosen files are read, unless the mean of all is wanted."""
    files, sizing = pictures.listed(folder), (wanted.size, wanted.resize, wanted.crop)

    def read(choice: str) -> Tensor | None:
        return pictures.read([files[row] for row in choose_rows(choice, len(files))], *sizing) if choice else None

    rows = choose_rows(wanted.rows, len(files))
    found = Samples(
        x=pictures.read([files[row] for row in rows], *sizing),
        rows=rows,
        of=len(files),
        ids=tuple(str(files[row].relative_to(folder)) for row in rows),
        mean=pictures.mean(files, *sizing) if wanted.mean else None,
        background=read(wanted.background),
        flow=read(wanted.flow),
        whole=_read_images(folder, replace(wanted, rows=f":{wanted.whole}", mean=False, background="", flow="", whole=0))
        if wanted.whole
        else None,
    )
    labels = _read_labels(wanted.labels) if wanted.labels else pictures.labels(files, folder)
    return label_samples(found, labels, parse_names(wanted.names))
