"""How complex the features of a layer are, and which of their components are real, useful or overfitted."""

from vesalius.complexity.components import Complexity, Components
from vesalius.complexity.cost import Cost, cost
from vesalius.complexity.disentangle import complexity
from vesalius.complexity.features import cut_at
from vesalius.complexity.training import Training

__all__ = ["Complexity", "Components", "Cost", "Training", "complexity", "cost", "cut_at"]
