"""Methods that share an output out among the parts of an input."""

from vesalius.methods.base import METHODS, Method, attribute, register
from vesalius.methods.gradient import GradientXInput, IntegratedGradients
from vesalius.methods.perturbation import Occlusion, ShapleyValue

__all__ = ["METHODS", "GradientXInput", "IntegratedGradients", "Method", "Occlusion", "ShapleyValue", "attribute", "register"]
