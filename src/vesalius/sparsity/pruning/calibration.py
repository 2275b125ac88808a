"""The samples that pruning computes with, and what is measured on them.

Axes: U units, F links into a unit, G groups, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.rows import is_batches, to_tensor
from vesalius.games.memory import batch_size
from vesalius.sparsity.links import Links
from vesalius.sparsity.pruning.loss import Loss, evaluate_loss
from vesalius.sparsity.scores import Score, ScoreInputs, compute_scores
from vesalius.trace.batches import Data, iterate_labelled
from vesalius.trace.network import Network

SCORE_ROWS = 3000
"""Rows that a score looks at; 2,000 are enough for a mask (measured)."""
GRADIENT_BATCH = 100
"""Samples whose mean loss gives one derivative, of which the mean size is taken."""


@dataclass(frozen=True, eq=False)
class PruningSamples:
    """Inputs, and labels where the data has them for all.

    Attributes:
        inputs: of the network, in its order.
        labels: one per sample, of any shape and type.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None = None


def collect_samples(network: Network, data: Data, rows: int, seed: int, labels: Tensor | None = None) -> PruningSamples:
    """So many samples: of tensors drawn at random, of batches the first.

    Args:
        network: whose inputs they are.
        data: rows, or batches.
        rows: how many.
        seed: of the draw.
        labels: of rows.

    Raises:
        InvalidInput: fewer than two samples; NaN or infinity among them.
    """
    if not is_batches(data):
        found = network.bind(data)
        if len(found[0]) > rows:
            places = torch.randperm(len(found[0]), generator=torch.Generator().manual_seed(seed))[:rows].sort().values
            found = tuple(part[places.to(part.device)] for part in found)
            labels = None if labels is None else labels[places.to(labels.device)]
    else:
        found, labels = _first_batches(network, data, rows)
    if len(found[0]) < 2:
        raise InvalidInput("one sample came; means and spreads need at least two, and a mask some 2,000: give more")
    if any(part.is_floating_point() and not bool(part.isfinite().all()) for part in found):
        raise InvalidInput("the data holds NaN or infinity; leave those samples out")
    return PruningSamples(found, None if labels is None else labels.to(found[0].device))


def _first_batches(network: Network, data: Data, rows: int) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Inputs and labels of the first batches."""
    parts: list[tuple[Tensor, ...]] = []
    given: list[Tensor] = []
    for inputs, labels in iterate_labelled(network, data, size=batch_size(network, network_device(network))):
        parts.append(inputs)
        if labels is not None and not isinstance(labels, (dict, str)):
            given.append(to_tensor(labels))
        if sum(len(part[0]) for part in parts) >= rows:
            break
    if not parts:
        raise InvalidInput("the data holds no rows")
    whole = len(given) == len(parts) and all(len(one) == len(part[0]) for one, part in zip(given, parts, strict=True) if one.ndim)
    inputs = tuple(torch.cat(column)[:rows] for column in zip(*parts, strict=True))
    return inputs, torch.cat(given)[:rows] if whole and all(one.ndim for one in given) else None


def network_device(network: Network) -> torch.device:
    """Where a network computes."""
    return next((tensor.device for tensor in network.parameters.values()), torch.device("cpu"))


@dataclass(frozen=True, eq=False, kw_only=True)
class LinkScorer:
    """Scores of a layer's links.

    Attributes:
        score: which.
        slopes: mean size of the loss's derivative by weights, by name of the weight, in its shape; where the score asks for it.
        seed: for scores that draw.
    """

    score: Score
    slopes: dict[str, Tensor]
    seed: int

    def __call__(
        self, links: Links, rows: Float[Tensor, "N GF"], weight: Float[Tensor, "U F"], bias: Float[Tensor, " U"]
    ) -> Float[Tensor, "U F"]:
        """Scores, group by group."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.cat([self.score_part(links, units, part, weight[units], bias[units], generator) for units, part in links.split(rows)])

    def score_part(
        self,
        links: Links,
        units: slice,
        rows: Float[Tensor, "N F"],
        weight: Float[Tensor, "U F"],
        bias: Float[Tensor, " U"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "U F"]:
        """Scores of some units that read the same inputs."""
        seen = ScoreInputs(
            weight=weight,
            bias=bias,
            rows=rows[:: max(1, -(-len(rows) // SCORE_ROWS))],
            after=links.after.select(units),
            slopes=links.matrix(self.slopes[links.layer.weight])[units] if self.score.gradient else None,
            generator=generator or torch.Generator().manual_seed(self.seed),
        )
        return compute_scores(self.score, seen)


def make_scorer(score: Score, links: dict[str, Links], samples: PruningSamples, loss: Loss | None, seed: int) -> LinkScorer:
    """A score, with the derivatives it needs measured on a dense network.

    Raises:
        InvalidInput: it needs a loss, and none is given where the output is not of the input's shape.
    """
    return LinkScorer(score=score, slopes=_gradient_sizes(links, samples, loss) if score.gradient else {}, seed=seed)


def _gradient_sizes(links: dict[str, Links], samples: PruningSamples, loss: Loss | None) -> dict[str, Tensor]:
    """Mean size of the derivative of a group's loss by each weight."""
    network = next(iter(links.values())).network
    names = list({one.layer.weight: None for one in links.values()})
    weights = [network.parameters[name].detach().requires_grad_() for name in names]
    program = network.program([*names, *(value.name for value in network.inputs)], [network.graph("a gradient").output])
    total = [torch.zeros_like(weight) for weight in weights]
    with torch.enable_grad():
        for start in range(0, len(samples.inputs[0]), GRADIENT_BATCH):
            inputs = tuple(part[start : start + GRADIENT_BATCH] for part in samples.inputs)
            labels = None if samples.labels is None else samples.labels[start : start + GRADIENT_BATCH]
            output = program(*weights, *inputs)[0]
            found = evaluate_loss(loss, output, inputs, labels) if loss else reconstruction_loss(output, *inputs)
            for one, slope in zip(total, torch.autograd.grad(found, weights), strict=True):
                one += slope.abs()
    return dict(zip(names, total, strict=True))


def reconstruction_loss(output: Tensor, first: Tensor, *_: Tensor) -> Tensor:
    """Squared error of an autoencoder, summed over a row."""
    if output.shape != first.shape or not first.is_floating_point():
        raise InvalidInput(
            f"the output has shape {list(output.shape)} and the input {list(first.shape)}, so this is no autoencoder, and a score by"
            " gradients needs a loss: Pruning(loss=lambda output, *inputs: ...)"
        )
    return (output - first).square().flatten(1).sum(1).mean()
