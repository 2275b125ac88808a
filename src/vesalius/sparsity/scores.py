"""Scores of links: what is kept is what scores highest.

Axes: U units, F links into a unit, N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.core.entry import as_caller
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.sparsity.estimators.gaussian import gaussian_importance
from vesalius.sparsity.fused_activation import FusedActivation, fold_affine


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreInputs:
    """What a score may look at: one layer, as units by links.

    Attributes:
        weight, bias: of the layer.
        rows: what its links carry; none for a score that says it needs no data.
        after: the activation that follows, and what is between.
        slopes: mean size of the loss's derivative by each weight; only for scores that ask for it.
        generator: for scores that draw.
    """

    weight: Float[Tensor, "U F"]
    bias: Float[Tensor, " U"]
    rows: Float[Tensor, "N F"]
    after: FusedActivation
    slopes: Float[Tensor, "U F"] | None = None
    generator: torch.Generator | None = None


ScoreFunction = Callable[[ScoreInputs], Float[Tensor, "U F"]]


def shapley(seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """Mean size of a link's Shapley value for its unit's output, absent links carrying other rows.

    Reference: Rhee2023. Differs from the paper: closed form under a Gaussian sum, not Kernel SHAP.
    """
    return _gaussian(seen, "data")


def shapley_zero(seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """The same with absent links carrying 0, which is what a mask without compensation does."""
    return _gaussian(seen, "zero")


def _gaussian(seen: ScoreInputs, baseline: str) -> Float[Tensor, "U F"]:
    weight, bias = fold_affine(seen.after, seen.weight, seen.bias)
    found = gaussian_importance(weight, bias, seen.rows, seen.after.activation, baseline=baseline)
    return found * _gain(seen)


def _gain(seen: ScoreInputs) -> Tensor:
    """Size of what the activation is multiplied by."""
    gain = seen.after.gain
    return seen.weight.new_ones(1, 1) if gain is None else gain.to(seen.weight).abs()[:, None]


def gate(seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """``|w| E|act'(z) (x - E x)|``: one matrix product, and as good as Shapley values for a mask."""
    weight, slope = gate_slopes(seen)
    return weight.abs() * (slope.T @ (seen.rows - seen.rows.mean(0)).abs()) / len(seen.rows)


def gate_slopes(seen: ScoreInputs) -> tuple[Float[Tensor, "U F"], Float[Tensor, "N U"]]:
    """Weights into the activation, and the size of its slope on each row, times what it is multiplied by."""
    weight, bias = fold_affine(seen.after, seen.weight, seen.bias)
    return weight, seen.after.activation.at(-1).slope(seen.rows @ weight.T + bias).abs() * _gain(seen).T


def magnitude(seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """``|w|``."""
    return seen.weight.abs()


def wanda(seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """``|w|`` times the root mean square of what the link carries. Reference: Sun2024."""
    return seen.weight.abs() * seen.rows.square().mean(0).sqrt()


def linear(seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """``|w| E|x - E x|``: the Shapley value for the unit's sum, before its activation."""
    return seen.weight.abs() * (seen.rows - seen.rows.mean(0)).abs().mean(0)


def taylor(seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """``|w dL/dw|``: the first-order change of the loss. Reference: Molchanov2017."""
    assert seen.slopes is not None
    return seen.weight.abs() * seen.slopes


def random(seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """Uniform in [0, 1)."""
    drawn = torch.rand(seen.weight.shape, generator=seen.generator, dtype=torch.float64)
    return drawn.to(seen.weight)


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score, and what it presumes.

    Attributes:
        function: from evidence to scores of the weight's shape; higher is kept.
        centred: it measures what is lost when a link carries its mean instead, and so presumes compensation by the bias.
        gradient: it needs the loss's derivatives.
        data: it looks at what links carry.
        joint: it is of what a link carries times its weight, so that several links can be scored as the one player they are together.
    """

    function: ScoreFunction
    centred: bool = False
    gradient: bool = False
    data: bool = True
    joint: bool = False


SCORES: Mapping[str, Score] = {
    "shapley": Score(function=shapley, centred=True, joint=True),
    "shapley_zero": Score(function=shapley_zero, joint=True),
    "gate": Score(function=gate, centred=True, joint=True),
    "magnitude": Score(function=magnitude, data=False),
    "wanda": Score(function=wanda),
    "linear": Score(function=linear, centred=True, joint=True),
    "taylor": Score(function=taylor, centred=True, gradient=True, data=False),
    "random": Score(function=random, data=False),
}
"""Scores by name."""


def score_of(name: str | ScoreFunction | Score) -> Score:
    """A score by name, or one's own.

    Raises:
        UnknownName: no such score.
        WrongType: neither a name nor a callable.
    """
    if isinstance(name, Score):
        return name
    if isinstance(name, str):
        require_known("score", name, SCORES)
        return SCORES[name]
    if not callable(name):
        raise WrongType(f"a score is one of {', '.join(SCORES)}, or a function of ScoreInputs, not {type(name).__name__}")
    return Score(function=name)


def compute_scores(score: Score, seen: ScoreInputs) -> Float[Tensor, "U F"]:
    """Scores, checked.

    Raises:
        InvalidInput: of another shape, or NaN.
        WrongType: not a tensor.
    """
    found = score.function(seen) if score in SCORES.values() else as_caller(score.function, seen)
    if not isinstance(found, Tensor):
        raise WrongType(f"a score returns a tensor of the weight's shape {list(seen.weight.shape)}, not {type(found).__name__}")
    if found.shape != seen.weight.shape:
        raise InvalidInput(f"a score returns one number per weight, {list(seen.weight.shape)}; this one returned {list(found.shape)}")
    if bool(found.isnan().any()):
        raise InvalidInput("a score is NaN; look at the weights and the data, or at your score")
    return found
