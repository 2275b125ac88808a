"""An allocation in a notebook: a small piece of HTML that needs nothing else."""

from __future__ import annotations

from vesalius.core.allocation import Allocation
from vesalius.views import style
from vesalius.views.describe import is_map, unit_of
from vesalius.views.fragments import facts_of, fill, gallery, panel, table

MOST_SAMPLES = 4
"""Samples of a batch that are shown."""


def allocation_html(allocation: Allocation) -> str:
    """Heading, verdict on the gap, and a map or the largest values; of a batch, the first few samples."""
    batch = bool(allocation.base.ndim)
    samples = [allocation[i] for i in range(min(len(allocation), MOST_SAMPLES))] if batch else [allocation]
    names = [f"sample {i}" for i in range(len(samples))] if batch else [""]
    placed = is_map(allocation)
    return fill(
        "notebook.html.j2",
        {
            "light": style.variables(style.LIGHT),
            "dark": style.variables(style.DARK),
            "gradient": style.gradient(),
            "heading": style.method_name(allocation.method),
            "maps": gallery(samples, unit_of(allocation), names=names) if placed else None,
            "heads": [] if placed else [panel(sample, name=name) for sample, name in zip(samples, names, strict=True)],
            "lines": [] if placed else table(samples),
            "who": "player" if allocation.coalitions is None else "coalition",
            "facts": {} if batch else facts_of(allocation),
            "shown": len(samples),
            "left_out": len(allocation) - len(samples),
        },
    )
