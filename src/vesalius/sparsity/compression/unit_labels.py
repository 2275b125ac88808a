"""Labels of units that are joined as a graph is read: units that can only go together come to have one label.

Axes: K labels.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

FIXED = 0
"""The label of what is no unit, and stays."""


class UnitLabels:
    """A union of labels, with the reason why some of them must stay; reasons that came first are kept."""

    def __init__(self) -> None:
        self.parent = torch.zeros(1, dtype=torch.long)
        self.reason = torch.zeros(1, dtype=torch.long)
        self.reasons: list[str] = []
        self.zeros = torch.zeros(1, dtype=torch.bool)
        self.fix(self.parent, "it is no unit of a layer")

    def fresh(self, count: int) -> Int[Tensor, " K"]:
        """New labels."""
        found = torch.arange(len(self.parent), len(self.parent) + count)
        self.parent = torch.cat([self.parent, found])
        self.reason = torch.cat([self.reason, torch.zeros(count, dtype=torch.long)])
        self.zeros = torch.cat([self.zeros, torch.zeros(count, dtype=torch.bool)])
        return found

    def find(self, labels: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The one label of all that are joined."""
        found = narrow_repeats(labels)
        while not torch.equal(further := self.parent[found], found):
            found = further
        return found.expand(labels.shape)

    def join(self, some: Int[Tensor, "..."], others: Int[Tensor, "..."], reason: str) -> None:
        """Let each label be one with its partner; what meets a fixed one stays, for the reason given."""
        some, others = (part.expand(torch.broadcast_shapes(some.shape, others.shape)) for part in (some, others))
        axes = [axis for axis in range(some.ndim) if some.stride(axis) == others.stride(axis) == 0]
        pairs = torch.stack([_narrow(part, axes).flatten() for part in (some, others)])
        pairs = pairs[:, pairs[0] != pairs[1]].unique(dim=1)
        meets = (pairs == FIXED).any(0)
        self.fix(pairs[:, meets], reason)
        pairs = pairs[:, ~meets]
        while True:
            pairs = self.find(pairs).sort(dim=0).values
            pairs = pairs[:, pairs[0] != pairs[1]]
            if not pairs.shape[1]:
                return
            low, high = pairs
            self.parent.scatter_reduce_(0, high, low, "amin")
            self._spread(low, high)

    def _spread(self, low: Tensor, high: Tensor) -> None:
        """Flags of several labels that come to one at the same time."""
        top = self.find(low)
        for source in (low, high):
            self.reason.scatter_reduce_(0, top, self.reason[source], "amax")
            self.zeros[top[self.zeros[source]]] = True

    def join_along(self, labels: Int[Tensor, "..."], axis: int, reason: str) -> None:
        """Let labels that differ along an axis be one."""
        self.join(labels, labels.narrow(axis, 0, 1), reason)

    def fix(self, labels: Int[Tensor, "..."], reason: str) -> None:
        """Let labels stay."""
        found = self.find(labels).unique()
        found = found[self.reason[found] == 0]
        if len(found):
            self.reasons.append(reason)
            self.reason[found] = (1 << 40) - len(self.reasons)

    def need_zeros(self, labels: Int[Tensor, "..."]) -> None:
        """Let labels be of units that may go only where they are 0."""
        self.zeros[self.find(labels).unique()] = True

    def is_fixed(self, labels: Int[Tensor, "..."]) -> Bool[Tensor, "..."]:
        """Whether labels stay."""
        return self.reason[self.find(labels)] > 0

    def why(self, label: int) -> str:
        """The reason why a label stays; empty if it does not."""
        code = int(self.reason[self.find(torch.tensor([label]))])
        return self.reasons[(1 << 40) - code - 1] if code else ""

    def varies(self, labels: Int[Tensor, "..."]) -> list[int]:
        """Axes along which labels differ."""
        found = narrow_repeats(self.find(labels))
        return [axis for axis in range(found.ndim) if bool((found != found.narrow(axis, 0, 1)).any())]


def _narrow(labels: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        labels = labels.narrow(axis, 0, min(1, labels.shape[axis]))
    return labels


def narrow_repeats(labels: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Labels without the axes along which memory says that they are the same."""
    return _narrow(labels, [axis for axis in range(labels.ndim) if labels.stride(axis) == 0])
