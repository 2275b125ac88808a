"""What a network computes with some of its edges alone, on average over prompts.

Axes: K circuits, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.circuits.patching import paired
from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.games.absence import Baseline
from vesalius.games.game import question_provenance
from vesalius.games.interior_question import EdgeRun
from vesalius.games.memory import Batches, rows_at_once
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question
from vesalius.trace.residual_stream import ResidualStream
from vesalius.trace.target import Target


@dataclass(frozen=True, eq=False)
class EdgeGame:
    """The mean target over prompts, of any set of edges; the other edges carry what the baseline writes.

    Attributes:
        question: about the gates of the edges.
        stream: writers, readers and edges.
        players: the edges.
        words: the baseline in words.
        whole, empty: the value of all edges, and of none.
    """

    question: Question
    stream: ResidualStream
    players: Players
    words: str
    whole: float
    empty: float

    @classmethod
    def of(cls, network: Network, x: Inputs, *, target: Target, baseline: Baseline) -> EdgeGame:
        """On some prompts.

        Raises:
            InvalidInput: without any edge the value is as it is, so that there is nothing that a circuit could be faithful to.
        """
        players = Players.edges(network)
        run = EdgeRun.of(network, x, target=target, baseline=paired(x, baseline))
        found = cls(run.question(), run.graph.stream, players, run.words, 0.0, 0.0)
        empty, whole = found.values(torch.tensor([[False], [True]]).expand(2, players.n)).tolist()
        return cls(found.question, found.stream, players, found.words, whole, empty)

    def values(self, kept: Bool[Tensor, "K E"]) -> Float[Tensor, " K"]:
        """The mean target with some edges kept and the others patched."""
        return self.each(kept).mean(1)

    def each(self, kept: Bool[Tensor, "K E"]) -> Float[Tensor, "K B"]:
        """The target of every prompt."""
        here = self.question.present[0]
        batches = Batches(rows_at_once(self.question, here.device), "one prompt")
        pairs = torch.arange(len(kept) * self.question.batch, device=here.device)

        def run(part: Tensor) -> Tensor:
            gates = kept.to(here)[part // self.question.batch]
            with torch.no_grad():
                return self.question.score((gates,), part % self.question.batch).double()

        return torch.cat(list(batches.over(pairs, run))).reshape(len(kept), self.question.batch).cpu()

    def share(self, value: float) -> float:
        """A value on the scale from no edge (0) to all of them (1).

        Raises:
            InvalidInput: these two are the same.
        """
        if abs(self.whole - self.empty) <= 1e-9 * max(abs(self.whole), abs(self.empty), 1e-30):
            raise InvalidInput(
                f"with all edges the target is {self.whole:g}, and with none of them too: the baseline changes nothing that a circuit could"
                " be faithful to; take other prompts as the baseline, or another target"
            )
        return (value - self.empty) / (self.whole - self.empty)

    def facts(self) -> dict[str, Any]:
        """For the provenance of what is made of it."""
        return {**question_provenance(self.question, self.words), "prompts": self.question.batch}
