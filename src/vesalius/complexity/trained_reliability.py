"""Reliability as the paper trains it: a common feature that all networks' are linear maps of, and what survives going there and back.

Kept for comparison. Beware: where the maps out of the common feature are invertible, and trained ones are unless something stops them, maps
back exist that lose nothing, and everything comes out reliable; what is below 1 then tells how far training got. Use
:func:`vesalius.complexity.reliability.match_features`.

Axes: L orders, K networks, N rows, C channels, A channels of another network, grid: positions, if any.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor, nn

from vesalius.complexity.schedule import exponential_schedule
from vesalius.complexity.strength import strengths
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput
from vesalius.core.numbers import POSITIVE, POSITIVE_COUNT, Limit
from vesalius.core.options import Options

BATCH = 256
"""Rows evaluated at once."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityTraining(Options):
    """How the common feature and the maps are trained. The paper: 500 and 100 epochs of 2,000 rows.

    Attributes:
        epochs: for the common feature and the maps out of it.
        loop_epochs: for the maps back.
        batch: rows of a step.
        rates: first and last learning rate of the former.
        loop_rates: of the latter.
        loops: times there and back while training the maps back, and for the reliable part.
        seed: of maps and of the order of rows.

    Raises:
        InvalidInput: a number out of range.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "epochs": POSITIVE_COUNT,
        "loop_epochs": POSITIVE_COUNT,
        "batch": POSITIVE_COUNT,
        "rates": POSITIVE,
        "loop_rates": POSITIVE,
        "loops": POSITIVE_COUNT,
    }
    epochs: int = 50
    loop_epochs: int = 10
    batch: int = 64
    rates: tuple[float, float] = (1e-3, 1e-5)
    loop_rates: tuple[float, float] = (1e-3, 1e-4)
    loops: tuple[int, int] = (10, 5)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TrainedReliability:
    """What came back of the common feature of each order.

    Attributes:
        parts: [L N *event] reliable component of each order: differences of what came back of neighbouring orders.
    """

    parts: Float[Tensor, "L N *event"]

    def ratio(self, parts: Float[Tensor, "L N *event"]) -> Float64[Tensor, " L"]:
        """Variance of the reliable sum of orders up to l over that of the sum of components: not a share, since both are trained apart.

        Args:
            parts: components of the target's feature, of the same orders.

        Reference: Ren2021, section 3. Differs from the closed form: above 1 is possible.
        """
        return strengths(self.parts.cumsum(0)) / strengths(parts.cumsum(0))


@verb
def trained_reliability(
    nets: Sequence[nn.Module],
    x: Shaped[Tensor, "N *input"],
    features: Sequence[Float[Tensor, "N _ *grid"]],
    *,
    how: ReliabilityTraining | None = None,
) -> TrainedReliability:
    """Train, for every order, a common feature of several networks, and send it there and back.

    Args:
        nets: an untrained network per order, in increasing order, from inputs to a feature of the target's shape; copies are trained, and
            each starts from the weights of the one before wherever names and shapes agree.
        x: inputs.
        features: of the target, which comes first, and of other networks of the same task, for these rows on one grid.
        how: training.

    Raises:
        InvalidInput: no network, fewer than two features, or shapes that do not fit.

    Reference: Ren2021, section 3 (reliability), as its code has it. Differs from the code: within a batch the loops follow each other,
    instead of a pass over all rows per loop, and rows are not drawn with replacement.
    """
    training = how or ReliabilityTraining()
    if not nets or len(features) < 2:
        raise InvalidInput(f"at least one network and the features of two are needed, not {len(nets)} and {len(features)}")
    if any(len(feature) != len(x) or feature.shape[2:] != features[0].shape[2:] for feature in features):
        raise InvalidInput(f"features of shapes {[list(f.shape) for f in features]} do not belong to {len(x)} rows on one grid")
    before: nn.Module | None = None
    back: list[Tensor] | None = None
    sums = []
    for place, net in enumerate(nets):
        before = _warm_start(copy.deepcopy(net), before)
        there = _train_common_feature(before, x, features, training)
        with torch.no_grad():
            phi = torch.cat([before(rows) for rows in x.split(BATCH)])
        if phi.shape != features[0].shape:
            raise InvalidInput(f"network {place} gives {list(phi.shape)}, but the target's feature has shape {list(features[0].shape)}")
        back = return_maps(phi, there, how=training, start=back)
        sums.append(_convolve_1x1(round_trip(phi, there, back, training.loops[1]), there[0]))
    stacked = torch.stack(sums)
    return TrainedReliability(torch.cat([stacked[:1], stacked.diff(dim=0)]))


def return_maps(
    phi: Float[Tensor, "N C *grid"],
    there: Sequence[Float[Tensor, "C _"]],
    *,
    how: ReliabilityTraining,
    start: Sequence[Tensor] | None = None,
) -> list[Float[Tensor, "_ C"]]:
    """Train maps back from every network's feature to the common one.

    At the optimum the maps back undo the maps there on all that those keep, so an invertible map keeps everything.

    Args:
        phi: the common feature.
        there: maps from it to each network's feature.
        how: training.
        start: maps to start from; random ones by default.
    """
    draw = torch.Generator().manual_seed(how.seed)
    first = [_random_map(way.shape[1], way.shape[0], draw, way) for way in there] if start is None else [way.clone() for way in start]
    back = [way.requires_grad_() for way in first]
    optimiser = torch.optim.Adam(back, lr=how.loop_rates[0])
    for _ in exponential_schedule(optimiser, how.loop_rates, how.loop_epochs):
        for rows in torch.randperm(len(phi), generator=draw).to(phi.device).split(how.batch):
            psi = phi[rows]
            for _ in range(how.loops[0]):
                optimiser.zero_grad()
                returned = [_convolve_1x1(_convolve_1x1(psi, way), home) for way, home in zip(there, back, strict=True)]
                torch.stack([(one - psi).square().mean() for one in returned]).sum().backward()
                psi = torch.stack(returned).mean(0).detach()
                optimiser.step()
    return [way.detach() for way in back]


def round_trip(
    phi: Float[Tensor, "N C *grid"], there: Sequence[Float[Tensor, "C _"]], back: Sequence[Float[Tensor, "_ C"]], loops: int
) -> Float[Tensor, "N C *grid"]:
    """What is left of the common feature after so many times to all networks and back, mean over the networks."""
    for _ in range(loops):
        phi = torch.stack([_convolve_1x1(_convolve_1x1(phi, way), home) for way, home in zip(there, back, strict=True)]).mean(0)
    return phi


def _train_common_feature(
    net: nn.Module, x: Shaped[Tensor, "N *input"], features: Sequence[Float[Tensor, "N _ *grid"]], how: ReliabilityTraining
) -> list[Float[Tensor, "C _"]]:
    """Train a network and the maps out of its output; the network is left in evaluation mode."""
    draw = torch.Generator().manual_seed(how.seed)
    width = features[0].shape[1]
    there = [_random_map(width, feature.shape[1], draw, feature).requires_grad_() for feature in features]
    optimiser = torch.optim.Adam([*net.parameters(), *there], lr=how.rates[0])
    net.train()
    for _ in exponential_schedule(optimiser, how.rates, how.epochs):
        for rows in torch.randperm(len(x), generator=draw).to(x.device).split(how.batch):
            optimiser.zero_grad()
            phi = net(x[rows])
            torch.stack(
                [(_convolve_1x1(phi, way) - f[rows]).square().mean() for way, f in zip(there, features, strict=True)]
            ).sum().backward()
            optimiser.step()
    net.eval()
    return [way.detach() for way in there]


def _warm_start(net: nn.Module, before: nn.Module | None) -> nn.Module:
    """Weights of the network before, wherever names and shapes agree."""
    own, given = net.state_dict(), {} if before is None else before.state_dict()
    net.load_state_dict({name: given[name] if name in given and given[name].shape == value.shape else value for name, value in own.items()})
    return net


def _random_map(inner: int, outer: int, draw: torch.Generator, like: Tensor) -> Float[Tensor, "inner outer"]:
    found: Tensor = torch.randn(inner, outer, generator=draw, dtype=torch.float32) / inner**0.5
    return found.to(like)


def _convolve_1x1(z: Float[Tensor, "N C *grid"], way: Float[Tensor, "C A"]) -> Float[Tensor, "N A *grid"]:
    """A 1x1 convolution without bias."""
    return (z.movedim(1, -1) @ way).movedim(-1, 1)
