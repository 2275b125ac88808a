"""The noun, its pictures, its page, its curve; and the words of errors."""

import pytest
import torch
from matplotlib.figure import Figure

import vesalius as vs
from tests.circuits.hand_built import COPY, COPY_OTHER, GREATER, GREATER_OTHER, copy_with_distractor, greater_than
from vesalius import circuits
from vesalius.circuits.circuit import Circuit, feeds, node_of
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName, WrongType
from vesalius.views.charts import plot_allocation
from vesalius.views.circuits.layout import circuit_layout, edge_scores


@pytest.fixture(scope="module")
def copying():
    net = vs.trace(copy_with_distractor(), COPY)
    scores = circuits.eap_ig(net, COPY, COPY_OTHER, target=3)
    return net, scores, circuits.circuit_of(net, COPY, COPY_OTHER, scores, keep=4, target=3)


def test_prints_what_it_is(copying):
    _, _, found = copying
    lines = repr(found).splitlines()
    assert lines[0].startswith("Circuit of 4 of 29 edges (target class 3")
    assert lines[1] == "faithfulness 1.000, completeness (of the rest) 0.000"
    assert len(lines) == 6 and len(found) == 4
    assert found.nodes == ("embed", "L0H1", "L1H1", "logits")
    assert found.whole == pytest.approx(2) and found.empty == pytest.approx(0, abs=1e-9)


def test_edges_to_nowhere_are_not_on_a_way():
    names = ("embed->L0H0.v", "embed->L0H1.v", "L0H0->logits", "L0H1->L1H0.v", "L2H0->logits")
    found = Circuit(
        names=names, scores=torch.ones(5), kept=torch.ones(5, dtype=torch.bool), whole=1.0, empty=0.0, value=1.0, rest=0.0, provenance={}
    )
    assert found.connected == (("embed", "L0H0.v"), ("L0H0", "logits"))
    assert found.nodes == ("embed", "L0H0", "logits")


def test_what_is_read_goes_into_what_is_written():
    assert feeds("L1H0.k", "L1H0") and not feeds("L1H0.k", "L1H1")
    assert feeds("L0.mlp", "L0.mlp") and not feeds("L0.mlp", "L0H0")
    assert feeds("L1.k", "L1H1") and feeds("L1G0.v", "L1H3") and not feeds("L1.k", "L11H1")
    assert feeds("L1.gate", "L1.attn") and feeds("L1H0.q", "L1.attn") and not feeds("L1H0.q", "L2.attn")
    assert node_of("L1H0.qk") == "L1H0" and node_of("L0.mlp") == "L0.mlp" and node_of("logits") == "logits"


def test_is_saved_and_read_and_damage_is_refused(copying, tmp_path):
    _, _, found = copying
    path = found.save(tmp_path / "copy.circuit")
    again = Circuit.load(path)
    assert again.edges == found.edges and torch.equal(again.scores, found.scores) and again.faithfulness == found.faithfulness
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ForeignFile):
        Circuit.load(path)


def test_is_drawn_in_layers(copying):
    _, _, found = copying
    places = circuit_layout(found)
    assert [places[name].level for name in ("embed", "L0H1", "L1H1", "logits")] == [0, 1, 2, 3]
    assert edge_scores(found)["L0H1", "logits"] == pytest.approx(1)
    figure = found.plot()
    assert isinstance(figure, Figure)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"embed", "L0H1", "L1H1", "logits"} <= set(words)
    assert len(figure.axes[0].patches) == 4


def test_is_shown_on_a_page_and_in_a_notebook(copying, tmp_path):
    net, scores, found = copying
    curve = circuits.faithfulness_curve(net, COPY, COPY_OTHER, scores, target=3)
    heads = vs.attribute(net, COPY, "shapley_value", players=vs.Players.heads(net), target=3, baseline=COPY_OTHER)
    page = vs.report([found, curve, heads[0]], title="Who copies").save(tmp_path / "page.html").read_text()
    assert f"From {heads.players.names[0]} at the top left to {heads.players.names[-1]} at the bottom right." in page
    for words in ("L0H1", "L1H1.v", "completeness (of the rest)", "best edges", 'aria-label="circuit of 4 edges'):
        assert words in page
    assert "L0H1" in found._repr_html_() and "faithfulness" in curve._repr_html_()
    assert isinstance(curve.plot(), Figure)
    assert [one.plot(title="Who").axes[0].get_title(loc="left") for one in (found, curve)] == ["Who", "Who"]


def test_names_from_a_user_are_escaped():
    bad = Circuit(
        names=("<script>->logits",),
        scores=torch.ones(1),
        kept=torch.ones(1, dtype=torch.bool),
        whole=1.0,
        empty=0.0,
        value=1.0,
        rest=0.0,
        provenance={"target": "<b>"},
    )
    assert "<script>" not in bad._repr_html_() and "for <b>;" not in bad._repr_html_() and "&lt;b&gt;" in bad._repr_html_()


def test_heads_are_a_heat_map_of_layers(copying):
    net, _, _ = copying
    heads = vs.attribute(net, COPY, "occlusion", players=vs.Players.heads(net), target=3, baseline=COPY_OTHER)[0]
    figure = plot_allocation(heads)
    axes = figure.axes[0]
    torch.testing.assert_close(torch.as_tensor(axes.images[0].get_array().data), heads.values)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["H0", "H1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["L0", "L1"]


def test_the_curve_says_how_many_edges_are_enough(copying):
    net, scores, _ = copying
    curve = circuits.faithfulness_curve(net, COPY, COPY_OTHER, scores, target=3)
    assert curve.smallest(0.99) == 4 and curve.smallest(1.5) is None
    assert int(curve.sizes[0]) == 1 and int(curve.sizes[-1]) == curve.edges == 29
    assert float(curve.faithfulness[-1]) == pytest.approx(1)
    assert 0.8 < curve.area < 1
    assert "faithfulness" in repr(curve)


def test_acdc_with_a_large_threshold_cuts_everything():
    net = vs.trace(greater_than(), GREATER)
    assert len(circuits.acdc(net, GREATER, GREATER_OTHER, threshold=10.0, target=3)) == 0


def test_what_is_refused(copying):
    net, scores, _ = copying
    with pytest.raises(InvalidInput, match="the baseline changes nothing"):
        circuits.circuit_of(net, COPY, COPY, scores, keep=2, target=3)
    with pytest.raises(InvalidInput, match="keep"):
        circuits.circuit_of(net, COPY, COPY_OTHER, scores, keep=0, target=3)
    with pytest.raises(InvalidInput, match=r"scores are of the 29 edges"):
        heads = vs.attribute(net, COPY, "occlusion", players=vs.Players.heads(net), target=3)
        circuits.circuit_of(net, COPY, COPY_OTHER, heads, keep=2, target=3)
    with pytest.raises(UnknownName, match="path"):
        circuits.eap_ig(net, COPY, COPY_OTHER, target=3, path="input")
    with pytest.raises(UnknownName, match="direction"):
        circuits.activation_patching(net, COPY, COPY_OTHER, target=3, direction="noise")
    with pytest.raises(WrongType, match="denoising runs on other prompts"):
        circuits.activation_patching(net, COPY, target=3, direction="denoising")
    with pytest.raises(InvalidInput, match="say which target"):
        circuits.activation_patching(net, COPY, COPY_OTHER, direction="denoising")
    with pytest.raises(InvalidInput):
        circuits.acdc(net, COPY, COPY_OTHER, threshold=0.0, target=3)
    with pytest.raises(InvalidInput, match="writer->reader"):
        Circuit(names=("a",), scores=torch.ones(1), kept=torch.ones(1, dtype=torch.bool), whole=1.0, empty=0.0, value=1.0, rest=0.0)
