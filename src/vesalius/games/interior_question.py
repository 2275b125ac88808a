"""Questions about parts of a network's inside: what the players say of where they are, and gates where a gradient must reach them.

Heads of two layers are no variables of their own: what the later ones compute depends on the earlier ones. Games overwrite what is absent
where it stands (:mod:`vesalius.trace.sites`); for gradients, each player has a *gate*, 1 where it is there and 0 where its stand-in is, and
all that lies behind is computed anew. Edges have gates in games and gradients alike.

Axes: B samples, N rows, P players, E edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.interior_players import EDGE_SITES, EXPERT_SITES
from vesalius.core.players import Players
from vesalius.games.absence import Absence, Baseline, Constant, as_absence, describe_absence
from vesalius.trace.edge_graph import EdgeGraph, build_edge_graph
from vesalius.trace.experts import build_routed_program
from vesalius.trace.gated_sites import build_gated_program
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import HeadFunction, Question, ask
from vesalius.trace.target import Target

At = str | Sequence[str] | None


@final
@dataclass(frozen=True, eq=False)
class ClosedGates(Absence):
    """All gates closed: whatever stands in for absent players is behind them.

    Attributes:
        words: what stands in.
    """

    words: str

    def fill(self, question: Question) -> tuple[Shaped[Tensor, "B M ..."], ...]:
        return tuple(torch.zeros_like(here)[:, None] for here in question.present)

    def describe(self) -> str:
        return self.words


def sites_of(players: Players | None, at: At) -> At:
    """Where players live: where they say, else where it was said.

    Raises:
        InvalidInput: both, and they differ.
    """
    if players is None or not players.sites:
        return at
    named = (at,) if isinstance(at, str) else tuple(at or players.sites)
    if named != players.sites and set(named) != set(players.sites):
        raise InvalidInput(f"these {players.kind} bring the values with them that they divide; leave at={at!r} out")
    return None if divide_no_value(players) else players.sites


def divide_no_value(players: Players) -> bool:
    """Whether players are edges or experts of a network, which divide no value of it and have gates alone."""
    return players.sites in (EDGE_SITES, EXPERT_SITES)


def ask_for_players(  # noqa: PLR0913 - what a verb was asked
    network: Network,
    x: Inputs,
    players: Players | None,
    *,
    target: Target,
    baseline: Baseline,
    at: At,
    direct: bool = False,
    plays: bool = True,
) -> tuple[Question, Absence]:
    """The question about some players, and what stands in for those who are absent.

    Args:
        network: traced or opaque.
        x: samples.
        players: who is asked about; ``None``: elements of what is explained.
        target, baseline, at, direct: see :func:`vesalius.attribute`.
        plays: whether coalitions are evaluated; else gradients are taken, for which parts that depend on each other have gates.

    Raises:
        InvalidInput: players and ``at`` that contradict each other; direct effects of edges; several stand-ins behind gates.
    """
    place = sites_of(players, at)
    if players is not None and divide_no_value(players):
        if direct:
            raise InvalidInput(f"behind {players.kind} everything is computed anew; leave direct=True out")
        asked = edge_question if players.sites == EDGE_SITES else expert_question
        return asked(network, x, players, target=target, baseline=baseline)
    question = ask(network, x, target=target, at=place, direct=direct)
    if players is None or not players.sites:
        return question, as_absence(baseline, question)
    absence = as_absence(_inputs_inside(baseline, question), question)
    return (question, absence) if plays or question.dependent is None else _site_question(question, players, absence)


def _inputs_inside(baseline: Baseline, question: Question) -> Baseline:
    """A baseline in which one tensor in the shape of the network's only floating input is that input, taken to every site.

    Elsewhere a tensor that fits an inner value is that value; several values that are parts of the inside have no common value.
    """
    given = baseline.value if isinstance(baseline, Constant) else baseline
    network, inputs = question.network, question.inputs
    if not isinstance(given, Tensor) or len(inputs) != 1 or not given.is_floating_point() or not inputs[0].is_floating_point():
        return baseline
    rows = given if given.ndim == inputs[0].ndim else given[None]
    if (
        rows.shape[1:] != inputs[0].shape[1:]
        or len(rows) not in (1, question.batch)
        or (len(rows) > 1 and not isinstance(baseline, Constant))
    ):
        return baseline
    names = {value.name for value in network.inputs}
    with torch.no_grad():
        found = network.read(network.bind(rows, holder="baseline"), [site for site in question.at if site not in names])
    values = [rows if site in names else network.axes.batch_layout(site).batch_first(found[site]) for site in question.at]
    return Constant(tuple(values) if len(values) > 1 else values[0])


def edge_question(network: Network, x: Inputs, players: Players, *, target: Target, baseline: Baseline) -> tuple[Question, Absence]:
    """A question about edges of the residual stream: its explained tensor is their gates [B E].

    Raises:
        InvalidInput: edges of another network; several stand-ins.
    """
    edges = EdgeRun.of(network, x, target=target, baseline=baseline)
    if edges.graph.stream.edge_names != players.labels:
        raise InvalidInput(f"these {players.n} edges are of another network than {network.name}; make them of this one: Players.edges(net)")
    return edges.question(), ClosedGates(edges.words)


def expert_question(network: Network, x: Inputs, players: Players, *, target: Target, baseline: Baseline) -> tuple[Question, Absence]:
    """A question about experts: its explained tensor is their gates [B P].

    Raises:
        InvalidInput: experts of another network; a baseline that is not 0.
    """
    routers = network.axes.interior.routers
    known = [f"L{one.layer}E{expert}" for one in routers for expert in range(one.experts)]
    if not set(players.labels) <= set(known):
        raise InvalidInput(f"these {players.n} experts are of another network than {network.name}; make them of this one")
    base = ask(network, x, target=target, at=tuple(one.weights for one in routers), direct=True)
    absence = as_absence(baseline, base)
    if not isinstance(absence, Constant) or isinstance(absence.value, (Tensor, tuple, list)) or absence.value != 0:
        raise InvalidInput("an absent expert is given nothing, so its baseline is 0; leave baseline= out")
    inside = base.network.axes
    program = build_routed_program(inside.model_graph, inside.values, routers, base.end)
    places = torch.tensor([known.index(name) for name in players.labels], device=base.present[0].device)

    def head(values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Tensor:
        gates = values[0].new_ones(len(rows), len(known)).index_copy(1, places, values[0])
        output: Tensor = program(*(tensor.index_select(0, rows) for tensor in base.inputs), gates)[0]
        return output

    return _gated(base, "experts", players.n, head, base.network.sample_bytes), ClosedGates("nothing")


@dataclass(frozen=True, eq=False)
class EdgeRun:
    """A network with gates on its edges, samples, and what writers write where they are absent.

    Attributes:
        base: the question about the network as it is.
        graph: programs of the edges.
        absent: what each writer writes where it is absent, [B M] each.
        words: the baseline in words.
    """

    base: Question
    graph: EdgeGraph
    absent: tuple[Tensor, ...]
    words: str

    @classmethod
    def of(cls, network: Network, x: Inputs, *, target: Target, baseline: Baseline) -> EdgeRun:
        """Samples on a network, and a baseline at what its writers are made of."""
        stream = network.axes.interior.stream
        network.axes.interior.edges()
        sources = tuple(dict.fromkeys(one.value if one.attention is None else one.attention.value for one in stream.writers))
        base = ask(network, x, target=target, at=sources, direct=True)
        absence = as_absence(_inputs_inside(baseline, base), base)
        fills = _only_stand_in(absence.fill(base), "edges")
        known = base.network.axes.interior.programs
        if base.end not in known:
            known[base.end] = build_edge_graph(base.network.axes, base.end)
        graph: EdgeGraph = known[base.end]
        absent = _absent_writes(base, graph, dict(zip(sources, fills, strict=True)))
        return cls(base, graph, absent, describe_absence(absence, base))

    @property
    def embedding(self) -> Tensor:
        """What is embedded, batch first."""
        return self.base.present[0]

    def no_shift(self, rows: Tensor) -> Tensor:
        """Nothing added to the embedding."""
        return self.embedding.new_zeros(len(rows), self.embedding[0].numel())

    def inputs(self, rows: Int[Tensor, " N"]) -> list[Tensor]:
        """Inputs of the network for some rows."""
        return [tensor.index_select(0, rows) for tensor in self.base.inputs]

    def run(self, gates: Tensor, rows: Int[Tensor, " N"]) -> Tensor:
        """The output with some gates closed."""
        absent = [one.index_select(0, rows) for one in self.absent]
        return self.graph.gated(*self.inputs(rows), gates, self.no_shift(rows), *absent)  # type: ignore[no-any-return]

    def question(self) -> Question:
        """The question about the gates."""
        count = len(self.graph.stream.edges)
        elements = max(one[0].numel() for one in self.absent)
        row = self.base.network.sample_bytes + self.embedding.element_size() * elements * 4 * len(self.absent)
        return _gated(self.base, "edges", count, lambda values, rows: self.run(values[0], rows), row)


def _absent_writes(base: Question, graph: EdgeGraph, fills: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """What each writer writes where its source is what stands in: a head's share of the projection, all else as it is."""
    found = []
    network = base.network
    with torch.no_grad():
        for writer in graph.stream.writers:
            if writer.attention is None:
                found.append(fills[writer.value].flatten(1))
                continue
            one, source = writer.attention, fills[writer.attention.value]
            program = network.program([one.value, *(value.name for value in network.inputs)], [writer.value])
            alone = source
            if one.axis:
                shape = [-1 if place == one.axis else 1 for place in range(source.ndim)]
                kept = torch.arange(source.shape[one.axis], device=source.device) == writer.head
                alone = torch.where(kept.reshape(shape), source, torch.zeros_like(source))
            projected = program(network.axes.batch_layout(one.value).restore(alone), *base.inputs)[0]
            found.append(network.axes.batch_layout(writer.value).batch_first(projected).flatten(1))
    return tuple(one.expand(base.batch, -1) for one in found)


def _site_question(base: Question, players: Players, absence: Absence) -> tuple[Question, Absence]:
    """A question about parts that depend on each other: its explained tensor is their gates [B P]."""
    players.check([here[0] for here in base.present])
    fills = _only_stand_in(absence.fill(base), players.kind)
    program = build_gated_program(base.network.axes, base.at, base.end)
    device = base.present[0].device
    owners = [torch.where(index < 0, players.n, index).to(device) for index in players.index]

    def head(values: Sequence[Tensor], rows: Int[Tensor, " N"]) -> Tensor:
        given: list[Any] = [tensor.index_select(0, rows) for tensor in base.inputs]
        given.append(values[0])
        for owner, fill in zip(owners, fills, strict=True):
            given += [owner, fill.index_select(0, rows)]
        output: Tensor = program(*given)[0]
        return output

    asked = _gated(base, players.kind, players.n, head, base.network.sample_bytes)
    return asked, ClosedGates(describe_absence(absence, base))


def _only_stand_in(fills: Sequence[Shaped[Tensor, "B M ..."]], kind: str) -> list[Tensor]:
    if fills[0].shape[1] != 1:
        raise InvalidInput(
            f"{fills[0].shape[1]} stand-ins came, and {kind} are compared with one; take their mean, baseline=vesalius.Mean(background), or"
            " ask once for each"
        )
    return [fill[:, 0] for fill in fills]


def _gated(base: Question, kind: str, count: int, head: HeadFunction, row_bytes: int) -> Question:
    """A question whose explained tensor is gates, all open."""
    here = next((one for one in base.present if one.is_floating_point()), base.total)
    gates = torch.ones(base.batch, count, dtype=here.dtype, device=here.device)
    return replace(base, at=(kind,), present=(gates,), head=head, subgraph=None, dependent=None, direct=False, row_bytes=row_bytes)
