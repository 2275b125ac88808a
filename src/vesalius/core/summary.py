"""Results in a few lines of text."""

from __future__ import annotations

import math
from typing import Any

MOST_CANCELLED = 1e6
"""Times that values may be as large, all together, as what they sum to, before it is said."""
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
    if cancelled := _cancelled_samples(shown):
        lines.append(
            f"VALUES CANCEL: those of {cancelled} of {shown.base.numel()} samples are over {MOST_CANCELLED:.0e} times what they sum to; the"
            " baseline may lie where a normalisation divides by next to nothing: choose another"
        )
    if shown.absorbed:
        lines.append("absorbed: " + ", ".join(f"{where} {float(part.sum()):+.4g}" for where, part in shown.absorbed.items()))
    if shown.converged is not None and not bool(shown.converged.all()):
        lines.append(f"NOT CONVERGED: {int((~shown.converged).sum())} of {len(shown)} samples; allow more steps or a larger tolerance")
    if shown.stderr_note:
        lines.append(f"standard error: {shown.stderr_note}")
    return "\n".join(lines)


def _cancelled_samples(shown: Any) -> int:
    """How many samples have values that all but cancel, so that single ones say little."""
    sizes = shown.values.cpu().double().abs().reshape(max(shown.base.numel(), 1), -1).sum(1)
    change = (shown.total - shown.base).cpu().double().abs().reshape(-1)
    return int(((sizes > MOST_CANCELLED * change) & (change > 0)).sum())
