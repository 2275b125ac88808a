"""How complex the features of a layer are, and which of their components are real, useful or overfitted."""

from vesalius.complexity.coalitions import Scoring
from vesalius.complexity.compare import ComplexityComparison, compare
from vesalius.complexity.components import Complexity, FeatureComponents
from vesalius.complexity.cost import CostEstimate, estimate_cost
from vesalius.complexity.disentangle import complexity
from vesalius.complexity.effectiveness import ComponentValues
from vesalius.complexity.features import cut_at
from vesalius.complexity.gated import train_gated
from vesalius.complexity.picture import ComponentPicture
from vesalius.complexity.prediction import predict_accuracy
from vesalius.complexity.profile import ComponentProfile
from vesalius.complexity.reliability import Matching
from vesalius.complexity.replacement import ComponentNetwork
from vesalius.complexity.trained_reliability import trained_reliability
from vesalius.complexity.training import Training

__all__ = [
    "Complexity",
    "ComplexityComparison",
    "ComponentNetwork",
    "ComponentPicture",
    "ComponentProfile",
    "ComponentValues",
    "CostEstimate",
    "FeatureComponents",
    "Matching",
    "Scoring",
    "Training",
    "compare",
    "complexity",
    "cut_at",
    "estimate_cost",
    "predict_accuracy",
    "train_gated",
    "trained_reliability",
]
