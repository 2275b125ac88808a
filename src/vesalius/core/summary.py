"""Results in a few lines of text."""

from __future__ import annotations

import math
from typing import Any

UNKNOWN_GAP = "gap not known: no base value and output"


def describe(shown: Any) -> str:
    """An allocation: who was paid what, whether it adds up, and what must be known to trust it."""
    who = f"{shown.players.n} {shown.players.kind}" if shown.coalitions is None else f"{len(shown.coalitions)} coalitions"
    batch = f", batch of {len(shown)}" if shown.base.ndim else ""
    lines = [f"{shown.method}: {who}{batch}, {int(shown.evaluations.sum())} evaluations"]
    if not len(shown):
        return lines[0]
    if shown.base.ndim:
        gap, change = float(shown.gap.abs().max()), float((shown.total - shown.base).abs().max())
        known = f"largest completeness error (gap) {gap:.2g}, largest change of the output {change:.4g}"
        lines.append(UNKNOWN_GAP if math.isnan(gap) else known)
    else:
        gap, ends = float(shown.gap), f"base value {float(shown.base):.4g} -> output {float(shown.total):.4g}"
        lines.append(UNKNOWN_GAP if math.isnan(gap) else f"{ends}, completeness error (gap) {gap:.2g}")
        lines += [f"  {value:+.4g}  {' & '.join(names)}" for names, value in shown.top(5)]
    if shown.absorbed:
        lines.append("absorbed: " + ", ".join(f"{where} {float(part.sum()):+.4g}" for where, part in shown.absorbed.items()))
    if shown.converged is not None and not bool(shown.converged.all()):
        lines.append(f"NOT CONVERGED: {int((~shown.converged).sum())} of {len(shown)} samples; allow more steps or a larger tolerance")
    if shown.stderr_note:
        lines.append(f"standard error: {shown.stderr_note}")
    return "\n".join(lines)
