"""The one result: an output's change, shared out among players.

    total - base = sum(values) + gap

Axes: B batch (absent for a single sample), P players, K coalitions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vesalius.core import interaction_indices, store
from vesalius.core.display import load_view
from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players


@dataclass(frozen=True, eq=False, kw_only=True)
class Allocation:
    """Values of players, or of coalitions of players, with what is needed to judge them.

    Attributes:
        players: who was paid.
        values: [*B *players.shape] in the output's unit when every player has one value, else [*B K], one per row of ``coalitions``.
        base: [*B] the output with all players absent.
        total: [*B] the output with all players present.
        coalitions: [K P] members of each coalition, or ``None`` for one value per player. The empty coalition is never listed.
        stderr: standard errors in the shape of ``values``, or ``None`` where nothing was estimated.
        stderr_note: why the standard error is not to be trusted, empty where it is.
        absorbed: [*B] what did not reach any player, by where it went: ``bias``, ``stabiliser``, ``one_sided``, ...; empty where a method
            keeps no account.
        evaluations: [*B] (or one for all) how often the model was run for a sample; a forward and backward pass counts once.
        converged: [*B] whether an adaptive method reached its tolerance; ``None`` for methods without one.
        map_error: [*B] estimated relative L2 error of the values as a whole, where they approach a limit; else ``None``.
        provenance: method and options, target, baseline, model digest, versions.
    """

    players: Players
    values: Float[Tensor, "..."]
    base: Float[Tensor, "*B"]
    total: Float[Tensor, "*B"]
    coalitions: Bool[Tensor, "K P"] | None = None
    stderr: Float[Tensor, "..."] | None = None
    stderr_note: str = ""
    absorbed: Mapping[str, Float[Tensor, "*B"]] = field(default_factory=dict)
    evaluations: Int[Tensor, "..."] = field(default_factory=lambda: torch.tensor(0))
    converged: Bool[Tensor, "*B"] | None = None
    map_error: Float[Tensor, "*B"] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (*self.base.shape, *self._shape)
        if tuple(self.values.shape) != expected:
            raise InvalidInput(f"values have shape {tuple(self.values.shape)}; these players and this batch need {expected}")

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.players.shape if self.coalitions is None else (len(self.coalitions),)

    @property
    def flat(self) -> Float[Tensor, "*B K"]:
        """Values with all players (or coalitions) along one last axis."""
        return self.values.reshape(*self.base.shape, -1)

    @property
    def _value_sum(self) -> Float[Tensor, "*B"]:
        """The sum of the values, in float64."""
        return self.flat.cpu().sum(-1, dtype=torch.float64)

    @property
    def gap(self) -> Float[Tensor, "*B"]:
        """Completeness error: what the values fail to add up to, total - base - sum(values); 0 for a complete method."""
        change = _to_float64(self.total) - _to_float64(self.base)
        return (change - self._value_sum).to(self.total)

    @property
    def unaccounted(self) -> Float[Tensor, "*B"]:
        """total - sum(values) - what was absorbed; rounding alone, where a method keeps an account of where relevance went."""
        kept = sum((_to_float64(part) for part in self.absorbed.values()), self._value_sum)
        return (_to_float64(self.total) - kept).to(self.total)

    @property
    def relative_gap(self) -> Float[Tensor, "*B"]:
        """|gap| / |total - base|; ``inf`` where a gap stands against no change at all."""
        change = (self.total - self.base).abs()
        return torch.where(self.gap == 0, torch.zeros_like(change), self.gap.abs() / change)

    @property
    def order(self) -> int:
        """1 for an attribution, k if coalitions of up to k players have values of their own."""
        return 1 if self.coalitions is None else int(self.coalitions.sum(1).max())

    @property
    def map(self) -> Float[Tensor, "*B *event"]:
        """Each player's value shown at every element it owns, 0 where there is no player (first explained tensor, order 1)."""
        self._require_order_one("a map")
        return self.players.scatter(self.flat)

    def __len__(self) -> int:
        return self.base.shape[0] if self.base.ndim else 1

    def __getitem__(self, sample: int) -> Allocation:
        """The allocation of one sample of a batch."""
        if not self.base.ndim:
            raise InvalidInput("this allocation is of a single sample already; it cannot be indexed")
        if not -len(self) <= sample < len(self):
            raise IndexError(f"sample {sample} of a batch of {len(self)}")
        return replace(
            self,
            values=self.values[sample],
            base=self.base[sample],
            total=self.total[sample],
            stderr=None if self.stderr is None else self.stderr[sample],
            converged=None if self.converged is None else self.converged[sample],
            map_error=None if self.map_error is None else self.map_error[sample],
            absorbed={where: part[sample] for where, part in self.absorbed.items()},
            evaluations=self.evaluations[sample] if self.evaluations.ndim else self.evaluations,
        )

    def reduce(self, index: str = "shapley", *, order: int | None = None) -> Allocation:
        """An interaction index, from dividends: I(S) = sum of w(|S|, |T|) d(T) over the listed coalitions T that contain S.

        Args:
            index: ``"shapley"`` (each dividend in equal shares) or ``"banzhaf"`` (1 / 2**(size - 1) to each member, which does not add up),
                for single players; ``"sii"`` (Shapley interaction index, which does not add up), ``"k_sii"`` (the same, made to add up),
                ``"stii"`` (Shapley-Taylor) or ``"fsii"`` (Faith-Shapley: the order-k game nearest to this one), for coalitions too.
            order: size of the largest coalitions with a value; 1 for the first two, 2 by default for the others.

        Returns:
            Values of all coalitions of up to ``order`` players, by size and then in lexicographic order; of order 1, one value per player.
            Dividends that are not listed count as 0: what they are worth is in the gap. Itself, if it is what is asked for already.

        Raises:
            UnknownName: no such index.
            InvalidInput: an order it does not have; no dividends to make it of, but one value per player or another index.

        Reference: Deng2024, equation 9; Harsanyi1959; formulas and their sources in :mod:`vesalius.core.interaction_indices`.
        """
        order = interaction_indices.resolve_order(index, order, self.players.n)
        made = self.provenance.get("index", interaction_indices.DIVIDENDS)
        if self.order == order and (self.coalitions is None or made == index):
            return self
        if self.coalitions is None:
            raise InvalidInput(f"{index!r} of order {order} is made of dividends; this allocation has one value per player")
        interaction_indices.check_reducible(str(made), index)
        coalitions, found = interaction_indices.compute_index(self.coalitions, self.values.reshape(-1, len(self.coalitions)), index, order)
        shape = self.players.shape if order == 1 else (len(coalitions),)
        return replace(
            self,
            values=found.to(self.values.dtype).reshape(*self.base.shape, *shape),
            coalitions=None if order == 1 else coalitions,
            stderr=None,
            stderr_note="",
            provenance={**self.provenance, "index": index},
        )

    def top(self, k: int = 5) -> list[tuple[tuple[str, ...], float]]:
        """The k largest values of one sample by size, each with the names of its players."""
        self._require_one_sample("top")
        flat = self.flat
        ranked = flat.abs().nan_to_num(0).argsort(descending=True)[: max(k, 0)].tolist()
        return [(self._members(i), float(flat[i])) for i in ranked]

    def _members(self, position: int) -> tuple[str, ...]:
        if self.coalitions is None:
            return (self.players.name(position),)
        return tuple(self.players.name(int(p)) for p in self.coalitions[position].nonzero().flatten())

    def group(self, players: Players) -> Allocation:
        """Sum an attribution over a coarser division of the same tensors.

        Standard errors are dropped: those of members are not independent.

        Raises:
            InvalidInput: if a player would be cut in two or left out.
        """
        self._require_order_one("grouping")
        owner = self.players.within(players).to(self.values.device)
        values = self.flat.new_zeros(*self.base.shape, players.n).index_add(-1, owner, self.flat)
        return replace(self, players=players, values=values.reshape(*self.base.shape, *players.shape), stderr=None, stderr_note="")

    def to_numpy(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The values as a NumPy array, in their shape."""
        return np.asarray(self.values.detach().cpu().numpy())

    def _require_order_one(self, what: str) -> None:
        if self.coalitions is not None:
            raise InvalidInput(f"{what} needs one value per player; this allocation has order {self.order}, call .reduce('shapley') first")

    def _require_one_sample(self, what: str) -> None:
        if self.base.ndim:
            raise InvalidInput(f".{what}() is of one sample; this allocation holds {len(self)}: take allocation[i].{what}()")

    # ---- showing ------------------------------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """Name of the method, as registered."""
        return str(self.provenance.get("method", "allocation"))

    def __repr__(self) -> str:
        who = f"{self.players.n} {self.players.kind}" if self.coalitions is None else f"{len(self.coalitions)} coalitions"
        batch = f", batch of {len(self)}" if self.base.ndim else ""
        lines = [f"{self.method}: {who}{batch}, {int(self.evaluations.sum())} evaluations"]
        if self.base.ndim:
            change = float((self.total - self.base).abs().max())
            lines.append(f"largest completeness error (gap) {float(self.gap.abs().max()):.2g}, largest change of the output {change:.4g}")
        else:
            ends = f"base value {float(self.base):.4g} -> output {float(self.total):.4g}"
            lines.append(f"{ends}, completeness error (gap) {float(self.gap):.2g}")
            lines += [f"  {value:+.4g}  {' & '.join(names)}" for names, value in self.top(5)]
        if self.absorbed:
            lines.append("absorbed: " + ", ".join(f"{where} {float(part.sum()):+.4g}" for where, part in self.absorbed.items()))
        if self.converged is not None and not bool(self.converged.all()):
            lines.append(f"NOT CONVERGED: {int((~self.converged).sum())} of {len(self)} samples; allow more steps or a larger tolerance")
        if self.stderr_note:
            lines.append(f"standard error: {self.stderr_note}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return str(load_view("html")(self))

    def plot(self, *, ax: Any = None) -> Any:
        """Draw one sample: a heat map for images, bars for the rest. Returns the matplotlib figure."""
        self._require_one_sample("plot")
        return load_view("plot")(self, ax=ax)

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write to one file (safetensors with a JSON header), atomically."""
        named = {"values": self.values, "base": self.base, "total": self.total, "evaluations": self.evaluations}
        optional = {
            "coalitions": self.coalitions,
            "stderr": self.stderr,
            "converged": self.converged,
            "map_error": self.map_error,
            "parts": self.players.parts,
        }
        optional |= {f"absorbed.{where}": part for where, part in self.absorbed.items()}
        index = {f"index.{i}": part for i, part in enumerate(self.players.index)}
        kept = {name: tensor for name, tensor in (named | optional | index).items() if tensor is not None}
        players = {"shape": self.players.shape, "kind": self.players.kind, "labels": self.players.labels, "layer": self.players.layer}
        provenance = json.loads(json.dumps(dict(self.provenance), default=str))
        return store.write(path, "allocation", kept, {"players": players, "provenance": provenance, "stderr_note": self.stderr_note})

    @classmethod
    def load(cls, path: str | Path) -> Allocation:
        """Read a file written by :meth:`save`.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, "allocation")
        who = facts["players"]
        index = tuple(tensors.pop(f"index.{i}") for i in range(sum(name.startswith("index.") for name in tensors)))
        players = Players(index, tuple(who["shape"]), who["kind"], tuple(who["labels"]), tensors.pop("parts", None), who["layer"])
        lost = {name.removeprefix("absorbed."): tensors.pop(name) for name in list(tensors) if name.startswith("absorbed.")}
        return cls(players=players, absorbed=lost, provenance=facts["provenance"], stderr_note=facts["stderr_note"], **tensors)


def _to_float64(values: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """In float64, which not every device has."""
    return values.cpu().double()
