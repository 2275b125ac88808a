"""The folder of a survey: shards, each an allocation in a file, and ``survey.json``, which says what was asked and what there is.

A shard appears whole or not at all, and its name says where its rows are; so whatever stopped a run, the next one finds what was done.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from vesalius.core import store
from vesalius.core.allocation import Allocation
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.scale.aggregate import PLAN, SUMS_KIND, Answers, BlockSums

MANIFEST = "survey.json"
LOCK = ".survey.lock"
KIND = "survey"
FORMAT_VERSION = 1
SHARD_NAME = re.compile(r"rows-(\d{12})\.safetensors")
DRAFT_NAME = re.compile(r"\.[0-9a-f]{32}\.draft")
OWN_FACTS = ("survey", "data", "start", "rows")
"""What a shard's provenance says of the shard: the question, its rows as a digest, and where they are."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file with the answers for some rows, one after the other.

    Attributes:
        file: its name.
        start: position of the first row in the data.
        rows: how many.
        data: digest of the rows.
        header: digest of the file's facts.
    """

    file: str
    start: int
    rows: int
    data: str
    header: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Manifest:
    """What was asked, and what there is.

    Attributes:
        question: all that the answers depend on, described as JSON.
        key: its digest.
        sample: the network's output on the first rows, which stands for code that cannot be read.
        shards: in the order of the rows; ``None`` while the run is not finished.
    """

    question: Mapping[str, Any]
    key: str
    sample: Sequence[float]
    shards: tuple[Shard, ...] | None = None

    @property
    def sums(self) -> bool:
        """Whether shards hold sums over their rows, rather than an answer for each."""
        return bool(self.question.get("plan"))

    def write(self, folder: Path) -> None:
        """To its place, whole or not at all."""
        shards = None if self.shards is None else [asdict(shard) for shard in self.shards]
        content = {"kind": KIND, "format": FORMAT_VERSION, "key": self.key, "question": self.question, "sample": list(self.sample)}
        store.write_text(folder / MANIFEST, json.dumps({**content, "shards": shards}, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """What a folder says of itself.

    Raises:
        FileNotFoundError: there is no survey.
        ForeignFile: damaged, no survey of ours, or of a newer version.
    """
    path = folder / MANIFEST
    there = store.what_is_there(path)
    if not there:
        raise FileNotFoundError(f"there is no survey in {folder}: it has no {MANIFEST}")
    if there != "a file":
        raise ForeignFile(f"{path} is {there}, and no survey of vesalius")
    try:
        return _decode_manifest(path)
    except ForeignFile as error:
        advice = "; name another folder, or begin anew with SurveyOptions(resume=False)"
        raise ForeignFile(str(error).replace("; write it again with .save()", advice)) from error


def _decode_manifest(path: Path) -> Manifest:
    with store.decoding(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise ForeignFile(f"{path} was not written by vesalius.survey")
        if type(content.get("format")) is not int or content["format"] < 1:
            raise ForeignFile(f"{path} is damaged: it names no format")
        if content["format"] > FORMAT_VERSION:
            raise ForeignFile(
                f"{path} is of format {content['format']}, newer than this version reads ({FORMAT_VERSION}); upgrade vesalius"
            )
        shards = content["shards"]
        found = Manifest(
            question=store.fact(content, "question", dict),
            key=store.fact(content, "key", str),
            sample=[float(value) for value in store.fact(content, "sample", list)],
            shards=None if shards is None else tuple(_read_shard(one) for one in store.fact(content, "shards", list)),
        )
        _check_order(found.shards or ())
        return found


def _read_shard(facts: Any) -> Shard:
    """What a manifest says of one shard; its name leads nowhere else."""
    held = store.mapping(facts)
    named = SHARD_NAME.fullmatch(store.fact(held, "file", str))
    start, rows = store.fact(held, "start", int), store.fact(held, "rows", int)
    if named is None or int(named[1]) != start or rows < 1:
        raise ValueError(f"{str(held)[:100]} is no shard")
    return Shard(file=named[0], start=start, rows=rows, data=store.fact(held, "data", str), header=store.fact(held, "header", str))


def check_sizes(folder: Path, shards: Sequence[Shard]) -> None:
    """Refuse more rows than a shard has bytes, before memory is asked for them.

    Raises:
        ForeignFile: a manifest that says so.
    """
    for shard in shards:
        path = folder / shard.file
        if store.what_is_there(path) == "a file" and shard.rows > path.stat().st_size:
            raise ForeignFile(f"{folder / MANIFEST} is damaged: {shard.rows:,} rows are not in {path}; call vesalius.survey again")


def _check_order(shards: Sequence[Shard]) -> None:
    place = 0
    for shard in shards:
        if shard.start != place:
            raise ValueError(f"rows from {place:,} on are missing")
        place += shard.rows


def shard_path(folder: Path, start: int) -> Path:
    """Where the rows from a position on are kept."""
    return folder / f"rows-{start:012d}.safetensors"


def save_shard(folder: Path, answers: Answers, key: str, start: int, data: str) -> Shard:
    """Write the answers for some rows, and say what was written.

    Raises:
        InvalidInput: it cannot be written, for want of space or of permission; what is there stays.
    """
    own = dict(zip(OWN_FACTS, (key, data, start, len(answers)), strict=True))
    path = shard_path(folder, start)
    try:
        replace(answers, provenance={**answers.provenance, **own}).save(path)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written ({error.strerror}); what is finished stays: make room, and call again to go on from here"
        ) from error
    return read_shard_facts(path, sums=isinstance(answers, BlockSums))[0]


def read_shard_facts(path: Path, *, sums: bool) -> tuple[Shard, dict[str, Any]]:
    """What a shard says of itself, without its tensors, and its provenance.

    Args:
        path: of the shard.
        sums: whether it holds sums over its rows, rather than an answer for each.

    Raises:
        ForeignFile: damaged, or no shard.
    """
    facts, header = store.read_facts(path, SUMS_KIND if sums else "allocation")
    with store.decoding(path):
        held = store.fact(facts, "provenance", dict)
        named = SHARD_NAME.fullmatch(path.name)
        start, rows, data = store.fact(held, "start", int), store.fact(held, "rows", int), store.fact(held, "data", str)
        if named is None or int(named[1]) != start or rows < 1:
            raise ForeignFile(f"{path} is no shard of a survey, or was renamed")
        return Shard(file=path.name, start=start, rows=rows, data=data, header=header), held


def load_shard(folder: Path, shard: Shard, key: str, *, sums: bool) -> Answers:
    """The answers of a shard, if it is the one that is meant.

    Raises:
        ForeignFile: missing, damaged, or of another survey.
    """
    path = folder / shard.file
    try:
        found: Answers = BlockSums.load(path) if sums else Allocation.load(path)
    except FileNotFoundError as error:
        raise ForeignFile(f"{path} is missing; call vesalius.survey again to compute its {shard.rows:,} rows anew") from error
    own = tuple(found.provenance.get(name) for name in OWN_FACTS)
    single = isinstance(found, Allocation) and not found.base.ndim
    if own != (key, shard.data, shard.start, shard.rows) or single or len(found) != shard.rows:
        raise ForeignFile(f"{path} belongs to another survey; call vesalius.survey again to compute its {shard.rows:,} rows anew")
    return found


def find_shards(folder: Path) -> list[Path]:
    """Files of shards, in the order of their rows."""
    return sorted(path for path in folder.iterdir() if SHARD_NAME.fullmatch(path.name))


def find_intact(folder: Path, key: str, *, sums: bool) -> dict[int, Shard]:
    """Shards of this question by their first row; what is damaged is taken out, to be computed again.

    Raises:
        InvalidInput: a file of that name which is not ours to remove.
    """
    found = {}
    for path in find_shards(folder):
        try:
            shard, _ = read_shard_facts(path, sums=sums)
            load_shard(folder, shard, key, sums=sums)
        except (ForeignFile, FileNotFoundError):
            if store.what_is_there(path) != "a file":
                raise InvalidInput(f"{path} stands where rows of this survey belong; move it, or name another folder with out=") from None
            path.unlink()
            continue
        found[shard.start] = shard
    return found


def clear(folder: Path) -> None:
    """Remove what a survey left: its shards, drafts and manifest, nothing else."""
    clear_drafts(folder)
    for path in (*find_shards(folder), folder / MANIFEST, folder / PLAN):
        path.unlink(missing_ok=True)


def clear_drafts(folder: Path) -> None:
    """Remove half-written files of a run that was killed; only under the lock."""
    for path in folder.iterdir():
        if DRAFT_NAME.fullmatch(path.name):
            path.unlink(missing_ok=True)


def make_folder(out: str | Path) -> Path:
    """The folder of a survey, there and open to be written to.

    Raises:
        InvalidInput: it cannot be made or written to.
    """
    if not str(out):
        raise InvalidInput("out= is empty; name a folder for the survey (the one you are in is '.')")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{out} is a file; name a folder with out=")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOCK).open("a+").close()
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written to ({error.strerror}); name another folder with out=") from error
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one writer; the system lets go of it when the process ends, however it ends.

    Raises:
        InvalidInput: another process writes there.
    """
    with (folder / LOCK).open("a+") as file:
        try:
            _lock(file)
        except OSError as error:
            raise InvalidInput(f"another survey is being written to {folder}; wait for it, or name another folder with out=") from error
        yield


def _lock(file: IO[str]) -> None:
    if os.name == "nt":
        windows: Any = import_module("msvcrt")
        windows.locking(file.fileno(), windows.LK_NBLCK, 1)
    else:
        posix: Any = import_module("fcntl")
        posix.flock(file.fileno(), posix.LOCK_EX | posix.LOCK_NB)
