"""Where relevance went that reached no player, and whose it was.

Axes: B samples; * any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.trace.axes import BatchLayout


@dataclass(frozen=True, eq=False)
class SampleAxis:
    """Which sample each part of a tensor belongs to.

    Attributes:
        axis: the axis that tells samples apart.
        rows: the sample of each position along it; ``None`` where the axis is the batch itself.
        by_shape: whether it follows from shapes alone, so that it is the same in every run of this shape.
    """

    axis: int
    rows: Int[Tensor, " positions"] | None = None
    by_shape: bool = False

    def per_sample(self, amount: Tensor, batch: int) -> Float[Tensor, " B"]:
        """Sums of a tensor over all that belongs to each sample, in double precision."""
        others = [axis for axis in range(amount.ndim) if axis != self.axis]
        sums = amount.sum(others, dtype=torch.float64) if others else amount.double()
        if self.rows is None:
            return sums
        return torch.zeros(batch, dtype=torch.float64, device=sums.device).index_add(0, self.rows.to(sums.device), sums)

    def sample_ids(self, shape: torch.Size) -> Tensor:
        """The sample of every element of a tensor of this shape."""
        rows = torch.arange(shape[self.axis]) if self.rows is None else self.rows.cpu()
        return rows.double().reshape([-1 if axis == self.axis else 1 for axis in range(len(shape))]).expand(shape).contiguous()


def read_sample_axis(owners: Tensor) -> SampleAxis:
    """The axis along which the owner of elements changes, and the owner at each position; NaN where an element is nobody's.

    Raises:
        InvalidInput: no single axis tells samples apart.
    """
    if not owners.numel():  # an expert that nobody was sent to
        return SampleAxis(0, torch.zeros(len(owners), dtype=torch.long))
    for axis in range(owners.ndim):
        rows = owners.movedim(axis, 0).reshape(owners.shape[axis], -1)
        first = rows.nan_to_num(-1).amax(1, keepdim=True)
        if bool(((first >= 0) & ((rows == first) | rows.isnan())).all()):
            return SampleAxis(axis, first[:, 0].long())
    raise InvalidInput("relevance cannot be accounted for per sample, since samples are mixed inside; explain one sample at a time")


def read_batch_layout(layout: BatchLayout, batch: int) -> SampleAxis:
    """The same in a tensor of so many samples, where they are known to lie."""
    return SampleAxis(layout.axis, None if layout.is_plain else layout.sample_of_each(batch), by_shape=True)


class LazySampleAxis:
    """A place, worked out when first asked for: most values are never asked."""

    __slots__ = ("_asked", "_find", "_found")

    def __init__(self, find: Callable[..., SampleAxis], *asked: Any) -> None:
        self._find, self._asked = find, asked
        self._found: SampleAxis | None = None

    def __call__(self) -> SampleAxis:
        if self._found is None:
            self._found = self._find(*self._asked)
        return self._found


@dataclass(eq=False)
class AbsorbedRelevance:
    """Amounts per sample, by where they went: ``bias`` (constants of all kinds), ``stabiliser``, ``one_sided`` (neurons all of whose
    contributions have the sign that a rule leaves out), ``softmax`` (what its linear term leaves over), ``detached`` (what would have
    passed where the model's author cut the gradient).
    """

    batch: int
    accounts: dict[str, list[Float[Tensor, " B"]]] = field(default_factory=dict)

    def absorb(self, account: str, amount: Tensor, owner: LazySampleAxis) -> None:
        """Add an amount of relevance, element by element of some value."""
        self.accounts.setdefault(account, []).append(owner().per_sample(amount, self.batch))

    def totals(self) -> dict[str, Float[Tensor, " B"]]:
        """What every account came to."""
        return {account: torch.stack(amounts).sum(0) for account, amounts in sorted(self.accounts.items())}


class _AbsorbConstantFunction(torch.autograd.Function):
    """A value part of which is constant: that part's relevance is booked on the way back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, constant: Tensor, ledger: AbsorbedRelevance, owner: LazySampleAxis) -> Tensor:
        ctx.kept = constant, ledger, owner
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        constant, ledger, owner = ctx.kept
        if not constant.is_complex():
            constant = constant.nan_to_num(posinf=0.0, neginf=0.0)  # a mask of minus infinity gets no relevance
        ledger.absorb("bias", relevance_of(grad, constant), owner)
        return grad, None, None, None


def relevance_of(c: Tensor, value: Tensor) -> Tensor:
    """A value times its multiplier; of complex numbers, what the change from 0 counts in a real output."""
    return (c.conj() * value).real if c.is_complex() else c * value


def absorb_constant(value: Tensor, constant: Tensor, ledger: AbsorbedRelevance, owner: LazySampleAxis) -> Tensor:
    """A value with the account of its constant part, which is broadcastable to it."""
    found: Tensor = _AbsorbConstantFunction.apply(value, constant, ledger, owner)  # type: ignore[no-untyped-call]
    return found


class _CutFunction(torch.autograd.Function):
    """A value through which no relevance passes."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, ledger: AbsorbedRelevance, owner: LazySampleAxis) -> Tensor:
        ctx.kept = value.detach(), ledger, owner
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        value, ledger, owner = ctx.kept
        ledger.absorb("detached", torch.where(grad == 0, torch.zeros_like(value), relevance_of(grad, value)), owner)
        return torch.zeros_like(grad), None, None


def absorb_detached(value: Tensor, ledger: AbsorbedRelevance, owner: LazySampleAxis) -> Tensor:
    """A value that passes no relevance on, with an account of what would have passed."""
    found: Tensor = _CutFunction.apply(value, ledger, owner)  # type: ignore[no-untyped-call]
    return found
