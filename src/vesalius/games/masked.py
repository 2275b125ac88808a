"""Games on networks: one sample, some players, and what stands in for those who are absent.

Axes: N coalitions, P players, M stand-ins averaged over.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.games.absence import Baseline, as_absence
from vesalius.games.game import Game
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question, Target, ask

CPU_BYTES = 1 << 26
"""Working set of one batch on a CPU: larger ones fall out of the caches and are slower per sample (measured on ResNet-20)."""
DEVICE_SHARE = 0.25
"""Share of an accelerator's free memory that one batch may take."""


def play(network: Network, x: Inputs, players: Players, *, target: Target = None, baseline: Baseline = None, at: str | None = None) -> Game:
    """The game of one sample.

    Args:
        network: what is played on.
        x: one sample, with or without its batch axis.
        players: who plays; units and links bring their layer with them.
        target: what is explained, see :func:`vesalius.trace.question.ask`.
        baseline: what stands in for absent players; zero by default.
        at: where the players live, if not in the input.

    Raises:
        InvalidInput: more than one sample, players that do not fit.
    """
    place = network.layer(players.layer).value if players.kind == "units" and players.layer else at
    question = ask(network, x, target=target, at=place)
    if question.batch != 1:
        raise InvalidInput(f"a game is about one sample; {question.batch} came. Loop over them, or use vesalius.attribute")
    if players.kind == "links":
        return link_game(question, players)
    return sample_game(question, players, as_absence(baseline).fill(question), 0)


def sample_game(question: Question, players: Players, stand_ins: Sequence[Float[Tensor, "B M *event"]], sample: int) -> Game:
    """The game of one sample of a question, with what stands in for absent parts (from ``Absence.fill``)."""
    present = tuple(tensor[sample] for tensor in question.present)
    players.check(present)
    fills = tuple(fill[sample] for fill in stand_ins)
    count = len(fills[0])

    def value(masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        rows = torch.full((len(masks),), sample, device=present[0].device)
        with torch.no_grad():
            each = [question.score(players.compose(masks, present, [fill[m] for fill in fills]), rows).double() for m in range(count)]
        return torch.stack(each).mean(0)

    return Game(value, players, batch=batch_size(question.network, present[0].device))


def link_game(question: Question, players: Players) -> Game:
    """The game of a layer's weights: an absent link has weight zero."""
    network = question.network
    layer = network.layer(players.layer or "")
    weight = network.parameters[layer.weight]
    names = [value.name for value in network.inputs]
    program = network.program([*names, layer.weight], [network.graph("a game on links").output])
    rows = torch.zeros(1, dtype=torch.long, device=weight.device)

    def value(masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        with torch.no_grad():
            kept = players.expand(masks.to(weight.device)).reshape(-1, *weight.shape)
            return torch.cat([question.pick(program(*question.inputs, weight * mask)[0], rows) for mask in kept])

    return Game(value, players, batch=64)


def batch_size(network: Network, device: torch.device) -> int:
    """Samples that fit into the memory budget of a device at once."""
    budget = CPU_BYTES
    if device.type == "cuda":
        budget = int(torch.cuda.mem_get_info(device)[0] * DEVICE_SHARE)
    return int(max(1, min(4096, budget // network.sample_bytes)))
