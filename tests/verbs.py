"""Every public verb, and every noun's method that computes, called on networks so small that all of them together take seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import vesalius as vs
from tests.circuits.hand_built import GREATER, GREATER_OTHER, greater_than
from vesalius import circuits as c
from vesalius import information as i
from vesalius import models as m
from vesalius import sparsity as s
from vesalius.audit import Auditor, audit_map, check_method
from vesalius.complexity import (
    Scoring,
    Training,
    compare,
    cut_at,
    estimate_cost,
    predict_accuracy,
    train_gated,
    trained_reliability,
)
from vesalius.complexity.gated import Gating
from vesalius.complexity.trained_reliability import ReliabilityTraining
from vesalius.games.estimators import ESTIMATORS as SHAPLEY
from vesalius.games.estimators import shapley
from vesalius.information.estimators import ESTIMATORS as INFORMATION
from vesalius.information.estimators import Neural, adjusted, pairwise
from vesalius.interactions.estimators import ESTIMATORS as INTERACTIONS
from vesalius.interactions.estimators import interactions_of
from vesalius.interactions.harsanyi import harsanyi_dividends
from vesalius.interactions.taylor import order_totals, subset_orders, taylor_profile, taylor_terms
from vesalius.interactions.taylor_weights import Scalings, allocation_weights
from vesalius.scale import SurveyOptions
from vesalius.sparsity.compact import compact
from vesalius.workflow import ExplainOptions, SparsifyOptions
from vesalius.workflow import sparsify as sparsify_job

COLUMNS = 5
CLASSES = 3
TRAINING = Training(epochs=1, seeds=1, width=4, batch=16)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Numbers that no mode changes: float32 on the CPU, ordinary tensors."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32, device="cpu")


def forked(make: Any) -> Any:
    """Without a draw from the global generator, which layers take their first weights from."""

    @wraps(make)
    def made(*args: Any) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return make(*args)

    return made


def fill(model: nn.Module) -> nn.Module:
    """A model with parameters of known values, in eval mode."""
    with torch.no_grad():
        for place, tensor in enumerate(model.parameters()):
            tensor.copy_(draw(*tensor.shape, seed=10 + place) / 2)
    return model.eval()


@forked
def mlp() -> nn.Module:
    kind: Any = {"dtype": torch.float32, "device": "cpu"}
    return fill(
        nn.Sequential(
            nn.Linear(COLUMNS, 6, **kind),
            nn.BatchNorm1d(6, **kind),
            nn.ReLU(),
            nn.Linear(6, 4, **kind),
            nn.Tanh(),
            nn.Linear(4, CLASSES, **kind),
        )
    )


@forked
def cnn() -> nn.Module:
    kind: Any = {"dtype": torch.float32, "device": "cpu"}
    return fill(nn.Sequential(nn.Conv2d(1, 2, 3, **kind), nn.ReLU(), nn.Flatten(), nn.Linear(8, CLASSES, **kind)))


def product(masks: Tensor) -> Tensor:
    """A game's function."""
    return masks.double().cumsum(1).square().sum(1)


def confidence(output: Tensor) -> Tensor:
    """A target that is not linear."""
    return output.softmax(-1)[:, 0]


def judge(model: nn.Module, place: int) -> dict[str, float]:
    return {"size": float(sum(parameter.detach().double().square().sum() for parameter in model.parameters()))}


@dataclass(eq=False)
class Subject:
    """What verbs are called on; made in a mode or outside of it.

    Attributes:
        model: a perceptron with a norm.
        picture_model: a convolutional network.
        x: rows of the former.
        pictures: rows of the latter.
    """

    model: nn.Module
    picture_model: nn.Module
    x: Tensor
    pictures: Tensor

    @classmethod
    def make(cls) -> Subject:
        return cls(mlp(), cnn(), draw(96, COLUMNS), draw(2, 1, 4, 4, seed=1))

    @cached_property
    def net(self) -> vs.Network:
        return vs.trace(self.model, self.x[:2])

    @cached_property
    def reader(self) -> vs.Network:
        with torch.device("cpu"):
            return vs.trace(forked(greater_than)(), GREATER)

    @cached_property
    def labels(self) -> Tensor:
        return self.x.detach()[:, 0].gt(0).long()

    @cached_property
    def players(self) -> vs.Players:
        return vs.Players.features(self.x[0])

    @cached_property
    def game(self) -> vs.Game:
        return vs.Game.on(self.net, self.x[0], target=1)

    @cached_property
    def attribution(self) -> vs.Allocation:
        return vs.attribute(self.net, self.x[:2], "deeplift_rescale")

    @cached_property
    def dividends(self) -> vs.Allocation:
        return vs.interactions(self.net, self.x[0], target=1)

    @cached_property
    def flow(self) -> vs.FlowGraph:
        return vs.information_flow(self.net, self.x)

    @cached_property
    def parts(self) -> vs.Complexity:
        return vs.complexity(self.net, self.x, at="3", orders=(0, 1), training=TRAINING)

    @cached_property
    def importance(self) -> Any:
        return vs.link_importance(self.net, self.x)

    @cached_property
    def thin(self) -> Any:
        return vs.sparsify(self.model, self.x, sparsity=0.5, pruning=s.Pruning(rounds=1))

    @cached_property
    def audited(self) -> vs.Audit:
        return vs.audit(self.net, self.x[0], target=1, methods=["integrated_gradients", "lrp_epsilon"])


Verb = Callable[[Subject], Any]


def tracing() -> dict[str, Verb]:
    return {
        "trace": lambda g: vs.trace(g.model, g.x[:2]),
        "trace, opaque": lambda g: vs.trace(lambda rows: rows.square().sum(1), g.x[:2])(g.x),
        "Network.__call__": lambda g: g.net(g.x),
        "Network.__call__, opaque": lambda g: vs.trace(lambda rows: g.model(rows), g.x[:2])(g.x),
        "Network.read": lambda g: g.net.read(g.x, ["0", "2"]),
        "Network.split": lambda g: [(cut := g.net.split("2")).at, cut.head(*cut.front(g.x))],
        "Network.cast": lambda g: g.net.cast(torch.float64),
        "Network.cast, called": lambda g: g.net.cast(torch.float64)(g.x.double()),
        "Network.digest": lambda g: g.net.digest(),
        "Network.layers": lambda g: (g.net.layers, g.net.unit_index("0"), g.net.parameters),
    }


def players_and_games() -> dict[str, Verb]:
    known: dict[str, Verb] = {
        "Players.features": lambda g: vs.Players.features(g.x[0]),
        "Players.groups": lambda g: vs.Players.groups(g.x[0], {"a": [0, 1], "b": [2, 3, 4]}),
        "Players.plain": lambda g: vs.Players.plain(3),
        "Players.patches": lambda g: vs.Players.patches(g.pictures[0], 2),
        "Players.segments": lambda g: vs.Players.segments(torch.arange(16, device="cpu").reshape(1, 4, 4) // 4),
        "Players.tokens": lambda g: vs.Players.tokens(g.x[:3]),
        "Players.channels": lambda g: vs.Players.channels(g.pictures[0]),
        "Players.units": lambda g: vs.Players.units(g.net, "0"),
        "Players.links": lambda g: vs.Players.links(g.net, "5"),
        "Players.components": lambda g: vs.Players.components([g.x[0] / 2, g.x[0] / 2]),
        "Players.expand": lambda g: g.players.expand(torch.eye(COLUMNS, dtype=torch.bool, device="cpu")),
        "Game.of": lambda g: vs.Game.of(product, 4).table(),
        "Game.on": lambda g: g.game.explained,
        "Game.on, links": lambda g: vs.Game.on(g.net, g.x[0], vs.Players.links(g.net, "5"), target=1)(
            torch.ones(1, 12, dtype=torch.bool, device="cpu")
        ),
        "Game.__call__": lambda g: g.game(torch.eye(COLUMNS, dtype=torch.bool, device="cpu")),
        "Game.table": lambda g: g.game.table(),
        "Game.nominal_seconds": lambda g: g.game.nominal_seconds(),
        "Game.to_shapiq": lambda g: g.game.to_shapiq()(torch.eye(COLUMNS, dtype=torch.bool, device="cpu").numpy()),
    }
    for name in SHAPLEY:
        known[f"shapley, {name}"] = lambda g, name=name: shapley(
            vs.Game.of(product, 5), estimator=name, budget=32 if name == "exact" else 24, generator=seeded()
        )
    for name in INTERACTIONS:
        known[f"interactions_of, {name}"] = lambda g, name=name: interactions_of(
            vs.Game.of(product, 6), estimator=name, budget=64 if name == "exact" else 70, generator=seeded()
        )
    return known


def pair(x: Tensor) -> vs.Players:
    return vs.Players.groups(x, {"a": [0, 1], "b": [2, 3, 4]})


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def attributions() -> dict[str, Verb]:
    known: dict[str, Verb] = {}
    for name in vs.METHODS:
        pictures = name in ("grad_cam", "occlusion_patch")
        at = "1" if name == "grad_cam" else None
        known[f"attribute, {name}"] = lambda g, name=name, pictures=pictures, at=at: vs.attribute(
            g.picture_model if pictures else g.model, g.pictures if pictures else g.x[:2], name, target=1, at=at
        )
    return known | {
        "attribute, background": lambda g: vs.attribute(g.model, g.x[:2], "deep_shap", baseline=g.x[:4]),
        "attribute, mean": lambda g: vs.attribute(g.model, g.x[:2], "occlusion", baseline=vs.Mean(g.x)),
        "attribute, blur": lambda g: vs.attribute(g.picture_model, g.pictures, "occlusion", baseline=vs.Blur(1.0)),
        "attribute, function as target": lambda g: vs.attribute(g.model, g.x[:2], "lrp_epsilon", target=confidence),
        "attribute, opaque": lambda g: vs.attribute(lambda rows: g.model(rows), g.x[:2], "integrated_gradients", target=1),
        "attribute, inner": lambda g: vs.attribute(g.model, g.x[:2], "deeplift_rescale", target=("3", 1), at="0"),
        "attribute, links": lambda g: vs.attribute(g.model, g.x[:1], "shapley_value", target=1, players=g.players),
        "attribute, batches": lambda g: vs.attribute(g.model, torch.utils.data.TensorDataset(g.x.detach()[:4], g.labels[:4])),
        "attribute, array": lambda g: vs.attribute(g.model, g.x[:2].detach().numpy(), "occlusion", target=0),
        "Allocation": lambda g: [
            g.attribution.flat,
            g.attribution.gap,
            g.attribution.relative_gap,
            g.attribution.map,
            g.attribution.to_numpy(),
        ],
        "Allocation.top": lambda g: g.dividends.top(2),
        "Allocation.group": lambda g: g.attribution.group(vs.Players.groups(g.x[0], {"a": [0, 1], "b": [2, 3, 4]})),
        "Allocation.reduce": lambda g: [g.dividends.reduce("shapley"), g.dividends.reduce("banzhaf")],
        "Allocation.from_array": lambda g: vs.Allocation.from_array(g.x[:2].detach(), base=0.0, total=1.0),
        "interactions": lambda g: g.dividends,
        "order_totals": lambda g: order_totals(g.net, g.x[:1], target=1, order=3),
        "subset_orders": lambda g: subset_orders(g.net, g.x[:1], g.players, target=1, order=3),
        "taylor_profile": lambda g: taylor_profile(g.net, g.x[:1], g.players, target=1, order=3),
        "taylor_terms": lambda g: taylor_terms(g.net, g.x[:1], g.players, target=1, order=2),
        "allocation_weights": lambda g: allocation_weights(
            vs.METHODS["gradient_x_input"](), g.net, g.x[0], target=1, scalings=Scalings(order=2, players=pair(g.x[0]))
        ),
        "interactions, many": lambda g: vs.interactions(g.net, g.x[0], target=1, max_order=2),
        "harsanyi_dividends": lambda g: harsanyi_dividends(vs.Game.of(product, 4)),
    }


def audits() -> dict[str, Verb]:
    return {
        "audit": lambda g: g.audited,
        "Audit.table": lambda g: [g.audited.table(), g.audited.ranking(), g.audited.sentences()],
        "Auditor": lambda g: Auditor(most_exact=4, coalitions=64).audit(g.net, g.x[0], target=1, methods=["occlusion"]),
        "audit_map": lambda g: audit_map(g.x[0].detach() / 2, g.net, g.x[0], target=1),
        "check_method": lambda g: check_method("lrp_epsilon"),
    }


def flows() -> dict[str, Verb]:
    known: dict[str, Verb] = {
        "information_flow": lambda g: vs.information_flow(g.model, g.x, labels=g.labels),
        "pointwise_flow": lambda g: i.pointwise_flow(g.net, g.flow, g.x, g.x[:2]),
        "ablation_curves": lambda g: i.ablation_curves(g.net, g.flow, g.x, g.labels, layer="0", removing=i.AblationOptions(repeats=1)),
        "ablation_curves, links": lambda g: (
            i.ablation_curves(g.net, g.flow, g.x, g.labels, layer="3", removing=i.AblationOptions(what="links", steps=3, repeats=1)).areas
        ),
        "FlowGraph.communities": lambda g: g.flow.communities(),
        "FlowGraph.betweenness": lambda g: g.flow.betweenness(),
        "FlowGraph.attribution": lambda g: [g.flow.attribution(), g.flow.through()],
        "FlowGraph.strongest_paths": lambda g: [g.flow.strongest_paths(), g.flow.strongest_edges()],
        "FlowGraph.without": lambda g: g.flow.without([("0", 1)]),
        "FlowGraph.compare": lambda g: [(one.before, one.after, one.stderr) for one in g.flow.compare(g.flow.without([("0", 1)])).edges],
        "FlowGraph.redundant": lambda g: [g.flow.redundant(), g.flow.prunable(), g.flow.dead],
        "adjusted": lambda g: adjusted(torch.tensor([0.01, 0.2, 0.03], dtype=torch.float64, device="cpu")),
    }
    for name in INFORMATION:
        estimator = Neural(steps=3, widths=(4, 4)) if name == "neural" else name
        known[f"pairwise, {name}"] = lambda g, estimator=estimator: pairwise(
            g.x.detach(), g.x.detach()[:, :2].square(), estimator=estimator, generator=seeded()
        )
    return known


def complexities() -> dict[str, Verb]:
    return {
        "complexity": lambda g: g.parts,
        "complexity, separate": lambda g: vs.complexity(g.model, g.x, at="3", orders=(0, 1), training=replace(TRAINING, mode="separate")),
        "complexity, pictures": lambda g: vs.complexity(g.picture_model, draw(80, 1, 4, 4), at="0", orders=(0, 1), training=TRAINING),
        "Complexity": lambda g: [g.parts.rho, g.parts.r2, g.parts.significance(), g.parts.summary(), g.parts.gain, g.parts.residual],
        "Complexity.components": lambda g: g.parts.components(g.x),
        "Complexity.effectiveness": lambda g: g.parts.effectiveness((g.x, g.labels), scoring=Scoring(resamples=5)),
        "Complexity.profile": lambda g: g.parts.profile((g.x, g.labels), others=[g.net], weighted=True, scoring=Scoring(resamples=5)),
        "Complexity.reliability": lambda g: g.parts.reliability(g.x, others=[g.net]),
        "Complexity.replace": lambda g: g.parts.replace(0)(g.x),
        "Complexity.picture": lambda g: g.parts.picture(g.x),
        "compare": lambda g: compare({"one": g.net, "other": g.net}, g.x, at="3", orders=(0, 1), training=TRAINING),
        "cut_at": lambda g: cut_at(g.net, "3").front(g.x),
        "estimate_cost": lambda g: estimate_cost(g.net, 100, at="3").flop,
        "predict_accuracy": lambda g: predict_accuracy(draw(9, 2), draw(9, seed=1), samples=torch.arange(1, 10, device="cpu")),
        "train_gated": lambda g: train_gated(draw(24, 3), draw(24, 2, seed=1), gating=Gating(epochs=1)),
        "train_gated, pictures": lambda g: train_gated(draw(8, 2, 4, 4), draw(8, 2, 4, 4, seed=1), gating=Gating(epochs=1)),
        "trained_reliability": lambda g: trained_reliability(
            [conv(1), conv(2)],
            draw(16, 2, 4, 4),
            [draw(16, 2, 4, 4, seed=1), draw(16, 2, 4, 4, seed=2)],
            how=ReliabilityTraining(epochs=1, loop_epochs=1),
        ),
    }


@forked
def conv(layers: int) -> nn.Module:
    return fill(nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1, dtype=torch.float32, device="cpu") for _ in range(layers))))


def inside() -> dict[str, Verb]:
    """Heads and edges of a transformer written by hand."""
    ends, asked = (GREATER, GREATER_OTHER), {"target": 3}
    return {
        "Players.heads": lambda g: vs.Players.heads(g.reader),
        "Players.neurons": lambda g: [vs.Players.neurons(g.reader), vs.Players.layers(g.reader), vs.Players.residual(g.reader)],
        "Players.edges": lambda g: vs.Players.edges(g.reader),
        "attribute, heads": lambda g: vs.attribute(g.reader, ends[0], "shapley_value", players=vs.Players.heads(g.reader), target=3),
        "attribution_patching": lambda g: c.attribution_patching(g.reader, *ends, **asked),
        "activation_patching": lambda g: c.activation_patching(g.reader, *ends, direction="denoising", **asked),
        "edge_attribution_patching": lambda g: c.edge_attribution_patching(g.reader, *ends, **asked),
        "eap_ig": lambda g: [c.eap_ig(g.reader, *ends, path=path, **asked) for path in ("inputs", "edges")],
        "acdc": lambda g: c.acdc(g.reader, *ends, threshold=0.1, **asked),
        "circuit_of": lambda g: c.circuit_of(g.reader, *ends, keep=3, **asked),
        "faithfulness_curve": lambda g: c.faithfulness_curve(g.reader, *ends, c.eap_ig(g.reader, *ends, **asked), sizes=[3], **asked),
        "direct_logit_attribution": lambda g: c.direct_logit_attribution(g.reader, ends[0], **asked),
        "logit_lens": lambda g: c.logit_lens(g.reader, ends[0]),
    }


def pruning() -> dict[str, Verb]:
    quick = s.Pruning(rounds=1)
    return {
        "link_importance": lambda g: g.importance,
        "link_importance, permutation": lambda g: vs.link_importance(
            g.model, g.x, estimator="permutation", weighing=s.ImportanceOptions(permutations=2)
        ),
        "link_importance, rescale": lambda g: vs.link_importance(g.model, g.x, estimator="rescale"),
        "LinkImportance": lambda g: [g.importance.summary(), [layer.unit_importance for layer in g.importance.layers.values()]],
        "links_of": lambda g: s.links_of(g.net),
        "sparsify": lambda g: g.thin,
        "sparsify, paper": lambda g: vs.sparsify(g.model, g.x, importance_level=0.8, mode="paper"),
        "sparsify, finetune": lambda g: vs.sparsify(g.model, g.x, sparsity=0.5, pruning=s.Pruning(rounds=1, finetune=s.Finetune(batch=16))),
        "sparsify, taylor": lambda g: vs.sparsify(
            g.model, g.x, sparsity=0.5, mode="paper", pruning=s.Pruning(score="taylor", loss=lambda output, inputs: output.square().mean())
        ),
        "sparsify, pictures": lambda g: vs.sparsify(g.picture_model, draw(40, 1, 4, 4), sparsity=0.5, pruning=quick),
        "sparsify_gradually": lambda g: s.sparsify_gradually(g.model, g.x, sparsity=[0.3, 0.6], pruning=quick),
        "sweep": lambda g: s.sweep(g.model, g.x, sparsity=[0.3, 0.6], pruning=quick),
        "remove_units": lambda g: s.remove_units(g.model, g.x, pruning=quick),
        "Sparsified.compact": lambda g: compacted(g),
        "compare_pruning": lambda g: s.compare_pruning(
            [g.model],
            g.x,
            judge,
            sparsity=[0.5],
            ways={"one": s.PruningMethod(mode="paper"), "random": s.PruningMethod(mode="paper", pruning=s.Pruning(score="random"))},
        ),
        "fit": lambda g: m.fit(autoencoder(), g.x.detach(), training=m.AutoencoderTraining(epochs=2)),
    }


def pruned_page(g: Subject) -> bool:
    """Whether there is a page; what is on it are times."""
    page = sparsify_job(g.model, g.x, sparsity=0.5, options=SparsifyOptions(pruning=s.Pruning(rounds=1)))
    return "</html>" in page.html


def compacted(g: Subject) -> Any:
    ticks = count()
    found = compact(g.thin.network, rows=g.x, batches=(1,), clock=lambda: float(next(ticks)))
    return [found.smallest, found.removed]


@forked
def autoencoder() -> nn.Module:
    return fill(
        nn.Sequential(
            nn.Linear(COLUMNS, 3, dtype=torch.float32, device="cpu"), nn.Tanh(), nn.Linear(3, COLUMNS, dtype=torch.float32, device="cpu")
        )
    ).train()


def nouns(g: Subject) -> list[Any]:
    """One of every result."""
    return [g.net, g.players, g.game, g.attribution, g.dividends, g.audited, g.flow, g.parts, g.importance, g.thin]


def shown() -> dict[str, Verb]:
    return {
        "__repr__": lambda g: [repr(noun) for noun in nouns(g) if noun is not g.game],
        "_repr_html_": lambda g: [noun._repr_html_() for noun in nouns(g)[3:]],
        "plot": lambda g: [noun.plot() is not None for noun in (g.attribution[0], g.flow)],
        "save and load": lambda g: [saved_and_loaded(noun) for noun in (g.net, *nouns(g)[3:])],
        "iter": lambda g: [list(g.attribution), g.attribution[0], len(g.attribution), g.players.names],
        "to other libraries": lambda g: [g.attribution.to_dataframe().to_numpy(), g.flow.to_json()],
    }


def saved_and_loaded(noun: Any) -> Any:
    with TemporaryDirectory() as folder:
        return type(noun).load(noun.save(Path(folder) / "noun"))


def surveys() -> dict[str, Verb]:
    return {
        "survey": lambda g: surveyed(g.model, (g.x[:12].detach(), g.labels[:12])),
        "survey, interactions": lambda g: surveyed(g.model, g.x[:3].detach(), method="interactions", target=1),
        "survey, links": lambda g: summed_up(g.model, g.x.detach(), "link_importance"),
        "survey, flow": lambda g: summed_up(g.model, g.x.detach(), "information_flow"),
    }


def summed_up(model: Any, data: Any, method: str) -> list[Any]:
    """What sums over rows say."""
    with TemporaryDirectory() as folder:
        found = vs.survey(model, data, method, out=folder, options=SurveyOptions(batch_rows=4, shard_rows=8))
        return [found.result(), found.column("row")]


def surveyed(model: Any, data: Any, **asked: Any) -> list[Any]:
    """All that a survey says."""
    with TemporaryDirectory() as folder:
        found = vs.survey(model, data, out=folder, options=SurveyOptions(batch_rows=4, shard_rows=8), **asked)
        columns = {name: found.column(name) for name in found.columns}
        return [found[:], found.summary(), columns, found.find(row=[1, 2]), vs.Survey.load(folder)[1]]


def pages() -> dict[str, Verb]:
    return {
        "report": lambda g: vs.report([g.attribution, g.dividends, g.audited, g.flow, g.parts, g.importance], title="All"),
        "explain": lambda g: vs.explain(g.model, g.x, rows="0:2", methods=["integrated_gradients", "occlusion"]),
        "explain, flow": lambda g: vs.explain(g.model, g.x, rows="0:1", methods=["occlusion"], options=ExplainOptions(flow=":")),
        "workflow.sparsify": lambda g: (
            "</html>" in sparsify_job(g.model, g.x, sparsity=0.5, options=SparsifyOptions(pruning=s.Pruning(rounds=1))).html
        ),
    }


VERBS: dict[str, Verb] = {
    name: verb
    for room in (tracing, players_and_games, attributions, audits, flows, complexities, inside, pruning, shown, surveys, pages)
    for name, verb in room().items()
}
