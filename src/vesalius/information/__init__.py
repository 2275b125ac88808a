"""Which units say what about which others: mutual information of neurons, and the graph that it draws."""

from vesalius.information.graph import FlowGraph
from vesalius.information.layered import FlowEdges, FlowLayer
from vesalius.information.weighting import Weighting

__all__ = ["FlowEdges", "FlowGraph", "FlowLayer", "Weighting"]
