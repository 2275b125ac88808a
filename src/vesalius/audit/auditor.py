"""Audits: every method on every masked version of one sample, or on a sample of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vesalius.audit import principles
from vesalius.audit.faithfulness import Interventions, agreement
from vesalius.audit.masked_attributions import attribute_masked, attribute_masked_games, map_per_player, prepare_method
from vesalius.audit.method_labels import Methods, label_methods, method_options
from vesalius.audit.problem import At, AuditProblem, named_players, pose_problem
from vesalius.audit.result import Audit, MethodAudit
from vesalius.audit.selectope import MapAudit, Selectope, additive_errors
from vesalius.audit.stratified_sampling import MIN_PER_GROUP, CoalitionSample, all_coalitions, sample_coalitions
from vesalius.audit.tiers import bootstrap_interval, rank_in_tiers
from vesalius.core.allocation import Allocation
from vesalius.core.entry import verb
from vesalius.core.errors import InvalidInput, NoRule, NotTraceable, TooManyPlayers, WrongType
from vesalius.core.names import name_list
from vesalius.core.numbers import POSITIVE_COUNT, Limit
from vesalius.core.options import Options
from vesalius.core.players import Players
from vesalius.games.absence import Baseline
from vesalius.games.game import Game, question_provenance
from vesalius.methods import METHODS, Method
from vesalius.trace.network import Inputs
from vesalius.trace.receive import receive, resolve_classes, with_class_names
from vesalius.trace.target import Target
from vesalius.trace.text_questions import TextPlayers, TextWords, as_text_question, require_players

REFUSALS = (NoRule, NotTraceable, WrongType, InvalidInput)
"""What a method raises where it does not apply."""
BEND_SAMPLES = 256
"""Masked samples at which it is looked whether the way from the baseline is straight."""


@dataclass(frozen=True, kw_only=True)
class Auditor(Options):
    """How to audit; :func:`audit` and :func:`audit_map` are those of ``Auditor()``.

    Attributes:
        at: where the players live, if not in the network's input.
        direct: ask for direct effects, see :func:`audit`.
        most_exact: players up to which all coalitions are enumerated, at most 16.
        coalitions: masked samples drawn for more players.
        evaluations: of the network that one method may take in a sampled audit; costly methods see fewer coalitions.
        resamples: of the bootstrap.
        seed: of the coalitions and the resamples.
        report: told how many methods are done, of how many.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "most_exact": Limit(least=0, most=16),
        "coalitions": Limit(least=4 * MIN_PER_GROUP),
        "evaluations": POSITIVE_COUNT,
        "resamples": Limit(least=100),
    }
    at: At = None
    direct: bool = False
    most_exact: int = 14
    coalitions: int = 512
    evaluations: int = 200_000
    resamples: int = 1000
    seed: int = 0
    report: Callable[[int, int], None] | None = None

    @verb
    def audit(
        self,
        model: Any,
        x: Inputs,
        players: Players | Allocation | None = None,
        *,
        target: Target = None,
        baseline: Baseline = None,
        methods: Methods = METHODS,
    ) -> Audit:
        """See :func:`audit`."""
        chosen = label_methods(methods)
        problem = pose_problem(receive(model, x), players, target=target, baseline=baseline, at=self.at, direct=self.direct)
        bench = _audit_context(self, problem)
        records: dict[str, MethodAudit] = {}
        errors: dict[str, Tensor] = {}
        skipped: dict[str, str] = {}
        for done, (label, method) in enumerate(chosen.items()):
            if self.report is not None:
                self.report(done, len(chosen))
            try:
                records[label], errors[label] = bench.record(label, method)
            except REFUSALS as error:
                skipped[label] = str(error)
        found = list(records.values())
        return Audit(
            players=problem.players,
            base=float(bench.base),
            total=float(bench.total),
            records=records,
            skipped=skipped,
            tiers=rank_in_tiers(records, errors),
            agreement=agreement([max(one.error, one.tolerance) for one in found], [one.faithfulness for one in found]),
            bend=bench.bend(),
            provenance=bench.facts(),
        )

    @verb
    def audit_map(
        self,
        values: Tensor | np.ndarray[Any, np.dtype[Any]],
        model: Any,
        x: Inputs,
        players: Players | Allocation | None = None,
        *,
        target: Target = None,
        baseline: Baseline = None,
    ) -> MapAudit:
        """See :func:`audit_map`."""
        problem = pose_problem(receive(model, x), players, target=target, baseline=baseline, at=self.at, direct=self.direct)
        who = problem.players
        if who.n > self.most_exact:
            raise TooManyPlayers(who.n, self.most_exact, hint="judge the map on coarser players: larger patches, or segments")
        given = map_per_player(values, problem)
        game = problem.game()(all_coalitions(who.n).masks)
        fair = Selectope.of(game)
        short, worst = fair.violation(given)
        size = fair.size or 1.0
        tolerance = max(
            principles.rounding_tolerance(game, problem.epsilon), _map_rounding(values, problem) * float(given.abs().sum()) / size
        )
        members = tuple(who.name(i) for i in range(who.n) if worst >> i & 1) if short > tolerance * size else ()
        left, best = additive_errors(game, given)
        low, high = fair.box()
        return MapAudit(
            values=given,
            gap=abs(fair.total - float(given.sum())) / size,
            violation=short / size,
            coalition=members,
            distance=fair.distance(given) / size,
            low=low,
            high=high,
            additive_error=left,
            least_additive_error=best,
            effects=fair.size,
            tolerance=tolerance,
            provenance=_provenance(self, problem),
        )


@verb
def audit(  # noqa: PLR0913 - a verb that users call
    model: Any,
    x: Inputs,
    players: TextPlayers = None,
    *,
    target: Target = None,
    baseline: Baseline = None,
    at: At = None,
    direct: bool = False,
    methods: Methods = METHODS,
    names: Sequence[str] = (),
    classes: Sequence[str] = (),
    tokenizer: Any = None,
) -> Audit:
    """Judge attribution methods on one sample by the three principles, a number each.

    Up to 14 players every method is run on all masked versions of the sample, and what each effect was shared out to is read off; with
    more, on a sample of them, and the numbers have intervals. ``Auditor(coalitions=..., seed=...)`` has the other options.

    Args:
        model: a Network, or any model that :func:`vesalius.trace` takes.
        x: one sample in any form, with or without its batch axis.
        players: who may be absent; or an allocation, for its players (and where they live). By default columns of a table, patches of an
            image, positions of a sequence.
        target: as for :func:`vesalius.attribute`; by default the class predicted for the whole sample, for masked ones as well.
        baseline: what stands in for absent players, and what methods count from. With several rows (``Marginal``) game and maps are the
            mean over them.
        at: where the players live, if not in the network's input; one value or several.
        direct: direct effects only, where one value of ``at`` is computed from another, see :func:`vesalius.attribute`; without it,
            methods that need values which change on their own are among the skipped.
        methods: names, instances with options, or a mapping from labels to either.
        names: of the players; by default those of the columns, where the data has them.
        classes: names of the classes in the output's order, for a target by name.
        tokenizer: then ``x`` is a text, and target, baseline and players may be in its words, see :func:`vesalius.attribute`.

    Returns:
        An audit: a mapping from methods to records. Methods that do not apply are in ``.skipped``, with the reason.

    Raises:
        UnknownName, InvalidInput, WrongType: each with what to do.

    Reference: Deng2024; taylor.md, sections 3 and 5.4. LRP methods share out f(x), not f(x) - f(b); they are judged as all others, against
    f(x) - f(b), so that biases show as effects missed or over-counted.
    """
    who = players.players if isinstance(players, Allocation) else players
    words = TextWords(target=target, baseline=baseline, players=who, at=at, classes=classes, of_ids=False)
    if (posed := as_text_question(model, x, tokenizer, words)) is not None:
        model, x, players, target, baseline, at = posed.arguments
    received = receive(model, x)
    known = name_list("classes", classes) or received.classes
    target = resolve_classes(target, known, received.outputs)
    players = require_players(players) if isinstance(players, str) else players
    players = players if isinstance(players, Allocation) else named_players(received, players, names, at, target)
    found = Auditor(at=at, direct=direct).audit(received.network, received.x, players, target=target, baseline=baseline, methods=methods)
    return replace(found, provenance=with_class_names(found.provenance, known, received.outputs))


@verb
def audit_map(
    values: Tensor | np.ndarray[Any, np.dtype[Any]],
    model: Any,
    x: Inputs,
    players: Players | Allocation | None = None,
    *,
    target: Target = None,
    baseline: Baseline = None,
) -> MapAudit:
    """Judge a heat map from any tool, without its method. Such a test can reject a map; it cannot prove one.

    Args:
        values: one value per element of the explained tensor [*event], or per player.
        model: a Network, or any model that :func:`vesalius.trace` takes.
        x: the sample the map is of.
        players: at most 14; a map of elements is summed into them.
        target: what the map explains.
        baseline: what stands in for absent players.

    Raises:
        TooManyPlayers: more than 14.
        InvalidInput: a map that fits neither the explained tensor nor the players, or holds NaN.

    Reference: taylor.md, section 5.5.
    """
    return Auditor().audit_map(values, model, x, players, target=target, baseline=baseline)


@dataclass(frozen=True, eq=False)
class _AuditContext:
    """What all methods of one audit are measured against."""

    auditor: Auditor
    problem: AuditProblem
    design: CoalitionSample
    game: Game
    values: Float[Tensor, " N"]
    ends: Float[Tensor, " 2"]
    exact: bool
    tolerance: float

    @property
    def base(self) -> Tensor:
        return self.ends[0]

    @property
    def total(self) -> Tensor:
        return self.ends[1]

    def record(self, label: str, method: Method) -> tuple[MethodAudit, Tensor]:
        """The record of one method, and resamples of its error."""
        found, design, whole, spent = self._maps(method)
        count = len(design.masks)
        short = principles.SampledPrincipleErrors.of(self.values[:count], found, design.masks, float(self.base))
        weights = design.weights
        judge = Interventions(self.game, design.masks, self.values[:count], weights, float(self.total))
        numbers, resampled, intervals = {}, torch.zeros(0, dtype=torch.float64), {}
        if self.exact:
            numbers = vars(principles.principle_errors(self.values, found))
        else:
            many = design.bootstrap_weights(self.auditor.resamples, self.auditor.seed)
            drawn_each = {"mean_leak": short.leak(many), "mean_gap": short.gap(many)}
            resampled = drawn_each["error"] = drawn_each["mean_leak"] + drawn_each["mean_gap"]
            intervals = {name: bootstrap_interval(each) for name, each in drawn_each.items()}
        record = MethodAudit(
            method=label,
            values=tuple(whole.tolist()),
            gap=abs(float(self.total - self.base - whole.sum())),
            mean_leak=float(short.leak(weights)),
            mean_gap=float(short.gap(weights)),
            tolerance=self.tolerance,
            coalitions=count,
            evaluations=spent,
            faithfulness=judge.judge(whole),
            interval=intervals,
            options=method_options(prepare_method(method, self.problem)),
            **numbers,
        )
        return record, resampled

    def _maps(self, method: Method) -> tuple[Tensor, CoalitionSample, Tensor, int]:
        """Maps of masked samples, of which ones, the map of the whole sample, and evaluations taken."""
        if self.exact and method.plays:
            found = attribute_masked_games(method, self.problem, self.values)
            return found, self.design, found[-1], 0
        if self.exact:
            found, spent = attribute_masked(method, self.problem, self.design.masks)
            return found, self.design, found[-1], int(spent.sum())
        whole, cost = attribute_masked(method, self.problem, torch.ones(1, self.problem.players.n, dtype=torch.bool))
        part = self.design.first(self.auditor.evaluations // max(int(cost[0]), 1))
        found, spent = attribute_masked(method, self.problem, part.masks)
        return found, part, whole[0], int(spent.sum())

    def bend(self) -> float:
        """See :class:`vesalius.audit.result.Audit`."""
        rows = torch.linspace(0, len(self.design.masks) - 1, min(len(self.design.masks), BEND_SAMPLES), dtype=torch.float32).long()
        change = self.values[rows].double().cpu() - float(self.base)
        away = self.problem.halfway(self.design.masks[rows]) - float(self.base) - change / 2
        whole = float(change.abs().sum())
        return float(away.abs().sum()) / whole if whole else 0.0

    def facts(self) -> dict[str, Any]:
        """What is needed to make the same numbers again."""
        return _provenance(self.auditor, self.problem) | {"exact": self.exact, "coalitions": len(self.design.masks)}


def _audit_context(auditor: Auditor, problem: AuditProblem) -> _AuditContext:
    """Evaluate the game."""
    players = problem.players.n
    exact = players <= auditor.most_exact
    design = all_coalitions(players) if exact else sample_coalitions(players, auditor.coalitions, auditor.seed)
    game = problem.game()
    values = game(design.masks)
    ends = game(torch.tensor([[False], [True]]).expand(2, players))
    tolerance = principles.rounding_tolerance(values, problem.epsilon) if exact else max(principles.HELD_TOLERANCE, 1e3 * problem.epsilon)
    return _AuditContext(auditor, problem, design, game, values, ends, exact, tolerance)


def _map_rounding(values: Tensor | np.ndarray[Any, np.dtype[Any]], problem: AuditProblem) -> float:
    """Relative rounding to expect of a foreign map: that of its numbers, or of the network they were made with."""
    dtype = torch.as_tensor(values).dtype
    return 100 * max(problem.rounding, torch.finfo(dtype).eps if dtype.is_floating_point else 0.0)


def _provenance(auditor: Auditor, problem: AuditProblem) -> dict[str, Any]:
    question, players = problem.question, problem.players
    return {
        **question_provenance(question, problem.baseline),
        "players": f"{players.n} {players.kind}",
        "stand_ins": problem.repeats,
        "seed": auditor.seed,
        "precision": str(question.total.dtype).removeprefix("torch."),
    }
