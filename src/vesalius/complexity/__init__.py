"""How complex the features of a layer are, and which of their components are real, useful or overfitted."""

from vesalius.complexity.coalitions import Scoring
from vesalius.complexity.compare import Comparison, Judging, Profile, compare, profile
from vesalius.complexity.components import Complexity, Components
from vesalius.complexity.consistency import trained_reliability
from vesalius.complexity.cost import Cost, cost
from vesalius.complexity.disentangle import complexity
from vesalius.complexity.effects import effects
from vesalius.complexity.features import cut_at
from vesalius.complexity.gated import train_gated
from vesalius.complexity.prediction import predict_accuracy
from vesalius.complexity.reliability import reliability
from vesalius.complexity.replaced import Replaced, replace
from vesalius.complexity.training import Training

__all__ = [
    "Comparison",
    "Complexity",
    "Components",
    "Cost",
    "Judging",
    "Profile",
    "Replaced",
    "Scoring",
    "Training",
    "compare",
    "complexity",
    "cost",
    "cut_at",
    "effects",
    "predict_accuracy",
    "profile",
    "reliability",
    "replace",
    "train_gated",
    "trained_reliability",
]
