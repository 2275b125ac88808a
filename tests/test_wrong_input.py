"""What a verb cannot use is refused in a sentence, by an error of ours; what is a number in another form is that number.

A line of a table is a parameter of a verb, with the kind of thing that it takes; a kind is a list of things that are none.
"""

import decimal

import numpy as np
import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.audit import Auditor, audit_map
from vesalius.complexity import Scoring, Training, cut_at, estimate_cost
from vesalius.core.errors import VesaliusError
from vesalius.games.estimators import ESTIMATORS, shapley
from vesalius.information import AblationOptions, EdgeWeighting, FlowLayer, MeasurementOptions
from vesalius.information.estimators import KSG, Neural, pairwise
from vesalius.interactions import Scalings, interactions_of, taylor_terms
from vesalius.interactions.estimators import ESTIMATORS as INTERACTION_ESTIMATORS
from vesalius.models import Autoencoder, AutoencoderSparsity, AutoencoderTraining
from vesalius.scale import Dividends, InformationFlow, LinkImportances, RayOptions, SurveyOptions
from vesalius.sparsity import Finetune, ImportanceOptions, Pruning, PruningMethod, links_of, remove_units
from vesalius.workflow import ExplainOptions

NAN, INF = float("nan"), float("inf")
NO_NUMBER = [True, np.bool_(True), torch.tensor(True), "3", [1], (), {}, np.array([1, 2]), torch.ones(2), 1j, object()]
NO_COUNT = [*NO_NUMBER, 7.5, np.float64(2.5), torch.tensor(0.5), NAN, INF, -1, 1 << 70, decimal.Decimal("2.5")]
NO_SEED = [value for value in NO_COUNT if not (type(value) is int and value == -1)]
NO_SHARE = [*NO_NUMBER, NAN, INF, -0.5, 1.5]
NO_SIZE = [*NO_NUMBER, NAN, INF, -1.0]
NO_FLAG = ["no", 2, 0.5, None, [], np.array([True, False]), object()]
NO_WORD = ["nonsense", 3, None, ["auto"], b"auto", True, object()]
NO_NAMES = ["abcd", b"abcd", 3, {"a", "b", "c", "d"}, {0: "a", 1: "b", 2: "c", 3: "d"}, list("aabc"), list("ab"), True, object()]
NO_CLASSES = ["abc", 3, {"a", "b", "c"}, list("aab"), list("ab"), list("abcd"), object()]
NO_PLAYERS = ["tokens", 3, [0, 1], {}, True, object(), vs.Players.plain(3), vs.Players.features(torch.zeros(3))]
NO_PLACE = ["nonsense", 3, [], ["0", "0"], {"0"}, True, "", ["0", 3]]
NO_TARGET = [
    True,
    np.bool_(True),
    7,
    1.0,
    "cat",
    [],
    (),
    (1, 2),
    [[0, 1]],
    [0, True, 1],
    ("0", 99),
    ("0", 1.5),
    ("0", True),
    {1},
    1j,
    object(),
]
NO_BASELINE = [
    True,
    NAN,
    INF,
    "nonsense",
    1j,
    {},
    [],
    torch.zeros(7),
    torch.full((4,), NAN),
    torch.zeros(4, dtype=torch.complex64),
    object(),
]
NO_ROWS = [
    None,
    "abc",
    3,
    [],
    torch.zeros(0, 4),
    torch.zeros(2, 5),
    torch.zeros(2, 4, dtype=torch.complex64),
    {"nonsense": torch.zeros(2, 4)},
]
NO_GENERATOR = [0, "seed", True, np.random.default_rng(0), object()]
NO_GAME = [None, 3, lambda masks: masks.sum(1), nn.Linear(4, 1)]
NO_SIZES = [
    True,
    np.bool_(True),
    torch.tensor(True),
    "3",
    (),
    {},
    1j,
    object(),
    7.5,
    NAN,
    -1,
    1 << 70,
    0,
    9,
    (2, 9),
    (2,),
    (1, 2, 3),
    (2.5, 1),
]


def additive():
    return vs.Game.of(lambda masks: masks.double() @ torch.arange(1.0, 5).double(), 4)


@pytest.fixture(scope="module")
def seen():
    """Networks, rows and results that the verbs below are asked about."""
    torch.manual_seed(0)
    rows, many = torch.randn(6, 4), torch.randn(64, 4)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).eval()
    net = vs.trace(model, rows)
    images = torch.rand(2, 1, 4, 4)
    pictures = vs.trace(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3)).eval(), images)
    dividends = vs.interactions(net, rows[0], target=0)
    graph = vs.information_flow(net, many)
    kept = {"net": net, "rows": rows, "many": many, "images": images, "pictures": pictures, "dividends": dividends, "graph": graph}
    return type("Seen", (), kept)


def option(kind, name, **others):
    return lambda seen, value: kind(**{name: value}, **others)


def method(name, chosen, **others):
    return lambda seen, value: vs.attribute(seen.net, seen.rows, name, target=0, options={chosen: value, **others})


def asked(name, **others):
    return lambda seen, value: vs.attribute(seen.net, seen.rows, "occlusion", **{"target": 0, **others, name: value})


def of_one(verb, name, **others):
    return lambda seen, value: verb(seen.net, seen.rows[0], **{"target": 0, **others, name: value})


REFUSED = {
    "attribute(x)": (lambda seen, value: vs.attribute(seen.net, value, "occlusion"), NO_ROWS),
    "attribute(method)": (lambda seen, value: vs.attribute(seen.net, seen.rows, value), ["nonsense", 3, None, ["occlusion"], object()]),
    "attribute(target)": (asked("target"), NO_TARGET),
    "attribute(baseline)": (asked("baseline"), NO_BASELINE),
    "attribute(baseline=Constant)": (lambda seen, value: asked("baseline")(seen, vs.Constant(value)), NO_BASELINE[:3]),
    "attribute(baseline=Blur)": (
        lambda seen, value: vs.attribute(seen.pictures, seen.images, "occlusion", baseline=vs.Blur(value)),
        [*NO_SIZE, 0],
    ),
    "attribute(at)": (asked("at"), NO_PLACE),
    "attribute(players)": (asked("players"), NO_PLAYERS),
    "attribute(names)": (asked("names"), NO_NAMES),
    "attribute(classes)": (lambda seen, value: asked("classes", target="a")(seen, value), NO_CLASSES),
    "attribute(options)": (asked("options"), ["budget=3", 3, [("budget", 7)], {"nonsense": 1}, True]),
    "ShapleyValue(budget)": (method("shapley_value", "budget"), [*NO_COUNT, 0, 1]),
    "ShapleyValue(estimator)": (method("shapley_value", "estimator"), NO_WORD),
    "ShapleyValue(seed)": (method("shapley_value", "seed"), NO_SEED),
    "IntegratedGradients(tol)": (method("integrated_gradients", "tol"), [*NO_SIZE, 0]),
    "IntegratedGradients(max_steps)": (method("integrated_gradients", "max_steps"), [*NO_COUNT, 2]),
    "IntegratedGradients(steps)": (method("integrated_gradients", "steps"), [*NO_COUNT, 0]),
    "IntegratedGradients(rule)": (method("integrated_gradients", "rule"), NO_WORD),
    "SmoothGrad(samples)": (method("smooth_grad", "samples"), [*NO_COUNT, 0, 3]),
    "SmoothGrad(level)": (method("smooth_grad", "level"), [*NO_SIZE, 0]),
    "PredictionDifference(evidence)": (method("prediction_difference", "evidence"), [*NO_COUNT, 0]),
    "LRPEpsilon(epsilon)": (method("lrp_epsilon", "epsilon"), NO_SIZE),
    "LRPEpsilon(gated)": (method("lrp_epsilon", "gated"), NO_FLAG),
    "LRPAlphaBeta(alpha)": (method("lrp_alpha_beta", "alpha"), NO_SIZE),
    "DeepTaylor(domain)": (method("deep_taylor", "domain"), NO_WORD),
    "DeepTaylor(low)": (method("deep_taylor", "low", domain="box"), [True, NAN, INF, "0", {}, 1j, 2.0, torch.zeros(2)]),
    "DeepSHAP(variant)": (method("deep_shap", "variant"), NO_WORD),
    "OcclusionPatch(size)": (
        lambda seen, value: vs.attribute(seen.pictures, seen.images, "occlusion_patch", options={"size": value}),
        NO_SIZES,
    ),
    "OcclusionPatch(stride)": (
        lambda seen, value: vs.attribute(seen.pictures, seen.images, "occlusion_patch", options={"size": 2, "stride": value}),
        [3, 0, 2.5, True, (1, 3), "2"],
    ),
    "OcclusionPatch(patches)": (
        lambda seen, value: vs.attribute(seen.pictures, seen.images, "occlusion_patch", options={"patches": value}),
        [*NO_PLAYERS, vs.Players.components([torch.zeros(1, 4, 4)])],
    ),
    "Players.plain": (lambda seen, value: vs.Players.plain(value), [*NO_COUNT, 0, None]),
    "Players.features(names)": (lambda seen, value: vs.Players.features(torch.zeros(4), names=value), NO_NAMES),
    "Players.patches": (
        lambda seen, value: vs.Players.patches(torch.zeros(1, 4, 4), value),
        [*NO_SIZES, None],
    ),
    "Players.segments": (
        lambda seen, value: vs.Players.segments(value),
        [torch.zeros(3), "ab", None, [], torch.tensor([-1]), [0.5, 1], 1j, object()],
    ),
    "Players.channels(axis)": (lambda seen, value: vs.Players.channels(torch.zeros(3, 4), axis=value), [*NO_NUMBER, 0.5, 2, -3]),
    "Players.groups": (
        lambda seen, value: vs.Players.groups(torch.zeros(4), value, names=list("abcd")),
        [[["a"]], "a", None, {}, *({"g": members} for members in (["z"], [9], [], ["a", "a"], [True], [1.5], "ab", None))],
    ),
    "Players.components": (
        lambda seen, value: vs.Players.components(value),
        [[], [torch.zeros(2), torch.zeros(3)], None, 3, ["a"], torch.tensor(1.0), [torch.tensor([NAN])], [torch.tensor([1j])]],
    ),
    "Players.named": (lambda seen, value: vs.Players.plain(4).named(value), NO_NAMES),
    "Players.name": (lambda seen, value: vs.Players.plain(4).name(value), [*NO_NUMBER, 0.5, 4, -5]),
    "Game.of(value)": (lambda seen, value: vs.Game.of(value, 3), [None, 3, "f", torch.zeros(8)]),
    "Game.of(players)": (lambda seen, value: vs.Game.of(lambda masks: masks.sum(1), value), [*NO_COUNT, 0, None]),
    "Game.of(batch)": (lambda seen, value: vs.Game.of(lambda masks: masks.sum(1), 3, batch=value), [*NO_COUNT, 0, None]),
    "Game(keep)": (lambda seen, value: vs.Game(lambda masks: masks.sum(1), vs.Players.plain(3), keep=value), NO_FLAG),
    "Game()": (
        lambda seen, value: additive()(value),
        [None, "a", 3, [[1, 0, 1, 0]], torch.ones(2, 4), torch.ones(4) > 0, [[True]], object()],
    ),
    "Game.on(players)": (of_one(vs.Game.on, "players"), NO_PLAYERS),
    "Game.on(at)": (of_one(vs.Game.on, "at"), NO_PLACE),
    "Game.on(target)": (of_one(vs.Game.on, "target"), NO_TARGET),
    "Game.on(names)": (of_one(vs.Game.on, "names"), NO_NAMES),
    "Game.on(classes)": (of_one(vs.Game.on, "classes", target="a"), NO_CLASSES),
    "shapley(game)": (lambda seen, value: shapley(value), NO_GAME),
    "shapley(budget)": (lambda seen, value: shapley(additive(), budget=value), [*NO_COUNT, 0, 1]),
    "shapley(estimator)": (lambda seen, value: shapley(additive(), estimator=value), NO_WORD),
    "shapley(generator)": (lambda seen, value: shapley(additive(), generator=value), NO_GENERATOR),
    "interactions_of(game)": (lambda seen, value: interactions_of(value), NO_GAME),
    "interactions_of(budget)": (lambda seen, value: interactions_of(additive(), budget=value), [*NO_COUNT, 0, 1]),
    "interactions_of(max_order)": (lambda seen, value: interactions_of(additive(), max_order=value), [*NO_COUNT, 0]),
    "interactions_of(generator)": (lambda seen, value: interactions_of(additive(), generator=value), NO_GENERATOR),
    "interactions(max_order)": (of_one(vs.interactions, "max_order"), [*NO_COUNT, 0]),
    "interactions(players)": (of_one(vs.interactions, "players"), NO_PLAYERS),
    "interactions(names)": (of_one(vs.interactions, "names"), NO_NAMES),
    "taylor_terms(order)": (of_one(taylor_terms, "order", players=vs.Players.features(torch.zeros(4))), [*NO_COUNT, 0]),
    "Scalings(order)": (option(Scalings, "order"), [*NO_COUNT, 0]),
    "Scalings(low)": (option(Scalings, "low"), [*NO_NUMBER, NAN, INF, -1.5, 1.0, 1.5]),
    "Allocation.reduce(index)": (lambda seen, value: seen.dividends.reduce(value), NO_WORD),
    "Allocation.reduce(order)": (lambda seen, value: seen.dividends.reduce("k_sii", order=value), [*NO_COUNT, 0, 5]),
    "Allocation.top": (lambda seen, value: seen.dividends.top(value), NO_COUNT),
    "Allocation.from_array(values)": (
        lambda seen, value: vs.Allocation.from_array(value),
        ["ab", None, 3.0, [["a"]], torch.zeros(2, 3, dtype=torch.complex64), {}, [], object()],
    ),
    "Allocation.from_array(names)": (lambda seen, value: vs.Allocation.from_array([[1.0, 2, 3, 4]], names=value), NO_NAMES),
    "Allocation.from_array(base)": (
        lambda seen, value: vs.Allocation.from_array([[1.0, 2]], base=value),
        ["a", 1j, True, [1, 2], object()],
    ),
    "Allocation.plot(title)": (lambda seen, value: seen.dividends.reduce("shapley").plot(title=value), [3, object(), ["a"]]),
    "Allocation.plot(ax)": (lambda seen, value: seen.dividends.reduce("shapley").plot(ax=value), [3, "a", object()]),
    "Allocation.save": (lambda seen, value: seen.dividends.save(value), [None, 3, True, object()]),
    "Network.load": (lambda seen, value: vs.Network.load(value), [None, 3, True, object()]),
    "trace(model)": (lambda seen, value: vs.trace(value, seen.rows), [None, 3, "model", object()]),
    "trace(kwargs)": (lambda seen, value: vs.trace(nn.Linear(4, 2), seen.rows, kwargs=value), ["mask", 3, [1]]),
    "trace(cache)": (lambda seen, value: vs.trace(nn.Linear(4, 2), seen.rows, cache=value), [3, True, object()]),
    "Network.layer": (lambda seen, value: seen.net.layer(value), ["x", 3, None, ["0"]]),
    "Network.resolve": (lambda seen, value: seen.net.resolve(value), ["x", 3, None, ["0"]]),
    "Network.split": (lambda seen, value: seen.net.split(value), ["x", 3, None, [], ["0", "0"], [3]]),
    "Network.cast": (lambda seen, value: seen.net.cast(value), ["float64", 3, None, float, np.float64, torch.int64, torch.complex64]),
    "audit(methods)": (of_one(vs.audit, "methods"), ["nonsense", 3, None, [], ["occlusion", "occlusion"], [3], {"occlusion"}, object()]),
    "audit(players)": (of_one(vs.audit, "players", methods="occlusion"), NO_PLAYERS),
    "audit(names)": (of_one(vs.audit, "names", methods="occlusion"), NO_NAMES),
    "Auditor(most_exact)": (option(Auditor, "most_exact"), [*NO_COUNT, 17]),
    "Auditor(coalitions)": (option(Auditor, "coalitions"), [*NO_COUNT, 3]),
    "audit_map(values)": (
        lambda seen, value: audit_map(value, seen.net, seen.rows[0]),
        ["ab", None, 3, torch.zeros(5), torch.full((4,), NAN), torch.zeros(4, dtype=torch.complex64), object(), {}],
    ),
    "report(sections)": (lambda seen, value: vs.report(value, title="t"), [None, 3, "a", [], [3], {}]),
    "report(title)": (lambda seen, value: vs.report(seen.dividends, title=value), [3, None, ["a"]]),
    "report(facts)": (lambda seen, value: vs.report(seen.dividends, title="t", facts=value), ["ab", 3, [1]]),
    "information_flow(layers)": (
        lambda seen, value: vs.information_flow(seen.net, seen.many, layers=value),
        ["0", 3, [], ["0", "0"], {"0", "2"}, ["x"], [3]],
    ),
    "information_flow(labels)": (
        lambda seen, value: vs.information_flow(seen.net, seen.many, labels=value),
        [
            "x",
            3,
            torch.zeros(3).long(),
            torch.full((64,), 0.5),
            torch.full((64,), -1),
            torch.full((64,), 10**9),
            torch.zeros(64, 2).long(),
            1j,
        ],
    ),
    "information_flow(measuring)": (lambda seen, value: vs.information_flow(seen.net, seen.many, measuring=value), [3, "mrmr", {}]),
    "FlowGraph.redundant": (lambda seen, value: seen.graph.redundant(similarity=value), [*NO_SHARE, 0]),
    "FlowGraph.prunable": (lambda seen, value: seen.graph.prunable(share=value), [*NO_SHARE, 1.0]),
    "FlowGraph.without": (
        lambda seen, value: seen.graph.without(value),
        ["a", 3, None, [("x", 0)], [("0", 99)], [("0", 1.5)], [("0", True)], [("0",)], [("0", 0, 1)], {"0": [99]}, {"0": "ab"}],
    ),
    "FlowGraph.betweenness": (lambda seen, value: seen.graph.betweenness(length=value), NO_WORD),
    "FlowGraph.communities(seeds)": (
        lambda seen, value: seen.graph.communities(seeds=value, shuffles=1),
        [3, "a", [], [1.5], [True], {1, 2}],
    ),
    "FlowGraph.strongest_paths": (lambda seen, value: seen.graph.strongest_paths(k=value), [*NO_COUNT, 0]),
    "FlowGraph.strongest_edges": (lambda seen, value: seen.graph.strongest_edges(value), [*NO_COUNT, 0]),
    "FlowGraph.plot(most_units)": (lambda seen, value: seen.graph.plot(most_units=value), [*NO_COUNT, 0]),
    "FlowGraph.plot(shape)": (lambda seen, value: seen.graph.plot(shape=value), [3, "a", (2,), (2, 2.5), (3, 3), (-2, -2)]),
    "FlowLayer.of": (lambda seen, value: FlowLayer.of("layer", value), [7.5, NAN, True, 0, -1, "ab", None, ["a", "a"], {"a"}]),
    "EdgeWeighting(rate)": (option(EdgeWeighting, "rate"), [*NO_SHARE, 0]),
    "MeasurementOptions(rows)": (option(MeasurementOptions, "rows"), [*NO_COUNT, 3]),
    "MeasurementOptions(pool)": (option(MeasurementOptions, "pool"), NO_WORD),
    "AblationOptions(steps)": (option(AblationOptions, "steps"), [*NO_COUNT, 1]),
    "KSG(k)": (option(KSG, "k"), [*NO_COUNT, 0]),
    "Neural(widths)": (option(Neural, "widths"), [3, "ab", (1,), (0, 1), (1.5, 2), (True, 1)]),
    "pairwise(estimator)": (lambda seen, value: pairwise(seen.many, seen.many, estimator=value), NO_WORD),
    "pairwise(generator)": (lambda seen, value: pairwise(seen.many, seen.many, generator=value), NO_GENERATOR),
    "link_importance(layers)": (lambda seen, value: vs.link_importance(seen.net, seen.many, layers=value), ["0", 3, [], {"0"}, ["x"], [3]]),
    "link_importance(estimator)": (lambda seen, value: vs.link_importance(seen.net, seen.many, estimator=value), NO_WORD),
    "links_of": (lambda seen, value: links_of(value), [None, 3, nn.Linear(2, 2)]),
    "ImportanceOptions(order)": (option(ImportanceOptions, "order"), [True, 1.5, 3, "first", [1], np.array([1, 2])]),
    "sparsify(sparsity)": (lambda seen, value: vs.sparsify(seen.net, seen.many, sparsity=value), [*NO_SHARE, 1.0, {"0": True}, {"0": 2.0}]),
    "sparsify(importance_level)": (lambda seen, value: vs.sparsify(seen.net, seen.many, importance_level=value), [*NO_SHARE, 0]),
    "sparsify(mode)": (lambda seen, value: vs.sparsify(seen.net, seen.many, sparsity=0.5, mode=value), NO_WORD),
    "sparsify(pruning)": (lambda seen, value: vs.sparsify(seen.net, seen.many, sparsity=0.5, pruning=value), [3, {}, "refit", Finetune()]),
    "remove_units(share)": (lambda seen, value: remove_units(seen.net, seen.many, share=value), [*NO_SHARE, 1.0, {"0": True}]),
    "remove_units(keep)": (
        lambda seen, value: remove_units(seen.net, seen.many, keep=value),
        [3, {"0": 0}, {"0": 1.5}, {"0": True}, ["0"]],
    ),
    "Pruning(rounds)": (option(Pruning, "rounds"), [*NO_COUNT, 0]),
    "Pruning(compensate)": (option(Pruning, "compensate"), NO_FLAG),
    "Pruning(layers)": (option(Pruning, "layers"), ["0", 3, {"0"}]),
    "Finetune(rate)": (option(Finetune, "rate"), [*NO_SIZE, 0]),
    "Finetune(loss)": (option(Finetune, "loss"), [3, "mse"]),
    "PruningMethod(mode)": (option(PruningMethod, "mode"), NO_WORD),
    "Training(rates)": (option(Training, "rates"), [3, "a", (1,), (0, 1), (True, 1), (NAN, 1), None]),
    "Training(held_out)": (option(Training, "held_out"), [*NO_SHARE, 0, 0.9]),
    "Training(seeds)": (option(Training, "seeds"), [*NO_COUNT, 0, None]),
    "Scoring(resamples)": (option(Scoring, "resamples"), [*NO_COUNT, 1]),
    "complexity(orders)": (
        lambda seen, value: vs.complexity(seen.net, seen.many, at="0", orders=value, training=Training(epochs=1)),
        [3, "a", [], [1, 0], [0, 0], [True], [0.5], {0, 1}, None, [-1]],
    ),
    "cut_at(pre_activation)": (lambda seen, value: cut_at(seen.net, "0", pre_activation=value), NO_FLAG),
    "estimate_cost(rows)": (lambda seen, value: estimate_cost(seen.net, value, at="0"), [*NO_COUNT, 0, None]),
    "Autoencoder(sizes)": (option(Autoencoder, "sizes"), [3, "a", [], [3], [4, 2.5], [4, 0], [4, True], None, {4, 2}]),
    "Autoencoder(tied)": (option(Autoencoder, "tied", sizes=(4, 2)), NO_FLAG),
    "Autoencoder(seed)": (option(Autoencoder, "seed", sizes=(4, 2)), NO_SEED),
    "AutoencoderSparsity(dropout)": (option(AutoencoderSparsity, "dropout"), [*NO_SHARE, 1.0]),
    "AutoencoderTraining(epochs)": (option(AutoencoderTraining, "epochs"), [*NO_COUNT, 0]),
    "SurveyOptions(batch_rows)": (option(SurveyOptions, "batch_rows"), [*NO_COUNT, 0]),
    "SurveyOptions(keep_inputs)": (option(SurveyOptions, "keep_inputs"), NO_FLAG),
    "RayOptions(workers)": (option(RayOptions, "workers"), [*NO_COUNT, 0]),
    "LinkImportances(sample)": (option(LinkImportances, "sample"), [*NO_COUNT, 0, None]),
    "InformationFlow(labels)": (option(InformationFlow, "labels"), NO_FLAG),
    "Dividends(max_order)": (option(Dividends, "max_order"), [*NO_COUNT, 0, None]),
    "ExplainOptions(budget)": (option(ExplainOptions, "budget"), [*NO_COUNT, 0]),
    "explain(rows)": (
        lambda seen, value: vs.explain(seen.net, seen.rows, methods="occlusion", rows=value),
        ["x", "0:0", 99, [99], 1.5, [0.5], True, [True], None, {}, [], object()],
    ),
    "explain(target)": (
        lambda seen, value: vs.explain(seen.net, seen.rows, methods="occlusion", rows="0:2", target=value),
        ["nonsense", 7, True, 1.0, (0, 1), [True, False], [0.5, 1.0], 1j, "true", object()],
    ),
    "explain(methods)": (
        lambda seen, value: vs.explain(seen.net, seen.rows, rows="0:2", methods=value),
        ["nonsense", 3, None, [], ["occlusion", "occlusion"], {"occlusion"}, object()],
    ),
    "explain(labels)": (
        lambda seen, value: vs.explain(seen.net, seen.rows, methods="occlusion", rows="0:2", labels=value),
        ["x", 3, [0, 1], [-1] * 6, [9] * 6, [None] * 6, {}, object()],
    ),
    "explain(classes)": (
        lambda seen, value: vs.explain(seen.net, seen.rows, methods="occlusion", rows="0:2", classes=value),
        NO_CLASSES,
    ),
    **{
        f"{name}.estimate(budget)": (lambda seen, value, kind=kind: kind().estimate(additive(), value), [*NO_COUNT, 0])
        for name, kind in ESTIMATORS.items()
    },
    **{
        f"{name}.estimate(game)": (lambda seen, value, kind=kind: kind().estimate(value, 16), NO_GAME)
        for name, kind in INTERACTION_ESTIMATORS.items()
    },
}


@pytest.mark.parametrize("parameter", REFUSED)
@pytest.mark.usefixtures("as_a_user")
def test_what_a_parameter_cannot_use_is_refused_in_a_sentence(parameter, seen):
    use, values = REFUSED[parameter]
    wrong = []
    for value in values:
        try:
            wrong.append(f"{value!r} was taken: {use(seen, value)!r:.80}")
        except VesaliusError as error:
            if len(str(error)) < 20:
                wrong.append(f"{value!r}: {error}")
        except Exception as error:
            wrong.append(f"{value!r}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


RETURNED = {
    "complex": lambda masks: masks.to(torch.complex64).sum(1),
    "complex array": lambda masks: masks.numpy().sum(1) * 1j,
    "nothing": lambda masks: None,
    "words": lambda masks: ["a"] * len(masks),
    "one too few": lambda masks: masks.sum(1)[:-1],
    "a column": lambda masks: masks.sum(1)[:, None],
    "one for all": lambda masks: 1.0,
    "NaN": lambda masks: masks.sum(1) * NAN,
    "infinity": lambda masks: masks.double().sum(1) / 0,
    "a mapping": lambda masks: {},
    "an object": lambda masks: object(),
    "a set": lambda masks: {1.0},
    "missing values": lambda masks: [None] * len(masks),
}


class Duck:
    """A game that is none of ours."""

    players = vs.Players.plain(3)

    def __init__(self, function):
        self.function = function

    def __call__(self, masks):
        return self.function(masks)


@pytest.mark.parametrize("returned", RETURNED)
@pytest.mark.usefixtures("as_a_user")
def test_a_game_of_no_numbers_is_refused(returned):
    function = RETURNED[returned]
    with pytest.raises(VesaliusError):
        vs.Game.of(function, 3).table()
    with pytest.raises(VesaliusError):
        shapley(Duck(function))


@pytest.mark.parametrize(
    "give",
    [lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.float(), lambda x: x.long(), lambda x: x.numpy().astype(object), tuple],
    ids=["array", "list", "float32", "int64", "objects", "tuple"],
)
@pytest.mark.usefixtures("as_a_user")
def test_a_game_of_numbers_in_any_form_has_their_values(give):
    weights = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    for game in (vs.Game.of(lambda masks: give(masks.double() @ weights), 3), Duck(lambda masks: give(masks.double() @ weights))):
        assert shapley(game).values.tolist() == pytest.approx([1, 2, 4])


@pytest.mark.usefixtures("as_a_user")
def test_a_game_of_truth_values_counts_them():
    found = shapley(vs.Game.of(lambda masks: masks.sum(1) >= 2, 3))
    assert found.values.tolist() == pytest.approx([1 / 3] * 3)


NUMBERS = {
    "budget": lambda give: shapley(additive(), budget=give(16), estimator="kernel", generator=torch.Generator().manual_seed(0)).values,
    "players": lambda give: vs.Game.of(lambda masks: masks.double().sum(1), give(3)).table(),
    "patches": lambda give: vs.Players.patches(torch.zeros(1, 4, 4), give(2)).index[0],
    "axis": lambda give: vs.Players.channels(torch.zeros(2, 3), axis=give(1)).index[0],
    "max_order": lambda give: interactions_of(additive(), max_order=give(2)).values,
    "top": lambda give: torch.tensor([value for _, value in shapley(additive()).top(give(2))]),
    "seed": lambda give: Autoencoder((4, 2), seed=give(3)).encoder[0].weight,
    "column": lambda give: vs.Players.groups(torch.zeros(4), {"a": [give(2)]}).index[0],
}
FORMS = {
    "int64": np.int64,
    "uint8": np.uint8,
    "an array without axes": np.array,
    "a tensor without axes": torch.tensor,
    "a float that is whole": float,
    "float32": np.float32,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parameter", NUMBERS)
@pytest.mark.usefixtures("as_a_user")
def test_a_number_in_another_form_is_that_number(parameter, form):
    use = NUMBERS[parameter]
    torch.testing.assert_close(use(FORMS[form]), use(int), rtol=0, atol=0)


@pytest.mark.parametrize("form", [np.float32, np.float64, np.array, torch.tensor], ids=["float32", "float64", "array", "tensor"])
def test_a_baseline_in_another_form_is_that_number(form, seen):
    want = vs.attribute(seen.net, seen.rows, "occlusion", target=0, baseline=0.5)
    got = vs.attribute(seen.net, seen.rows, "occlusion", target=0, baseline=form(0.5))
    torch.testing.assert_close(got.values, want.values, rtol=0, atol=0)


@pytest.mark.usefixtures("as_a_user")
def test_names_come_in_any_order_keeping_container(seen):
    names = ["age", "income", "debt", "height"]
    for given in (tuple(names), np.array(names), iter(names), dict.fromkeys(names).keys() and list(names)):
        assert vs.attribute(seen.net, seen.rows[0], "occlusion", target=0, names=given).players.names == tuple(names)


def test_a_word_may_stand_at_several_places_of_a_text():
    assert vs.Players.tokens(torch.zeros(4), names="the cat the dog".split()).names == ("the", "cat", "the", "dog")
