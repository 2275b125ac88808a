"""Games, functions, channels and networks whose truth is known by construction.

Axes: N rows or coalitions, P players or inputs, K terms, S coalitions (2**P, bit i of the index says whether player i is present).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput

MAX_TABLE_PLAYERS = 20
"""Players up to which a table of all coalitions is made."""


@dataclass(frozen=True, eq=False)
class UnanimityGame:
    """v(S) = sum of the weights of the terms whose members are all present.

    Attributes:
        members: who each term needs; no term is empty and no two are the same.
        weights: what each term is worth, in any unit: its dividend.
    """

    members: Bool[Tensor, "K P"]
    weights: Float[Tensor, " K"]

    def __call__(self, masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        """Values of coalitions, as float64."""
        lacking = (~masks).double() @ self.members.T.double()
        return (lacking == 0).double() @ self.weights

    def shapley(self) -> Float[Tensor, " P"]:
        """Exact Shapley values: each term is shared equally among its members. Reference: Shapley1953."""
        members = self.members.double()
        return (self.weights / members.sum(1)) @ members

    def dividends(self) -> Float[Tensor, " S"]:
        """Harsanyi dividends of all coalitions."""
        return _dividend_table(self.members, self.weights)


def unanimity_game(players: int, terms: int, *, largest: int | None = None, generator: torch.Generator | None = None) -> UnanimityGame:
    """A random sum of unanimity games.

    Args:
        players: how many.
        terms: how many different coalitions are worth something.
        largest: members of the largest term; all players by default.

    Raises:
        InvalidInput: there are fewer coalitions than terms.
    """
    largest = players if largest is None else largest
    found: dict[tuple[int, ...], None] = {}
    if terms > _count_subsets(players, largest):
        raise InvalidInput(
            f"{terms} terms, but {players} players have {_count_subsets(players, largest)} coalitions of 1 to {largest} members"
        )
    while len(found) < terms:
        size = int(torch.randint(1, largest + 1, (), generator=generator))
        found[tuple(sorted(torch.randperm(players, generator=generator)[:size].tolist()))] = None
    members = torch.zeros(terms, players, dtype=torch.bool)
    for row, who in enumerate(found):
        members[row, list(who)] = True
    return UnanimityGame(members, torch.randn(terms, generator=generator, dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class Polynomial:
    """f(x) = sum of coefficient * product of x_i ** exponent_i.

    Attributes:
        exponents: whole numbers; a row of zeros is the constant term.
        coefficients: one per term.
    """

    exponents: Int[Tensor, "K P"]
    coefficients: Float[Tensor, " K"]

    def __call__(self, x: Float[Tensor, "N P"]) -> Float[Tensor, " N"]:
        """Values, in the dtype of ``x``; differentiable."""
        powers = x[:, None].pow(self.exponents.to(x))
        return torch.where(self.exponents > 0, powers, torch.ones_like(powers)).prod(2) @ self.coefficients.to(x)

    def dividends(self, x: Float[Tensor, " P"], baseline: Float[Tensor, " P"]) -> Float[Tensor, " S"]:
        """Harsanyi dividends of the game in which an absent input stands at the baseline.

        A term a * prod x_i^e_i over its inputs I gives each T within I the dividend
        a * prod_{T} (x_i^e_i - b_i^e_i) * prod_{I without T} b_i^e_i.
        """
        table = torch.zeros(1 << _check_table_size(x.numel()), dtype=torch.float64)
        present = (torch.arange(len(table))[:, None] >> torch.arange(x.numel()) & 1).bool()
        for exponents, coefficient in zip(self.exponents.double(), self.coefficients.double(), strict=True):
            here, gone = x.double() ** exponents, baseline.double() ** exponents
            table += coefficient * torch.where(present, here - gone, gone).prod(1)
        return table


def polynomial(inputs: int, terms: int, *, degree: int = 3, generator: torch.Generator | None = None) -> Polynomial:
    """A random polynomial.

    Args:
        inputs: how many variables.
        terms: how many monomials, each of total degree 1 to ``degree``; two may be the same.
        degree: largest total degree.
    """
    exponents = torch.zeros(terms, inputs, dtype=torch.int64)
    for row in exponents:
        size = int(torch.randint(1, degree + 1, (), generator=generator))
        chosen = torch.randint(inputs, (size,), generator=generator)
        row.index_add_(0, chosen, torch.ones_like(chosen))
    return Polynomial(exponents, torch.randn(terms, generator=generator, dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class GaussianChannel:
    """y = x A^T + noise, with x and the noise independent standard normals (the noise times ``noise``).

    Attributes:
        gain: A.
        noise: standard deviation of the noise, > 0.
    """

    gain: Float[Tensor, "out inputs"]
    noise: float = 1.0

    def sample(self, rows: int, *, generator: torch.Generator | None = None) -> tuple[Float[Tensor, "N inputs"], Float[Tensor, "N out"]]:
        """Independent draws of x and y, float64."""
        out, inputs = self.gain.shape
        x = torch.randn(rows, inputs, generator=generator, dtype=torch.float64)
        return x, x @ self.gain.double().T + self.noise * torch.randn(rows, out, generator=generator, dtype=torch.float64)

    def information(self) -> float:
        """I(X; Y) in nats: 1/2 log det(1 + A A^T / noise^2). Reference: CoverThomas2006, theorem 9.4.1."""
        gain = self.gain.double() / self.noise
        return 0.5 * float(torch.logdet(torch.eye(len(gain), dtype=torch.float64) + gain @ gain.T))

    def pairwise(self) -> Float[Tensor, "inputs out"]:
        """I(X_i; Y_j) in nats: -1/2 log(1 - rho_ij^2), with rho the correlation of the pair."""
        gain = self.gain.double()
        rho2 = gain.T**2 / (gain.square().sum(1) + self.noise**2)
        return -0.5 * torch.log1p(-rho2)


@dataclass(frozen=True, eq=False)
class PlantedNet:
    """A network with one hidden ReLU layer, some of whose units are known to be useless.

    Attributes:
        model: ``nn.Sequential(Linear, ReLU, Linear)``, float32.
        silent: hidden units that never fire for inputs in -1..1.
        unread: hidden units that fire but have no outgoing weight.
        twins: pairs (unit, copy): the copy's activation is the unit's, times a positive factor.
    """

    model: nn.Sequential
    silent: tuple[int, ...]
    unread: tuple[int, ...]
    twins: tuple[tuple[int, int], ...]


def planted_net(inputs: int, outputs: int, *, plain: int = 6, each: int = 2, generator: torch.Generator | None = None) -> PlantedNet:
    """A random network with planted useless units, at shuffled places.

    Args:
        inputs: width of the input.
        outputs: width of the output.
        plain: hidden units without a plant; at least ``each``, since twins are copies of these.
        each: how many silent units, unread units and twins there are.

    Raises:
        InvalidInput: fewer plain units than twins.
    """
    if plain < each:
        raise InvalidInput(f"{each} twins need as many plain units to copy, and there are {plain}")
    hidden = plain + 3 * each
    place = torch.randperm(hidden, generator=generator).tolist()
    ordinary, silent, unread, copies = (place[a:b] for a, b in _group_bounds(plain, each))
    weight = torch.randn(hidden, inputs, generator=generator, dtype=torch.float32)
    # at most half of what the weights can reach, so that every unit is on for some inputs and off for others
    bias = weight.abs().sum(1) * (torch.rand(hidden, generator=generator, dtype=torch.float32) - 0.5)
    onward = torch.randn(outputs, hidden, generator=generator, dtype=torch.float32)
    offset = torch.randn(outputs, generator=generator, dtype=torch.float32)
    bias[silent] = -weight[silent].abs().sum(1) - 1
    onward[:, unread] = 0
    factor = 0.5 + torch.rand(each, generator=generator, dtype=torch.float32)
    weight[copies], bias[copies] = factor[:, None] * weight[ordinary[:each]], factor * bias[ordinary[:each]]
    model = nn.Sequential(nn.Linear(inputs, hidden, dtype=torch.float32), nn.ReLU(), nn.Linear(hidden, outputs, dtype=torch.float32))
    tensors = dict(zip(("0.weight", "0.bias", "2.weight", "2.bias"), (weight, bias, onward, offset), strict=True))
    model.load_state_dict(tensors)
    return PlantedNet(model, tuple(silent), tuple(unread), tuple(zip(ordinary[:each], copies, strict=True)))


def _group_bounds(plain: int, each: int) -> list[tuple[int, int]]:
    edges = [0, plain, plain + each, plain + 2 * each, plain + 3 * each]
    return list(pairwise(edges))


def _count_subsets(players: int, largest: int) -> int:
    count, total = 1, 0
    for size in range(1, largest + 1):
        count = count * (players - size + 1) // size
        total += count
    return total


def _dividend_table(members: Bool[Tensor, "K P"], weights: Float[Tensor, " K"]) -> Float[Tensor, " S"]:
    table = torch.zeros(1 << _check_table_size(members.shape[1]), dtype=torch.float64)
    place = (members.long() << torch.arange(members.shape[1])).sum(1)
    return table.index_add(0, place, weights.double())


def _check_table_size(players: int) -> int:
    if players > MAX_TABLE_PLAYERS:
        raise InvalidInput(f"a table of all coalitions of {players} players is too large; at most {MAX_TABLE_PLAYERS}")
    return players
