"""How complex the features of a layer are, and which of their components are real, useful or overfitted."""

from vesalius.complexity.compare import Comparison, Judging, Profile, compare, profile
from vesalius.complexity.components import Complexity, Components
from vesalius.complexity.cost import Cost, cost
from vesalius.complexity.disentangle import complexity
from vesalius.complexity.effects import effects
from vesalius.complexity.features import cut_at
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
    "Training",
    "compare",
    "complexity",
    "cost",
    "cut_at",
    "effects",
    "profile",
    "reliability",
    "replace",
]
