"""Rows that are looked at closely: what their parts do together, and every method judged by what it makes of masked versions of the row."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vesalius.audit import Audit, Auditor
from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.fingerprint import json_description
from vesalius.core.players import Players
from vesalius.core.progress import progress_bar
from vesalius.games.game import Game
from vesalius.interactions import harsanyi_dividends, interactions_of
from vesalius.interactions.harsanyi import MAX_EXACT_PLAYERS
from vesalius.methods import METHODS
from vesalius.views.audit.section import audit_section
from vesalius.views.chart_data import divides_image
from vesalius.views.html import Section
from vesalius.views.interactions.section import interactions_section
from vesalius.workflow.job import Job
from vesalius.workflow.method_runs import cache_key, load_cached
from vesalius.workflow.samples import RowChoice, Samples, choose_rows
from vesalius.workflow.summary import row_name

MAX_AUDIT_PLAYERS = 12
"""Players up to which an audit goes through all coalitions within a minute or so on a small network."""

PATCHES_PER_SIDE = 3
"""Larger parts along each side of a picture."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RowAudit:
    """One row, looked at closely.

    Attributes:
        row: its position in the data.
        name: what it is called.
        together: interactions (Harsanyi dividends) of all coalitions, or of pairs where there are too many.
        audit: of all methods.
    """

    row: int
    name: str
    together: Allocation
    audit: Audit

    @property
    def sections(self) -> tuple[Section, Section]:
        """As they are shown on the page."""
        first, second = interactions_section(self.together), audit_section(self.audit)
        return (
            replace(first, heading=f"{first.heading} in {self.name}", anchor=f"together-{self.row}"),
            replace(second, heading=f"{second.heading}: {self.name}", anchor=f"audit-{self.row}"),
        )

    def facts(self) -> dict[str, Any]:
        """For summary.json: numbers that JSON knows."""
        return {
            "row": self.row,
            "name": self.name,
            "files": [_file_name("audit", self.row), _file_name("interactions", self.row)],
            "bend": _nan_to_null(self.audit.bend),
            "methods": [{name: _nan_to_null(value) for name, value in line.items()} for line in self.audit.table()],
            "skipped": dict(self.audit.skipped),
        }


def find_audited(audit: RowChoice, samples: Samples, at: str | None) -> list[int]:
    """Places, among the rows that are explained, of those to be audited.

    Args:
        audit: positions in the data, or in words; ``None`` or no words: none.
        samples: the rows that are explained.
        at: an inner value that is explained.

    Raises:
        InvalidInput: not numbers, of rows that are not explained, or of an inner value.
    """
    if audit is None or (isinstance(audit, str) and not audit.strip()):
        return []
    if at is not None:
        raise InvalidInput("an audit masks the input, and at= explains another value; leave --audit or --at (audit=, at=) out")
    known = ", ".join(map(str, samples.rows))
    refusal = f"audit={audit!r} is none of the rows that are explained ({known}); choose those with rows= (on the command line: --rows)"
    try:
        wanted = choose_rows(audit, samples.of)
    except InvalidInput as error:
        raise InvalidInput(refusal) from error
    if not set(wanted) <= set(samples.rows):
        raise InvalidInput(refusal)
    return [samples.rows.index(row) for row in wanted]


def audit_row(job: Job, samples: Samples, place: int, players: Players | None, folder: Path, *, seed: int = 0) -> RowAudit:
    """Interactions and audit of one row, or what is kept of them in the folder if everything that matters is as it was."""
    one, row = job.of(place), samples.rows[place]
    players = (players or Players.features(job.x[place])).named(samples.features, strict=False)
    key = cache_key(one, ["judge", json_description(players), seed])
    name = row_name(samples, place)
    facts = {"run": key, "baseline": job.baseline, "unit": job.unit}
    together = load_cached(Allocation, folder / _file_name("interactions", row), key)
    if together is None:
        together = _interactions(one, players, name, seed)
        together = replace(together, provenance={**together.provenance, **facts})
        together.save(folder / _file_name("interactions", row))
    audit = load_cached(Audit, folder / _file_name("audit", row), key)
    if audit is None:
        audit = _audit(one, _coarsen(players, one.x[0]), name, seed)
        audit = replace(audit, provenance={**audit.provenance, **facts})
        audit.save(folder / _file_name("audit", row))
    return RowAudit(row=row, name=name, together=together, audit=audit)


def _coarsen(players: Players, sample: Tensor) -> Players:
    """Players of which all coalitions can be gone through by every method; larger parts of a picture, if need be."""
    if players.n <= MAX_AUDIT_PLAYERS or not divides_image(players):
        return players
    high, wide = sample.shape[-2:]
    return Players.patches(sample, (math.ceil(high / PATCHES_PER_SIDE), math.ceil(wide / PATCHES_PER_SIDE)))


def _interactions(job: Job, players: Players, name: str, seed: int) -> Allocation:
    target = None if job.target is None else int(job.target[0])
    game = Game.on(job.network, job.x, players, target=target, baseline=job.absence)
    with progress_bar(f"interactions of {name}"):
        exact = players.n <= MAX_EXACT_PLAYERS
        return harsanyi_dividends(game) if exact else interactions_of(game, generator=torch.Generator().manual_seed(seed))


def _audit(job: Job, players: Players, name: str, seed: int) -> Audit:
    target = None if job.target is None else int(job.target[0])
    with progress_bar(f"audit of {name}") as step:
        auditor = Auditor(report=step, seed=seed)
        return auditor.audit(job.network, job.x, players, target=target, baseline=job.absence, methods=METHODS)


def _file_name(what: str, row: int) -> str:
    return f"{what}_{row}.safetensors"


def _nan_to_null(value: object) -> Any:
    """A value with what JSON has no word for as null."""
    if isinstance(value, tuple):
        return [_nan_to_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
