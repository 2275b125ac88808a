"""Slow twins of the layer-wise rules on stacks of dense layers: every weight explicit, one neuron at a time, in float64.

A layer is y_j = sigma(c_j + sum_i W_ji a_i). Convolutions, pools and batch norms become such layers in ``convolution.py``; a window of a
max-pool is a ``Pool``. One sample at a time: x and b are [inputs], and relevance starts as output ``target``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor

from tests.reference.shapley import shapley_by_sum
from tests.reference.two_point import max_multipliers, secant


@dataclass(frozen=True)
class Layer:
    """weight [out, in], bias [out], sigma elementwise or None; ``linked`` says which weights exist, where a convolution's do not all."""

    weight: Tensor
    bias: Tensor
    sigma: Callable[[Tensor], Tensor] | None = None
    linked: Tensor | None = None

    def sums(self, a: Tensor) -> Tensor:
        return self.weight @ a + self.bias

    def __call__(self, a: Tensor) -> Tensor:
        return self.sigma(self.sums(a)) if self.sigma else self.sums(a)


@dataclass(frozen=True)
class Pool:
    """y_j is the largest of the inputs whose numbers are in windows[j]; the first, where several are."""

    windows: list[list[int]]

    def __call__(self, a: Tensor) -> Tensor:
        return torch.stack([a[window].max() for window in self.windows])


def activations(layers: list[Layer | Pool], x: Tensor) -> list[Tensor]:
    """The input of every layer, then the output."""
    found = [x]
    for layer in layers:
        found.append(layer(found[-1]))
    return found


# ---- LRP: relevance of one neuron to its inputs


@dataclass(frozen=True)
class Options:
    """eps of the epsilon rule; stabiliser of all others; alpha - beta = 1; gamma; the box [low, high] of zB."""

    eps: float = 0.0
    stabiliser: float = 0.0
    alpha: float = 2.0
    beta: float = 1.0
    gamma: float = 0.25
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Unit:
    """What a rule sees of neuron j: its weights, whether each exists, its inputs, its bias and its relevance."""

    w: Tensor
    linked: Tensor
    a: Tensor
    c: float
    relevance: float


def ratio(part: float, whole: float) -> float:
    return part / whole if whole != 0 else 0.0


def signed_stabiliser(amount: float, z: float) -> float:
    """eps times the sign of z, where 0 counts as positive."""
    return amount if z >= 0 else -amount


def epsilon(unit: Unit, o: Options) -> Tensor:
    """R_i = z_i / (z + eps sign z) R, z = sum z_i + c (taylor.md, method 9)."""
    parts = unit.w * unit.a
    z = float(parts.sum()) + unit.c
    return parts * ratio(unit.relevance, z + signed_stabiliser(o.eps, z))


def alpha_beta(unit: Unit, o: Options) -> Tensor:
    """R_i = (alpha z_i+ / (sum z+ + c+) - beta z_i- / (sum z- + c-)) R (method 10; the bias as in zennit)."""
    parts = unit.w * unit.a
    above, below = parts.clamp(min=0), parts.clamp(max=0)
    up = float(above.sum()) + max(unit.c, 0.0) + o.stabiliser
    down = float(below.sum()) + min(unit.c, 0.0) - o.stabiliser
    return o.alpha * above * ratio(unit.relevance, up) - o.beta * below * ratio(unit.relevance, down)


def z_plus(unit: Unit, o: Options) -> Tensor:
    """alpha-beta with (1, 0): the hidden layers of Deep Taylor (method 11)."""
    return alpha_beta(unit, Options(alpha=1, beta=0, stabiliser=o.stabiliser))


def gamma(unit: Unit, o: Options) -> Tensor:
    """zennit's signed form: where z > 0, positive z_i and c count 1 + gamma times; where z < 0, negative ones do."""
    parts = unit.w * unit.a
    z = float(parts.sum()) + unit.c
    if z == 0:
        return torch.zeros_like(parts)
    favoured = (parts > 0) if z > 0 else (parts < 0)
    bias = unit.c * (1 + o.gamma) if unit.c * z > 0 else unit.c
    raised = torch.where(favoured, parts * (1 + o.gamma), parts)
    whole = float(raised.sum()) + bias
    return raised * ratio(unit.relevance, whole + signed_stabiliser(o.stabiliser, whole))


def z_box(unit: Unit, o: Options) -> Tensor:
    """R_i proportional to w_i a_i - w_i+ low - w_i- high (zB, method 11)."""
    parts = unit.w * unit.a - unit.w.clamp(min=0) * o.low - unit.w.clamp(max=0) * o.high
    z = float(parts.sum())
    return parts * ratio(unit.relevance, z + signed_stabiliser(o.stabiliser, z))


def w_square(unit: Unit, o: Options) -> Tensor:
    """R_i proportional to w_i^2, the bias left out (w2, method 11)."""
    return unit.w**2 * ratio(unit.relevance, float((unit.w**2).sum()) + o.stabiliser)


def flat(unit: Unit, o: Options) -> Tensor:
    """R_i the same for every input the neuron is linked to."""
    linked = unit.linked.to(unit.w.dtype)
    return linked * ratio(unit.relevance, float(linked.sum()) + o.stabiliser)


RULES: dict[str, Callable[[Unit, Options], Tensor]] = {
    "epsilon": epsilon,
    "alpha_beta": alpha_beta,
    "z_plus": z_plus,
    "gamma": gamma,
    "z_box": z_box,
    "w_square": w_square,
    "flat": flat,
}


def lrp(layers: list[Layer | Pool], x: Tensor, target: int, rules: str | list[str], options: Options | None = None) -> Tensor:
    """Relevance of the inputs; ``rules`` is one name for all layers or one per layer (a Pool's is not read: the winner takes all).

    z_box, w_square and flat are for the first layer: elsewhere they give relevance to neurons of value 0, which do not pass it on here.

    An elementwise sigma keeps relevance as it is, save that s(0) is absorbed: R_z = R_y (s(z) - s(0)) / s(z).
    """
    o = options or Options()
    names = [rules] * len(layers) if isinstance(rules, str) else rules
    inputs = activations(layers, x)
    relevance = torch.zeros_like(inputs[-1])
    relevance[target] = inputs[-1][target]
    for layer, name, a in zip(reversed(layers), reversed(names), reversed(inputs[:-1]), strict=True):
        passed = torch.zeros_like(a)
        if isinstance(layer, Pool):
            for window, r in zip(layer.windows, relevance, strict=True):
                passed[window[int(a[window].argmax())]] += r
        else:
            for unit in units(layer, a, relevance):
                passed += RULES[name](unit, o)
        relevance = passed
    return relevance


def units(layer: Layer, a: Tensor, relevance: Tensor) -> list[Unit]:
    """The neurons of a layer, with the relevance of their sums z."""
    linked = torch.ones_like(layer.weight, dtype=torch.bool) if layer.linked is None else layer.linked
    y, z = layer(a), layer.sums(a)
    rest = layer.sigma(torch.zeros_like(z)) if layer.sigma else torch.zeros_like(z)
    kept = [float(relevance[j]) * (ratio(float(y[j] - rest[j]), float(y[j])) if layer.sigma else 1.0) for j in range(len(y))]
    return [Unit(layer.weight[j], linked[j], a, float(layer.bias[j]), kept[j]) for j in range(len(y))]


# ---- two-point rules: multipliers, chained


def rescale_slopes(layer: Layer, ax: Tensor, ab: Tensor) -> Tensor:
    """[out, in]: W_ji times the secant slope of neuron j (DeepLIFT Rescale, method 12)."""
    if layer.sigma is None:
        return layer.weight
    return layer.weight * secant(layer.sigma, layer.sums(ax), layer.sums(ab))[:, None]


def reveal_cancel_slopes(layer: Layer, ax: Tensor, ab: Tensor) -> Tensor:
    """[out, in]: W_ji y+ / z+ for inputs with z_i = W_ji d_i > 0, W_ji y- / z- for those with z_i < 0 (RevealCancel, method 13).

    y+ = 1/2 [s(z0 + z+) - s(z0) + s(z1) - s(z0 + z-)], z1 = z0 + z+ + z-, so that y+ / z+ is the mean of two secant slopes. An input whose
    change is 0 is in neither class: it gets the mean of both.
    """
    if layer.sigma is None:
        return layer.weight
    slopes = torch.zeros_like(layer.weight)
    z0, z1 = layer.sums(ab), layer.sums(ax)
    for j in range(len(z0)):
        parts = layer.weight[j] * (ax - ab)
        up, down = parts.clamp(min=0).sum(), parts.clamp(max=0).sum()
        rise = (secant(layer.sigma, z0[j] + up, z0[j]) + secant(layer.sigma, z1[j], z0[j] + down)) / 2
        fall = (secant(layer.sigma, z0[j] + down, z0[j]) + secant(layer.sigma, z1[j], z0[j] + up)) / 2
        for i in range(len(parts)):
            slopes[j, i] = layer.weight[j, i] * (rise if parts[i] > 0 else fall if parts[i] < 0 else (rise + fall) / 2)
    return slopes


def shapley_slopes(layer: Layer, ax: Tensor, ab: Tensor) -> Tensor:
    """[out, in]: phi_ji / d_i, phi the Shapley values of v(S) = s(z0 + sum over S of W_ji d_i) (Deep SHAP, method 14 b), by enumeration.

    Players are the inputs with a weight. phi_ji / d_i is W_ji times a mean of secant slopes, which says what it is where d_i is 0.
    """
    if layer.sigma is None:
        return layer.weight
    slopes = torch.zeros_like(layer.weight)
    z0 = layer.sums(ab)
    for j in range(len(z0)):
        players = layer.weight[j].nonzero().flatten().tolist()
        for i in players:
            step = layer.weight[j, i] * (ax - ab)[i]
            sums, weights = coalitions([float(layer.weight[j, k] * (ax - ab)[k]) for k in players if k != i])
            slopes[j, i] = layer.weight[j, i] * (weights * secant(layer.sigma, z0[j] + sums + step, z0[j] + sums)).sum()
    return slopes


def coalitions(others: list[float]) -> tuple[Tensor, Tensor]:
    """Of a player's n others, every coalition's sum and its Shapley weight s! (n - s)! / (n + 1)!, s its size."""
    n = len(others)
    sums, weights = [], []
    for coalition in range(1 << n):
        members = [i for i in range(n) if coalition >> i & 1]
        sums.append(sum(others[i] for i in members))
        weights.append(1 / ((n + 1) * comb(n, len(members))))
    return torch.tensor(sums, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)


def pool_slopes(pool: Pool, ax: Tensor, ab: Tensor, exact: bool) -> Tensor:
    """[out, in]: the two winners of two_point_rules.md, or the Shapley values of the maximum (0 for a player that does not change)."""
    slopes = torch.zeros(len(pool.windows), len(ax), dtype=ax.dtype)
    for j, window in enumerate(pool.windows):
        if exact:
            d = ax[window] - ab[window]
            phi = torch.tensor(max_shapley(ax[window].tolist(), ab[window].tolist()), dtype=ax.dtype)
            slopes[j, window] = torch.where(d == 0, 0.0, phi / torch.where(d == 0, 1.0, d))
        else:
            slopes[j, window] = max_multipliers(ax[window], ab[window], 1.0)
    return slopes


def max_shapley(present: list[float], absent: list[float]) -> list[float]:
    """Shapley values of v(S) = the largest of present[i] for i in S and absent[i] for the others, by all 2^k coalitions."""
    k = len(present)
    return shapley_by_sum([max(present[i] if s >> i & 1 else absent[i] for i in range(k)) for s in range(1 << k)])


SLOPES = {"rescale": rescale_slopes, "reveal_cancel": reveal_cancel_slopes, "deep_shap_exact": shapley_slopes}


def two_point(layers: list[Layer | Pool], ends: tuple[Tensor, Tensor], target: int, rule: str, exact_pools: bool = False) -> Tensor:
    """(x - b) times the product of all layers' slopes, ends = (x, b): adds up to the change of output ``target``."""
    x, b = ends
    at_x, at_b = activations(layers, x), activations(layers, b)
    m = torch.zeros_like(at_x[-1])
    m[target] = 1
    for layer, ax, ab in zip(reversed(layers), reversed(at_x[:-1]), reversed(at_b[:-1]), strict=True):
        slopes = pool_slopes(layer, ax, ab, exact_pools) if isinstance(layer, Pool) else SLOPES[rule](layer, ax, ab)
        m = slopes.T @ m
    return m * (x - b)


def deep_shap(layers: list[Layer | Pool], x: Tensor, background: list[Tensor], target: int, rule: str = "rescale") -> Tensor:
    """The mean over a background of the map against each of its rows (Deep SHAP, method 14 a with rule "rescale")."""
    return sum(two_point(layers, (x, b), target, rule) for b in background) / len(background)
