"""How many units go: of each layer, or of all layers together, those that are worth least for what they cost.

Axes: G groups of joined units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.numbers import Limit, real_number, whole_number
from vesalius.sparsity.compression.dependencies import STAYS, UnitGroups

Gone = Bool[Tensor, " G"]
DEFAULT_SHARE = 0.5
RANKED = ("parameters", "flops", "latency")
"""Amounts for which the groups of all layers are ranked together."""


@dataclass(frozen=True, kw_only=True)
class UnitGoal:
    """How much is removed.

    Attributes:
        kind: ``share``, ``keep``, ``parameters``, ``flops`` or ``latency``.
        amount: for all layers, or by layer.
        round_to: units that layers keep are a multiple of this.
        batch: samples at once whose time is meant.
    """

    kind: str
    amount: Any
    round_to: int = 1
    batch: int = 1

    @classmethod
    def of(cls, amounts: Mapping[str, Any], round_to: Any) -> UnitGoal:
        """The amount that was given, checked.

        Args:
            amounts: by kind, all but one of them ``None``.
            round_to: as it was given.

        Raises:
            InvalidInput: several; out of range.
            WrongType: counts that are not by layer.
        """
        named = [name for name, amount in amounts.items() if amount is not None]
        if len(named) > 1:
            raise InvalidInput(f"{' and '.join(named)} each say how many units go; give one of them")
        kind = named[0] if named else "share"
        amount = amounts[kind] if named else DEFAULT_SHARE
        rounded = whole_number("round_to", round_to, Limit(least=1))
        if kind == "latency":
            share, batch = _latency(amount)
            return cls(kind=kind, amount=share, round_to=rounded, batch=batch)
        if (kind == "keep" and not isinstance(amount, Mapping)) or (isinstance(amount, Mapping) and not amount):
            raise WrongType(f"keep is how many units each layer keeps, and share a number or one of each layer, not {amount!r}")
        if kind in ("parameters", "flops"):
            amount = real_number(kind, amount, Limit(above=0, below=1))
        elif kind == "share":
            limit = Limit(least=0, below=1)
            amount = (
                {name: real_number(f"share of layer {name!r}", one, limit) for name, one in amount.items()}
                if isinstance(amount, Mapping)
                else real_number("share", amount, limit)
            )
        return cls(kind=kind, amount=amount, round_to=rounded)


def _latency(amount: Any) -> tuple[float, int]:
    """Share of the time that goes, and the samples at once whose time is meant."""
    if isinstance(amount, Mapping) and len(amount) != 1:
        raise InvalidInput(f"latency is a share of the time of one batch size, such as {{64: 0.5}}, not of {len(amount)}")
    batch, share = next(iter(amount.items())) if isinstance(amount, Mapping) else (1, amount)
    return real_number("latency", share, Limit(above=0, below=1)), whole_number("batch size of latency", batch, Limit(least=1))


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitBudget:
    """Which groups may go, and how many.

    Attributes:
        units: all of them.
        pools: groups that compete, by the layers that have units in them.
        left: groups that each pool keeps; only where they are counted by layer.
        goal: what was asked.
    """

    units: UnitGroups
    pools: Mapping[tuple[str, ...], list[int]]
    left: Mapping[tuple[str, ...], int]
    goal: UnitGoal

    @classmethod
    def of(cls, units: UnitGroups, goal: UnitGoal, layers: Sequence[str] | None) -> UnitBudget:
        """The pools that are meant.

        Raises:
            UnknownName: no such layer.
            InvalidInput: units that cannot be removed; two numbers for layers whose units are joined.
        """
        by_layer = goal.amount if isinstance(goal.amount, Mapping) else {}
        named = list(by_layer or layers or [])
        for name in named:
            require_known("layer", name, units.layers)
            if not bool((units.layers[name] != STAYS).any()):
                raise InvalidInput(f"the units of layer {name!r} cannot be removed: {units.why[name]}; name other layers")
        pools = {names: pool for names, pool in units.pools.items() if not named or set(names) & set(named)}
        if not pools:
            reasons = "; ".join(f"{name}: {why}" for name, why in {**units.stays, **units.why}.items())
            raise InvalidInput(f"no layer of {units.network.name} has units that can be removed: {reasons}")
        left = {} if goal.kind in RANKED else {names: _groups_left(units, names, pool, goal) for names, pool in pools.items()}
        return cls(units=units, pools=pools, left=left, goal=goal)

    def require_reachable(self) -> None:
        """Refuse a budget that is not met by one unit in every layer.

        Raises:
            InvalidInput: more is to go than can.
        """
        if self.goal.kind not in ("parameters", "flops"):
            return
        ranked = torch.tensor([group for pool in self.pools.values() for group in pool])
        least = self.cost(self._feasible(ranked, torch.zeros(self.units.count, dtype=torch.float64)))
        if least > 1 - self.goal.amount:
            what = "parameters" if self.goal.kind == "parameters" else "operations"
            raise InvalidInput(
                f"{self.goal.kind}={self.goal.amount:g} leaves {1 - self.goal.amount:.3g} of the {what}, and with the fewest units that"
                f" layers can have {least:.3g} of them are left; ask for less than {1 - least:.3g}"
            )

    def cut(self, worth: Float[Tensor, " G"], gone: Gone, part: float) -> Gone:
        """More groups that go, after a part of the rounds.

        Args:
            worth: importance of each group.
            gone: those that are gone already.
            part: of the rounds, in (0, 1].
        """
        if self.left:
            return self._cut_pools(worth, gone, part)
        return self._cut_ranked(worth, gone, part)

    def _cut_pools(self, worth: Float[Tensor, " G"], gone: Gone, part: float) -> Gone:
        gone = gone.clone()
        for names, pool in self.pools.items():
            groups = torch.tensor(pool)
            count = max(self.left[names], round(len(pool) * (self.left[names] / len(pool)) ** part))
            order = torch.where(gone[groups], -torch.inf, worth[groups]).argsort(dim=0, descending=True, stable=True)
            gone[groups[order[count:]]] = True
        return gone

    def _cut_ranked(self, worth: Float[Tensor, " G"], gone: Gone, part: float) -> Gone:
        """The fewest groups of the ranking with which enough is gone; the best of each pool, and a multiple where one is asked, stay."""
        scaled = self._worth_for_cost(worth)
        ranked = torch.where(gone, -torch.inf, scaled).argsort(dim=0, stable=True)
        aim = 1 - self.goal.amount * part
        low, high = int(gone.sum()), int((scaled < torch.inf).sum())
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.cost(self._feasible(ranked[:middle], scaled)) <= aim else (middle + 1, high)
        return self._feasible(ranked[:low], scaled)

    def _worth_for_cost(self, worth: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
        """Square of the importance for what a group costs: errors add up as squares do; infinite for groups that may not go."""
        found = torch.full_like(worth, torch.inf)
        for pool in self.pools.values():
            one = torch.zeros(self.units.count, dtype=torch.bool)
            one[pool[0]] = True
            found[torch.tensor(pool)] = worth[pool].square() / max(1 - self.cost(one), 1e-30)
        return found

    def _feasible(self, some: Tensor, scaled: Float[Tensor, " G"]) -> Gone:
        """Groups that go, less those that each pool must keep."""
        gone = torch.zeros(self.units.count, dtype=torch.bool)
        gone[some] = True
        for names, pool in self.pools.items():
            groups = torch.tensor(pool)
            least = _rounded(max(1, int((~gone[groups]).sum())), len(pool), self.units, names, self.goal.round_to)
            order = scaled[groups].argsort(dim=0, descending=True, stable=True)
            gone[groups[order[:least]]] = False
        return gone

    def cost(self, gone: Gone) -> float:
        """Share of the parameters, or of the operations, that is left."""
        times = positions_of(self.units) if self.goal.kind == "flops" else {}
        names = set(self.units.axes) if self.goal.kind == "flops" else parameter_names(self.units)
        before = after = 0
        for name in names:
            weight = times.get(name, 0) if self.goal.kind == "flops" else 1
            kept = self.units.kept(name, gone)
            before += weight * prod(len(one) for one in kept)
            after += weight * prod(int(one.sum()) for one in kept)
        return after / max(before, 1)

    def counts(self, gone: Gone) -> dict[str, list[int]]:
        """Units that each layer keeps, and had."""
        found = {}
        for name in dict.fromkeys(name for names in self.pools for name in names):
            groups = self.units.layers[name]
            found[name] = [int((~gone[groups] | (groups == STAYS)).sum()), len(groups)]
        return found


def parameter_names(units: UnitGroups) -> set[str]:
    """Names of parameters, each once."""
    assert units.network.call is not None
    return {name for name, _ in units.network.call.model.named_parameters()} & set(units.axes)


def positions_of(units: UnitGroups) -> dict[str, int]:
    """How often each weight of a layer is used for one sample."""
    found: dict[str, int] = {}
    for layer in units.network.layers.values():
        name = layer.source if layer.op.startswith("conv_transpose") else layer.value
        shape = units.network.axes.values[name].shape
        channels = int(units.network.values[name].shape[layer.unit_axis] or 1)
        if layer.op != "embedding":
            found[layer.weight] = found.get(layer.weight, 0) + prod(int(side or 1) for side in shape) // channels
    return found


def _groups_left(units: UnitGroups, names: tuple[str, ...], pool: list[int], goal: UnitGoal) -> int:
    """How many groups a pool keeps."""
    asked = {name: goal.amount[name] for name in names if isinstance(goal.amount, Mapping) and name in goal.amount}
    if len(set(asked.values())) > 1:
        raise InvalidInput(f"the units of layers {', '.join(map(repr, asked))} go together, and {goal.kind} says something else for each")
    if goal.kind == "keep":
        name, count = next(iter(asked.items()))
        groups = units.layers[name]
        each = max(1, len(groups) // max(1, len(pool))) if bool((groups != STAYS).all()) else 1
        whole_number(f"keep of layer {name!r}", count, Limit(least=1, most=len(groups)))
        return _rounded(max(1, count // each), len(pool), units, names, goal.round_to)
    share = next(iter(asked.values())) if asked else goal.amount if not isinstance(goal.amount, Mapping) else 0.0
    return _rounded(max(1, len(pool) - int(share * len(pool))), len(pool), units, names, goal.round_to)


def _rounded(count: int, most: int, units: UnitGroups, names: tuple[str, ...], round_to: int) -> int:
    """At least so many groups, so that the layer keeps a multiple of units."""
    groups = units.layers[names[0]]
    each = max(1, len(groups) // most)
    while (count * each) % round_to and count < most:
        count += 1
    return count
