"""What is worth keeping of a result: numbers by name, a figure, and the page of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vesalius.audit.result import Audit
from vesalius.circuits.circuit import Circuit
from vesalius.complexity.components import Complexity
from vesalius.core.allocation import Allocation
from vesalius.core.errors import WrongType
from vesalius.scale import Survey
from vesalius.sparsity.sparsified import Sparsified
from vesalius.views.report import SECTIONS, Report, report

MOST_VALUES = 20
"""Players whose values are kept as numbers, the largest first; the others are in the page and in the result's own file."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LoggedRecord:
    """A result as a tool for runs keeps it.

    Attributes:
        numbers: finite, by name.
        figure: of matplotlib, or ``None`` where the result has none.
        html: a page that needs nothing else.
    """

    numbers: Mapping[str, float]
    figure: Any
    html: str


def make_record(result: Any, title: str) -> LoggedRecord:
    """What is kept of a result.

    Raises:
        WrongType: none that a page can show.
    """
    if isinstance(result, Report):
        return LoggedRecord(numbers={}, figure=None, html=result.html)
    if not isinstance(result, tuple(SECTIONS)):
        raise WrongType(
            f"a result of vesalius is logged, such as {', '.join(kind.__name__ for kind in SECTIONS)}; not {type(result).__name__}"
        )
    measure = next((measure for kind, measure in NUMBERS.items() if isinstance(result, kind)), None)
    numbers = {} if measure is None else measure(result)
    finite = {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
    return LoggedRecord(numbers=finite, figure=_figure(result), html=report(result, title=title).html)


def _figure(result: Any) -> Any:
    """The result's drawing; of a batch, that of the first sample."""
    if isinstance(result, Allocation) and result.base.ndim:
        result = result[0]
    return result.plot() if hasattr(result, "plot") else None


# ---- numbers ------------------------------------------------------------------------------------------------------------------------


def _of_allocation(found: Allocation) -> dict[str, float]:
    """Gap and ends of a sample, and its largest values; of a batch, means over the samples, and the largest gap."""
    numbers = {
        "gap": float(found.gap.abs().max()),
        "relative_gap": float(found.relative_gap.abs().max()),
        "base": float(found.base.double().mean()),
        "total": float(found.total.double().mean()),
        "evaluations": float(found.evaluations.double().sum()),
    }
    if found.base.ndim:
        return numbers
    return numbers | {f"values/{' & '.join(names)}": value for names, value in found.top(MOST_VALUES)}


def _of_audit(found: Audit) -> dict[str, float]:
    """For every method what the audit says of it in numbers; yes and no are 1 and 0."""
    return {
        f"{row['method']}/{name}": float(value)
        for row in found.table()
        for name, value in row.items()
        if isinstance(value, (bool, int, float))
    }


def _of_complexity(found: Complexity) -> dict[str, float]:
    """Strength, gain, reproducibility and R2 by order, means over seeds."""
    table = found.table()
    return {
        f"{name}/order {order}": float(table[name][0][place])
        for name in ("rho", "gain", "reproducible", "r2")
        for place, order in enumerate(found.orders)
    }


def _of_circuit(found: Circuit) -> dict[str, float]:
    return {"edges": float(len(found)), "faithfulness": float(found.faithfulness), "completeness": float(found.completeness)}


def _of_survey(found: Survey) -> dict[str, float]:
    """The largest gap of any row, and mean sizes of the largest players."""
    summary = found.summary()
    facts = {"rows": float(len(found)), "gap": summary.gap, "change": summary.change}
    return facts | {f"importance/{name}": value for name, value, _ in summary.top(MOST_VALUES)}


def _of_sparsified(found: Sparsified) -> dict[str, float]:
    kept = sum(int(mask.sum()) for mask in found.masks.values())
    return {"links": float(kept), "sparsity": 1 - kept / sum(mask.numel() for mask in found.masks.values())}


NUMBERS: Mapping[type, Callable[[Any], dict[str, float]]] = {
    Allocation: _of_allocation,
    Audit: _of_audit,
    Complexity: _of_complexity,
    Circuit: _of_circuit,
    Survey: _of_survey,
    Sparsified: _of_sparsified,
}
"""Numbers of each type of result; of others, figure and page are kept."""
