"""Which links and units a network needs, and what is left if the rest go."""

from vesalius.sparsity.importance import link_importance
from vesalius.sparsity.layered import LayerImportance, LinkImportance
from vesalius.sparsity.mask import sparsify, sweep
from vesalius.sparsity.options import Finetune, Pruning
from vesalius.sparsity.sparsified import Sparsified
from vesalius.sparsity.weighing import Weighing

__all__ = [
    "Finetune",
    "LayerImportance",
    "LinkImportance",
    "Pruning",
    "Sparsified",
    "Weighing",
    "link_importance",
    "sparsify",
    "sweep",
]
