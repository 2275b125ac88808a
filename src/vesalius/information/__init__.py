"""Which units say what about which others: mutual information of neurons, and the graph that it draws."""

from vesalius.information.ablation import AblationCurves, AblationOptions, ablation_curves
from vesalius.information.comparison import FlowComparison
from vesalius.information.edge_weights import EdgeWeighting
from vesalius.information.flow import information_flow
from vesalius.information.graph import FlowGraph
from vesalius.information.layers import FlowEdges, FlowLayer
from vesalius.information.options import MeasurementOptions
from vesalius.information.pointwise import pointwise_flow

__all__ = [
    "AblationCurves",
    "AblationOptions",
    "EdgeWeighting",
    "FlowComparison",
    "FlowEdges",
    "FlowGraph",
    "FlowLayer",
    "MeasurementOptions",
    "ablation_curves",
    "information_flow",
    "pointwise_flow",
]
