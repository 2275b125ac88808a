"""A network that runs on some components of a feature instead of on the feature."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vesalius.complexity.features import cut_at
from vesalius.core.errors import InvalidInput

if TYPE_CHECKING:
    from vesalius.complexity.components import Complexity


@final
class Replaced(nn.Module):
    """The network with its feature replaced. Made by :meth:`vesalius.complexity.Complexity.replace`.

    Attributes:
        orders: of the components that are left.
        rest: whether what no order explains is left too.
    """

    def __init__(self, found: Complexity, orders: int | Collection[int], *, rest: bool = False, seed: int = 0) -> None:
        super().__init__()
        if found.source is None:
            raise InvalidInput("this result was loaded without its network; load it with Complexity.load(path, network=network)")
        chosen = [order for order in found.orders if order <= orders] if isinstance(orders, int) else sorted(set(orders))
        unknown = [order for order in chosen if order not in found.orders]
        if unknown or not (chosen or rest):
            wrong = f"no component has order {unknown[0]}" if unknown else "nothing would be left of the feature"
            raise InvalidInput(f"{wrong}; there are orders {', '.join(map(str, found.orders))}")
        self.orders, self.rest = tuple(chosen), rest
        self._found, self._seed = found, seed
        self._places = [found.orders.index(order) for order in chosen]
        self._head = cut_at(found.source.network, found.at, pre_activation=False).head

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Float[Tensor, "B ..."]:
        """The network's output on what is left of the feature."""
        components = self._found.components(inputs, seed=self._seed)
        feature = components.parts[self._places].sum(0)
        return self._head(feature + components.rest if self.rest else feature)

    def extra_repr(self) -> str:
        """What is left, for ``print``."""
        return f"{self._found.at} by orders {', '.join(map(str, self.orders))}{' and the rest' if self.rest else ''}"
