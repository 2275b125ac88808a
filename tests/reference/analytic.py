"""Known answers: functions small enough to be attributed by hand, as models a user would write, with what every method must say.

All numbers are taylor.md, section 6, to its six decimals. Players count from 0. A case holds the data that its rows need:
``prediction_difference`` draws feature i from ``replacements[i]``, all equally likely; ``expected_gradients`` and ``deep_shap_rescale``
average over ``background``; every ``occlusion_patch*`` row has its windows under its own name in ``patches``; a row's options are under its
name in ``options``. Rows of layer-wise rules (LRP, DeepLIFT, Deep SHAP) exist where the case has ``layers``: (weight, bias, sigma) from the
input up, sigma None where the layer is linear. LRP rules of one layer hold for the hidden layers; a linear top layer has LRP-0, save in the
row ``lrp_epsilon``, where eps is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Case:
    """One model at one input: ``model`` maps [batch, *event] to [batch, 1] in float64; x and baseline are [1, *event]."""

    name: str
    model: nn.Module
    x: Tensor
    baseline: Tensor
    expected: dict[str, list[float]]
    dividends: dict[tuple[int, ...], float] = field(default_factory=dict)
    patches: dict[str, list[list[int]]] = field(default_factory=dict)
    replacements: list[list[float]] = field(default_factory=list)
    background: list[list[float]] = field(default_factory=list)
    options: dict[str, dict[str, float]] = field(default_factory=dict)
    layers: list[tuple[Tensor, Tensor, Callable[[Tensor], Tensor] | None]] = field(default_factory=list)
    effects: dict[str, float] = field(default_factory=dict)


# ---- 6.1: polynomials


class P1(nn.Module):
    """x1 x2 + x3^2."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] * x[:, 1:2] + x[:, 2:] ** 2


class P2(nn.Module):
    """x1^2 x2."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] ** 2 * x[:, 1:]


class P4(nn.Module):
    """x1 + 2 x2^2 - x1 x3 + 3 x1 x2^2 x3."""

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = x[:, :1], x[:, 1:2], x[:, 2:]
        return a + 2 * b**2 - a * c + 3 * a * b**2 * c


def _rows(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _polynomial(name: str, model: nn.Module, x: list[float], expected: dict[str, list[float]], **rest: object) -> Case:
    """Replacements {0, 1}, background {0, 1}, and noise of deviation 0.5, as stated above the table."""
    n = len(x)
    base = rest.pop("baseline", [0.0] * n)
    return Case(
        name,
        model,
        _rows(x),
        _rows(base),
        expected,
        replacements=[[0.0, 1.0]] * n,
        background=[[0.0] * n, [1.0] * n],
        options={"smooth_grad": {"std": 0.5}},
        **rest,
    )


THREE = {
    "occlusion_patch": [[0, 1], [2]],
    "occlusion_patch_other": [[0], [1, 2]],
    "occlusion_patch_sliding": [[0, 1], [1, 2]],
}
BOTH = {"occlusion_patch": [[0, 1]]}
SHARED_ROWS = (
    "gradient_x_input gradient_x_input_at_baseline raw_gradient_x_input occlusion occlusion_patch prediction_difference"
    " integrated_gradients shapley_value smooth_grad"
).split()


def _columns(rows: list[list[float]], **more: list[float]) -> dict[str, list[float]]:
    return dict(zip(SHARED_ROWS, rows, strict=True)) | more


P1_ROWS = [[6, 6, 32], [0, 0, 0], [6, 6, 32], [6, 6, 16], [6, 6, 16], [4.5, 5, 15.5], [3, 3, 16], [3, 3, 16], [6, 6, 32]]
P2_ROWS = [[24, 12], [0, 0], [24, 12], [12, 12], [12, 12], [10.5, 10], [8, 4], [6, 6], [24, 12.75]]
P3_ROWS = [[12, 8], [2, 2], [24, 12], [9, 8], [11, 11], [10.5, 10], [6.333333, 4.666667], [6, 5], [12, 8.5]]
P4_ROWS = [
    [34, 88, 33], [1, 0, 0], [34, 88, 33], [34, 44, 33], [42, 42, 33], [17, 38.5, 27.5], [8.5, 26, 7.5], [11.5, 20, 10.5],
    [36.25, 88, 35.25],
]  # fmt: skip
P1_MORE = {"occlusion_patch_other": [6, 22, 22], "occlusion_patch_sliding": [6, 14, 22], "expected_gradients": [2.5, 3, 15.5]}
P4_MORE = {"occlusion_patch_other": [34, 41, 41], "occlusion_patch_sliding": [42, 41.5, 41], "expected_gradients": [4.25, 29.5, 5.75]}
P3_EFFECTS = {(): 1, (0,): 3, (1,): 2, (0, 1): 6}
P4_EFFECTS = {(0,): 1, (1,): 8, (0, 2): -3, (0, 1, 2): 36}
POLYNOMIALS = [
    _polynomial("P1", P1(), [2, 3, 4], _columns(P1_ROWS, **P1_MORE), dividends={(0, 1): 6, (2,): 16}, patches=THREE),
    _polynomial("P2", P2(), [2, 3], _columns(P2_ROWS, expected_gradients=[7.166667, 4.333333]), dividends={(0, 1): 12}, patches=BOTH),
    _polynomial("P3", P2(), [2, 3], _columns(P3_ROWS), baseline=[1, 1], dividends=P3_EFFECTS, patches=BOTH),
    _polynomial("P4", P4(), [1, -2, 3], _columns(P4_ROWS, **P4_MORE), dividends=P4_EFFECTS, patches=THREE),
]
KAPPA_WEIGHTS = {
    "integrated_gradients": [0.25, 0.5, 0.25],
    "gradient_x_input": [1, 2, 1],
    "occlusion": [1, 1, 1],
    "smooth_grad": [1.0625, 2, 1.0625],
}
"""How P4's effect of degrees (1, 2, 1), which is 36, is shared out."""

# ---- 6.2: one neuron sigma(c + sum z_i), all inputs 1, weights z


def cubic(t: Tensor) -> Tensor:
    """t^3 + t^2 + t, the sigma of U1."""
    return t**3 + t**2 + t


class Neuron(nn.Module):
    """One unit with the given weights and bias."""

    def __init__(self, weights: list[float], bias: float, sigma: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(len(weights), 1).double()
        self.linear.weight.data = _rows(weights)
        self.linear.bias.data = torch.tensor([bias], dtype=torch.float64)
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return self.sigma(self.linear(x))


NEURON_ROWS = (
    "gradient_x_input occlusion occlusion_patch prediction_difference integrated_gradients expected_gradients shapley_value"
    " lrp_0 lrp_epsilon lrp_alpha_beta deep_taylor deeplift_revealcancel"
).split()
SAME = {"deeplift_rescale": "integrated_gradients", "deep_shap_rescale": "expected_gradients", "deep_shap_exact": "shapley_value"}
"""Rows that 6.2 and 6.3 write once for two methods."""


def _filled(rows: list[list[float]]) -> dict[str, list[float]]:
    table = dict(zip(NEURON_ROWS, rows, strict=True))
    return table | {name: table[other] for name, other in SAME.items()}


def _neuron(name: str, z: list[float], bias: float, rows: list[list[float]], dividends: dict[tuple[int, ...], float]) -> Case:
    """U1 is drawn and averaged in units of z (z_i = 0 or 1, so x_i = 0 or 1 / z_i), R1 to R4 in units of x."""
    unit, n = name == "U1", len(z)
    model = Neuron(z, bias, cubic if unit else F.relu)
    ones, zeros = [1.0] * n, [0.0] * n
    inverse = [1 / weight for weight in z]
    return Case(
        name,
        model,
        _rows(ones),
        _rows(zeros),
        _filled(rows),
        dividends=dividends,
        patches={"occlusion_patch": [[0, 1], [2, 3]] if unit else [[0, 1], [2]]},
        replacements=[[0.0, step] for step in inverse] if unit else [[-1.0, 0.0, 1.0]] * n,
        background=[zeros, inverse if unit else [-1.0] * n],
        options={"lrp_epsilon": {"eps": 0.5 if unit else 0.25}, "lrp_alpha_beta": {"alpha": 2.0, "beta": 1.0}},
        layers=[(_rows(z), torch.tensor([bias], dtype=torch.float64), model.sigma)],
        effects={"positive": 155, "negative": -21, "mixed": -120} if unit else {},
    )


U1_ROWS = [
    [68, -17, 17, -34], [20, -25, 11, -70], [15, 15, -25, -25], [17.5, -47.5, 5.5, -105.5], [28, -7, 7, -14],
    [66.5, -38.5, 3.5, -59.5], [56, -19, 17, -40], [28, -7, 7, -14], [22.4, -5.6, 5.6, -11.2], [22.4, -4.666667, 5.6, -9.333333],
    [11.2, 0, 2.8, 0], [76, -27, 19, -54],
]  # fmt: skip
R1_ROWS = [
    [4, -1, 1], [4, -1, 1], [3, 3, 1], [2.666667, -1, 1], [4, -1, 1], [4, -1, 1], [3.833333, -0.666667, 0.833333], [4, -1, 1],
    [3.764706, -0.941176, 0.941176], [6.4, -4, 1.6], [3.2, 0, 0.8], [3.6, -0.5, 0.9],
]  # fmt: skip
R2_ROWS = [
    [0, 0, 0], [0, -2, 0], [-1, -1, 0], [0, -2.333333, 0], [0, 0, 0], [0.5, -1.5, 0.5], [0.5, -1, 0.5], [0, 0, 0], [0, 0, 0], [0, 0, 0],
    [0, 0, 0], [0.5, -1, 0.5],
]  # fmt: skip
R3_ROWS = [
    [4, -1, 1], [2, -1, 1], [2, 2, 1], [1.333333, -1, 1], [2, -0.5, 0.5], [2, -0.5, 0.5], [2, -0.5, 0.5], [4, -1, 1],
    [3.555556, -0.888889, 0.888889], [3.2, -0.666667, 0.8], [1.6, 0, 0.4], [2, -0.5, 0.5],
]  # fmt: skip
R4_ROWS = [
    [4, -1, 1], [4, -1, 1], [3, 3, 1], [3, -1, 1], [4, -1, 1], [4.5, -1.125, 1.125], [4, -1, 1], [4, -1, 1],
    [3.809524, -0.952381, 0.952381], [6.666667, -5, 1.666667], [3.333333, 0, 0.833333], [4, -1, 1],
]  # fmt: skip
NEURONS = [
    _neuron("U1", [4, -1, 1, -2], 0, U1_ROWS, {}),
    _neuron("R1", [4, -1, 1], 0, R1_ROWS, {(0,): 4, (0, 1): -1, (2,): 1, (1, 2): -1, (0, 1, 2): 1}),
    _neuron("R2", [1, -3, 1], 0, R2_ROWS, {(0,): 1, (0, 1): -1, (2,): 1, (1, 2): -1}),
    _neuron("R3", [4, -1, 1], -2, R3_ROWS, {(0,): 2, (0, 1): -1, (0, 2): 1}),
    _neuron("R4", [4, -1, 1], 1, R4_ROWS, {(): 1, (0,): 4, (1,): -1, (2,): 1}),
]
CLOSED_FORM_LEAK = {"deep_taylor": 0.070946, "lrp_alpha_beta": 0.221847}
"""Share of U1's effects that a rule gives to neurons outside them (taylor.md, 5.4)."""

# ---- 6.3: a ReLU network


def _net(x: list[float], rows: list[list[float]], dividends: dict[tuple[int, ...], float]) -> Case:
    weights = [_rows([1, -1], [1, 2]), _rows([2, -1])]
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    model[0].weight.data, model[2].weight.data = weights[0].clone(), weights[1].clone()
    return Case(
        f"N1 at ({x[0]:g},{x[1]:g})",
        model,
        _rows(x),
        _rows([0, 0]),
        _filled(rows),
        dividends=dividends,
        patches=BOTH,
        replacements=[[-1.0, 0.0, 1.0]] * 2,
        background=[[0.0, 0.0], [1.0, 1.0]],
        options={"lrp_epsilon": {"eps": 0.25}, "lrp_alpha_beta": {"alpha": 2.0, "beta": 1.0}},
        layers=[(weights[0], torch.zeros(2).double(), F.relu), (weights[1], torch.zeros(1).double(), None)],
    )


N1_ROWS = [[2, -4], [0, -4], [-2, -2], [0, -4], [2, -4], [1.5, -2], [1, -3], [2, -4], [1.171242, -3.095425], [0, -6], [0, -2], [1, -3]]
N1_OTHER_ROWS = [[3, 4], [5, 4], [7, 7], [5, 4], [3, 4], [2.5, 6], [4, 3], [3, 4], [3.135091, 3.362272], [10, 5], [5, 2], [4, 3]]
NETS = [_net([2, 1], N1_ROWS, {(0,): 2, (1,): -2, (0, 1): -2}), _net([3, -1], N1_OTHER_ROWS, {(0,): 3, (1,): 2, (0, 1): 2})]

# ---- 6.4: Grad-CAM


class G1(nn.Module):
    """F1 F2 + F1^2, F the means of the two maps that ``features`` puts out; it copies its input, so that x is the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(2, 2, 1, bias=False).double()
        self.features.weight.data = torch.eye(2).double()[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.features(x).mean((2, 3)).split(1, 1)
        return first * second + first**2


GRAD_CAM = Case(
    "G1",
    G1(),
    torch.tensor([[[[1, 2], [3, 2]], [[0, 4], [4, 0]]]], dtype=torch.float64),
    torch.zeros(1, 2, 2, 2, dtype=torch.float64),
    {
        "grad_cam": [1.5, 5, 6.5, 3],
        "grad_cam_weights": [1.5, 0.5],
        "gradient_x_input_over_channels": [1.5, 5, 6.5, 3],
        "integrated_gradients_over_channels": [0.75, 2.5, 3.25, 1.5],
    },
)

CASES = [*POLYNOMIALS, *NEURONS, *NETS, GRAD_CAM]
