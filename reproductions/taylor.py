"""The unification of Deng et al. 2024, measured: fourteen methods, and what share of every Taylor effect each hands to whom.

No weight here comes from a formula: each method is run as a program on scaled copies of a network, and its weights are read off the
polynomials that come out (:func:`vesalius.interactions.taylor_weights.allocation_weights`). Next to them stands the weight that theory
derives, and how far the two are apart. Run from the root of the repository:

    python reproductions/taylor.py > docs/reproductions.md
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import vesalius as vs
from vesalius.interactions.taylor_weights import AllocationWeights, Allocator, Scalings, allocation_weights
from vesalius.methods import (
    DeepLIFTRescale,
    DeepLIFTRevealCancel,
    DeepSHAP,
    DeepTaylor,
    ExpectedGradients,
    GradCAM,
    GradientXInput,
    GradientXInputAtBaseline,
    IntegratedGradients,
    LRPAlphaBeta,
    LRPEpsilon,
    Occlusion,
    OcclusionPatch,
    PredictionDifference,
    ShapleyValue,
)

Kappa = Sequence[int]
WeightFormula = Callable[[int, Kappa], float]
ROOT = Path(__file__).parent.parent
Z = (4.0, -1.0, 1.0, -2.0)
"""Weights of the neuron."""
MAPS = ((1.0, 2.0), (0.5, 4.0))
"""Two feature maps of two positions."""
TOLERANCE = 1e-6
"""What counts as nothing where a method is judged; its own stabilisers are smaller."""


class Polynomial(nn.Module):
    """Independent effects of single variables, and interactions of two and three of them, of orders 1 to 4."""

    def forward(self, x: Tensor) -> Tensor:
        a, b, c, d = x.unbind(1)
        return (a + 2 * b**2 - a * c + 3 * a * b**2 * c + d**3 - 0.5 * b * d + 0.25 * a * c * d**2)[:, None]


class Neuron(nn.Module):
    """sigma(sum of x_i z_i) with sigma(t) = t^3 + t^2 + t."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.linear = nn.Linear(len(weights), 1, bias=False)
        self.linear.weight.data = torch.tensor([list(weights)])

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        return z**3 + z**2 + z


class Pooled(nn.Module):
    """A polynomial of the means of two feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(2, 2, 1, bias=False)
        self.features.weight.data = torch.eye(2)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.features(x).mean((2, 3)).split(1, 1)
        return first * second + first**2 + second**3


def kind(kappa: Kappa, mine: int) -> str:
    """What an effect is to a part of the input."""
    alone = sum(k > 0 for k in kappa) == 1
    if kappa[mine]:
        return "own" if alone else "member"
    return "others" if alone else "outside"


@dataclass(frozen=True)
class Case:
    """A network at one sample: where it is, how it is scaled, from which baselines, and what each effect is to each part."""

    name: str
    network: vs.Network
    x: Tensor
    baselines: tuple[Tensor, ...]
    scalings: Scalings
    kind: Callable[[Kappa, int], str] = kind


@dataclass(frozen=True)
class Row:
    """A method on a case, with the weights that theory derives for it."""

    number: str
    label: str
    method: Allocator
    case: Case
    formula: str
    derived: WeightFormula


@dataclass(frozen=True)
class MeasuredWeights:
    """What came out: the weights of each kind of effect, their sums over parts, and the largest distance from theory."""

    row: Row
    own: list[float]
    others: list[float]
    member: list[float]
    outside: list[float]
    sums: list[float]
    deviation: float
    misfit: float


def trace_double(model: nn.Module, x: Tensor) -> vs.Network:
    return vs.trace(model.double().eval(), x)


def double_rows(*rows: Sequence[float]) -> Tensor:
    return torch.tensor([list(row) for row in rows], dtype=torch.float64)


# ---- the weights that theory derives ----------------------------------------------------------------------------------------------


def proportional(i: int, kappa: Kappa) -> float:
    return kappa[i] / sum(kappa)


def degree_weight(i: int, kappa: Kappa) -> float:
    return float(kappa[i])


def first_order(i: int, kappa: Kappa) -> float:
    return float(kappa[i] == 1 and sum(kappa) == 1)


def full_weight(i: int, kappa: Kappa) -> float:
    return float(kappa[i] > 0)


def equal_share(i: int, kappa: Kappa) -> float:
    return (kappa[i] > 0) / sum(k > 0 for k in kappa)


def windows(*members: Sequence[int]) -> WeightFormula:
    def share(i: int, kappa: Kappa) -> float:
        over = [window for window in members if i in window]
        return sum(any(kappa[j] for j in window) for window in over) / len(over)

    return share


def two_groups(z: Sequence[float]) -> WeightFormula:
    """RevealCancel: pure effects in proportion, of mixed ones half to each sign."""

    def share(i: int, kappa: Kappa) -> float:
        mine = sum(k for k, weight in zip(kappa, z, strict=True) if (weight > 0) == (z[i] > 0))
        return 0.0 if not mine else kappa[i] / mine * (1.0 if mine == sum(kappa) else 0.5)

    return share


def by_sign(z: Sequence[float], up: float, down: float) -> WeightFormula:
    """LRP with both signs apart: any effect at all, in proportion to z within each sign."""
    sums = [sum(w for w in z if w > 0), sum(w for w in z if w < 0)]
    return lambda i, kappa: up * z[i] / sums[0] if z[i] > 0 else -down * z[i] / sums[1]


def grad_cam_pooled(i: int, kappa: Kappa) -> float:
    """Grad-CAM behind global pooling: of a channel's degree, what the position contributes to that channel."""
    return sum(k * MAPS[channel][i] / sum(MAPS[channel]) for channel, k in enumerate(kappa))


def grad_cam_averaged(i: int, kappa: Kappa) -> float:
    """Grad-CAM behind any other head: each position gets the mean of all positions' gradients."""
    positions = len(MAPS[0])
    return sum(
        MAPS[channel][i] / positions * kappa[channel * positions + j] / MAPS[channel][j]
        for channel in range(len(MAPS))
        for j in range(positions)
    )


# ---- the cases --------------------------------------------------------------------------------------------------------------------


def cases() -> dict[str, Case]:
    x, ones = double_rows((1, -2, 3, 1.5)), double_rows((1, 1, 1, 1))
    background = (double_rows((0, 0, 0, 0)), double_rows((0.5, 1, -0.25, 0.75)))
    maps = double_rows(*MAPS).reshape(1, 2, 1, 2)
    pooled, zero = trace_double(Pooled(), maps), torch.zeros_like(maps)
    channels = Scalings(order=3, players=vs.Players.channels(maps[0]))
    signs = vs.Players.segments((torch.tensor(Z) < 0).long())
    neuron = trace_double(Neuron(Z), ones)
    return {
        "polynomial": Case("polynomial", trace_double(Polynomial(), x), x, background, Scalings(order=4, low=-1)),
        "neuron": Case("neuron", neuron, ones, (torch.zeros_like(ones),), Scalings(order=3)),
        "moved": Case("neuron", neuron, ones, (torch.zeros_like(ones), double_rows((0.5, 0.25, -0.5, 0))), Scalings(order=3)),
        "signs": Case("neuron", neuron, ones, (torch.zeros_like(ones),), Scalings(order=3, players=signs, low=0.05)),
        "pooled": Case("pooled maps", pooled, maps, (zero,), channels, lambda kappa, mine: "member"),
        "one by one": Case(
            "its positions one by one", pooled, maps, (zero,), Scalings(order=3), lambda k, i: kind((k[0] + k[2], k[1] + k[3]), i)
        ),
    }


def table() -> list[Row]:
    at, gauss = cases(), {"rule": "quadrature", "steps": 8}
    polynomial, neuron, moved, signs, pooled = (at[name] for name in ("polynomial", "neuron", "moved", "signs", "pooled"))
    pairs = vs.Players.segments(torch.tensor([0, 0, 1, 1]))
    sliding = windows((0, 1), (1, 2), (2, 3))
    ratio = "κᵢ/\\|κ\\|"
    return [
        Row("1", "gradient_x_input", GradientXInput(), polynomial, "κᵢ", degree_weight),
        Row("1b", "gradient_x_input_at_baseline", GradientXInputAtBaseline(), polynomial, "1 if κ = eᵢ", first_order),
        Row("2", "occlusion", Occlusion(), polynomial, "1 if i ∈ S", full_weight),
        Row("3", "occlusion_patch", OcclusionPatch(patches=pairs), polynomial, "1 if patch meets S", windows((0, 1), (2, 3))),
        Row("3b", "occlusion_patch, sliding", OcclusionPatch(size=2, stride=1), polynomial, "share of i's windows that meet S", sliding),
        Row("4", "prediction_difference", PredictionDifference(), polynomial, "1 if i ∈ S", full_weight),
        Row("5", "grad_cam", GradCAM(), pooled, "Σₖ κₖ Aₖᵢ/ΣⱼAₖⱼ", grad_cam_pooled),
        Row("5b", "grad_cam, no such head", GradCAM(), at["one by one"], "Σₖ Aₖᵢ/Z Σⱼ κₖⱼ/Aₖⱼ", grad_cam_averaged),
        Row("6", "integrated_gradients", IntegratedGradients(**gauss), polynomial, ratio, proportional),
        Row("7", "expected_gradients", ExpectedGradients(**gauss), polynomial, ratio, proportional),
        Row("8", "shapley_value", ShapleyValue(), polynomial, "1/\\|S\\| if i ∈ S", equal_share),
        Row("9", "lrp_epsilon, ε = 0", LRPEpsilon(epsilon=0.0), neuron, ratio, proportional),
        Row("10", "lrp_alpha_beta (2, 1)", LRPAlphaBeta(), signs, "2 zᵢ/z⁺ or -zᵢ/z⁻", by_sign(Z, 2, 1)),
        Row("11", "deep_taylor (z⁺)", DeepTaylor(), signs, "zᵢ/z⁺ or 0", by_sign(Z, 1, 0)),
        Row("12", "deeplift_rescale", DeepLIFTRescale(), moved, ratio, proportional),
        Row("13", "deeplift_revealcancel", DeepLIFTRevealCancel(), neuron, "κᵢ/κ±, half of it if mixed", two_groups(Z)),
        Row("14", "deep_shap (rescale)", DeepSHAP(), moved, ratio, proportional),
        Row("14b", "deep_shap (exact)", DeepSHAP(variant="exact"), moved, "1/\\|S\\| if i ∈ S", equal_share),
    ]


# ---- measuring --------------------------------------------------------------------------------------------------------------------


def measure_weights(row: Row) -> MeasuredWeights:
    """The weights of a method, over all baselines of its case, sorted by kind of effect."""
    kinds: dict[str, list[float]] = {"own": [], "others": [], "member": [], "outside": []}
    sums, deviation, misfit = [], 0.0, 0.0
    for baseline in row.case.baselines:
        found = allocation_weights(row.method, row.case.network, row.case.x, baseline=baseline, scalings=row.case.scalings)
        misfit = max(misfit, found.misfit)
        for kappa, weights in terms(found):
            sums.append(sum(weights))
            for i, weight in enumerate(weights):
                kinds[row.case.kind(kappa, group_index(found, i))].append(weight)
                deviation = max(deviation, abs(weight - row.derived(i, kappa)))
    return MeasuredWeights(row, kinds["own"], kinds["others"], kinds["member"], kinds["outside"], sums, deviation, misfit)


def terms(found: AllocationWeights) -> list[tuple[list[int], list[float]]]:
    """Terms that are not 0, with their weights."""
    pairs = zip(found.degrees.tolist(), found.weights.tolist(), strict=True)
    return [(kappa, weights) for kappa, weights in pairs if not math.isnan(weights[0])]


def group_index(found: AllocationWeights, part: int) -> int:
    """Whose degree is a part's own: that of its group, where groups are scaled as a whole."""
    return int(found.players.index[0][part]) if found.players.kind == "segments" else part


# ---- showing ----------------------------------------------------------------------------------------------------------------------


def format_range(weights: Sequence[float]) -> str:
    """The range of some weights, rounding taken away."""
    if not weights:
        return ""
    low, high = (format_number(end) for end in (min(weights), max(weights)))
    return low if low == high else f"{low} to {high}"


def format_number(weight: float) -> str:
    near = round(weight, 4)
    return f"{near + 0.0:g}"


def format_power(size: float) -> str:
    """A small number, as the power of ten above it."""
    return "0" if size == 0 else f"< 1e{math.ceil(math.log10(size))}"


def format_row(found: MeasuredWeights) -> str:
    row = found.row
    cells = [format_range(weights) for weights in (found.own, found.others, found.member, found.outside, found.sums)]
    leak = max((abs(weight) for weight in (*found.others, *found.outside)), default=0.0)
    lost = max(abs(total - 1) for total in found.sums)
    verdicts = ["yes" if wrong < TOLERANCE else "no" for wrong in (leak, lost)]
    return f"| {' | '.join([row.number, row.label, row.case.name, *cells, *verdicts, row.formula, format_power(found.deviation)])} |"


COLUMNS = [
    *("", "method", "network", "own independent", "others' independent", "interactions with i", "interactions without i", "sum over all"),
    *("nothing to null players (P2)", "complete, no over-counting (P1, P3)", "derived weight", "largest deviation"),
]

HEAD = f"""# Reproductions

One section per paper: its claim, our number, and the command that makes it.

## Fourteen methods as allocations of Taylor interactions

Deng et al. (2024) claim that fourteen attribution methods are one thing: every value is a weighted sum of Taylor effects,
a(i) = Σ w(i, κ) I(κ), and methods differ in the weights alone. Here the weights are *measured*. Each method runs, as it is, on scaled
copies of a network; its map is a polynomial of the scales, whose coefficients are its weights. The effects themselves come from truncated
series through the graph, not from any method. The four kinds are those that the paper tells apart: a variable's own independent effects,
those of other variables, interactions that contain it, and interactions that do not. Cells are ranges over all terms, players and
baselines.

    python reproductions/taylor.py > docs/reproductions.md

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}"""

FOOT = """
*polynomial*: a + 2b² - ac + 3ab²c + d³ - bd/2 + acd²/4 at (1, -2, 3, 1.5), from two baselines, which are the background rows of methods 4
and 7, one by one. *neuron*: t³ + t² + t of 4x₁ - x₂ + x₃ - 2x₄ at (1, 1, 1, 1), from 0; for 12 and 14 from a second baseline too.
*pooled maps*: F₁F₂ + F₁² + F₂³ of the means F of two feature maps.

What the table shows, beside the derived weights themselves:

- Integrated gradients, expected gradients, Shapley values, Rescale, RevealCancel and Deep SHAP give every effect to its own members, once.
  So does LRP-ε on a neuron without bias, and with ε = 0 alone: elsewhere it loses what biases and ε take.
- Gradient x Input and Grad-CAM over-count an effect of order k k times; occlusion gives it in full to every member. Grad-CAM does so behind
  global average pooling, where channels are scaled as a whole; on the same network with each position scaled for itself, which no pooling
  treats alike, it violates the null-player principle: positions get effects of others.
- LRP alpha-beta and Deep Taylor's z⁺ give neurons effects they took no part in (null-player violation). Their players are the signs,
  scaled as two groups, since a rule that divides by z⁺ makes no polynomial of single scales: *own* and *others'* are the effects of one
  sign alone. Each neuron is paid the same share of every effect, whoever's it is. The two largest deviations are theirs: the rules' own
  stabiliser of 1e-9."""


def main() -> None:
    print(HEAD)
    for row in table():
        print(format_row(measure_weights(row)))
    print(FOOT)


if __name__ == "__main__":
    main()
