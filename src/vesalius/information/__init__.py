"""Which units say what about which others: mutual information of neurons, and the graph that it draws."""

from vesalius.information.flow import information_flow
from vesalius.information.graph import FlowGraph
from vesalius.information.layered import FlowEdges, FlowLayer
from vesalius.information.measuring import Measuring
from vesalius.information.pointwise import pointwise_flow
from vesalius.information.removal import Removal, Removing, removal
from vesalius.information.weighting import Weighting

__all__ = [
    "FlowEdges",
    "FlowGraph",
    "FlowLayer",
    "Measuring",
    "Removal",
    "Removing",
    "Weighting",
    "information_flow",
    "pointwise_flow",
    "removal",
]
