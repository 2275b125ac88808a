"""How faithful a circuit is as it grows: the best edges are kept, the others patched.

Axes: K sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.circuits.edge_games import EdgeGame
from vesalius.circuits.search import largest, mean_scores
from vesalius.core.allocation import Allocation
from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.numbers import Limit, whole_number
from vesalius.games.absence import Baseline
from vesalius.trace.network import Inputs
from vesalius.trace.receive import receive
from vesalius.trace.target import Target

POINTS = 20
"""Sizes of a curve, if none are named."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FaithfulnessCurve:
    """Faithfulness and completeness of the k best edges.

    Attributes:
        sizes: numbers of edges kept.
        faithfulness: share of the change from no edge to all that these edges alone make.
        completeness: the same share of all other edges; 0 if nothing that matters was left out.
        edges: how many there are.
        provenance: model, target, baseline, scores.
    """

    sizes: Int[Tensor, " K"]
    faithfulness: Float[Tensor, " K"]
    completeness: Float[Tensor, " K"]
    edges: int
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    @verb
    def area(self) -> float:
        """The mean of the faithfulness over shares of the edges (the area under the curve, from no edge to the largest size)."""
        shares = torch.cat([torch.zeros(1, dtype=torch.float64), self.sizes.double() / self.edges])
        heights = torch.cat([torch.zeros(1, dtype=torch.float64), self.faithfulness.double()])
        return float(torch.trapezoid(heights, shares) / shares[-1])

    def smallest(self, faithfulness: float) -> int | None:
        """The smallest size on the curve that is so faithful; ``None`` if none is."""
        found = (self.faithfulness >= faithfulness).nonzero().flatten()
        return int(self.sizes[found[0]]) if len(found) else None

    def __repr__(self) -> str:
        rows = zip(self.sizes.tolist(), self.faithfulness.tolist(), self.completeness.tolist(), strict=True)
        lines = [f"{size:>6} {faithful:>13.3f} {complete:>13.3f}" for size, faithful, complete in rows]
        return "\n".join(
            [f"Faithfulness of the best of {self.edges} edges", f"{'edges':>6} {'faithfulness':>13} {'completeness':>13}", *lines]
        )

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """The two curves; returns the matplotlib figure. See :func:`vesalius.views.circuits.charts.plot_faithfulness`."""
        return load_view("faithfulness_plot")(self, title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("faithfulness_html")(self))


@verb
def faithfulness_curve(
    model: Any,
    x: Inputs,
    baseline: Baseline,
    scores: Allocation,
    *,
    target: Target = None,
    sizes: Sequence[int] | None = None,
) -> FaithfulnessCurve:
    """Keep the k best edges and patch the rest, for several k.

    Args:
        model, x, baseline, scores, target: as :func:`vesalius.circuits.circuit_of`.
        sizes: how many edges are kept; by default some twenty, from 1 to all, denser where they are few.

    Raises:
        InvalidInput: a size out of range; scores of other edges; a baseline that changes nothing.

    Reference: Marks2025 for faithfulness and completeness on this scale; Wang2023.
    """
    network = receive(model, x).network
    worth = mean_scores(scores, network)
    game = EdgeGame.of(network, x, target=target, baseline=baseline)
    limit = Limit(least=1, most=len(worth))
    asked = _usual_sizes(len(worth)) if sizes is None else sorted({whole_number("a size", size, limit) for size in sizes})
    kept = torch.stack([largest(worth, size) for size in asked])
    values = game.values(torch.cat([kept, ~kept]))
    shares = torch.tensor([game.share(value) for value in values.tolist()], dtype=torch.float64)
    return FaithfulnessCurve(
        sizes=torch.tensor(asked),
        faithfulness=shares[: len(asked)],
        completeness=shares[len(asked) :],
        edges=len(worth),
        provenance={**game.facts(), "options": {"scores": scores.method}},
    )


def _usual_sizes(count: int) -> list[int]:
    """From 1 to all, in equal ratios."""
    return sorted({max(1, round(count ** (step / (POINTS - 1)))) for step in range(POINTS)})
