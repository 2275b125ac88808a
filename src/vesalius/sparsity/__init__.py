"""Which links and units a network needs, and what is left if the rest go."""

from vesalius.sparsity.compact import Compact
from vesalius.sparsity.comparison import PruningComparison, PruningMethod, compare_pruning
from vesalius.sparsity.compression.exporting import load_sparse
from vesalius.sparsity.importance import link_importance
from vesalius.sparsity.importance_options import ImportanceOptions
from vesalius.sparsity.importance_result import LayerImportance, LinkImportance
from vesalius.sparsity.links import links_of
from vesalius.sparsity.pruning.schedule import cubic_schedule
from vesalius.sparsity.pruning_options import Finetune, Pruning
from vesalius.sparsity.sparsified import Sparsified
from vesalius.sparsity.structured_pruning import remove_units
from vesalius.sparsity.unstructured_pruning import sparsify, sparsify_gradually, sweep

__all__ = [
    "Compact",
    "Finetune",
    "ImportanceOptions",
    "LayerImportance",
    "LinkImportance",
    "Pruning",
    "PruningComparison",
    "PruningMethod",
    "Sparsified",
    "compare_pruning",
    "cubic_schedule",
    "link_importance",
    "links_of",
    "load_sparse",
    "remove_units",
    "sparsify",
    "sparsify_gradually",
    "sweep",
]
