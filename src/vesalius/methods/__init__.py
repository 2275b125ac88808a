"""Methods that share an output out among the parts of an input."""

from vesalius.methods.base import METHODS, Method, attribute, register
from vesalius.methods.deeplift import DeepLIFTRescale, DeepLIFTRevealCancel, DeepSHAP
from vesalius.methods.grad_cam import GradCAM
from vesalius.methods.gradient import GradientXInput, GradientXInputAtBaseline, SmoothGrad
from vesalius.methods.integrated_gradients import ExpectedGradients, IntegratedGradients
from vesalius.methods.lrp import DeepTaylor, LRPAlphaBeta, LRPEpsilon
from vesalius.methods.perturbation import Occlusion, OcclusionPatch, PredictionDifference, ShapleyValue

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
