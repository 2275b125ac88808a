"""Statistics that are sums over rows, or made of such: taken in parts, on one machine or on many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Statistic(Protocol):
    """What is a sum over rows, or made of such sums: merged parts equal one pass over all rows, in any order and split."""

    def add(self, batch: Any) -> None:
        """Take in some rows."""

    def merge(self, other: Any) -> None:
        """Take in all rows that another statistic of the same kind has."""

    def result(self) -> Any:
        """What is known now."""


@runtime_checkable
class StoredStatistic(Statistic, Protocol):
    """A statistic whose sums can be sent and kept."""

    def to_tensors(self) -> dict[str, Tensor]:
        """The sums, without what is the same for all parts."""

    def with_sums(self, tensors: Mapping[str, Tensor]) -> Any:
        """The same question with the sums that a file holds."""
