"""Finished runs on disk, so that an interrupted computation goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vesalius.complexity.features import CachedRows
from vesalius.complexity.networks import RowShapes, Trunk, read_trunk
from vesalius.core import store
from vesalius.core.errors import InvalidInput

KIND = "complexity checkpoint"
MAX_HASHED_ROWS = 1000
"""Rows that tell one data set from another."""


@dataclass(eq=False)
class Checkpoint:
    """Trunks of finished runs, by run and order, in a file if one is named.

    Attributes:
        path: the file; ``None`` to keep nothing.
        settings: everything the trunks depend on.
        runs: by name of the run, then by order.
    """

    path: Path | None
    settings: Mapping[str, Any]
    runs: dict[str, dict[int, Trunk]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: str | Path | None, settings: Mapping[str, Any], shape: RowShapes, device: torch.device) -> Checkpoint:
        """What was kept, or nothing yet.

        Raises:
            InvalidInput: it was kept with other settings; says which.
            ForeignFile: the file is not a checkpoint.
        """
        found = cls(None if path is None else Path(path), settings)
        if found.path is None or not found.path.exists():
            return found
        tensors, facts = store.read(found.path, KIND)
        with store.decoding(found.path):
            known, trunks = store.fact(facts, "settings", dict), store.fact(facts, "trunks", dict)
        for name, value in settings.items():
            if known.get(name) != value:
                raise InvalidInput(
                    f"{path} was made with other settings ({name}: {known.get(name)} there, {value} here); name another file, or delete"
                    " this one"
                )
        with store.decoding(found.path):
            for key, (width, blocks) in trunks.items():
                run, order = key.split("/")
                mine = {name.removeprefix(f"{key}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{key}/")}
                found.runs.setdefault(run, {})[int(order)] = read_trunk(mine, shape, width, blocks).to(device).eval()
        return found

    def keep(self, run: str, trunks: Mapping[int, Trunk]) -> None:
        """Add a finished run, and write the file."""
        self.runs[run] = dict(trunks)
        if self.path is None:
            return
        listed = {f"{name}/{order}": trunk for name, kept in self.runs.items() for order, trunk in kept.items()}
        tensors: dict[str, Tensor] = {}
        for key, trunk in listed.items():
            tensors |= {f"{key}/{name}": tensor for name, tensor in trunk.state_dict().items()}
        facts = {"settings": dict(self.settings), "trunks": {key: (trunk.width, trunk.blocks) for key, trunk in listed.items()}}
        store.write(self.path, KIND, tensors, facts)


def fingerprint(rows: CachedRows) -> str:
    """A short hash of the rows: of a thousand of them, spread evenly."""
    total = hashlib.blake2b(f"{len(rows)}".encode(), digest_size=8)
    places = torch.arange(0, len(rows), max(1, len(rows) // MAX_HASHED_ROWS))
    for table in (rows.x, rows.f):
        total.update(table[places].contiguous().numpy().tobytes())
    return total.hexdigest()
