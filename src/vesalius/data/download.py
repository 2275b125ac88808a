"""Where data files come from: a folder of the user's, then the cache, then a download whose hash is checked."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pooch

from vesalius.core.errors import ForeignFile, VesaliusError

FOLDER_VARIABLE = "VESALIUS_DATA"
"""Environment variable that names a folder to look in first."""


class MissingData(VesaliusError, FileNotFoundError):
    """A data file is neither here nor can be fetched."""


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a public data set.

    Attributes:
        path: place below the data folder.
        sha256: digests of the contents that are accepted; the first is that of the file behind ``url``.
        url: where the original is; empty for a file that is published nowhere on its own.
        other_paths: other places below the data folder in which the same contents are kept.
    """

    path: str
    sha256: tuple[str, ...]
    url: str = ""
    other_paths: tuple[str, ...] = ()


def user_cache() -> Path:
    """The folder for downloads and trained networks, as the operating system wants it."""
    return Path(pooch.os_cache("vesalius"))


def fetch(source: DataFile, *, cache: Path | None = None) -> Path:
    """The file on this machine, downloaded if it must be.

    Args:
        source: which file.
        cache: the folder looked in second and downloaded to; the user's cache by default.

    Raises:
        MissingData: it was found nowhere and could not be downloaded, with the places looked in.
        ForeignFile: a file of that name holds something else.
    """
    cache = user_cache() if cache is None else cache
    here = [Path(folder) for folder in (os.environ.get(FOLDER_VARIABLE),) if folder] + [cache]
    places = [folder / name for folder in here for name in (source.path, *source.other_paths)]
    for place in places:
        if place.is_file():
            return _verify_digest(place, source)
    looked = f"looked for {', '.join(map(str, places))}" + f"; ${FOLDER_VARIABLE} is not set" * (len(here) == 1)
    if not source.url:
        raise MissingData(f"there is no {source.path}: {looked}. It is published nowhere on its own; put it into ${FOLDER_VARIABLE}")
    target = cache / source.path
    try:
        pooch.retrieve(source.url, f"sha256:{source.sha256[0]}", fname=target.name, path=target.parent, progressbar=False)
    except (OSError, ValueError) as error:
        raise MissingData(
            f"there is no {source.path}: {looked}, and {source.url} could not be fetched ({_first_line(error)}). "
            f"Fetch it by hand and put it into ${FOLDER_VARIABLE}"
        ) from error
    return target


def _verify_digest(place: Path, source: DataFile) -> Path:
    """A file as it is, if its contents are the expected ones."""
    found = hashlib.sha256(place.read_bytes()).hexdigest()
    if found not in source.sha256:
        raise ForeignFile(
            f"{place} is not the file expected: its sha256 begins with {found[:12]}, not {source.sha256[0][:12]}; replace or remove it"
        )
    return place


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
