"""What edges of the residual stream are worth, from gradients.

Axes: B prompts, E edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.circuits.patching import paired
from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.core.players import Players
from vesalius.core.samples import PER_SAMPLE
from vesalius.games.absence import Baseline
from vesalius.games.game import question_provenance, sample_targets
from vesalius.games.interior_question import EdgeRun
from vesalius.games.memory import Batches, rows_at_once
from vesalius.methods.base import attribute
from vesalius.methods.straight_path import BACKWARD_COST
from vesalius.trace.network import Inputs
from vesalius.trace.question import Question
from vesalius.trace.receive import receive
from vesalius.trace.target import Target

PATHS = ("inputs", "edges")
HANNA_STEPS = 5
"""Steps of the paper."""


@verb
def edge_attribution_patching(model: Any, x: Inputs, baseline: Baseline = None, *, target: Target = None) -> Allocation:
    """Edge attribution patching (EAP): the effect of patching each edge, to first order; gradient x input at the gates of the edges.

    Args:
        model, x, baseline, target: as :func:`vesalius.circuits.attribution_patching`.

    Returns:
        For each edge (what the writer writes - what it writes in the baseline) times the gradient at its reader.

    Raises:
        InvalidInput: the graph shows no residual stream; several stand-ins.

    Reference: Syed2024; Nanda2023. Differs from the paper: the sign, which is that of what is lost by patching.
    """
    network = receive(model, x).network
    return attribute(network, x, "gradient_x_input", target=target, baseline=paired(x, baseline), players=Players.edges(network))


@verb
def eap_ig(
    model: Any, x: Inputs, baseline: Baseline = None, *, target: Target = None, path: str = "inputs", steps: int = HANNA_STEPS
) -> Allocation:
    """Edge attribution patching with integrated gradients (EAP-IG).

    Args:
        model, x, baseline, target: as :func:`vesalius.circuits.attribution_patching`.
        path: ``inputs``, the paper's: gradients are averaged while the embedding goes from the baseline's to the prompt's, and what writers
            write changes by the same all the way; ``edges``: integrated gradients on the gates of the edges, which add up to the change of
            the output.
        steps: of the average along ``inputs``; ``edges`` are integrated adaptively.

    Raises:
        UnknownName: no such path.
        InvalidInput: as :func:`vesalius.circuits.edge_attribution_patching`.

    Reference: Hanna2024. Differs from the paper: the sign, which is that of what is lost by patching.
    """
    require_known("path", path, PATHS)
    network = receive(model, x).network
    players = Players.edges(network)
    if path == "edges":
        return attribute(network, x, "integrated_gradients", target=target, baseline=paired(x, baseline), players=players)
    steps = whole_number("steps", steps, POSITIVE_COUNT)
    run = EdgeRun.of(network, x, target=target, baseline=paired(x, baseline))
    question = run.question()
    ascent = _EmbeddingPath(run, question)
    values = ascent.mean_slopes([step / steps for step in range(1, steps + 1)])
    rows = torch.arange(question.batch, device=values.device)
    with torch.no_grad():
        base = question.score((torch.zeros_like(question.present[0]),), rows)
    facts = {"method": "eap_ig", "options": {"path": path, "steps": steps}, **question_provenance(question, run.words)}
    count = torch.full((question.batch,), 2 + steps)
    each = {PER_SAMPLE: {"target": sample_targets(question)}}
    found = Allocation(players=players, values=values, base=base, total=question.total, evaluations=count, provenance={**facts, **each})
    return found[0] if question.single else found


@dataclass(frozen=True, eq=False)
class _EmbeddingPath:
    """The way of the embedding from the baseline's to the prompt's, and the gradient of the edges along it."""

    run: EdgeRun
    question: Question

    def mean_slopes(self, times: Sequence[float]) -> Float[Tensor, "B E"]:
        """What each edge passes on, times the gradient at its reader, averaged over times."""
        device = self.question.present[0].device
        size = max(1, rows_at_once(self.question, device) // BACKWARD_COST)
        batches = Batches(size, "the gradient of one prompt")
        rows = torch.arange(self.question.batch, device=device)
        parts = batches.over(rows, lambda part: torch.stack([self._slopes(part, time) for time in times]).mean(0))
        return torch.cat(list(parts))

    def _slopes(self, rows: Tensor, time: float) -> Float[Tensor, "n E"]:
        run, inputs = self.run, self.run.inputs(rows)
        absent = [one.index_select(0, rows) for one in run.absent]
        here = run.embedding.index_select(0, rows).flatten(1)
        shift = (1 - time) * (absent[0] - here)
        with torch.no_grad():
            present = run.graph.writes(*inputs, run.no_shift(rows))
            now = run.graph.writes(*inputs, shift)
            moved = [(b + a - c).expand(len(rows), -1) for a, b, c in zip(absent, now, present, strict=True)]
        gates = torch.ones_like(self.question.present[0][rows]).requires_grad_()
        with torch.enable_grad():
            output = run.graph.gated(*inputs, gates, shift, *moved)
            target = self.question.pick(output, rows)
            found = torch.autograd.grad(target.sum(), gates, allow_unused=True)[0]
        return torch.zeros_like(gates) if found is None else found
