"""What is audited: one sample, its players, what stands in for absent ones, and the same question about masked samples.

Everything is computed in float64, since the Moebius transform multiplies rounding; opaque networks keep the precision they have.

Axes: N coalitions, P players, M stand-ins averaged over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.default_players import default_players
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players
from vesalius.games.absence import Absence, Baseline, Constant, as_absence, describe_absence
from vesalius.games.game import Game
from vesalius.games.interior_question import divide_no_value, sites_of
from vesalius.games.network_game import characteristic_of_sample
from vesalius.trace.network import Network
from vesalius.trace.question import Question, ask, to_float64
from vesalius.trace.receive import Received, resolve_classes
from vesalius.trace.target import Target

At = str | Sequence[str] | None


@dataclass(frozen=True, eq=False)
class AuditProblem:
    """One sample, ready to be masked.

    Attributes:
        question: about the one sample, its target fixed to a class.
        players: who may be absent.
        stand_ins: [M *event] per explained tensor, bystanders as the sample has them.
        moved: whether methods may look elsewhere than where the players live (Grad-CAM at its own layer).
        baseline: the baseline in words.
        rounding: relative rounding of the network as it was given; foreign maps have at least that.
    """

    question: Question
    players: Players
    stand_ins: tuple[Shaped[Tensor, "M ..."], ...]
    moved: bool
    baseline: str
    rounding: float

    @property
    def epsilon(self) -> float:
        """Relative rounding of a single operation of the network, as it is audited."""
        return float(torch.finfo(self.question.total.dtype).eps)

    @property
    def sample(self) -> tuple[Tensor, ...]:
        """The explained tensors of the sample, [*event] each."""
        return tuple(tensor[0] for tensor in self.question.present)

    @property
    def repeats(self) -> int:
        """Number of stand-ins averaged over."""
        return len(self.stand_ins[0])

    @property
    def inputs_explained(self) -> bool:
        """Whether the players live in the network's inputs."""
        names = {value.name for value in self.question.network.inputs}
        return set(self.question.at) <= names

    def game(self) -> Game:
        """The game of the masked sample, averaged over the stand-ins."""
        masked = characteristic_of_sample(self.question, self.players, tuple(fill[None] for fill in self.stand_ins), 0)
        return Game(masked.value, self.players, batch=masked.batch)

    def masked(self, masks: Bool[Tensor, "N P"], which: int) -> tuple[Tensor, ...]:
        """The sample under each coalition, [N *event] per explained tensor, absent parts from one stand-in."""
        return self.players.compose(masks, self.sample, [fill[which] for fill in self.stand_ins])

    def halfway(self, masks: Bool[Tensor, "N P"]) -> Float[Tensor, " N"]:
        """Outputs in the middle between stand-ins and masked samples, the mean over stand-ins; NaN where there is no middle (tokens,
        values that depend on each other)."""
        if self.question.dependent is not None or not all(tensor.is_floating_point() for tensor in self.question.present):
            return torch.full((len(masks),), math.nan, dtype=torch.float64)
        found = torch.zeros(len(masks), dtype=torch.float64)
        for which in range(self.repeats):
            middle = [(here + fill[which]) / 2 for here, fill in zip(self.masked(masks, which), self.stand_ins, strict=True)]
            found += self.about(middle).total.detach().double().cpu() / self.repeats
        return found

    def masked_question(self, masks: Bool[Tensor, "N P"], which: int, place: str | None = None) -> Question:
        """The same question about the sample under each coalition, absent parts from one stand-in."""
        if self.question.dependent is None:
            return self.about(self.masked(masks, which), place)
        return _mask_dependent(self, masks, which)

    def about(self, present: Sequence[Tensor], place: str | None = None) -> Question:
        """The same question about other values [N *event] of the explained tensors, asked where they are or at another ``place``."""
        here = self.question
        count = len(present[0])
        if not self.inputs_explained:
            return _repeat_question(here, tuple(present), count)
        given = dict(zip(here.at, present, strict=True))
        names = [value.name for value in here.network.inputs]
        inputs = tuple(given.get(name, tensor.expand(count, *tensor.shape[1:])) for name, tensor in zip(names, here.inputs, strict=True))
        return ask(here.network, inputs, target=here.given_target, at=here.at if place is None else place)

    def absence(self, which: int, place: str | None = None) -> Absence:
        """One stand-in as a baseline, as it is or taken to another ``place``."""
        one = tuple(fill[which] for fill in self.stand_ins)
        if place is not None:
            one = tuple(tensor[0] for tensor in self.about([tensor[None] for tensor in one], place).present)
        return Constant(value=one)


def pose_problem(
    received: Received, players: Players | Allocation | None, *, target: Target, baseline: Baseline, at: At, direct: bool = False
) -> AuditProblem:
    """Pose the question, fix its target, and take sample and stand-ins to float64.

    Args:
        received: network and sample.
        players: who may be absent; or an allocation, for its players, where they live, and whether its effects are direct ones.
        target, baseline, at, direct: see :func:`vesalius.audit`.

    Raises:
        WrongType: not a network, not players.
        InvalidInput: more than one sample, players that do not fit, links.
    """
    network = received.network
    direct = direct or (isinstance(players, Allocation) and bool(players.provenance.get("direct")))
    players = named_players(received, players, (), at, target) if players is None else players
    who, at = _resolve_players(network, players, at)
    given = ask(network, received.x, target=resolve_classes(target, received.classes, received.outputs), at=at, direct=direct)
    absence = as_absence(baseline, given)
    if given.batch != 1:
        raise InvalidInput(f"an audit is about one sample; {given.batch} came: take x[i]")
    who.check(tuple(tensor[0] for tensor in given.present))
    fills = tuple(fill[0].double() if fill.is_floating_point() and not network.opaque else fill[0] for fill in absence.fill(given))
    question = given if network.opaque else to_float64(given)
    positions = question.pick.positions
    if positions is not None:
        question = ask(question.network, question.inputs, target=tuple(positions[0].tolist()), at=question.at, direct=direct)
    nobody = torch.zeros(1, who.n, dtype=torch.bool)
    alone = [who.compose(nobody, [t[0] for t in question.present], [fill[m] for fill in fills]) for m in range(len(fills[0]))]
    stand_ins = tuple(torch.cat(site) for site in zip(*alone, strict=True))
    moved = at is None or (isinstance(players, Allocation) and _among_inputs(network, at))
    return AuditProblem(question, who, stand_ins, moved, describe_absence(absence, given), torch.finfo(given.total.dtype).eps)


def named_players(received: Received, players: Players | None, names: Sequence[str], at: At, target: Target = None) -> Players:
    """The players, by default those a user would expect, with the names of the columns where they have none."""
    if players is None:
        question = ask(received.network, received.x, target=resolve_classes(target, received.classes), at=at)
        players = default_players([tensor[0] for tensor in question.present])
    if not isinstance(players, Players):
        raise WrongType(f"players are a Players, or an Allocation that has them, not {type(players).__name__}")
    return players.named(names or received.columns(at), strict=bool(names))


def _resolve_players(network: Network, players: Players | Allocation, at: At) -> tuple[Players, At]:
    """The players, and where they live."""
    if isinstance(players, Allocation) and players.players.sites:
        players = players.players
    if isinstance(players, Allocation):
        places = tuple(players.provenance.get("at", ()))
        only = len(network.inputs) == 1 and _among_inputs(network, places)
        return players.players, (places if at is None and places and not only else at)
    if not isinstance(players, Players):
        raise WrongType(f"players are a Players, or an Allocation that has them, not {type(players).__name__}")
    if players.kind == "links":
        raise InvalidInput("links have no attribution maps to audit; choose players within the input or an inner value")
    if divide_no_value(players):
        raise InvalidInput(
            f"{players.kind} have no attribution maps to audit; choose heads, neurons or layers: vesalius.Players.heads(net)"
        )
    if players.kind == "units" and players.layer and at is None:
        return players, network.layer(players.layer).value
    return players, sites_of(players, at)


def _among_inputs(network: Network, at: At) -> bool:
    return set((at,) if isinstance(at, str) else at or ()) <= {value.name for value in network.inputs}


def _widen(question: Question, present: tuple[Tensor, ...], count: int) -> Question:
    """A question about one sample as one about many values of an inner tensor, its totals yet to be computed."""
    assert question.subgraph is not None, "only a traced network has inner values"
    cut = replace(question.subgraph, context=_repeat(question.subgraph.context, count))
    return replace(question, present=present, inputs=_repeat(question.inputs, count), subgraph=cut, head=cut.head, single=False)


def _repeat(tensors: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    return tuple(tensor.expand(count, *tensor.shape[1:]) for tensor in tensors)


def _mask_dependent(problem: AuditProblem, masks: Bool[Tensor, "N P"], which: int) -> Question:
    """A question about one sample, asked about it under each coalition; later values are computed anew where they are present."""
    dependent = problem.question.dependent
    assert dependent is not None
    wide = _widen(problem.question, problem.masked(masks, which), len(masks))
    presence = problem.players.presence(masks, problem.sample)
    kept = tuple(presence[place] for place in dependent.later)
    wide = replace(wide, dependent=replace(dependent, context=_repeat(dependent.context, len(masks)), kept=kept))
    everything = [torch.ones_like(here) for here in presence]
    rows = torch.arange(len(masks), device=wide.present[0].device)
    with torch.no_grad():
        return replace(wide, total=wide.score_overwritten(wide.present, everything, [fill[which] for fill in problem.stand_ins], rows))


def _repeat_question(question: Question, present: tuple[Tensor, ...], count: int) -> Question:
    """A question about one sample, asked about many values of an inner tensor."""
    wide = _widen(question, present, count)
    rows = torch.arange(count, device=present[0].device)
    with torch.no_grad():
        return replace(wide, total=wide.score(present, rows))


def masked_model_question(problem: AuditProblem, masks: Bool[Tensor, "N P"], which: int) -> Question:
    """The masked *model* at the whole sample: whatever a method adds to absent players is masked too."""
    present = tuple(tensor[None].expand(len(masks), *tensor.shape) for tensor in problem.sample)
    question = problem.about(present)
    kept = problem.players.presence(masks, problem.sample)
    absent = [fill[which] for fill in problem.stand_ins]

    def head(values: Sequence[Tensor], rows: Tensor) -> Tensor:
        seen = []
        for value, mask, gone in zip(values, kept, absent, strict=True):
            seen.append(torch.where(mask[rows], value, gone))
        return question.head(seen, rows)

    inside = replace(question, head=head, subgraph=None)
    with torch.no_grad():
        return replace(inside, total=inside.score(present, torch.arange(len(masks), device=present[0].device)))


def table_question(problem: AuditProblem, values: Float[Tensor, " S"], weights: Float[Tensor, "B K"]) -> tuple[Question, Players]:
    """Games whose values are known already, as a question: each row is a game of K players, in the table at the places they weigh.

    Args:
        problem: for the network it was measured on.
        values: the game of all players, in index order.
        weights: what each player of a game adds to the index of a coalition; 0 for players without effect.
    """
    size = weights.shape[1]

    def head(given: Sequence[Tensor], rows: Tensor) -> Tensor:
        return values[(given[0] * weights[rows]).sum(1).long()]

    ones = torch.ones_like(weights)
    players = Players((torch.arange(size),), (size,), "features")
    total = values[weights.sum(1).long()]
    here = problem.question
    question = Question(here.network, ("players",), (ones,), here.target, False, (ones,), "", head, type(here.pick)(), total)
    return question, players


def split_masks(masks: Bool[Tensor, "N P"], most: int = 2048) -> Iterator[Bool[Tensor, "n P"]]:
    """Coalitions in parts whose masked samples are held at once."""
    yield from masks.split(most)
