"""Which links and units a network needs, and what is left if the rest go."""

from vesalius.sparsity.mask import sparsify, sweep
from vesalius.sparsity.options import Finetune, Pruning
from vesalius.sparsity.sparsified import Sparsified

__all__ = ["Finetune", "Pruning", "Sparsified", "sparsify", "sweep"]
