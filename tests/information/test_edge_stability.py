"""Graphs of few rows say so: the share of their edges that half of the rows show again."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.information import FlowGraph, MeasurementOptions, information_flow

FAST = MeasurementOptions(estimator="binned")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return vs.trace(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), torch.zeros(1, 3))


def graph_of(network, count):
    return information_flow(network, torch.randn(count, 3, generator=torch.Generator().manual_seed(count)), measuring=FAST)


def test_more_rows_show_more_edges_again(network):
    shares = [graph_of(network, count).provenance["few_rows"]["kept"] for count in (40, 120, 480)]
    assert 0 < shares[0] < shares[1] < shares[2] <= 1
    assert "half of them show" in repr(graph_of(network, 120)) and "Few rows (120)" in repr(graph_of(network, 120))


@pytest.mark.slow
def test_the_share_is_that_of_halves_drawn_anew(network):
    graph = graph_of(network, 120)
    x = torch.randn(120, 3, generator=torch.Generator().manual_seed(120))
    kept, again, draw = sum(int(part.kept.sum()) for part in graph.edges), [], torch.Generator().manual_seed(99)
    for _ in range(20):
        half = information_flow(network, x[torch.randperm(120, generator=draw)[:60]], measuring=FAST)
        again.append(sum(int((one.kept & other.kept).sum()) for one, other in zip(half.edges, graph.edges, strict=True)) / kept)
    assert graph.provenance["few_rows"]["kept"] == pytest.approx(sum(again) / 20, abs=0.12)


def test_many_rows_need_no_note_and_very_few_cannot_be_halved(network):
    assert "few_rows" not in graph_of(network, 500).provenance and "Few rows" not in repr(graph_of(network, 500))
    torch.manual_seed(1)
    x = torch.randn(24, 1)
    few = information_flow(nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)), x, measuring=FAST)
    assert "too few to look for the edges again" in repr(few)


def test_a_file_and_a_page_keep_it(network, tmp_path):
    graph = graph_of(network, 120)
    graph.save(tmp_path / "flow.safetensors")
    again = FlowGraph.load(tmp_path / "flow.safetensors")
    assert again.provenance["few_rows"] == graph.provenance["few_rows"]
    assert "half of them show" in vs.report([again], title="few").html
