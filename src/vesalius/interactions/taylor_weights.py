"""Allocation weights: what share of each Taylor term a method gives to whom, measured.

Every method of Deng et al. is a_i = sum over kappa of w_{i,kappa} I(kappa) on analytic functions. To read the weights off a method that is
only there as a program, it is run on f o scale_t, the network behind a layer that scales player i's way from the baseline by t_i: there the
term of degrees kappa is t^kappa I(kappa), so the method's map is a polynomial in t with the coefficients w_{i,kappa} I(kappa).

The scalings are real, since the rules of LRP and DeepLIFT know no complex numbers (for those that do, a Fourier transform over t on the
polydisc finds the same), and lie within (0, 1), where contributions keep their signs. The polynomial is fitted by least squares in a basis
of Chebyshev polynomials, on twice as many scalings as it has terms, and held against more. It is exact to rounding for a network that is a
polynomial of at most that degree; for others the misfit says what higher orders do.

Axes: N scalings, n players that are scaled, M terms, P parts the method pays.

Reference: Deng2024.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, TooManyPlayers, WrongType
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.core.player_shapes import align
from vesalius.core.players import Players
from vesalius.games.absence import Absence, Baseline, Constant, as_absence
from vesalius.interactions.taylor import MAX_DEGREE_PLAYERS, MAX_TERMS, find_degrees, multi_indices, taylor_terms_of_question
from vesalius.rules.taylor_mode import to_double
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question, TargetSubgraph, ask
from vesalius.trace.target import Target

aten = torch.ops.aten

NEGLIGIBLE_EFFECT = 1e-9
"""Terms below this share of the largest have no weights: there is nothing to share out."""
EXACT_MISFIT = 1e-6
"""Misfit up to which the map is taken to be a polynomial of the scalings."""
HELD_OUT_SHARE = 0.25
"""Scalings that the fitted map is held against, as a share of those it was fitted to."""


@runtime_checkable
class Allocator(Protocol):
    """What is asked of a method; all of :data:`vesalius.METHODS` do it."""

    name: str

    def place(self, network: Network) -> str | None: ...
    def allocate(self, question: Question, absence: Absence) -> Allocation: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Scalings(Options):
    """How the network is scaled.

    Attributes:
        order: degree of the polynomial in t; that of the network, where it is one.
        players: whose ways from the baseline are scaled, at most 6; by default every element of the explained tensor. Rules that treat
            positive and negative contributions apart divide by their sums, which makes a polynomial only if each of the two groups is
            scaled as a whole: ``Players.segments(signs)``.
        low: the smallest scale; -1 is more accurate for methods that do not look at signs.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"order": POSITIVE_COUNT, "low": Limit(least=-1, below=1)}
    order: int = 4
    players: Players | None = None
    low: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class AllocationWeights:
    """Who is given what share of which effect.

    Attributes:
        method: its name.
        players: who was scaled; degrees are theirs.
        degrees: [M n] kappa, 1 <= |kappa| <= order.
        effects: [M] I(kappa), from series: not from the method.
        allocated: [M P] what the method gives of it to each of the parts that it pays.
        constant: [P] what the method gives out at the baseline itself: effects of no one.
        misfit: largest difference between the method's map and the polynomial at scalings it was not fitted to, as a share of the largest
            value.
    """

    method: str
    players: Players
    degrees: Int[Tensor, "M n"]
    effects: Float[Tensor, " M"]
    allocated: Float[Tensor, "M P"]
    constant: Float[Tensor, " P"]
    misfit: float

    @property
    def exact(self) -> bool:
        """Whether the map is a polynomial of the scalings, so that there are such weights at all."""
        return self.misfit <= EXACT_MISFIT

    @property
    @verb
    def weights(self) -> Float[Tensor, "M P"]:
        """w_{i,kappa}; NaN for terms that are 0."""
        there = self.effects.abs() > NEGLIGIBLE_EFFECT * self.effects.abs().max()
        return torch.where(there[:, None], self.allocated / self.effects[:, None], torch.nan)

    @verb
    def __getitem__(self, kappa: Sequence[int]) -> Float[Tensor, " P"]:
        """Weights of one term.

        Raises:
            UnknownName: no such term was asked for.
        """
        return self.weights[find_degrees(self.degrees, kappa)]

    def __repr__(self) -> str:
        head = f"{self.method}: weights per Taylor term, misfit {self.misfit:.2g}" + ("" if self.exact else " (NO SUCH WEIGHTS)")
        rows = [
            f"  {''.join(map(str, kappa))}  I = {effect:+.4g}  w = " + " ".join(f"{w:+.4g}" for w in row)
            for kappa, effect, row in zip(self.degrees.tolist(), self.effects.tolist(), self.weights.tolist(), strict=True)
            if not math.isnan(row[0])
        ]
        return "\n".join([head, *rows])


@verb
def allocation_weights(
    method: Allocator,
    network: Network,
    x: Inputs,
    *,
    target: Target = None,
    baseline: Baseline = None,
    scalings: Scalings | None = None,
) -> AllocationWeights:
    """The weights with which a method allocates the Taylor terms of a network at one sample.

    Args:
        method: an instance, such as ``vesalius.METHODS["occlusion"]()``, or anyone's with ``allocate``. Integrals and averages should be
            exact (``IntegratedGradients(rule="quadrature", steps=8)``), or the weights are those of the approximation.
        network: a traced network; computed in float64.
        x: one sample.
        target: what is explained.
        baseline: one; of a background, ask row by row. LRP knows no other than 0.
        scalings: which, and how many.

    Raises:
        WrongType: not a method.
        InvalidInput: several samples or baselines; a network that is not analytic at the baseline.
        TooManyPlayers: more than 6 are scaled.
        NotTraceable, NoRule: the network has no graph, or an op no series.
    """
    if isinstance(method, (str, type)) or not isinstance(method, Allocator):
        raise WrongType(f"a method is an instance, such as vesalius.METHODS['occlusion'](), not {method!r}")
    chosen = scalings or Scalings()
    asked = ask(network, x, target=target, at=method.place(network))
    question, fills = to_double(asked, as_absence(baseline, asked).fill(asked))
    if question.batch != 1 or fills[0].shape[1] != 1:
        raise InvalidInput(f"weights are of one sample and one baseline, not of {question.batch} and {fills[0].shape[1]}; loop over them")
    players = chosen.players or Players.features(*(tensor[0] for tensor in question.present))
    kappas = _multi_indices_up_to(players, chosen.order)
    times = chebyshev_points(2 * len(kappas), players.n, chosen.low)
    starts = [fill[0, 0] for fill in fills]
    maps = method.allocate(scale_question(question, players, starts, times), Constant(value=starts)).flat.double()
    fitted = round(len(times) / (1 + HELD_OUT_SHARE))
    found = fit_polynomial(times[:fitted], maps[:fitted], kappas, chosen.low)
    terms = taylor_terms_of_question(question, players, fills, chosen.order)
    apart = (times[fitted:, None] ** kappas).prod(2) @ found - maps[fitted:]
    return AllocationWeights(
        method=method.name,
        players=players,
        degrees=terms.degrees,
        effects=terms.effects,
        allocated=found[1:],
        constant=found[0],
        misfit=float(apart.abs().max() / maps.abs().max().clamp_min(torch.finfo(maps.dtype).tiny)),
    )


def scale_question(question: Question, players: Players, starts: Sequence[Tensor], times: Float[Tensor, "N n"]) -> Question:
    """The question about f o scale_t, one sample per scaling: x itself, of which the network sees b + t (x - b).

    Args:
        question: about one sample.
        players: the scale of an element is that of its player; bystanders are not scaled.
        starts: b, [*event] per explained tensor.
        times: t.
    """
    assert question.subgraph is not None
    count = len(times)
    bystander = torch.cat([times, times.new_ones(count, 1)], 1).to(starts[0].device)
    owned = [bystander[:, index.to(bystander.device)] for index in players.index]
    aligned = [align(scale, start.ndim + 1, lead=1, left=players.from_left) for scale, start in zip(owned, starts, strict=True)]
    scales = [scale.expand(count, *start.shape) for scale, start in zip(aligned, starts, strict=True)]
    shifts = [(1 - scale) * start for scale, start in zip(scales, starts, strict=True)]
    cut = question.subgraph
    several = tuple(tensor.expand(count, *tensor.shape[1:]) for tensor in cut.context)
    layouts = (*cut.layouts, *cut.layouts[: len(starts)], *cut.layouts[: len(starts)])
    scaled = prepend_scaling(cut.program, len(starts))
    behind = TargetSubgraph(lambda: scaled, scaled, layouts, (*several, *scales, *shifts))
    positions = question.pick.positions
    pick = question.pick if positions is None else replace(question.pick, positions=positions.expand(count, -1))
    present = tuple(tensor.expand(count, *tensor.shape[1:]) for tensor in question.present)
    inputs = tuple(tensor.expand(count, *tensor.shape[1:]) for tensor in question.inputs)
    posed = replace(question, present=present, single=False, inputs=inputs, head=behind.head, pick=pick, subgraph=behind)
    rows = torch.arange(count, device=present[0].device)
    with torch.no_grad():
        return replace(posed, total=posed.score(present, rows))


def prepend_scaling(program: GraphModule, explained: int) -> GraphModule:
    """The same program with its first inputs times scales plus shifts, which are inputs at the end: all scales, then all shifts."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    graph.output(graph.graph_copy(program.graph, copies))
    given = [node for node in graph.nodes if node.op == "placeholder"]
    last, extra = given[-1], []
    for name in [f"{what}_{place}" for what in ("scale", "shift") for place in range(explained)]:
        with graph.inserting_after(last):
            last = graph.placeholder(name)
        extra.append(last)
    for place, node in enumerate(given[:explained]):
        with graph.inserting_after(last):
            product = graph.call_function(aten.mul.Tensor, (node, extra[place]))
        with graph.inserting_after(product):
            last = graph.call_function(aten.add.Tensor, (product, extra[explained + place]))
        node.replace_all_uses_with(last, delete_user_cb=lambda user, kept=product: user is not kept)
    return GraphModule(program, graph)


def fit_polynomial(
    times: Float[Tensor, "N n"], maps: Float[Tensor, "N P"], kappas: Int[Tensor, "M1 n"], low: float
) -> Float[Tensor, "M1 P"]:
    """Coefficients of t^kappa in the polynomials that come nearest to some values, by way of Chebyshev polynomials on [low, 1]."""
    degree = int(kappas.max())
    table = _chebyshev_coefficients(degree, low)
    powers = times[:, :, None] ** torch.arange(degree + 1)
    values = powers @ table.T
    basis = torch.stack([values[:, i, kappas[:, i]] for i in range(kappas.shape[1])]).prod(0)
    found: Tensor = torch.linalg.lstsq(basis, maps, driver="gelsd").solution
    return table[kappas[:, None], kappas[None]].prod(2).T @ found


def chebyshev_points(count: int, players: int, low: float) -> Float[Tensor, "N n"]:
    """Scalings that crowd towards the faces of the cube [low, 1]^n, as Chebyshev's points do: always the same ones, and a quarter more to
    hold the fit against.
    """
    drawn = torch.rand(round(count * (1 + HELD_OUT_SHARE)), players, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return low + (1 - low) * (1 - torch.cos(math.pi * drawn)) / 2


def _chebyshev_coefficients(degree: int, low: float) -> Float[Tensor, "D D"]:
    """Coefficients of t^j in T_d on [low, 1]."""
    table = torch.zeros(degree + 1, degree + 1, dtype=torch.float64)
    table[0, 0] = 1
    slope, shift = 2 / (1 - low), -(1 + low) / (1 - low)
    for d in range(1, degree + 1):
        risen = slope * table[d - 1].roll(1) + shift * table[d - 1]
        table[d] = risen if d == 1 else 2 * risen - table[d - 2]
    return table


def _multi_indices_up_to(players: Players, order: int) -> Int[Tensor, "M1 n"]:
    """All kappa with |kappa| <= order."""
    if players.parts is not None or players.kind == "links":
        raise InvalidInput(f"{players.kind} have no scale; use players that divide the explained tensor")
    if players.n > MAX_DEGREE_PLAYERS:
        raise TooManyPlayers(players.n, MAX_DEGREE_PLAYERS, hint="group them: Scalings(players=Players.segments(...))")
    if order < 1 or math.comb(players.n + order, order) > MAX_TERMS:
        raise InvalidInput(f"an order of {order} with {players.n} players; it is at least 1, with at most {MAX_TERMS} terms")
    return torch.cat([torch.zeros(1, players.n, dtype=torch.long), *(multi_indices(players.n, k) for k in range(1, order + 1))])
