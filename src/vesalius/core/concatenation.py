"""Allocations of several batches as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from vesalius.core.allocation import Allocation
from vesalius.core.samples import join_provenances


def join_allocations(parts: Sequence[Allocation]) -> Allocation:
    """Allocations of several batches as one, on the CPU; players, and what of the provenance is no sample's own, are the first's."""

    def together(name: str) -> Any:
        tensors = [getattr(part, name) for part in parts]
        return None if any(tensor is None for tensor in tensors) else torch.cat([tensor.detach().cpu() for tensor in tensors])

    parts = [replace(part, evaluations=part.evaluations.expand(len(part))) if part.base.ndim else part for part in parts]
    names = ("values", "base", "total", "evaluations", "stderr", "converged", "map_error")
    accounts = dict.fromkeys(where for part in parts for where in part.absorbed)
    absorbed = {where: torch.cat([part.absorbed.get(where, torch.zeros_like(part.total)).cpu() for part in parts]) for where in accounts}
    facts = join_provenances([part.provenance for part in parts])
    explained = tuple(torch.cat([here.detach().cpu() for here in site]) for site in zip(*(part.explained for part in parts), strict=True))
    return replace(parts[0], absorbed=absorbed, explained=explained, provenance=facts, **{name: together(name) for name in names})
