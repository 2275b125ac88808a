"""A network that runs on some components of a feature instead of on the feature."""

from __future__ import annotations

from collections.abc import Callable, Collection, Set
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import is_number, whole_number, whole_numbers

if TYPE_CHECKING:
    from vesalius.complexity.components import Complexity


def component_network(found: Complexity, orders: int | Collection[int], *, rest: bool = False, seed: int = 0) -> ComponentNetwork:
    """The network on some components: :meth:`vesalius.Complexity.replace`."""
    if isinstance(orders, (bool, np.bool_)) or is_number(orders):
        most = whole_number("orders", orders)
        chosen = [order for order in found.orders if order <= most]
    else:
        chosen = sorted(set(whole_numbers("orders", sorted(orders) if isinstance(orders, Set) else orders)))
    if not 0 <= seed < len(found.nets):
        raise InvalidInput(f"there are {len(found.nets)} seeds, from 0; not {seed}")
    unknown = [order for order in chosen if order not in found.orders]
    if unknown or not (chosen or rest):
        wrong = f"no component has order {unknown[0]}" if unknown else "nothing would be left of the feature"
        raise InvalidInput(f"{wrong}; there are orders {', '.join(map(str, found.orders))}")
    return ComponentNetwork(found, tuple(chosen), rest=rest, seed=seed, head=found.reading.head)


@final
class ComponentNetwork(nn.Module):
    """Made by :meth:`vesalius.Complexity.replace`.

    Attributes:
        orders: of the components that are left.
        rest: whether what no order explains is left too.
    """

    def __init__(self, found: Complexity, orders: tuple[int, ...], *, rest: bool, seed: int, head: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.orders, self.rest = orders, rest
        self._found, self._seed, self._head = found, seed, head
        self._places = [found.orders.index(order) for order in orders]

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Float[Tensor, "B ..."]:
        """The network's output on what is left of the feature."""
        components = self._found.components(inputs, seed=self._seed)
        feature = components.parts[self._places].sum(0)
        return self._head(feature + components.rest if self.rest else feature)

    def extra_repr(self) -> str:
        """What is left, for ``print``."""
        return f"{self._found.at} by orders {', '.join(map(str, self.orders))}{' and the rest' if self.rest else ''}"
