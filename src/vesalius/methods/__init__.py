"""Methods that share an output out among the parts of an input."""

from vesalius.methods.base import METHODS, Method, attribute, register
from vesalius.methods.cam import GradCAM
from vesalius.methods.gradient import GradientXInput, GradientXInputAtBaseline, SmoothGrad
from vesalius.methods.integrated import ExpectedGradients, IntegratedGradients
from vesalius.methods.perturbation import Occlusion, OcclusionPatch, PredictionDifference, ShapleyValue
from vesalius.methods.propagation import DeepLIFTRescale, DeepLIFTRevealCancel, DeepSHAP
from vesalius.methods.relevance import DeepTaylor, LRPAlphaBeta, LRPEpsilon

__all__ = [
    "METHODS",
    "DeepLIFTRescale",
    "DeepLIFTRevealCancel",
    "DeepSHAP",
    "DeepTaylor",
    "ExpectedGradients",
    "GradCAM",
    "GradientXInput",
    "GradientXInputAtBaseline",
    "IntegratedGradients",
    "LRPAlphaBeta",
    "LRPEpsilon",
    "Method",
    "Occlusion",
    "OcclusionPatch",
    "PredictionDifference",
    "ShapleyValue",
    "SmoothGrad",
    "attribute",
    "register",
]
