"""Attributions of a model whose output for an input differs from call to call: means over calls, with their errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from vesalius.core.allocation import Allocation
from vesalius.core.random_state import RandomState
from vesalius.core.spread import mean_stderr
from vesalius.games.absence import Absence
from vesalius.trace.question import Question

REPEATS = 16
"""Attributions of which the mean is given."""
NOTE = "the model is random: values are means over repeated calls, and standard errors say how far these differ"


def allocate_random(allocate: Callable[[Question, Absence], Allocation], question: Question, absence: Absence) -> Allocation:
    """The mean of a method's attributions over repeated calls; for a method that is linear in the model, that of the mean output.

    The standard error holds the spread between calls, and a method's own. The generators of random numbers are as before afterwards.
    """
    rows = torch.arange(question.batch, device=question.present[0].device)
    found = []
    with RandomState():
        for _ in range(REPEATS):
            with torch.no_grad():
                total = question.score(question.present, rows)
            found.append(allocate(replace(question, total=total), absence))
    values = torch.stack([one.values for one in found])
    own = torch.stack([torch.zeros_like(one.values) if one.stderr is None else one.stderr for one in found])
    return replace(
        found[0],
        values=values.mean(0),
        base=torch.stack([one.base for one in found]).mean(0),
        total=torch.stack([one.total for one in found]).mean(0),
        stderr=(mean_stderr(values).square() + own.square().mean(0)).sqrt(),
        stderr_note=next((one.stderr_note for one in found if one.stderr_note), ""),
        absorbed={name: torch.stack([one.absorbed[name] for one in found]).mean(0) for name in found[0].absorbed},
        evaluations=torch.stack([one.evaluations for one in found]).sum(0),
        converged=None,
        map_error=None,
        provenance={**found[0].provenance, "random": NOTE},
    )
