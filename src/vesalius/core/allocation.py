"""The one result: an output's change, shared out among players.

    total - base = sum(values) + gap

Axes: B batch (absent for a single sample), P players, K coalitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vesalius.core import conversion, interaction_indices, store
from vesalius.core.display import load_view
from vesalius.core.encoding import decode_allocation, encode_allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.near_ties import descending_order
from vesalius.core.numbers import Limit, whole_number
from vesalius.core.players import Players
from vesalius.core.samples import resolve_rows, sample_ids, take_samples
from vesalius.core.summary import describe


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
        explained: the explained tensors as the samples have them, [*B *event] each; empty where they were not kept.
        provenance: method and options, target, baseline, model digest, versions; under ``samples`` of a batch, lists with an entry for each
            sample: its ``target``, and its ``id`` where it has one.
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
    explained: tuple[Shaped[Tensor, "*B ..."], ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        conversion.check_parts(self.players, values=self.values, base=self.base, total=self.total)
        expected = (*self.base.shape, *self._shape)
        if tuple(self.values.shape) != expected:
            raise InvalidInput(f"values have shape {tuple(self.values.shape)}; these players and this batch need {expected}")
        if any(tuple(here.shape[: self.base.ndim]) != tuple(self.base.shape) for here in self.explained):
            raise InvalidInput(f"{len(self)} samples were explained, and tensors of {[len(here) for here in self.explained]} came")

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.players.shape if self.coalitions is None else (len(self.coalitions),)

    @property
    def _count(self) -> int:
        return self.players.n if self.coalitions is None else len(self.coalitions)

    @property
    @verb
    def flat(self) -> Float[Tensor, "*B K"]:
        """Values with all players (or coalitions) along one last axis."""
        return self.values.reshape(*self.base.shape, self._count)

    @property
    @verb
    def gap(self) -> Float[Tensor, "*B"]:
        """Completeness error: what the values fail to add up to, total - base - sum(values); 0 for a complete method."""
        change = _to_float64(self.total) - _to_float64(self.base)
        return (change - _sum_to_float64(self.flat)).to(self.total)

    @property
    @verb
    def unaccounted(self) -> Float[Tensor, "*B"]:
        """total - sum(values) - what was absorbed; rounding alone, where a method keeps an account of where relevance went."""
        kept = sum((_to_float64(part) for part in self.absorbed.values()), _sum_to_float64(self.flat))
        return (_to_float64(self.total) - kept).to(self.total)

    @property
    @verb
    def relative_gap(self) -> Float[Tensor, "*B"]:
        """|gap| / |total - base|; ``inf`` where a gap stands against no change at all."""
        change = (self.total - self.base).abs()
        return torch.where(self.gap == 0, torch.zeros_like(change), self.gap.abs() / change)

    @property
    def order(self) -> int:
        """1 for an attribution, k if coalitions of up to k players have values of their own."""
        return 1 if self.coalitions is None else int(self.coalitions.sum(1).max())

    @property
    @verb
    def map(self) -> Float[Tensor, "*B *event"]:
        """Each player's value shown at every element it owns, 0 where there is no player (first explained tensor, order 1)."""
        self._require_order_one("a map")
        return self.players.scatter(self.flat)

    # ---- samples ------------------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of samples; 1 without an axis for them."""
        return self.base.shape[0] if self.base.ndim else 1

    def __iter__(self) -> Iterator[Allocation]:
        """The samples, one after another."""
        return (self[sample] for sample in range(len(self)))

    @verb
    def __getitem__(self, samples: Any) -> Allocation:
        """One sample by its number, or several by a slice, a list or array of numbers, or a boolean for each.

        What was explained goes along: the sample itself, its target and its id. A single sample is its own sample 0.

        Raises:
            IndexError: there are not so many samples.
            WrongType: not chosen by numbers or booleans.
        """
        rows = resolve_rows(samples, len(self))
        if self.base.ndim:
            return self._take(rows)
        if isinstance(rows, int):
            return self
        raise InvalidInput("this allocation is of a single sample, which has no others beside it; its numbers are in .values")

    def _take(self, rows: int | Int[Tensor, " N"]) -> Allocation:
        return replace(self, **take_samples({known.name: getattr(self, known.name) for known in fields(self)}, rows))

    @verb
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

    @verb
    def top(self, k: int = 5) -> list[tuple[tuple[str, ...], float]]:
        """The k largest values of one sample by size, each with the names of its players."""
        self._require_one_sample("top")
        ranked = descending_order(self.flat.detach().abs().nan_to_num(0))[: whole_number("k", k, Limit(least=0))].tolist()
        return [(self._members(i), float(self.flat[i])) for i in ranked]

    def _members(self, position: int) -> tuple[str, ...]:
        members = [position] if self.coalitions is None else self.coalitions[position].nonzero().flatten().tolist()
        return tuple(self.players.name(player) for player in members)

    @verb
    def group(self, players: Players) -> Allocation:
        """Sum an attribution over a coarser division of the same tensors; what the bystanders of a text hold is ``absorbed``.

        Standard errors are dropped: those of members are not independent.

        Raises:
            InvalidInput: if a player would be cut in two or left out; players of another tensor.
            WrongType: no players.
        """
        self._require_order_one("grouping")
        if players.samples:
            return self._group_each(players)
        owner = self.players.within(players, bystanders=players.from_left).to(self.values.device)
        found = self.flat.new_zeros(*self.base.shape, players.n + 1).index_add(-1, owner.where(owner >= 0, players.n), self.flat)
        values = found[..., :-1].reshape(*self.base.shape, *players.shape)
        absorbed = {**self.absorbed, **({"bystanders": found[..., -1]} if bool((found[..., -1] != 0).any()) else {})}
        return replace(self, players=players, values=values, absorbed=absorbed, stderr=None, stderr_note="")

    def _group_each(self, players: Players) -> Allocation:
        """Each sample summed into players of its own."""
        each = [one.group(own) for one, own in zip(self, players.samples, strict=True)]
        where = {name: [one.absorbed.get(name, torch.zeros_like(one.total)) for one in each] for one in each for name in one.absorbed}
        absorbed = {name: torch.stack(parts) for name, parts in where.items()}
        values = torch.stack([torch.cat([one.values, one.values.new_zeros(players.n - one.players.n)]) for one in each])
        return replace(self, players=players, values=values, absorbed=absorbed, stderr=None, stderr_note="")

    # ---- to and from other libraries ----------------------------------------------------------------------------------------------

    def to_numpy(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The values as a NumPy array, in their shape."""
        return conversion.to_array(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, np.dtype[Any]]:
        return conversion.to_array(self.values, dtype, copy)

    def to_dataframe(self) -> Any:
        """The values as a ``pandas.DataFrame``: a row per sample, by its id if it has one; a column per player by name, or per coalition.

        Raises:
            ModuleNotFoundError: pandas, an optional extra, is not installed.
        """
        columns = [" & ".join(self._members(place)) for place in range(self._count)]
        index = sample_ids(self.provenance, single=not self.base.ndim)
        return conversion.to_dataframe(self.flat.reshape(-1, self._count), columns, index)

    @verb
    def to_shap(self) -> Any:
        """The values as a ``shap.Explanation``, with the samples' own values as its data where every player is one of them.

        Raises:
            InvalidInput, ModuleNotFoundError: values of coalitions; shap, an optional extra, is not installed.
        """
        self._require_order_one("a shap.Explanation")
        data = self.inputs_by_player
        shaped = None if data is None else data.reshape(self.values.shape)
        return conversion.to_shap(self.values, self.base, shaped, self.players.names if len(self.players.shape) == 1 else None)

    @property
    @verb
    def inputs_by_player(self) -> Shaped[Tensor, "*B P"] | None:
        """What the samples hold for each player, such as the columns of a table; ``None`` where players are larger parts, or unknown."""
        parts = self.explained if self.base.ndim else [part[None] for part in self.explained]
        found = conversion.element_per_player(self.players, parts)
        return found if found is None or self.base.ndim else found[0]

    @classmethod
    @verb
    def from_array(  # noqa: PLR0913 - what a map may come with
        cls,
        values: Any,
        *,
        names: Sequence[str] = (),
        players: Players | None = None,
        base: Any = None,
        total: Any = None,
        data: Any = None,
        method: str = "allocation",
        provenance: Mapping[str, Any] | None = None,
    ) -> Allocation:
        """A map from anywhere, to be plotted, grouped, reported and saved like ours.

        Args:
            values: numbers [samples, *event], [features] of a single sample, or a DataFrame, whose columns are the names; in the output's
                unit. A single sample of more axes is told from a batch by ``players``.
            names: one per feature.
            players: who was paid, if not every feature; values per element are summed into them.
            base: the output at the baseline, a number or one per sample. Without base and total, what does not add up is not known (NaN).
            total: the output at the samples, likewise.
            data: the samples themselves; a tuple for several inputs.
            method: what made the map.
            provenance: anything else to remember, such as ``{"target": "class 3"}``.

        Raises:
            InvalidInput, WrongType: shapes that do not fit together; not numbers.
        """
        fields = conversion.read_array(values, players=players, names=names, base=base, total=total, data=data)
        return cls(**{**fields, "provenance": conversion.join_facts(fields["provenance"], method, provenance)})

    @classmethod
    @verb
    def from_captum(  # noqa: PLR0913
        cls,
        values: Any,
        *,
        names: Sequence[str] = (),
        players: Players | None = None,
        feature_mask: Any = None,
        base: Any = None,
        total: Any = None,
        data: Any = None,
        method: str = "captum",
        provenance: Mapping[str, Any] | None = None,
    ) -> Allocation:
        """What a method of captum returned: a tensor [samples, *event], or a tuple of them, one for each input.

        Args:
            feature_mask: as given to captum: values are the same throughout a part, and are taken once.
            names, players, base, total, data, method, provenance: as in :meth:`from_array`.

        Raises:
            InvalidInput: as :meth:`from_array`; values that were not made with ``feature_mask``.
        """
        given, who = conversion.read_captum(values, feature_mask=feature_mask, players=players)
        return cls.from_array(given, names=names, players=who, base=base, total=total, data=data, method=method, provenance=provenance)

    @classmethod
    @verb
    def from_shap(
        cls,
        explanation: Any,
        *,
        players: Players | None = None,
        total: Any = None,
        method: str = "shap",
        provenance: Mapping[str, Any] | None = None,
    ) -> Allocation:
        """A ``shap.Explanation`` of one output, with its names, base values and data.

        Args:
            players, total, method, provenance: as in :meth:`from_array`; an explanation does not hold the output at the samples.

        Raises:
            WrongType, InvalidInput: not an explanation; one of several outputs.
        """
        return cls.from_array(**conversion.read_shap(explanation), players=players, total=total, method=method, provenance=provenance)

    def _require_order_one(self, what: str) -> None:
        if self.coalitions is not None:
            raise InvalidInput(f"{what} needs one value per player; this allocation has order {self.order}, call .reduce('shapley') first")

    def _require_one_sample(self, what: str) -> None:
        if self.base.ndim and not (what == "plot" and "generated" in self.provenance):
            raise InvalidInput(f".{what}() is of one sample; this allocation holds {len(self)}: take allocation[i].{what}()")

    # ---- showing ------------------------------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """Name of the method, as registered."""
        return str(self.provenance.get("method", "allocation"))

    def __repr__(self) -> str:
        return describe(self)

    def _repr_html_(self) -> str:
        return str(load_view("html")(self))

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Draw one sample (or a matrix of generated tokens) with matplotlib; returns the figure."""
        self._require_one_sample("plot")
        return load_view("plot")(self, title=title, ax=ax)

    # ---- keeping ------------------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write to one file (safetensors with a JSON header), atomically; the explained samples are in it, where they were kept."""
        return store.write(path, "allocation", *encode_allocation({known.name: getattr(self, known.name) for known in fields(self)}))

    @classmethod
    @verb
    def load(cls, path: str | Path) -> Allocation:
        """Read a file written by :meth:`save`.

        Raises:
            FileNotFoundError, ForeignFile: see :func:`vesalius.core.store.read`.
        """
        tensors, facts = store.read(path, "allocation")
        with store.decoding(path):
            return cls(**decode_allocation(tensors, facts))


def _to_float64(values: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """In float64, which not every device has."""
    return values.cpu().double()


def _sum_to_float64(values: Float[Tensor, "*B K"]) -> Float[Tensor, "*B"]:
    return values.cpu().sum(-1, dtype=torch.float64)
