"""Where a job writes its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vesalius.core.errors import InvalidInput


@contextmanager
def output_folder(out: str | Path | None) -> Iterator[Path]:
    """The folder to write to; a temporary one, gone afterwards, where nothing is to be kept.

    Raises:
        InvalidInput: there is something else of that name.
    """
    if out is None:
        with TemporaryDirectory(prefix="vesalius-") as folder:
            yield Path(folder)
        return
    kept_in = Path(out)
    taken = next((path for path in (kept_in, *kept_in.parents) if path.exists() and not path.is_dir()), None)
    if taken is not None:
        raise InvalidInput(f"{out} cannot be a folder to write to: {taken} is a file; name another with out= (on the command line: --out)")
    yield kept_in
