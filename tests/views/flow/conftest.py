"""Flow graphs with weights that are easy to find again."""

import pytest
import torch

from vesalius.information.graph import FlowGraph
from vesalius.information.layers import FlowEdges, FlowLayer


@pytest.fixture
def small() -> FlowGraph:
    """Three features, four neurons of which the last is dead, two classes; all goes through h[0] but for a little through h[1]."""
    first = torch.tensor([[0.8, 0.0, 0.0, 0.0], [0.6, 0.2, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0]]).double()
    second = torch.tensor([[0.9, 0.5], [0.0, 0.4], [0.0, 0.0], [0.0, 0.0]]).double()
    layers = (
        FlowLayer.of("x", ["length", "width", "colour"], kind="features"),
        FlowLayer.of("h", 4, dead=[3]),
        FlowLayer.of("y", ["cat", "dog"], kind="classes"),
    )
    return FlowGraph(layers=layers, edges=(FlowEdges.of(first), FlowEdges.of(second)))


@pytest.fixture
def pixels() -> FlowGraph:
    """An image of 4 by 4 that feeds 20 neurons, each by one pixel, then two classes: neuron i passes on (i + 1) / 20."""
    first = torch.zeros(16, 20).double()
    first[torch.arange(20) % 16, torch.arange(20)] = 1.0
    second = torch.stack([torch.arange(1, 21) / 20, torch.zeros(20)], 1).double()
    layers = (FlowLayer.of("pixels", 16, kind="features"), FlowLayer.of("h", 20), FlowLayer.of("y", 2, kind="classes"))
    return FlowGraph(layers=layers, edges=(FlowEdges.of(first), FlowEdges.of(second)))
