"""Which links and units a network needs, and what is left if the rest go."""

from vesalius.sparsity.compact import Compact
from vesalius.sparsity.contests import Contest, Way, contest
from vesalius.sparsity.forms.exporting import load_sparse
from vesalius.sparsity.importance import link_importance
from vesalius.sparsity.layered import LayerImportance, LinkImportance
from vesalius.sparsity.links import links_of
from vesalius.sparsity.mask import sparsify, sweep
from vesalius.sparsity.options import Finetune, Pruning
from vesalius.sparsity.sparsified import Sparsified
from vesalius.sparsity.weighing import Weighing
from vesalius.sparsity.whole_units import remove_units

__all__ = [
    "Compact",
    "Contest",
    "Finetune",
    "LayerImportance",
    "LinkImportance",
    "Pruning",
    "Sparsified",
    "Way",
    "Weighing",
    "contest",
    "link_importance",
    "links_of",
    "load_sparse",
    "remove_units",
    "sparsify",
    "sweep",
]
