"""What stands in for an absent player.

An absence answers one question: for samples [B *event], which replacements [B M *event]? M > 1 means that the game averages over them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vesalius.core.entry import without_history
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE, is_number, plain_number, real_number
from vesalius.core.players import Players
from vesalius.core.rows import Rows, is_batches, is_table, read_rows
from vesalius.core.tokenization import SPECIAL_ROLES
from vesalius.games.baselines import constant_at, constant_words, main_input
from vesalius.language.baselines import Deleted
from vesalius.trace.question import Question


class Absence(ABC):
    """Stand-ins for absent players."""

    @abstractmethod
    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        """Replacements for every explained tensor of every sample.

        Raises:
            InvalidInput, WrongType: the stand-in does not fit the explained tensors.
        """

    @abstractmethod
    def describe(self) -> str:
        """A few words for provenance and page."""


@final
@dataclass(frozen=True, eq=False)
class Constant(Absence):
    """One fixed value, such as zero, a token id, or a tensor.

    Attributes:
        value: a number; a tensor or array broadcastable to [*event], or to [B *event] for one value per sample; or one of these per
            explained tensor. Where an inner value is explained, a tensor of the network's *input* is taken there by running the network.
            Of ids, and of values that are computed from ids, whole numbers are ids (4 is token 4, at the embedding too) and floating ones
            are values (4.0 is 4.0 in every coordinate): the type decides, not the shape.
    """

    value: Any = 0.0

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        values = self.of_each(question)
        return tuple(constant_at(value, place, question)[:, None] for place, value in enumerate(values))

    def of_each(self, question: Question) -> Sequence[Any]:
        """The value for each explained tensor.

        Raises:
            InvalidInput: another number of values.
        """
        values: Sequence[Any] = self.value if isinstance(self.value, (tuple, list)) else [self.value] * len(question.at)
        if len(values) != len(question.at):
            raise InvalidInput(f"{len(values)} baselines for {len(question.at)} explained tensors ({', '.join(question.at)})")
        return values

    def describe(self) -> str:
        return f"constant {self.value:g}" if isinstance(self.value, Real) else "given tensor"


@final
@dataclass(frozen=True, eq=False)
class Mean(Absence):
    """The mean of a data set.

    Attributes:
        data: inputs of the network [rows *event] in any form (or one per input); taken to an inner value where one is explained. ``None``:
            the samples that are explained.
    """

    data: Any = None

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        if self.data is None and question.batch < 2:
            raise InvalidInput("the mean of one sample is that sample; give the data: vesalius.Mean(data)")
        for name, here in zip(question.at, question.present, strict=True):
            if not here.is_floating_point():
                raise InvalidInput(
                    f"{name!r} is of whole numbers ({here.dtype}), which have no mean: there is no token between tokens; give a token, or"
                    " several rows as a background (Marginal), or explain an embedding with at="
                )
        found = question.present if self.data is None else _read_background(self.data, question)
        return tuple(data.to(here.dtype).mean(0).expand_as(here)[:, None] for data, here in zip(found, question.present, strict=True))

    def describe(self) -> str:
        return "mean of the samples" if self.data is None else f"mean of {_row_count(self.data)} samples"


@final
@dataclass(frozen=True, eq=False)
class Marginal(Absence):
    """The rows of a background, averaged over: E[f(x_S, X_absent)] with absent parts drawn together from one row.

    Attributes:
        background: inputs of the network [M *event] in any form (or one per input).
    """

    background: Any

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        found = _read_background(self.background, question)
        return tuple(data.expand(question.batch, *data.shape) for data in found)

    def describe(self) -> str:
        return f"average over {_row_count(self.background)} background samples"


@final
@dataclass(frozen=True, eq=False)
class Blur(Absence):
    """The image itself, blurred by a Gaussian.

    Attributes:
        sigma: standard deviation in pixels, > 0; the border is reflected.
    """

    sigma: float = 4.0

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        sigma = real_number("sigma of a blur, in pixels,", self.sigma, POSITIVE)
        return tuple(_blur(here, sigma)[:, None] for here in question.present)

    def describe(self) -> str:
        return f"blurred by {self.sigma:g} pixels"


@final
@dataclass(frozen=True, eq=False)
class MeanEmbedding(Absence):
    """The mean of all rows of an embedding, at every position of its output."""

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        return tuple(self._at(question, place)[:, None] for place in range(len(question.at)))

    def _at(self, question: Question, place: int) -> Shaped[Tensor, "B ..."]:
        name, here = question.at[place], question.present[place]
        layers = [] if question.network.opaque else question.network.layers.values()
        table = next((layer for layer in layers if layer.op == "embedding" and layer.value == name), None)
        if table is None:
            raise InvalidInput(f"{name!r} is not the output of an embedding, whose mean would stand in; explain an embedding with at=")
        return question.network.weight(table).detach().mean(0).to(here).expand_as(here)

    def describe(self) -> str:
        return "mean of the embedding"


@final
@dataclass(frozen=True, eq=False)
class Deletion(Absence):
    """Nothing: absent tokens are left out, and the sequence is shorter by them. For ids, and methods that play games.

    Attributes:
        alone: token that stands where nothing is left of a text, or nothing before a continuation; ``None``: what is left stands as it is,
            and an empty sequence is refused.
    """

    alone: int | None = None

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        raise InvalidInput(
            "deletion leaves absent tokens out, and a sequence of another length has no baseline that values could be compared with; it"
            " goes with methods that play games on ids (shapley_value, occlusion, ...), others take a token: 'pad', 'mask', ..."
        )

    def describe(self) -> str:
        return "deleted"


@final
@dataclass(frozen=True, eq=False)
class BystandersPresent(Absence):
    """Another absence, for players alone: what belongs to none of them is as the sample has it.

    Attributes:
        absence: of the players.
        players: of each sample, or of all.
    """

    absence: Absence
    players: Players

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        fills = self.absence.fill(question)
        rows = range(question.batch)
        nobody = [torch.zeros(1, self.players.of(row).n, dtype=torch.bool) for row in rows]
        kept = [self.players.of(row).presence(nobody[row], [here[row] for here in question.present]) for row in rows]
        masks = [torch.stack([one[site] for one in kept]) for site in range(len(fills))]
        return tuple(torch.where(mask, here[:, None], fill) for mask, here, fill in zip(masks, question.present, fills, strict=True))

    def describe(self) -> str:
        return self.absence.describe()


Baseline = Any
"""A number; a tensor, array or row; several rows as background; a word of :data:`NAMED`; an :class:`Absence`; ``None`` (zero)."""
NAMED = {"zero": Constant(), "mean": Mean(), "blur": Blur(), "delete": Deletion(), "mean_embedding": MeanEmbedding()}
"""Absences by name."""


def describe_absence(absence: Absence, question: Question) -> str:
    """A few words for provenance and page, which say whether a number was taken for a token."""
    if isinstance(absence, BystandersPresent):
        return describe_absence(absence.absence, question)
    if not isinstance(absence, Constant):
        return absence.describe()
    words = (constant_words(value, place, question) for place, value in enumerate(absence.of_each(question)))
    return " and ".join(dict.fromkeys(words))


def as_absence(baseline: Baseline, question: Question) -> Absence:
    """A baseline in any form as an absence.

    Args:
        baseline: an absence; ``None`` or ``"zero"``; ``"mean"`` of the samples; ``"blur"``; ``"delete"`` or ``"mean_embedding"`` for
            tokens; a number; one sample's worth of inputs, or of the explained tensors; or several rows of inputs, which are a background
            that is averaged over. One value for each sample, paired with it row by row, is asked for by name: ``Constant(values)``. Whole
            numbers are ids where there are ids, see
            :class:`Constant`.
        question: what is asked.

    Raises:
        UnknownName: no such word.
        WrongType: none of these.
    """
    if isinstance(baseline, Absence):
        return baseline
    if isinstance(baseline, Deleted):
        return Deletion(baseline.alone)
    if baseline is None:
        return Constant()
    if isinstance(baseline, str):
        if baseline in SPECIAL_ROLES:
            raise InvalidInput(f"{baseline!r} is a token of a tokenizer, and none is known; give tokenizer=, or the id of the token")
        require_known("baseline", baseline, NAMED)
        return NAMED[baseline]
    if is_number(baseline) or isinstance(baseline, bool):
        return Constant(plain_number(baseline))
    if isinstance(baseline, (tuple, list)) and baseline and len(baseline) == len(question.at) > 1:
        return _of_several(baseline, question)
    if not isinstance(baseline, (Tensor, tuple, list, Mapping)) and not is_table(baseline) and not is_batches(baseline):
        raise WrongType(
            "a baseline is a number, a tensor or array, rows of data, 'zero', 'mean', 'blur', 'delete' or an absence (Constant, Mean, Blur,"
            f" Marginal), not {type(baseline).__name__}"
        )
    rows = read_rows(baseline)
    return Marginal(rows.tensors) if _is_background(rows, question) else Constant(_only(rows, question))


def _of_several(parts: Sequence[Any], question: Question) -> Absence:
    """A baseline per explained tensor."""
    values = [part if isinstance(part, (Real, Tensor)) else read_rows(part).parts[0] for part in parts]
    tensors = [value for value in values if isinstance(value, Tensor)]
    several = len(tensors) == len(values) and all(value.ndim == here.ndim for value, here in zip(tensors, question.present, strict=True))
    if several and len({len(value) for value in tensors}) == 1 and len(tensors[0]) > 1:
        return Marginal(tuple(tensors))
    return Constant(tuple(values))


def _is_background(rows: Rows, question: Question) -> bool:
    """Whether these are several rows of the network's inputs."""
    inputs = question.network.inputs
    if isinstance(rows.tensors, Tensor):
        first, value = rows.tensors, inputs[main_input(question, question.at[0])]
        if question.present[0].is_floating_point() and not value.is_floating and first.is_floating_point():
            return False  # floating numbers are values of what is explained, whatever their shape
    else:
        named = {value.name: value for value in inputs}
        first, value = rows.parts[0], inputs[0]
        if isinstance(rows.tensors, dict):
            value = next((named[name] for name in rows.tensors if name in named), value)
            first = rows.tensors.get(value.name, first)
    wanted = tuple(value.shape[1:])
    return not rows.single and first.ndim == len(wanted) + 1 and len(first) > 1 and tuple(first.shape[1:]) == wanted


def _only(rows: Rows, question: Question) -> Any:
    """The value of a constant: one tensor, or one per explained tensor."""
    if isinstance(rows.tensors, dict):
        return tuple(rows.tensors[name] for name in question.at if name in rows.tensors)
    return rows.tensors


def _read_background(data: Any, question: Question) -> list[Tensor]:
    """Data at the explained tensors, batch first."""
    network = question.network
    inputs = without_history(network.bind(data, holder="background row"))
    network.check_ids(inputs, "background row", strict=True)
    for tensor in inputs:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InvalidInput("the background holds NaN or infinity")
    named = dict(zip((value.name for value in network.inputs), inputs, strict=True))
    if set(question.at) <= set(named):
        return [named[name] for name in question.at]
    with torch.no_grad():
        found = network.read(inputs, question.at)
    return [network.axes.batch_layout(name).batch_first(found[name]) for name in question.at]


def _row_count(data: Any) -> int:
    return len(read_rows(data).parts[0])


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of the last two axes of [B *channels H W]."""
    if image.ndim < 3 or not image.is_floating_point():
        raise InvalidInput(f"only images [..., height, width] can be blurred, not {image.dtype} {list(image.shape[1:])}")
    flat = image.reshape(-1, 1, *image.shape[-2:])
    for axis in (-2, -1):
        flat = _blur_along(flat, axis, sigma)
    return flat.reshape(image.shape)


def _blur_along(image: Float[Tensor, "N 1 H W"], axis: int, sigma: float) -> Float[Tensor, "N 1 H W"]:
    side = image.shape[axis]
    offset = torch.arange(side, device=image.device)
    distance = offset[:, None] - offset
    # reflecting at both borders: a source at -1-i or 2*side-1-i stands for i
    mirrored = [distance, offset[:, None] + offset + 1, offset[:, None] + offset + 1 - 2 * side]
    total: Any = sum(torch.exp(-(part.to(image.dtype) ** 2) / (2 * sigma**2)) for part in mirrored)
    kernel: Tensor = total / total.sum(1, keepdim=True)
    return (image.movedim(axis, -1) @ kernel.T).movedim(-1, axis)
