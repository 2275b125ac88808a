"""Where a job writes its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from vesalius.core.errors import InvalidInput

RESULT_SUFFIXES = (".safetensors", ".json", ".html", ".pt2", ".onnx")
"""Of files that jobs write."""


@contextmanager
def output_folder(out: str | Path | None) -> Iterator[Path]:
    """The folder to write to; a temporary one, gone afterwards, where nothing is to be kept.

    Raises:
        InvalidInput: there is something else of that name, or a result in it is a link to a file elsewhere.
    """
    if out is None:
        with TemporaryDirectory(prefix="vesalius-") as folder:
            yield Path(folder)
        return
    check_output_folder(out)
    yield Path(out)


def check_output_folder(out: str | Path) -> None:
    """Whether a folder can be written to, which leaves no trace in it.

    Raises:
        InvalidInput: it cannot, there is something else of that name, or a result in it is a link to a file elsewhere.
    """
    kept_in = Path(out)
    taken = next((path for path in (kept_in, *kept_in.parents) if path.exists() and not path.is_dir()), None)
    if taken is not None:
        raise InvalidInput(f"{out} cannot be a folder to write to: {taken} is a file; name another with out= (on the command line: --out)")
    if leaving := [file for file in _results(kept_in) if file.is_symlink() and not file.resolve().is_relative_to(kept_in.resolve())]:
        raise InvalidInput(
            f"{leaving[0]} is a link to {leaving[0].resolve()}, which would be written over; remove the link, or name another folder with"
            " out= (on the command line: --out)"
        )
    nearest = next(path for path in (kept_in.absolute(), *kept_in.absolute().parents) if path.is_dir())
    try:
        with TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InvalidInput(
            f"nothing can be written to {out} ({nearest}: {error.strerror}); name another folder with out= (on the command line: --out)"
        ) from error


def _results(folder: Path) -> list[Path]:
    """Files that a job may have written; a folder may come from someone else, with links among them."""
    places = [folder, *(path for path in folder.iterdir() if path.is_dir())] if folder.is_dir() else []
    return [file for place in places for suffix in RESULT_SUFFIXES for file in place.glob(f"*{suffix}")]
