"""Interactions of games too large to enumerate, within a budget of evaluations."""

from vesalius.interactions.estimators.auto import ESTIMATORS, AutoInteractions, interactions_of
from vesalius.interactions.estimators.estimate import InteractionEstimator
from vesalius.interactions.estimators.exact import ExactInteractions
from vesalius.interactions.estimators.least_squares import LeastSquaresInteractions
from vesalius.interactions.estimators.permutation import PermutationInteractions
from vesalius.interactions.estimators.sparse import SparseInteractions
from vesalius.interactions.estimators.surrogate import SurrogateInteractions

__all__ = [
    "ESTIMATORS",
    "AutoInteractions",
    "ExactInteractions",
    "InteractionEstimator",
    "LeastSquaresInteractions",
    "PermutationInteractions",
    "SparseInteractions",
    "SurrogateInteractions",
    "interactions_of",
]
