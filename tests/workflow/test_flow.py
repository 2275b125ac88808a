"""The flow of information from the command line: on the page, in a file, kept, and refused where that cannot be."""

from pathlib import Path

import pytest

from vesalius.information import FlowGraph
from vesalius.workflow import flow

TABLE = ("models.py:net", "many.npz", "--features", "a,b,c,d", "--names", "red,green,blue", "--rows", "0", "--methods", "occlusion")


@pytest.fixture
def many(home):
    import numpy as np

    rng = np.random.default_rng(1)
    np.savez("many.npz", x=rng.standard_normal((300, 4)).astype(np.float32))


@pytest.mark.usefixtures("many")
def test_the_flow_is_drawn_and_kept_with_the_names_of_its_ends(explain):
    done = explain(*TABLE, "--flow", ":")
    assert done.code == 0
    graph = FlowGraph.load(Path("out") / "flow.safetensors")
    assert graph.layers[0].units == ("a", "b", "c", "d") and graph.layers[-1].units == ("red", "green", "blue")
    assert graph.provenance["rows"] == 300 and "Information flow" in (Path("out") / "report.html").read_text()


@pytest.mark.usefixtures("many")
def test_it_is_computed_again_when_something_changes(explain, monkeypatch):
    explain(*TABLE, "--flow", "0:200")
    with monkeypatch.context() as patch:
        patch.setattr(flow, "information_flow", None)
        assert "kept from" in explain(*TABLE, "--flow", "0:200").err
    explain(*TABLE, "--flow", "0:100")
    assert FlowGraph.load(Path("out") / "flow.safetensors").provenance["rows"] == 100


@pytest.mark.usefixtures("many")
def test_few_rows_and_no_graph_are_refused(explain):
    branch = explain("models.py:branch", *TABLE[1:], "--flow", ":")
    assert branch.code == 2 and "needs the graph" in branch.err
    assert not Path("out").exists(), "refused before any method has run"
    assert "too few" in explain(*TABLE, "--flow", "0:9").err
