"""Numbers of nonlinear layers, and what a component between two of them covers."""

from __future__ import annotations

from collections.abc import Sequence

from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import Limit, whole_numbers


def check_orders(orders: Sequence[int]) -> tuple[int, ...]:
    """Numbers of nonlinear layers, rising.

    Raises:
        WrongType, InvalidInput: others.
    """
    found = whole_numbers("orders", orders, Limit(least=0))
    if not found or sorted(set(found)) != list(found):
        raise InvalidInput(f"orders are whole numbers from 0 up, each larger than the one before, such as (0, 1, 2, 4); not {orders!r}")
    return found


def order_bands(orders: Sequence[int], dash: str = "\N{EN DASH}") -> list[str]:
    """What each component covers: ``0``, ``1``, ``3-4``."""
    before = [-1, *orders[:-1]]
    return [str(order) if order - last <= 1 else f"{last + 1}{dash}{order}" for last, order in zip(before, orders, strict=True)]
