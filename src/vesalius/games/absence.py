"""What stands in for an absent player.

An absence answers one question: for samples [B *event], which replacements [B M *event]? M > 1 means that the game averages over them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.numbers import POSITIVE, is_number, plain_number, real_number
from vesalius.core.rows import Rows, is_batches, is_table, read_rows, to_tensor
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
    """

    value: Any = 0.0

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        several = isinstance(self.value, (tuple, list))
        values: Sequence[float | Tensor] = self.value if several else [self.value] * len(question.at)
        if len(values) != len(question.at):
            raise InvalidInput(f"{len(values)} baselines for {len(question.at)} explained tensors ({', '.join(question.at)})")
        return tuple(
            _expand_constant(value, here, name, question)[:, None]
            for value, here, name in zip(values, question.present, question.at, strict=True)
        )

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


Baseline = Any
"""A number; a tensor, array or row; several rows as background; a word (zero, mean, blur); an :class:`Absence`; ``None`` (zero)."""
NAMED = {"zero": Constant(), "mean": Mean(), "blur": Blur()}
"""Absences by name."""


def as_absence(baseline: Baseline, question: Question) -> Absence:
    """A baseline in any form as an absence.

    Args:
        baseline: an absence; ``None`` or ``"zero"``; ``"mean"`` of the samples; ``"blur"``; a number; one sample's worth of inputs, or of
            the explained tensors; or several rows of inputs, which are a background that is averaged over. One value for each sample,
            paired with it row by row, is asked for by name: ``Constant(values)``.
        question: what is asked.

    Raises:
        UnknownName: no such word.
        WrongType: none of these.
    """
    if isinstance(baseline, Absence):
        return baseline
    if baseline is None:
        return Constant()
    if isinstance(baseline, str):
        require_known("baseline", baseline, NAMED)
        return NAMED[baseline]
    if is_number(baseline):
        return Constant(plain_number(baseline))
    if isinstance(baseline, (tuple, list)) and baseline and len(baseline) == len(question.at) > 1:
        return _of_several(baseline, question)
    if not isinstance(baseline, (Tensor, tuple, list, Mapping)) and not is_table(baseline) and not is_batches(baseline):
        raise WrongType(
            "a baseline is a number, a tensor or array, rows of data, 'zero', 'mean', 'blur' or an absence (Constant, Mean, Blur,"
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
    first, wanted = rows.parts[0], question.network.inputs[0].shape[1:]
    return not rows.single and first.ndim == len(wanted) + 1 and len(first) > 1 and tuple(first.shape[1:]) == tuple(wanted)


def _only(rows: Rows, question: Question) -> Any:
    """The value of a constant: one tensor, or one per explained tensor."""
    if isinstance(rows.tensors, dict):
        return tuple(rows.tensors[name] for name in question.at if name in rows.tensors)
    return rows.tensors


def _expand_constant(value: Any, here: Shaped[Tensor, "B *event"], name: str, question: Question) -> Tensor:
    """A constant in the shape and dtype of an explained tensor."""
    if is_number(value):
        value = plain_number(value)
        if not math.isfinite(value):
            raise InvalidInput(f"the baseline is {value}; it must be finite")
        value = torch.tensor(value, dtype=torch.float64)
    value = to_tensor(value)
    if value.dtype == torch.bool and not value.ndim:
        raise WrongType(f"the baseline is {bool(value)}, which is no number; for {int(value)}: {int(value)}")
    if value.is_complex():
        raise WrongType(f"the baseline is complex ({value.dtype}), and {name!r} is {here.dtype}; take its real part: .real")
    if value.is_floating_point() and not bool(value.isfinite().all()):
        raise InvalidInput("the baseline holds NaN or infinity")
    if not here.is_floating_point() and value.is_floating_point() and not bool((value == value.round()).all()):
        raise InvalidInput(
            f"{name!r} is of whole numbers ({here.dtype}), such as tokens, and the baseline holds fractions: there is no such token"
        )
    if _broadcasts(value, here):
        return torch.as_tensor(value, dtype=here.dtype, device=here.device).expand_as(here)
    given: tuple[Any, ...] = tuple(question.network.inputs[0].shape[1:])
    if name not in {v.name for v in question.network.inputs} and tuple(value.shape) in (given, (1, *given), (question.batch, *given)):
        whole = value.to(here.device).expand(question.batch, *given)
        others = question.inputs[1:]
        return question.network.axes.batch_layout(name).batch_first(question.network.read((whole, *others), name)[name])
    raise InvalidInput(
        f"a baseline of shape {list(value.shape)} does not fit {name!r}, of which one sample has shape {list(here.shape[1:])}"
    )


def _broadcasts(value: Tensor, here: Tensor) -> bool:
    return value.ndim <= here.ndim and all(a in (1, b) for a, b in zip(reversed(value.shape), reversed(here.shape), strict=False))


def _read_background(data: Any, question: Question) -> list[Tensor]:
    """Data at the explained tensors, batch first."""
    network = question.network
    inputs = network.bind(data)
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
