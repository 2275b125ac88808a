"""Interactions of games too large to enumerate, within a budget of evaluations."""

from vesalius.interactions.estimators.auto import ESTIMATORS, Auto, interactions_of
from vesalius.interactions.estimators.enumerate import Exact
from vesalius.interactions.estimators.estimate import Estimate, Estimator
from vesalius.interactions.estimators.least_squares import LeastSquares
from vesalius.interactions.estimators.permutation import Permutation
from vesalius.interactions.estimators.sparse import Sparse
from vesalius.interactions.estimators.surrogate import Surrogate

__all__ = ["ESTIMATORS", "Auto", "Estimate", "Estimator", "Exact", "LeastSquares", "Permutation", "Sparse", "Surrogate", "interactions_of"]
