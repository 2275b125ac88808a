"""DATA of texts, and the tokenizer that makes ids of them, from files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.cli.tables import read_cells
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.core.names import require_known
from vesalius.core.store import what_is_there

KINDS = (".txt", ".jsonl", ".csv")
TEXT_COLUMN = "text"


def read_texts(path: Path, column: str | None, label: str | None) -> tuple[list[str], list[str] | None]:
    """Texts, and their labels where a column of them is named.

    Args:
        path: txt (one text per line), jsonl (objects, or strings) or csv (with a line of column names).
        column: of the texts; by default ``text``, or the only one beside the label.
        label: column of the labels.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidInput, UnknownName, ForeignFile: no texts, an empty one, no such column, several that may be meant, a damaged file.
    """
    found = what_is_there(path)
    if not found:
        raise FileNotFoundError(f"there is no file {path}")
    if found != "a file" or path.suffix.lower() not in KINDS:
        raise InvalidInput(f"texts are read from {', '.join(KINDS)}, and {path} is none of them")
    if path.suffix.lower() == ".txt":
        for option, given in (("--text", column), ("--label", label)):
            if given is not None:
                raise InvalidInput(f"{option} names a column, and {path} has none: each line is a text")
        return _checked([line for line in _lines(path) if line.strip()], path), None
    cells = read_cells(path) if path.suffix.lower() == ".csv" else _json_lines(path)
    if label is not None:
        require_known(f"column in {path}:", label, cells)
    texts = _checked(list(cells[_text_column(cells, column, label, path)]), path)
    return texts, list(map(str, cells[label])) if label is not None else None


def load_tokenizer(path: Path) -> Any:
    """A tokenizer from a file of ``tokenizers``, or from a folder, by ``transformers``; no code in it is run.

    Raises:
        FileNotFoundError: there is none.
        ForeignFile: it cannot be read, or the library is missing.
    """
    found = what_is_there(path)
    if not found:
        raise FileNotFoundError(f"there is no tokenizer {path}")
    try:
        if path.is_dir():
            import transformers

            return transformers.AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
        import tokenizers

        return tokenizers.Tokenizer.from_file(str(path))
    except ImportError as error:
        library = "transformers" if path.is_dir() else "tokenizers"
        raise ForeignFile(f"reading {path} needs {library}; install it with: pip install 'vesalius[text]'") from error
    except Exception as error:  # the library raises plain exceptions of many kinds
        told = " ".join(str(error).split())[:160]
        raise ForeignFile(f"{path} cannot be read as a tokenizer ({told}); expected a tokenizer.json, or a folder with one") from error


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ForeignFile(f"{path} is not text in UTF-8; expected texts") from error


def _json_lines(path: Path) -> Mapping[str, Sequence[str]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_lines(path)):
        if not line.strip():
            continue
        try:
            made = json.loads(line)
        except json.JSONDecodeError as error:
            raise ForeignFile(f"line {number + 1} of {path} is no JSON ({error.msg}); expected an object per line") from error
        rows.append(made if isinstance(made, dict) else {TEXT_COLUMN: made})
    columns = list(rows[0]) if rows else []
    missing = next((name for row in rows for name in columns if name not in row), None)
    if missing is not None:
        raise InvalidInput(f"a line of {path} has no {missing!r}, which the first one has")
    return {name: [row[name] for row in rows] for name in columns}


def _text_column(cells: Mapping[str, Any], column: str | None, label: str | None, path: Path) -> str:
    rest = [name for name in cells if name != label]
    if column is not None:
        require_known(f"column in {path}:", column, cells)
        return column
    if TEXT_COLUMN in rest or len(rest) == 1:
        return TEXT_COLUMN if TEXT_COLUMN in rest else rest[0]
    raise InvalidInput(f"{path} has the columns {', '.join(map(repr, rest)) or 'none'}; say which holds the texts: --text COLUMN")


def _checked(texts: list[Any], path: Path) -> list[str]:
    if not texts:
        raise InvalidInput(f"{path} holds no texts")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"row {row} of {path} holds {text!r}; expected a text")
        if not text.strip():
            raise InvalidInput(f"row {row} of {path} is an empty text; leave it out")
    return texts
