"""Pages to try: one with every kind of section, and one in which every name that a user may give is an attack."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import vesalius as vs
from tests.browser.payloads import attack
from tests.language.models import byte_tokenizer
from tests.nouns import NAMES, NOUNS, network, rows
from vesalius.circuits import FaithfulnessCurve
from vesalius.information.ablation import AblationCurves
from vesalius.information.graph import FlowGraph
from vesalius.information.histograms import Histograms
from vesalius.information.layers import FlowEdges, FlowLayer
from vesalius.scale import SurveyOptions
from vesalius.views import style
from vesalius.views.decisions import Decision, Decisions
from vesalius.views.gallery import Exhibit, MethodAnswer, exhibit_section, missing_section, overview_section
from vesalius.views.report import Report
from vesalius.views.text.section import TextDecision, text_decisions

Name = Callable[[str], str]
"""What a thing is called on a page, from what it is called here."""

METHODS = ("integrated_gradients", "occlusion", "saliency")


def attacked() -> Name:
    """Names that are attacks, each another."""
    count = itertools.count()
    return lambda _: attack(next(count))


def page(name: Name, folder: Path, *, decisions: int) -> Report:
    """Every kind of section."""
    facts = {name("fact"): name("words")}
    sections = [
        *_decisions(name, decisions), *_allocations(name), *_judged(name), *_graphs(name), *_networks(name), *_texts(name),
        *_gallery(name), _survey(name, folder),
    ]  # fmt: skip
    return vs.report(sections, title=name("A page"), lead=name("Of all sections."), facts=facts, reproduce=name("vesalius demo"))


def _map(name: Name, method: str, draw: torch.Generator) -> vs.Allocation:
    values = torch.randn(1, 8, 8, generator=draw).cumsum(-1)
    players = vs.Players.features(values, names=[name(f"pixel {place}") if place < 2 else f"pixel {place}" for place in range(64)])
    base, known = torch.zeros(()), {"method": method, "target": name("class 3"), "model": name("digits")}
    return vs.Allocation(players=players, values=values, base=base, total=base + values.sum(), provenance=known)


def _row(name: Name, draw: torch.Generator) -> vs.Allocation:
    values = torch.randn(4, generator=draw)
    players = vs.Players.features(values, names=[name(f"column {place}") for place in range(4)])
    known = {"method": "shapley_value", "options": {name("steps"): name("64")}, "unit": name("logits"), "baseline": name("zero")}
    return vs.Allocation(players=players, values=values, base=torch.zeros(()), total=values.sum(), provenance=known)


def _decisions(name: Name, count: int) -> list[Decisions]:
    draw = torch.Generator().manual_seed(0)
    pictures, tables = [], []
    for place in range(count):
        right = place % 7 > 0
        known = {"predicted": name(f"{place % 10}"), "target": name("class"), "note": name("") if place == 1 else ""}
        known |= {"label": known["predicted"] if right else name("other"), "probability": 0.5 + 0.5 * place / count}
        maps = tuple(_map(name, method, draw) for method in METHODS)
        pictures.append(Decision(sample=torch.zeros(1, 8, 8), picture=torch.rand(1, 8, 8, generator=draw), allocations=maps, **known))
        tables.append(Decision(sample=torch.rand(4, generator=draw), allocations=(_row(name, draw),), **known))
    return [
        Decisions(items=tuple(pictures), baseline=name("zero"), unit=name("logits"), heading=name("Decisions"), anchor=name("decisions")),
        Decisions(items=tuple(tables[: count // 2]), baseline=name("mean"), heading=name("Rows"), anchor=name("rows")),
    ]


def _allocations(name: Name) -> list[vs.Allocation]:
    draw = torch.Generator().manual_seed(1)
    pixels, row = _map(name, name("method"), draw), _row(name, draw)
    players = vs.Players.patches(torch.zeros(1, 4, 4), (2, 2))
    members = torch.tensor([[True, False, False, False], [True, True, False, False], [False, True, True, True]])
    together = vs.Allocation(
        players=players, coalitions=members, values=torch.tensor([1.0, -2.0, 0.5]), base=torch.zeros(()), total=torch.tensor(-0.5),
        provenance={"method": "interactions", "index": "dividend", "target": name("class")},
    )  # fmt: skip
    named = vs.Players.features(rows()[0], names=tuple(name(one) for one in NAMES))
    return [pixels, row, row, together, vs.interactions(network(), rows()[0], named, target=0, max_order=2)]


def _judged(name: Name) -> list[Any]:
    judged = NOUNS["Audit"]()
    known = {**judged.provenance, "target": name("class"), "baseline": name("zero"), "model": name("model")}
    return [replace(judged, provenance=known, skipped={"grad_cam": name("it needs positions")}), NOUNS["Complexity"]()]


def flow(name: Name) -> FlowGraph:
    """A chain of four blocks of three layers, with skips."""
    draw = torch.Generator().manual_seed(2)
    called = ["x", *(f"block.{block}.{part}" for block in range(4) for part in ("conv1", "conv2", "sum")), "output"]
    sizes = [4, *[6] * 12, 3]
    layers = []
    for at, (layer, size) in enumerate(zip(called, sizes, strict=True)):
        units = [name(f"{layer} {unit}") for unit in range(size)]
        made = FlowLayer.of(f"{layer} {name('')}".strip(), units, kind="features" if at == 0 else "units")
        layers.append(replace(made, spread=Histograms.of(torch.rand(20, size, generator=draw))))
    pairs = [(at, at + 1) for at in range(13)] + [(at, at + 3) for at in (3, 6, 9)]
    edges = [FlowEdges.of(torch.rand(sizes[a], sizes[b], generator=draw).double() * (torch.rand(sizes[a], sizes[b], generator=draw) < 0.5))
             for a, b in pairs]  # fmt: skip
    ends = [(layers[a].name, layers[b].name) for a, b in pairs]
    return FlowGraph(layers=tuple(layers), edges=tuple(edges), pairs=tuple(ends), provenance={"model": name("chain")})


def _graphs(name: Name) -> list[Any]:
    circuit = NOUNS["Circuit"]()
    parts = {part: name(part).replace("->", "") for edge in circuit.names for part in edge.split("->")}
    edges = tuple("->".join(parts[part] for part in edge.split("->")) for edge in circuit.names)
    known = {"target": name("token"), "baseline": name("other prompts"), "model": name("gpt")}
    accuracy = {"flow": torch.tensor([[0.9, 0.8, 0.1]]).double(), "random": torch.tensor([[0.9, 0.5, 0.1]]).double()}
    removed = torch.linspace(0, 1, 3).double()
    curve = FaithfulnessCurve(
        sizes=torch.tensor([1, 2, 3]), faithfulness=torch.tensor([0.1, 0.5, 1.0]), completeness=torch.tensor([1.0, 0.4, 0.0]),
        edges=3, provenance=known,
    )  # fmt: skip
    return [
        flow(name),
        replace(circuit, names=edges, provenance=known) if name("x") != "x" else circuit,
        curve,
        AblationCurves(layer=name("fc1"), what="units", removed=removed, accuracy=accuracy),
    ]


def _networks(name: Name) -> list[Any]:
    weights, small = NOUNS["LinkImportance"](), NOUNS["Compact"]()
    layers = {name(key): replace(layer, name=name(key), estimator=name("exact")) for key, layer in weights.layers.items()}
    told: Mapping[str, str] = {name("layer"): name("it is read twice")}
    return [replace(weights, layers=layers), NOUNS["Sparsified"](), replace(small, why=told, left_out={})]


def _texts(name: Name) -> list[Any]:
    text = f"It was {name('great')} & bad"
    players = vs.Players.text(text, byte_tokenizer(), "word")
    values = torch.linspace(-1, 1, players.n)
    one = vs.Allocation(players=players, values=values, base=torch.tensor(0.0), total=values.sum(), provenance={"method": "occlusion"})
    said = style.Verdict("ok", name("predicted good"))
    masks = torch.zeros(2, players.n, dtype=torch.bool)
    masks[0, :2] = masks[1, 1:3] = True
    known = {"method": "interactions", "index": "dividend"}
    pair = vs.Allocation(
        players=players,
        coalitions=masks,
        values=torch.tensor([0.5, -2.0]),
        base=torch.tensor(0.0),
        total=torch.tensor(-1.5),
        provenance=known,
    )
    shown = [TextDecision(outcome=said, allocations=(one,)) for _ in range(6)]
    return [one, pair, text_decisions(shown, heading=name("Reviews"), unit=name("logits"))]


def _gallery(name: Name) -> list[Any]:
    draw = torch.Generator().manual_seed(3)
    answers = (MethodAnswer(method="occlusion", allocation=_row(name, draw)), MethodAnswer(method="grad_cam", refusal=name("no positions")))
    facts = {"model": name("a net"), "outcome": style.Verdict("bad", name("wrong")), "target": name("class"), "baseline": name("zero")}
    shown = Exhibit(
        heading=name("Rows"), unit=name("logits"), answers=answers, columns=tuple((name("column"), name("3")) for _ in range(4)), **facts
    )
    return [
        overview_section([shown], heading=name("Completeness")),
        exhibit_section(shown),
        missing_section([(name("BERT"), name("no net"))]),
    ]


def _survey(name: Name, folder: Path) -> vs.Survey:
    data = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).eval()
    options = SurveyOptions(shard_rows=50, names=[name(f"column {place}") for place in range(4)])
    classes = [name("no"), name("yes")]
    return vs.survey(model, (data, (data[:, 0] > 0).long()), "gradient_x_input", out=folder, classes=classes, options=options)
