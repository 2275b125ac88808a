"""What a pruned network weighs and takes in each form, as a section of a page."""

from __future__ import annotations

from markupsafe import Markup

from vesalius.core.errors import WrongType
from vesalius.sparsity.compact import Compact
from vesalius.sparsity.compression.cost import FormCost
from vesalius.views import style
from vesalius.views.html import Section, anchor_of, render_template

HEADING = "Size and speed of the pruned network"
FORM_MEANINGS = {
    "dense": "before pruning",
    "masked": "with masks",
    "permanent": "pruned weights as zeros",
    "smaller": "without constant and unused units",
    "picked": "reading only inputs with a link left",
    "csr": "sparse, compressed rows",
    "block": "sparse, in blocks",
}


def compact_section(shown: Compact) -> Section:
    """All forms that were measured, and what was removed.

    Raises:
        WrongType: no such result.
    """
    body = compact_body(shown)
    source = {"model": shown.network.name, "digest": shown.network.digest()}
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=body, sources=(source,))


def compact_body(shown: Compact) -> Markup:
    """The section without its heading."""
    if not isinstance(shown, Compact):
        raise WrongType(f"expected a Compact, not {type(shown).__name__}; make one with Sparsified.compact()")
    batches = list(shown.table[0].seconds)
    return render_template(
        "compact.html.j2",
        {
            "meaning": _summary(shown),
            "batches": [style.pluralize(batch, "row") for batch in batches],
            "reference": FORM_MEANINGS[shown.table[0].form],
            "lines": [(row.form, FORM_MEANINGS.get(row.form, ""), row.form == shown.chosen, _cells(row, batches)) for row in shown.table],
            "removed": {name: f"{len(units):,}" for name, units in shown.removed.items() if len(units)},
            "notes": [f"{name} was left as it is: {why}." for name, why in shown.why.items()]
            + [f"The form {name} was not measured: {why}." for name, why in shown.left_out.items()],
        },
    )


def _summary(shown: Compact) -> str:
    first, best = shown.table[0], shown.row(shown.chosen)
    smallest = min(row.file for row in shown.table)
    largest = max(best.ratio)
    speed = f"{style.number(1 / best.ratio[largest])} times as fast at {style.pluralize(largest, 'row')}"
    return (
        f"Of the forms that compute the same, {shown.chosen!r} ({FORM_MEANINGS.get(shown.chosen, '')}) {shown.verdict}: {speed}."
        f" On disk the network takes {style.percent(smallest / first.file)} of the dense one."
    )


def _cells(row: FormCost, batches: list[int]) -> list[str]:
    times = [f"{style.number(row.seconds[batch] * 1e6)} \N{MICRO SIGN}s ({style.number(row.ratio[batch])})" for batch in batches]
    sizes = [f"{row.parameters:,}", f"{row.nonzeros:,}", _format_bytes(row.file), style.number(row.flop / 1e6)]
    return [*sizes, *times]


def _format_bytes(count: int) -> str:
    return f"{style.number(count / 1e6)} MB" if count >= 1e6 else f"{style.number(count / 1e3)} kB"
