"""Activations, and what they are on average when their argument is Gaussian.

Every one of them is made of ramps, steps and gates whose edge is a normal distribution function of some width: ReLU's is a width of 0,
GELU's of 1, and the logistic function is a mixture of three to 1e-4. The mean over a Gaussian argument only widens the edge, so all means
and all their derivatives are closed forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known

SHARP = ((1.0, 0.0),)
PROBIT = ((1.0, 1.0),)
LOGISTIC = ((0.22089742, 1.07721679), (0.5885584, 1.68100325), (0.19054418, 2.67466875))
"""The logistic function as a mixture of normal distribution functions: shares and widths, by least squares on it and its slope; off by at
most 7e-5, its slope by 9e-5."""
TINY = 1e-12
"""A standard deviation that counts as none, so that nothing is divided by 0."""

MeanFunction = Callable[[Tensor, Tensor], Tensor]


def normal_pdf(t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Standard normal density."""
    return torch.exp(-0.5 * t.square()) * (1 / math.sqrt(2 * math.pi))


def normal_cdf(t: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Standard normal distribution function, exact in the lower tail."""
    found: Tensor = torch.special.erfc(t * -math.sqrt(0.5))
    return found * 0.5


def _ramp(m: Tensor, r: Tensor) -> Tensor:
    t = m / r
    return m * normal_cdf(t) + r * normal_pdf(t)


def _step(m: Tensor, r: Tensor) -> Tensor:
    return normal_cdf(m / r)


def _bump(m: Tensor, r: Tensor) -> Tensor:
    return normal_pdf(m / r) / r


def _bump_slope(m: Tensor, r: Tensor) -> Tensor:
    """Slope of a bump."""
    t = m / r
    return normal_pdf(t) * -t / r.square()


MeanFunctionOfWidth = Callable[[Tensor, Tensor, float], Tensor]


def _gate(m: Tensor, r: Tensor, width: float) -> Tensor:
    """Mean of x Phi(x / width) for x of mean m and variance r^2 - width^2."""
    t = m / r
    return m * normal_cdf(t) + (r.square() - width**2) / r * normal_pdf(t)


def _gate_slope(m: Tensor, r: Tensor, width: float) -> Tensor:
    t = m / r
    return normal_cdf(t) + t * normal_pdf(t) * (width / r).square()


def _gate_curvature(m: Tensor, r: Tensor, width: float) -> Tensor:
    t = m / r
    return normal_pdf(t) / r * (1 + (width / r).square() * (1 - t.square()))


def _ignore_width(shape: MeanFunction) -> MeanFunctionOfWidth:
    return lambda m, r, width: shape(m, r)


MEANS_BY_KIND: Mapping[str, tuple[MeanFunctionOfWidth, MeanFunctionOfWidth, MeanFunctionOfWidth]] = {
    "ramp": (_ignore_width(_ramp), _ignore_width(_step), _ignore_width(_bump)),
    "step": (_ignore_width(_step), _ignore_width(_bump), _ignore_width(_bump_slope)),
    "gate": (_gate, _gate_slope, _gate_curvature),
}
"""Mean of the function, of its slope and of its curvature, by kind."""

EDGE_MIXTURES: Mapping[str, tuple[str, tuple[tuple[float, float], ...]]] = {
    "relu": ("ramp", SHARP),
    "leaky_relu": ("ramp", SHARP),
    "softplus": ("ramp", LOGISTIC),
    "sigmoid": ("step", LOGISTIC),
    "tanh": ("step", LOGISTIC),
    "gelu": ("gate", PROBIT),
    "gelu_tanh": ("gate", PROBIT),
    "silu": ("gate", LOGISTIC),
}
FUNCTIONS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda z, _: z,
    "relu": lambda z, _: z.relu(),
    "leaky_relu": lambda z, slope: functional.leaky_relu(z, slope),
    "softplus": lambda z, beta: functional.softplus(z, beta),
    "sigmoid": lambda z, _: z.sigmoid(),
    "tanh": lambda z, _: z.tanh(),
    "gelu": lambda z, _: functional.gelu(z),
    "gelu_tanh": lambda z, _: functional.gelu(z, approximate="tanh"),
    "silu": lambda z, _: functional.silu(z),
}
MONOTONE = frozenset({"identity", "relu", "softplus", "sigmoid", "tanh"})
"""Activations that never fall; leaky ReLU too, with a slope that is not negative."""
DEFAULT_PARAMETERS = {"leaky_relu": 0.01, "softplus": 1.0}


@dataclass(frozen=True)
class Activation:
    """The function a unit applies to its sum.

    Attributes:
        name: ``identity``, ``relu``, ``leaky_relu``, ``gelu``, ``gelu_tanh``, ``silu``, ``sigmoid``, ``tanh`` or ``softplus``.
        parameter: leaky ReLU's slope below 0, softplus' beta; NaN for its usual value.
    """

    name: str = "identity"
    parameter: float = math.nan

    def __post_init__(self) -> None:
        require_known("activation", self.name, FUNCTIONS)
        if math.isnan(self.parameter):
            object.__setattr__(self, "parameter", DEFAULT_PARAMETERS.get(self.name, 0.0))
        if self.name == "softplus" and self.parameter <= 0:
            raise InvalidInput(f"softplus has a beta above 0, not {self.parameter}")

    @property
    def monotone(self) -> bool:
        """Whether it never falls."""
        return self.name in MONOTONE or (self.name == "leaky_relu" and self.parameter >= 0)

    def select(self, units: slice | Int[Tensor, " u"]) -> Activation:
        """That of some units: it is the same for all."""
        return self

    def at(self, axis: int) -> Activation:
        """The same for tensors whose units are on an axis, which does not matter to it."""
        return self

    def __call__(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Its value."""
        return FUNCTIONS[self.name](z, self.parameter)

    def slope(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Its derivative; 1/2 at ReLU's corner. Of logistic functions to 1e-4 (tanh 4e-4), of tanh-GELU that of GELU, to 2e-3."""
        if self.name == "relu":
            return torch.heaviside(z, z.new_tensor(0.5))
        return self.mean_slope(z, z.new_zeros(()))

    def mean(self, m: Float[Tensor, "..."], s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """E act(m + s Z) for a standard normal Z.

        Args:
            m: means.
            s: standard deviations, 0 or more, broadcastable to ``m``.
        """
        if self.name == "identity":
            return m + 0 * s
        found = self._mixture(0, m, s)
        if self.name == "leaky_relu":
            return self.parameter * m + (1 - self.parameter) * found
        return 2 * found - 1 if self.name == "tanh" else found

    def mean_slope(self, m: Float[Tensor, "..."], s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """E act'(m + s Z), the derivative of :meth:`mean` by ``m``."""
        if self.name == "identity":
            return torch.ones_like(m + s)
        found = self._mixture(1, m, s)
        if self.name == "leaky_relu":
            return self.parameter + (1 - self.parameter) * found
        return 2 * found if self.name == "tanh" else found

    def mean_curvature(self, m: Float[Tensor, "..."], s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """E act''(m + s Z), the derivative of :meth:`mean_slope` by ``m``."""
        if self.name == "identity":
            return torch.zeros_like(m + s)
        found = self._mixture(2, m, s)
        if self.name == "leaky_relu":
            return (1 - self.parameter) * found
        return 2 * found if self.name == "tanh" else found

    def _mixture(self, derivative: int, m: Float[Tensor, "..."], s: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        shape = MEANS_BY_KIND[EDGE_MIXTURES[self.name][0]][derivative]
        parts = [share * shape(m, torch.sqrt(s.square() + width**2).clamp_min(TINY), width) for share, width in self._edges()]
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]

    def _edges(self) -> Iterator[tuple[float, float]]:
        """Shares and widths of the edge; tanh's and softplus' are logistic on another scale."""
        narrow = {"tanh": 2.0, "softplus": self.parameter}.get(self.name, 1.0)
        yield from ((share, width / narrow) for share, width in EDGE_MIXTURES[self.name][1])
