"""How complex the features of a layer are, and which of their components are real, useful or overfitted."""

from vesalius.complexity.coalitions import Scoring
from vesalius.complexity.compare import ComplexityComparison, ComponentProfile, EvaluationData, compare, profile_components
from vesalius.complexity.component_effects import component_effects
from vesalius.complexity.components import Complexity, FeatureComponents
from vesalius.complexity.cost import CostEstimate, estimate_cost
from vesalius.complexity.disentangle import complexity
from vesalius.complexity.features import cut_at
from vesalius.complexity.gated import train_gated
from vesalius.complexity.prediction import predict_accuracy
from vesalius.complexity.reliability import reliability
from vesalius.complexity.replacement import ComponentNetwork, replace_feature
from vesalius.complexity.trained_reliability import trained_reliability
from vesalius.complexity.training import Training

__all__ = [
    "Complexity",
    "ComplexityComparison",
    "ComponentNetwork",
    "ComponentProfile",
    "CostEstimate",
    "EvaluationData",
    "FeatureComponents",
    "Scoring",
    "Training",
    "compare",
    "complexity",
    "component_effects",
    "cut_at",
    "estimate_cost",
    "predict_accuracy",
    "profile_components",
    "reliability",
    "replace_feature",
    "train_gated",
    "trained_reliability",
]
