"""Allocations of several batches as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.players import Players
from vesalius.core.samples import join_provenances


def join_allocations(parts: Sequence[Allocation]) -> Allocation:
    """Allocations of several batches as one, on the CPU; players, and what of the provenance is no sample's own, are the first's.

    Texts have players of their own each, and zeros in the places of those that longer ones have.
    """
    texts = any(part.players.samples or part.players.layout is not None for part in parts)
    players = parts[0].players
    if texts:
        players = Players.joined([part.players.of(sample) for part in parts for sample in range(len(part))])

    def together(name: str) -> Any:
        tensors = [getattr(part, name) for part in parts]
        if any(tensor is None for tensor in tensors):
            return None
        wide = texts and name in ("values", "stderr")
        return torch.cat([_padded(tensor.detach().cpu(), players.n) if wide else tensor.detach().cpu() for tensor in tensors])

    parts = [replace(part, evaluations=part.evaluations.expand(len(part))) if part.base.ndim else part for part in parts]
    names = ("values", "base", "total", "evaluations", "stderr", "converged", "map_error")
    accounts = dict.fromkeys(where for part in parts for where in part.absorbed)
    absorbed = {where: torch.cat([part.absorbed.get(where, torch.zeros_like(part.total)).cpu() for part in parts]) for where in accounts}
    facts = join_provenances([part.provenance for part in parts])
    explained = tuple(torch.cat([here.detach().cpu() for here in site]) for site in zip(*(part.explained for part in parts), strict=True))
    tensors = {name: together(name) for name in names}
    return replace(parts[0], players=players, absorbed=absorbed, explained=explained, provenance=facts, **tensors)


def _padded(values: Shaped[Tensor, "B _"], width: int) -> Shaped[Tensor, "B _"]:
    return torch.cat([values, values.new_zeros(len(values), width - values.shape[1])], 1)
