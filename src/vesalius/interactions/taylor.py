"""Taylor effects: how much of an output's change sits at each order of the expansion at the baseline, and with whom.

With d = x - b, the target on the line from b to x is g(t) = f(b + t d) = sum over k of g_k t^k. A term of degrees kappa is
I(kappa) = d^kappa / kappa! times the derivative of f at b, and g_k is the sum of I(kappa) over |kappa| = k. All come from truncated series
that are propagated through the graph (:mod:`vesalius.rules.taylor_mode`), so none is a difference of large numbers.

These are derivatives at b, true whatever the function does elsewhere. That they add up to f(x) - f(b) is another matter: it needs a radius
of convergence above 1 and no kink in between. So a number is never refused because of that, but every result says first whether the series
*represents* f at x, and a profile has what the series leaves out in a column of its own, so that it adds up in any case. Refused are terms
that do not exist: where f is not analytic at b itself.

Axes: B samples, K orders, n players, S coalitions (2**n), M terms.

Reference: Deng2024, where order, coefficients and effects are defined; Griewank2008 for the series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vesalius.core.display import load_view
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, TooManyPlayers, UnknownName
from vesalius.core.numbers import POSITIVE_COUNT, whole_number, whole_numbers
from vesalius.core.players import Players
from vesalius.games.absence import Baseline, as_absence
from vesalius.games.moebius import coalition_sizes, dividends, membership
from vesalius.interactions.convergence import (
    RADIUS_ORDERS,
    Convergence,
    LineSeries,
    SampleQuestion,
    player_steps,
    scale_steps,
    worst_convergence,
)
from vesalius.rules.taylor_mode import to_double
from vesalius.trace.network import Inputs, Network
from vesalius.trace.question import Question, ask
from vesalius.trace.target import Target

MAX_SUBSET_PLAYERS = 12
"""Players whose 2**n subsets are expanded one by one."""
MAX_DEGREE_PLAYERS = 6
"""Players whose degrees are told apart."""
MAX_TERMS = 3000
"""Terms of one order that are told apart; a least-squares problem of that many unknowns is solved."""
MAX_MISFIT = 1e-8
"""Misfit above which the series in all directions are not those of one Taylor expansion."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OrderTotals:
    """The Taylor coefficients of f along the line from b to x.

    Attributes:
        totals: [*B K] g_1 to g_K, in the output's unit.
        base: [*B] f(b), averaged over baselines.
        total: [*B] f(x).
        convergence: whether they add up to f(x) - f(b) in the end.
    """

    totals: Float[Tensor, "*B K"]
    base: Float[Tensor, "*B"]
    total: Float[Tensor, "*B"]
    convergence: Convergence

    @property
    @verb
    def errors(self) -> Float[Tensor, "*B K"]:
        """E_1 to E_K: what orders up to K leave out of f(x) - f(b), as a share of it; they grow where the series does not represent f."""
        change = (self.total - self.base)[..., None]
        return (self.totals.cumsum(-1) - change).abs() / change.abs()

    def __repr__(self) -> str:
        head = f"Taylor orders 1 to {self.totals.shape[-1]}: {self.convergence.verdict}"
        if self.base.ndim:
            return f"{head}; batch of {len(self.base)}"
        rows = [f"  {k}: {float(g):+.4g}, E = {float(e):.2g}" for k, (g, e) in enumerate(zip(self.totals, self.errors, strict=True), 1)]
        return "\n".join([head, f"f(b) = {float(self.base):.4g}, f(x) = {float(self.total):.4g}", *rows])


@dataclass(frozen=True, eq=False, kw_only=True)
class SubsetOrders:
    """Every coalition's effect, order by order.

    Attributes:
        players: who was there; bit i of a row's number says whether player i is in that coalition.
        effects: [S K] I_k(S), the sum of I(kappa) over degrees with |kappa| = k whose players are exactly S. Where b sits on a kink, so
            that there are no I(kappa): what the one-sided series of all lines from b make of it.
        dividends: [S] J(S), by evaluation; sum over all k of I_k(S) where the series represents f.
        convergence: of the worst of the lines to all masked inputs.
    """

    players: Players
    effects: Float[Tensor, "S K"]
    dividends: Float[Tensor, " S"]
    convergence: Convergence


@dataclass(frozen=True, eq=False, kw_only=True)
class TaylorTerms:
    """Single Taylor terms.

    Attributes:
        players: who the degrees are of.
        degrees: [M n] kappa, 1 <= |kappa| <= K, by increasing order.
        effects: [M] I(kappa), in the output's unit.
        base: f(b), averaged over baselines.
        misfit: largest difference between the terms' sums and the series they were found from, as a share of the largest coefficient.
    """

    players: Players
    degrees: Int[Tensor, "M n"]
    effects: Float[Tensor, " M"]
    base: float
    misfit: float

    def __getitem__(self, kappa: Sequence[int]) -> float:
        """I(kappa).

        Raises:
            UnknownName: no such term was asked for.
        """
        return float(self.effects[find_degrees(self.degrees, kappa)])


@dataclass(frozen=True, eq=False, kw_only=True)
class TaylorProfile:
    """How much of f(x) - f(b) sits at each order and each interaction size. All entries and the remainder add up to it.

    Attributes:
        effects: [n K] sum of I_k(S) over coalitions of size 1 to n, by order 1 to K.
        strength: [n K] sum of \\|I_k(S)\\|, which does not cancel.
        remainder: [n] sum of J(S) over coalitions of that size that no order up to K accounts for.
        base: f(b).
        total: f(x).
        convergence: where it does not represent f, orders are derivatives at b and no shares of f(x) - f(b).
    """

    effects: Float[Tensor, "n K"]
    strength: Float[Tensor, "n K"]
    remainder: Float[Tensor, " n"]
    base: float
    total: float
    convergence: Convergence

    @property
    @verb
    def shares(self) -> Float[Tensor, "n K1"]:
        """Effects, and the remainder as a last column, as shares of f(x) - f(b)."""
        return torch.cat([self.effects, self.remainder[:, None]], 1) / (self.total - self.base)

    def __repr__(self) -> str:
        change, orders = self.total - self.base, self.effects.shape[1]
        table = torch.cat([self.effects, self.remainder[:, None]], 1) / (change or 1)
        what = "shares of the change" if change else "effects"
        rows = [
            f"f(b) = {self.base:.4g}, f(x) = {self.total:.4g}; {self.convergence.verdict}",
            f"{what} by interaction size and order:",
            "size " + " ".join(f"{k:>8}" for k in range(1, orders + 1)) + "     rest",
        ]
        rows += [f"{size:4} " + " ".join(f"{round(share, 3) + 0.0:+8.3f}" for share in row) for size, row in enumerate(table.tolist(), 1)]
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        return str(load_view("profile_html")(self))

    def plot(self, *, title: str | None = None, ax: Any = None) -> Any:
        """Draw the shares as a table in colours. Returns the matplotlib figure."""
        return load_view("profile_plot")(self, title=title, ax=ax)


# ---- questions --------------------------------------------------------------------------------------------------------------------


@verb
def order_totals(  # noqa: PLR0913 - a verb that users call
    network: Network,
    x: Inputs,
    *,
    target: Target = None,
    baseline: Baseline = None,
    order: int = 8,
    at: str | Sequence[str] | None = None,
    direct: bool = False,
) -> OrderTotals:
    """Taylor coefficients along the line from the baseline to x, with the error of every partial sum.

    Args:
        network: a traced network; computed in float64.
        x: a batch of inputs, or one sample.
        target: what is explained, see :func:`vesalius.trace.question.ask`.
        baseline: zero by default; of several (``Marginal``), the mean of their coefficients and the smallest radius.
        order: K, at least 1.
        at: a value or module to expand from instead of the input, or several.
        direct: direct effects only, where one of them is computed from another, see :func:`vesalius.attribute`; required there.

    Raises:
        NotTraceable, NoRule: the network has no graph, or an op no series.
        InvalidInput: a function that is not analytic at the baseline.
    """
    asked = ask(network, x, target=target, at=at, direct=direct)
    question, fills = to_double(asked, as_absence(baseline, asked).fill(asked))
    lines = LineSeries(question, _orders_for_radius(order))
    rows = torch.arange(question.batch, device=question.present[0].device)
    parts = []
    for m in range(fills[0].shape[1]):
        starts = [fill[:, m] for fill in fills]
        parts.append(lines.judged(starts, [here - start for here, start in zip(question.present, starts, strict=True)], rows))
    coefficients = torch.stack([found.coefficients for found, _ in parts]).mean(0)
    convergence = worst_convergence([found for _, found in parts])
    totals, base, total = coefficients[:, 1 : order + 1], coefficients[:, 0], question.total.detach()
    if question.single:
        return OrderTotals(totals=totals[0], base=base[0], total=total[0], convergence=convergence[0])
    return OrderTotals(totals=totals, base=base, total=total, convergence=convergence)


@verb
def subset_orders(
    network: Network, x: Inputs, players: Players, *, target: Target = None, baseline: Baseline = None, order: int = 8
) -> SubsetOrders:
    """I_k(S) for all coalitions of a sample's players and all orders up to K: Moebius over the series of all masked inputs.

    Args:
        network: a traced network; computed in float64.
        x: one sample.
        players: at most 12.
        target: what is explained.
        baseline: zero by default; of several, the mean.
        order: K, at least 1.

    Raises:
        TooManyPlayers: more than 12.
        NotTraceable, NoRule, InvalidInput: as :func:`order_totals`.
    """
    _refuse_more_players(
        players, MAX_SUBSET_PLAYERS, "group them (Players.patches, Players.segments), or use order_totals, which needs no players"
    )
    asked = SampleQuestion(network, x, players, target, baseline)
    lines, masks = LineSeries(asked.question, _orders_for_radius(order)), membership(players.n).double()
    rows = torch.zeros(len(masks), dtype=torch.long, device=asked.question.present[0].device)
    effects, values, convergence = torch.zeros(len(masks), order, dtype=torch.float64), torch.zeros(len(masks), dtype=torch.float64), []
    each = player_steps(asked.question, players, asked.fills)
    for line in each:
        starts, directions = scale_steps(line, masks)
        found, judged = lines.judged(starts, directions, rows)
        values += lines.at(1.0, starts, directions, rows).cpu() / len(each)
        effects += dividends(found.coefficients[:, 1 : order + 1].contiguous()).cpu() / len(each)
        convergence.append(judged.worst())
    return SubsetOrders(players=players, effects=effects, dividends=dividends(values), convergence=worst_convergence(convergence))


@verb
def taylor_profile(
    network: Network, x: Inputs, players: Players, *, target: Target = None, baseline: Baseline = None, order: int = 8
) -> TaylorProfile:
    """How much of f(x) - f(b) sits at each order and each interaction size.

    Args, Raises: as :func:`subset_orders`.
    """
    found = subset_orders(network, x, players, target=target, baseline=baseline, order=order)
    size = coalition_sizes(players.n)
    by_size = torch.stack([(size == s).double() for s in range(1, players.n + 1)])
    effects = by_size @ found.effects
    base = float(found.dividends[0])
    return TaylorProfile(
        effects=effects,
        strength=by_size @ found.effects.abs(),
        remainder=by_size @ found.dividends - effects.sum(1),
        base=base,
        total=float(found.dividends.sum()),
        convergence=found.convergence,
    )


@verb
def taylor_terms(
    network: Network, x: Inputs, players: Players, *, target: Target = None, baseline: Baseline = None, order: int = 4
) -> TaylorTerms:
    """Single terms I(kappa) of all degrees up to K.

    A series in a direction that moves player i by s_i (x_i - b_i) has g_k(s) = sum over |kappa| = k of I(kappa) s^kappa. Twice as many
    directions as there are terms, spread over the sphere, determine them by least squares in the basis sqrt(k! / kappa!) s^kappa, which is
    well conditioned there. Unlike a Fourier transform over the polydisc it needs no complex arithmetic of the network's ops, and
    C(n + K - 1, K) series instead of (K + 1)^n.

    Args:
        network: a traced network; computed in float64.
        x: one sample.
        players: at most 6; the degree of several elements is that of their common scale.
        target: what is explained.
        baseline: zero by default; of several, the mean.
        order: K, at least 1.

    Raises:
        TooManyPlayers: more than 6.
        InvalidInput: more than 3,000 terms of one order; a function that is not analytic at the baseline, such as one with a kink there.
        NotTraceable, NoRule: as :func:`order_totals`.
    """
    _refuse_more_players(
        players, MAX_DEGREE_PLAYERS, "group them, or use subset_orders, which tells coalitions apart but not degrees within them"
    )
    order = whole_number("order", order, POSITIVE_COUNT)
    count = math.comb(players.n + order - 1, order)
    if count > MAX_TERMS:
        raise InvalidInput(f"{count} terms of order {order}, but at most {MAX_TERMS} are told apart; lower the order or group players")
    asked = SampleQuestion(network, x, players, target, baseline)
    return taylor_terms_of_question(asked.question, players, asked.fills, order)


def taylor_terms_of_question(question: Question, players: Players, fills: Sequence[Tensor], order: int) -> TaylorTerms:
    """:func:`taylor_terms` of a question that is posed already, of one sample in float64."""
    directions = sphere_directions(2 * math.comb(players.n + order - 1, order), players.n)
    lines, series = LineSeries(question, order), torch.zeros(len(directions), order + 1, dtype=torch.float64)
    rows = torch.zeros(len(directions), dtype=torch.long, device=question.present[0].device)
    each = player_steps(question, players, fills)
    pieces: set[str] = set()
    for line in each:
        along = lines.along(*scale_steps(line, directions), rows)
        series += along.coefficients.cpu() / len(each)
        pieces.update(along.pieces)
    degrees, effects, misfit = [], [], 0.0
    for k in range(1, order + 1):
        kappa = multi_indices(players.n, k)
        counts = [math.factorial(k) / math.prod(map(math.factorial, row)) for row in kappa.tolist()]
        scale = torch.tensor(counts, dtype=torch.float64).sqrt()
        basis = (directions[:, None] ** kappa).prod(2) * scale
        found = torch.linalg.lstsq(basis, series[:, k : k + 1], driver="gelsd").solution
        misfit = max(misfit, float((basis @ found - series[:, k : k + 1]).abs().max()))
        degrees.append(kappa)
        effects.append(found[:, 0] * scale)
    misfit /= float(series[:, 1:].abs().max()) or 1.0
    if misfit > MAX_MISFIT:
        raise InvalidInput(
            f"the network has no Taylor terms at this baseline: it sits on a kink of {', '.join(sorted(pieces)) or 'the network'} (misfit"
            f" {misfit:.2g}); move the baseline a little, or use subset_orders, which follows each line from the kink"
        )
    return TaylorTerms(
        players=players,
        degrees=torch.cat(degrees),
        effects=torch.cat(effects),
        base=float(series[0, 0]),
        misfit=misfit,
    )


def find_degrees(degrees: Int[Tensor, "M n"], kappa: Sequence[int]) -> int:
    """The row of some degrees.

    Raises:
        WrongType: no whole numbers.
        UnknownName: no such term was asked for.
    """
    asked = whole_numbers("kappa", kappa)
    found: Tensor | list[Tensor] = (degrees == torch.tensor(asked)).all(1).nonzero() if len(asked) == degrees.shape[1] else []
    if not len(found):
        raise UnknownName("Taylor term", asked, [str(tuple(row)) for row in degrees.tolist()])
    return int(found[0])


def sphere_directions(count: int, players: int) -> Float[Tensor, "N n"]:
    """Directions spread over the unit sphere: always the same, so that results are."""
    drawn = torch.randn(count, players, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions: Tensor = drawn / drawn.norm(dim=1, keepdim=True)
    return directions


def multi_indices(players: int, order: int) -> Int[Tensor, "M n"]:
    """All kappa with |kappa| = order."""
    chosen = torch.tensor(list(combinations_with_replacement(range(players), order)))
    return torch.nn.functional.one_hot(chosen, players).sum(1)


def _refuse_more_players(players: Players, most: int, hint: str) -> None:
    if players.n > most:
        raise TooManyPlayers(players.n, most, hint=hint)


def _orders_for_radius(order: int) -> int:
    """Orders to compute, so that the radius can be estimated."""
    return max(whole_number("order", order, POSITIVE_COUNT), RADIUS_ORDERS)
