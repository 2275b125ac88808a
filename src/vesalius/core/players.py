"""Who is paid: n named, disjoint parts of whatever is explained.

Players know two things: which player owns each element of the explained tensors (-1: a bystander, present in every coalition), and how a
coalition turns a *present* and an *absent* version of those tensors into one. They know nothing of models.

Axes: N coalitions, P players, K components, event: one sample's shape, without the batch axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vesalius.core.arguments import noun
from vesalius.core.columns import group_owners, read_sample, read_samples
from vesalius.core.entry import out_of_inference, verb
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.graph_edges import edge_owners
from vesalius.core.interior_players import HasLayers, InteriorPlayers
from vesalius.core.names import name_list
from vesalius.core.numbers import POSITIVE_COUNT, Limit, numbers_per_axis, whole_number
from vesalius.core.player_shapes import align, align_all, containing, format_shapes, refuse_tokens_of_ids, stack_terms
from vesalius.core.rows import to_tensor
from vesalius.core.text_division import BYSTANDER, TEXT_KINDS, TextLayout, divide_texts

SINGULAR_KINDS = {"patches": "patch", "matches": "match"}


@noun("build them: Players.features(x), Players.patches(x, 4), ...")
@dataclass(frozen=True, eq=False)
class Players(InteriorPlayers):
    """n named disjoint parts of one or several tensors; build them with a constructor below.

    Attributes:
        index: the owner of each element, a tensor per explained one, broadcastable to its event from the right (a text [T] from the left).
        shape: shape in which values are reported, with ``prod(shape) == n``: the event for features, the grid for patches, ``(n,)`` else.
        kind: ``features``, ``groups``, ``patches``, ``segments``, ``tokens``, ``channels``, ``nodes``, ``edges``, ``units``,
            ``links``, ``components``, those of a text (``tokens``, ``words``, ``sentences``, ``matches``, ``slots``), ``heads``,
            ``neurons``, ``residual``, ``layers``, ``experts``, or plain ``players``.
        labels: one name per player; generated from ``kind`` and position when empty.
        parts: for ``components``, the K tensors whose sum over a coalition is what the model sees.
        layer: for ``units`` and ``links``, the layer they belong to.
        sites: for parts of a network's inside, the values that they divide, so that ``at=`` need not be said.
        layout: for those of a text, the text in reading order.
        samples: of several texts, the players of each; then ``n`` is their largest number.
    """

    index: tuple[Int[Tensor, "..."], ...]
    shape: tuple[int, ...]
    kind: str
    labels: tuple[str, ...] = ()
    parts: Float[Tensor, "K *event"] | None = None
    layer: str | None = None
    sites: tuple[str, ...] = ()
    layout: TextLayout | None = None
    samples: tuple[Players, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", out_of_inference(self.index))
        object.__setattr__(self, "parts", out_of_inference(self.parts))
        if self.n < 1:
            raise InvalidInput("there are no players: the explained tensor has no elements")
        labels = name_list("names", self.labels, distinct=self.kind not in TEXT_KINDS)
        object.__setattr__(self, "labels", labels)
        if labels and len(labels) != self.n:
            raise InvalidInput(f"{len(labels)} names were given for {self.n} players")

    @property
    def from_left(self) -> bool:
        """Whether the axes of an index are the first of an event: those of a text."""
        return self.layout is not None

    @property
    def n(self) -> int:
        """Number of players."""
        return prod(self.shape)

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return f"Players({self.kind}, n={self.n}, shape={tuple(self.shape)})"

    def name(self, player: int) -> str:
        """Readable name of one player, such as ``petal width`` or ``patch 2,3``."""
        player = whole_number("player", player, Limit(least=-self.n, most=self.n - 1)) % self.n
        if self.labels:
            return self.labels[player]
        place = ",".join(str(int(i)) for i in np.unravel_index(player, self.shape))
        return f"{SINGULAR_KINDS.get(self.kind, self.kind.removesuffix('s'))} {place}"

    @property
    def names(self) -> tuple[str, ...]:
        """Readable names of all players."""
        return tuple(self.name(player) for player in range(self.n))

    def named(self, names: Sequence[str], *, strict: bool = True) -> Players:
        """The same players with other names.

        Args:
            names: one per player, in order; none leaves the players as they are.
            strict: refuse a number of names that does not fit; else they are passed over, and so they are where players have names.

        Raises:
            InvalidInput: another number of names.
        """
        names = name_list("names", names, distinct=False)
        fits = len(names) == self.n
        if not names or (not strict and (not fits or self.labels or self.kind not in ("features", "tokens"))):
            return self
        if not fits:
            raise InvalidInput(f"{len(names)} names were given for {self.n} players")
        return replace(self, labels=names)

    # ---- constructors -------------------------------------------------------------------------------------------------------------

    @classmethod
    @verb
    def features(cls, *samples: Any, names: Sequence[str] = ()) -> Players:
        """Every element a player.

        Args:
            samples: one sample [*event] per explained tensor, without the batch axis; a row of a table brings the names of its columns.
            names: one name per element, in order.
        """
        if not samples:
            raise InvalidInput("no sample was given; every element of one becomes a player: Players.features(x[0])")
        tensors, columns = read_samples(samples)
        return cls._elements(tensors, name_list("names", names) or columns)

    @classmethod
    @verb
    def groups(cls, sample: Any, groups: Mapping[str, Sequence[str | int]], *, names: Sequence[str] = ()) -> Players:
        """Groups of columns that are present or absent together; a column of no group is always present.

        Args:
            sample: one row of a table.
            groups: for each group its columns, by name or position.
            names: of the columns, where the row does not bring them.

        Raises:
            UnknownName: no such column.
            InvalidInput: a column in two groups, or a position out of range.
        """
        if not isinstance(groups, Mapping):
            raise WrongType(f"groups are columns by the name of their group, {{'size': ['height']}}, not a {type(groups).__name__}")
        tensors, columns = read_samples((sample,))
        known = name_list("names", names, count=tensors[0].numel()) or columns
        owner = group_owners(groups, known, tensors[0].numel())
        return cls((owner.reshape(tensors[0].shape),), (len(groups),), "groups", tuple(map(str, groups)))

    @classmethod
    def _elements(cls, samples: Sequence[Tensor], names: Sequence[str]) -> Players:
        index, start = [], 0
        for sample in samples:
            index.append(torch.arange(start, start + sample.numel()).reshape(sample.shape))
            start += sample.numel()
        shape = tuple(samples[0].shape) if len(samples) == 1 and samples[0].ndim else (start,)
        return cls(tuple(index), shape, "features", tuple(names))

    @classmethod
    @verb
    def plain(cls, count: int, names: Sequence[str] = ()) -> Players:
        """So many players, for games that are about no tensor."""
        count = whole_number("the number of players", count, POSITIVE_COUNT)
        return cls((torch.arange(count),), (count,), "players", name_list("names", names))

    @classmethod
    @verb
    def patches(cls, sample: Any, size: int | tuple[int, int]) -> Players:
        """Rectangles of the last two axes, over all channels; the last row and column may be smaller.

        Args:
            sample: one image [*channels height width].
            size: height and width of a patch, in pixels.

        Raises:
            InvalidInput: no image; a patch larger than it.
        """
        sample = read_sample(sample)
        high, wide = numbers_per_axis("size", size, 2, POSITIVE_COUNT)
        if sample.ndim < 2:
            raise InvalidInput(f"patches need an image [..., height, width], not {tuple(sample.shape)}")
        height, width = sample.shape[-2:]
        if high > height or wide > width:
            raise InvalidInput(f"a patch of {high} x {wide} pixels is larger than the image, {height} x {width}; take a smaller size")
        columns = -(-width // wide)
        index = (torch.arange(height) // high)[:, None] * columns + torch.arange(width) // wide
        return cls((index,), (-(-height // high), columns), "patches")

    @classmethod
    @verb
    def segments(cls, labels: Any, names: Sequence[str] = ()) -> Players:
        """The parts of a label map, such as super-pixels or groups of columns.

        Args:
            labels: integers broadcastable to the event; equal labels form one player, negative ones are bystanders.
            names: one name per distinct label, in increasing order of the labels.
        """
        labels = read_sample(labels)
        if labels.is_floating_point() or labels.is_complex():
            raise WrongType(f"labels are integers, one per element, not {labels.dtype}; round them: labels.round().long()")
        kept = torch.unique(labels[labels >= 0])
        if not len(kept):
            raise InvalidInput("no label is 0 or more, so there are no players; negative labels are of elements that are always present")
        index = torch.where(labels >= 0, torch.searchsorted(kept, labels.contiguous()), BYSTANDER)
        return cls((index.cpu(),), (len(kept),), "segments", name_list("names", names))

    @classmethod
    @verb
    def tokens(cls, sample: Any, names: Sequence[str] = ()) -> Players:
        """Positions of a sequence: the first axis of the event, whether token ids [T] or embeddings [T, E]."""
        return cls._along_axis(sample, 0, "tokens", names)

    @classmethod
    @verb
    def text(cls, text: Any, tokenizer: Any, by: Any = "token") -> Players:
        """Parts of a text: players of its token ids [T], and of what is computed from them position by position [T, ...].

        Args:
            text: a string; a :class:`vesalius.language.Template`; ids [T]; or several of these, padded to one length as
                ``tokenizer(texts, padding=True)`` does. Special tokens and padding are bystanders.
            tokenizer: of ``tokenizers`` or ``transformers``; or the tokens' names, as a list or a mapping to ids.
            by: ``"token"`` (of a template: its slots), ``"word"``, ``"sentence"``, or a regular expression, each match of it a player.

        Raises:
            InvalidInput, WrongType, UnknownName: an empty text, special tokens alone, no tokenizer, a pattern that matches nothing.
        """
        divided = divide_texts(text, tokenizer, by)
        return cls.joined([cls((one.index,), (len(one.names),), one.kind, one.names, layout=one.layout) for one in divided])

    @classmethod
    def joined(cls, samples: Sequence[Players]) -> Players:
        """The players of several samples, each with its own."""
        return samples[0] if len(samples) == 1 else cls((), (max(one.n for one in samples),), samples[0].kind, samples=tuple(samples))

    def of(self, sample: int) -> Players:
        """The players of one sample."""
        return self.samples[sample] if self.samples else self

    def only(self, samples: Sequence[int]) -> Players:
        """The players of some samples; themselves, where all samples have the same."""
        return Players.joined([self.samples[sample] for sample in samples]) if self.samples and samples else self

    @classmethod
    @verb
    def channels(cls, sample: Any, *, axis: int = 0, names: Sequence[str] = ()) -> Players:
        """Slices along one axis of the event, by default the first ([channels, height, width])."""
        return cls._along_axis(sample, axis, "channels", names)

    @classmethod
    @verb
    def nodes(cls, sample: Any, names: Sequence[str] = ()) -> Players:
        """Nodes of a graph that stays as it is: the first axis of their features [nodes, features]."""
        return cls._along_axis(sample, 0, "nodes", names)

    @classmethod
    @verb
    def edges(cls, sample: Any, edge_index: Any = None, *, directed: bool = False) -> Players:
        """Edges of a graph that stays as it is; or, ``Players.edges(net)``, of a network, see :meth:`residual_edges`.

        Args:
            sample: the weights [edges] or features [edges, features] of one graph, of which the model is a function; or a network.
            edge_index: the nodes that each edge goes from and to, [2, edges].
            directed: whether each direction is a player; else the two directions between a pair of nodes are one.
        """
        if edge_index is None:
            return cls.residual_edges(sample)
        owner, names = edge_owners(read_sample(sample), to_tensor(edge_index), directed=directed)
        return cls((owner,), (len(names),), "edges", names)

    @classmethod
    def _along_axis(cls, sample: Any, axis: int, kind: str, names: Sequence[str]) -> Players:
        sample, axis = read_sample(sample), whole_number("axis", axis)
        if not -sample.ndim <= axis < sample.ndim:
            raise InvalidInput(f"axis {axis} does not exist in a sample of shape {tuple(sample.shape)}")
        count = sample.shape[axis]
        index = torch.arange(count).reshape([count if i == axis % sample.ndim else 1 for i in range(sample.ndim)])
        return cls((index,), (count,), kind, name_list("names", names, distinct=kind not in TEXT_KINDS))

    @classmethod
    @verb
    def units(cls, network: HasLayers, layer: str) -> Players:
        """The units of a layer's output: neurons, or channels of a convolution."""
        _require_layers(network, "units")
        index = network.unit_index(layer)
        return cls((index,), (int(index.max()) + 1,), "units", layer=layer)

    @classmethod
    @verb
    def links(cls, network: HasLayers, layer: str) -> Players:
        """The weights of a layer, one player each; values come in the weight's shape."""
        _require_layers(network, "links")
        shape = network.link_shape(layer)
        return cls((torch.arange(prod(shape)).reshape(shape),), tuple(shape), "links", layer=layer)

    @classmethod
    @verb
    def components(cls, parts: Sequence[Tensor] | Float[Tensor, "K *event"], names: Sequence[str] = ()) -> Players:
        """Terms of a sum: a coalition stands for the sum of its members on top of the absent value."""
        stacked = stack_terms(parts)
        return cls((), (len(stacked),), "components", name_list("names", names), parts=stacked)

    # ---- coalitions ---------------------------------------------------------------------------------------------------------------

    def expand(self, masks: Bool[Tensor, "N P"], site: int = 0) -> Bool[Tensor, "N ..."]:
        """Presence of every element of one explained tensor, for each coalition."""
        padded = torch.cat([masks, masks.new_ones(len(masks), 1)], 1)
        return padded[:, self.index[site].to(masks.device)]

    def compose(
        self, masks: Bool[Tensor, "N P"], present: Sequence[Tensor], absent: Sequence[Tensor]
    ) -> tuple[Shaped[Tensor, "N ..."], ...]:
        """What the model sees under each coalition.

        Args:
            masks: who is present.
            present: the explained tensors, each [*event].
            absent: what stands in for absent elements, each [*event] or [N *event].

        Returns:
            One tensor [N *event] per explained tensor.
        """
        if self.parts is not None:
            terms = self.parts.to(absent[0])
            return (absent[0] + torch.tensordot(masks.to(terms), terms, 1),)
        presence = self.presence(masks, present)
        return tuple(torch.where(mask, here, gone) for mask, here, gone in zip(presence, present, absent, strict=True))

    def presence(self, masks: Bool[Tensor, "N P"], present: Sequence[Tensor]) -> list[Bool[Tensor, "N ..."]]:
        """Presence of the elements of every explained tensor [*event], for each coalition, with as many axes as its rows have."""
        found = [self.expand(masks.to(here.device), site) for site, here in enumerate(present)]
        return [align(mask, here.ndim + 1, lead=1, left=self.from_left) for mask, here in zip(found, present, strict=True)]

    def check(self, present: Sequence[Tensor]) -> None:
        """Refuse players that do not fit the explained tensors ([*event] each)."""
        if self.parts is not None:
            if len(present) != 1 or tuple(present[0].shape) != tuple(self.parts.shape[1:]):
                raise InvalidInput(f"components have shape {tuple(self.parts.shape[1:])}, the explained tensor {format_shapes(present)}")
            return
        if self.samples:
            raise InvalidInput(f"these players are of {len(self.samples)} texts, each with its own; of one of them: players.of(0)")
        if len(self.index) != len(present):
            raise InvalidInput(
                f"these players divide {len(self.index)} tensors, but {len(present)} are explained: {format_shapes(present)}"
            )
        for index, here in zip(self.index, present, strict=True):
            known = align(index, here.ndim, left=self.from_left).shape
            fits = len(known) == here.ndim and all(a in (1, b) for a, b in zip(known, here.shape, strict=True))
            if not fits:
                raise InvalidInput(f"these {self.kind} divide a tensor of shape {tuple(index.shape)}, not {tuple(here.shape)}")
            if not self.from_left:
                refuse_tokens_of_ids(self.kind, index.shape, here.shape)

    def gather(self, values: Sequence[Float[Tensor, "batch ..."]]) -> Float[Tensor, "batch P"]:
        """Sum a map over the elements of each player; bystanders are left out."""
        if self.samples:
            found = [one.gather([value[[row]] for value in values])[0] for row, one in enumerate(self.samples)]
            return torch.stack([torch.cat([one, one.new_zeros(self.n - len(one))]) for one in found])
        total = values[0].new_zeros(len(values[0]), self.n + 1)
        for index, value in zip(self.index, values, strict=True):
            owner = align(index.to(value.device), value.ndim - 1, left=self.from_left).expand(value.shape[1:]).reshape(-1)
            total.index_add_(1, torch.where(owner < 0, self.n, owner), value.reshape(len(value), -1))
        return total[:, : self.n]

    def scatter(self, values: Float[Tensor, "*batch P"], site: int = 0) -> Float[Tensor, "*batch ..."]:
        """Show each player's value at every element it owns; bystanders show 0."""
        padded = torch.cat([values, values.new_zeros(*values.shape[:-1], 1)], -1)
        return padded[..., self.index[site].to(values.device)]

    def within(self, coarser: Players, *, bystanders: bool = False) -> Int[Tensor, " P"]:
        """For each player here, the player of a coarser division that contains it; negative for bystanders, where there may be some.

        Raises:
            InvalidInput: if a player is cut in two, or left out; players of other tensors.
        """
        if not isinstance(coarser, Players):
            raise WrongType(f"players are a Players, not {type(coarser).__name__}")
        if self.parts is not None or coarser.parts is not None:
            raise InvalidInput(f"{self.kind} cannot be grouped into {coarser.kind}: components are terms of a sum and no parts of a tensor")
        divided = align_all(self.index, coarser.index, left=(self.from_left, coarser.from_left))
        owner = containing(divided, (self.kind, coarser.kind), self.n)
        if (owner < 0).any() and not bystanders:
            raise InvalidInput(f"{int((owner < 0).sum())} of {self.n} {self.kind} belong to none of the {coarser.kind}")
        return owner


def _require_layers(network: object, what: str) -> None:
    if not isinstance(network, HasLayers):
        raise WrongType(f"{what} are of a traced network, not of a {type(network).__name__}; make one with vesalius.trace(model, x)")
