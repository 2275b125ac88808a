"""Parquet files; the one module that needs pyarrow, imported only when such a file is read."""

from __future__ import annotations

from pathlib import Path

from pyarrow import parquet

from vesalius.core.errors import ForeignFile


def columns(path: Path) -> dict[str, list[str]]:
    """Cells by column, in words; a missing one is empty.

    Raises:
        ForeignFile: the file is damaged.
    """
    try:
        table = parquet.read_table(path)
        if len(set(table.column_names)) < table.num_columns:
            raise ForeignFile(f"{path} has two columns of one name; rename one")
        return {name: ["" if cell is None else _text(cell) for cell in table[name].to_pylist()] for name in table.column_names}
    except ForeignFile:
        raise
    except Exception as error:  # readers of files raise whatever the bytes lead them to
        raise ForeignFile(f"{path} cannot be read as parquet ({' '.join(str(error).split())[:300]})") from error


def _text(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, bool) else str(cell)
