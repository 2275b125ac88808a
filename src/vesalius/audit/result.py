"""What an audit found: a record for each method, and all of them together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.audit.faithfulness import Agreement, Faithfulness
from vesalius.audit.principles import HELD_TOLERANCE
from vesalius.core import store
from vesalius.core.display import load_view
from vesalius.core.encoding import decode_players, encode_players
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.players import Players

NAN = math.nan
FACTS: Mapping[str, type] = {"base": float, "total": float, "skipped": dict, "bend": float, "provenance": dict}
"""What a file holds by its own name, and of which type."""
REQUIRED = ("exact", "target", "model", "coalitions", "baseline")
"""What the provenance of an audit always says."""
Interval = tuple[float, float]

STRAIGHT_LINE_NOTE = (
    "From the baseline to every masked input the output is a straight line here, as in networks of ReLUs without biases at a baseline of 0."
    " The gradient at the input is then that of the whole way, so that gradient x input (and LRP-0, which equals it) adds up on every"
    " masked input and holds all three principles. This is a property of the network at this baseline, not of the method: with biases,"
    " smooth activations or another baseline it breaks P1 and P3."
)
"""Why a verdict may be another than the derived one."""

EXACT_LEGEND = (
    "miss: not allocated (P1); leak: null-player violation (P2); over: over-counting, reverse: wrong sign (P3);"
    " C: allocation error, miss + over + reverse"
)
SAMPLED_LEGEND = "mean_gap: completeness error (P1, P3); mean_leak: null-player violation (P2)"
"""What the columns of a printed table are."""


@dataclass(frozen=True, kw_only=True)
class MethodAudit:
    """One method on one sample.

    Attributes:
        method: as it is called in this audit.
        values: the map, summed into the players, in the output's unit.
        gap: |f(x) - f(b) - sum of the map|, in the output's unit.
        miss: P1, share of the effects that was not allocated. NaN in a sampled audit, as all that is exact only.
        over: P3, over-counting: share allocated beyond the effects.
        reverse: P3, share allocated with the opposite sign.
        leak: P2, null-player violation: share of what was allocated that went to players outside the effect.
        completeness_error: miss + over + reverse, effect by effect; shown as *allocation error*, since it is no gap.
        mean_leak: P2 over masked samples, every size of coalition weighing the same: share given to absent players.
        mean_gap: P1 and P3 together over masked samples: mean |f(x_T) - f(b) - sum of the map| over mean |f(x_T) - f(b)|.
        interval: 95 % bootstrap intervals of ``mean_leak``, ``mean_gap`` and ``error`` in a sampled audit; empty in an exact one.
        tolerance: largest number that counts as held; more than 1e-8 where rounding does not allow as much.
        coalitions: masked samples the method was run on.
        evaluations: of the network, in all; 0 for methods that read known values.
        options: of the method, as audited.
        faithfulness: by intervention on the same coalitions.
    """

    method: str
    values: tuple[float, ...]
    gap: float
    mean_leak: float
    mean_gap: float
    tolerance: float
    coalitions: int
    evaluations: int
    faithfulness: Faithfulness
    miss: float = NAN
    over: float = NAN
    reverse: float = NAN
    leak: float = NAN
    completeness_error: float = NAN
    interval: Mapping[str, Interval] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether all coalitions were looked at."""
        return not math.isnan(self.completeness_error)

    @property
    def error(self) -> float:
        """One number to rank by: allocation error plus leak, or mean gap plus mean leak where coalitions were sampled."""
        return self.completeness_error + self.leak if self.exact else self.mean_gap + self.mean_leak

    @property
    def principles(self) -> Mapping[str, bool | None]:
        """Whether P1, P2 and P3 are held; ``None`` where a sample cannot tell which of P1 and P3 is broken.

        A sampled audit can refute a principle, not prove it: held means that no violation was found.
        """
        if self.exact:
            held = self.over + self.reverse <= self.tolerance
            return {"P1": self.miss <= self.tolerance, "P2": self.leak <= self.tolerance, "P3": held}
        both = True if self.mean_gap <= self.tolerance else None
        return {"P1": both, "P2": self.mean_leak <= self.tolerance, "P3": both}

    @property
    def holds(self) -> bool:
        """Whether all three principles are held."""
        return all(held is True for held in self.principles.values())

    def sentence(self, kind: str = "players") -> str:
        """What the numbers say, in words.

        Args:
            kind: what the players are, in the plural.
        """
        if self.holds:
            if self.exact:
                return f"complete: allocates every effect once, to the {kind} that took part in it"
            return f"no violation found on {self.coalitions} masked samples"
        if self.exact:
            parts = [
                (self.leak, "null-player violation: {} of what it allocates goes to " + kind + " that took no part"),
                (self.miss, "does not allocate {} of the effects"),
                (self.over, "over-counts by {} of the effects"),
                (self.reverse, "gives {} of the effects the wrong sign"),
            ]
        else:
            parts = [
                (self.mean_leak, "null-player violation: gives {} of its values to absent " + kind),
                (self.mean_gap, "completeness error: {} of the output's change on masked samples"),
            ]
        return "; ".join(words.format(percent(share)) for share, words in parts if share > self.tolerance)


def percent(share: float) -> str:
    """A share as people write it."""
    if not math.isfinite(share):
        return "an unbounded share"
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


@dataclass(frozen=True, eq=False, kw_only=True)
class Audit(Mapping[str, MethodAudit]):
    """Methods judged by the three principles on one sample; ``audit["occlusion"].leak`` is a number.

    Attributes:
        players: who may be absent. All numbers are about these players and this baseline.
        base: the output with all players absent.
        total: the output with all players present.
        records: by method, in the order asked for.
        skipped: methods that do not apply here, and why.
        tiers: methods from the smallest error up; those that the numbers cannot tell apart are in one tier.
        agreement: whether the principles predict faithfulness here; methods that hold all principles are tied.
        bend: how far the output is from a straight line between the baseline and masked samples: mean distance, halfway, from the middle of
            its ends, over the mean change. 0 for networks of ReLUs without biases at a baseline of zero; NaN where there is no halfway.
        provenance: players, baseline, output, masks and seed, versions.
    """

    players: Players
    base: float
    total: float
    records: Mapping[str, MethodAudit]
    skipped: Mapping[str, str]
    tiers: tuple[tuple[str, ...], ...]
    agreement: Agreement
    bend: float
    provenance: Mapping[str, Any]

    def __getitem__(self, method: str) -> MethodAudit:
        if isinstance(method, str) and method in self.skipped:
            raise InvalidInput(f"{method!r} does not apply here: {self.skipped[method]}")
        require_known("audited method", method, self.records)
        return self.records[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, method: object) -> bool:
        return method in self.records

    @property
    def exact(self) -> bool:
        """Whether all coalitions were looked at."""
        return bool(self.provenance["exact"])

    @property
    def kind(self) -> str:
        """What the players are, in the plural."""
        return self.players.kind

    def ranking(self) -> list[tuple[int, str]]:
        """Rank and method, the smallest error first; methods that the numbers cannot tell apart share a rank."""
        ranks, rank = [], 1
        for tier in self.tiers:
            ranks += [(rank, method) for method in tier]
            rank += len(tier)
        return ranks

    def table(self) -> list[dict[str, Any]]:
        """One row per method, by rank: numbers and verdicts under their names."""
        return [self._row(rank, self.records[method]) for rank, method in self.ranking()]

    def _row(self, rank: int, record: MethodAudit) -> dict[str, Any]:
        names = ("miss", "over", "reverse", "leak", "completeness_error") if self.exact else ("mean_leak", "mean_gap")
        row: dict[str, Any] = {"rank": rank, "method": record.method, **record.principles}
        row |= {name: getattr(record, name) for name in (*names, "error", "gap")}
        if not self.exact:
            row |= {f"{name}_interval": interval for name, interval in record.interval.items()}
        return row | asdict(record.faithfulness)

    def sentences(self) -> dict[str, str]:
        """What each method's numbers say in words, by rank."""
        return {method: self.records[method].sentence(self.kind) for _, method in self.ranking()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be known to read the verdicts; empty where there is nothing."""
        tolerance = max((record.tolerance for record in self.records.values()), default=HELD_TOLERANCE)
        return (STRAIGHT_LINE_NOTE,) if self.bend <= tolerance else ()

    # ---- showing ------------------------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        facts = self.provenance
        how = "all" if self.exact else "sampled"
        lines = [
            f"audit of {facts['target']} of {facts['model']}: {self.players.n} {self.kind}, {facts['coalitions']} masked samples ({how}),"
            f" baseline {facts['baseline']}",
            f"base value {self.base:.4g} -> output {self.total:.4g}",
        ]
        lines += _align_columns([_format_row(row) for row in self.table()])
        lines += [EXACT_LEGEND if self.exact else SAMPLED_LEGEND] if self.records else []
        lines += [f"{method}: not applicable, {reason.partition(';')[0].partition('. ')[0]}" for method, reason in self.skipped.items()]
        lines += self.notes
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return str(load_view("audit_html")(self))

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Draw a table with small bars, a line per method. Returns the matplotlib figure."""
        return load_view("audit_plot")(self, title=title, ax=ax)

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write to one file (safetensors with a JSON header), atomically."""
        tensors, who = encode_players(self.players)
        tensors["values"] = self.values
        records = [{name: value for name, value in asdict(record).items() if name != "values"} for record in self.records.values()]
        facts = {
            "players": who,
            "base": self.base,
            "total": self.total,
            "records": records,
            "skipped": dict(self.skipped),
            "tiers": self.tiers,
            "agreement": asdict(self.agreement),
            "bend": self.bend,
            "provenance": store.to_json_values(self.provenance),
        }
        return store.write(path, "audit", tensors, facts)

    @property
    @verb
    def values(self) -> Float[Tensor, "methods P"]:  # type: ignore[override]
        """Maps of all methods, summed into the players."""
        return torch.tensor([record.values for record in self.records.values()], dtype=torch.float64).reshape(len(self), self.players.n)

    @classmethod
    @verb
    def load(cls, path: str | Path) -> Audit:
        """Read a file written by :meth:`save`.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, "audit")
        with store.decoding(path):
            players = decode_players(tensors, store.fact(facts, "players", dict))
            rows = store.fact(facts, "records", list)
            values = store.part(tensors, "values", (len(rows), players.n)).tolist()
            records = {row["method"]: _record_from_row(row, map_) for row, map_ in zip(rows, values, strict=True)}
            tiers = tuple(tuple(tier) for tier in store.fact(facts, "tiers", list))
            if len({tuple(sorted(record.interval)) for record in records.values()}) > 1:
                raise ValueError("its methods were not measured alike")
            if len(records) < len(rows) or sorted(name for tier in tiers for name in tier) != sorted(records):
                raise ValueError("its methods are not those that are ranked")
            found = Agreement(**_typed(Agreement, store.fact(facts, "agreement", dict)))
            kept: dict[str, Any] = {name: store.fact(facts, name, kind) for name, kind in FACTS.items()}
            made, skipped = store.provenance(facts, coalitions=int), kept["skipped"]
            if absent := [name for name in REQUIRED if name not in made] or [
                name for name, why in skipped.items() if not isinstance(why, str)
            ]:
                raise KeyError(absent[0])
            return cls(players=players, records=records, tiers=tiers, agreement=found, **kept)


def _record_from_row(row: Mapping[str, Any], values: list[float]) -> MethodAudit:
    known = {name.name for name in fields(MethodAudit)}
    kept = {name: value for name, value in row.items() if name in known}
    intervals = {name: (float(low), float(high)) for name, (low, high) in store.mapping(kept.pop("interval")).items()}
    judged = Faithfulness(**_typed(Faithfulness, store.mapping(row["faithfulness"])))
    return MethodAudit(**_typed(MethodAudit, kept) | {"faithfulness": judged, "interval": intervals, "values": tuple(values)})


def _typed(record: type, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as the fields of a record, each of the type that the record says.

    Raises:
        TypeError: one is of another.
    """
    kinds: dict[str, Any] = {"float": (int, float), "int": int, "str": str, "Mapping": Mapping}
    said = {known.name: str(known.type) for known in fields(record)}
    found = dict(facts)
    for name, value in facts.items():
        kind = kinds.get(said[name].split("[")[0])
        numbers = value.values() if said[name].endswith("float]") and isinstance(value, Mapping) else ()
        if kind is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise TypeError(f"{name!r} is of type {type(value).__name__}, not {said[name]}")
        if not all(isinstance(item, (int, float)) for item in numbers):
            raise TypeError(f"{name!r} does not hold numbers")
        found[name] = float(value) if said[name] == "float" else value
    return found


def _format_row(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of the printed table."""
    verdict = {True: "held", False: "broken", None: "?"}
    shown = {"rank": str(row["rank"]), "method": str(row["method"])}
    shown |= {name: verdict[row[name]] for name in ("P1", "P2", "P3")}
    for name, value in row.items():
        if isinstance(value, float) and name not in ("insertion", "deletion"):
            shown[{"completeness_error": "C"}.get(name, name)] = f"{value:.2g}"
        elif isinstance(value, tuple) and name == "error_interval":
            shown["error, 95 %"] = f"{value[0]:.2g} to {value[1]:.2g}"
    return shown


def _align_columns(rows: list[dict[str, str]]) -> list[str]:
    if not rows:
        return []
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
