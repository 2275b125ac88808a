"""Shapley values of games too large to enumerate, within a budget of evaluations."""

from vesalius.games.estimators.adaptive import Adaptive
from vesalius.games.estimators.auto import ESTIMATORS, Auto, shapley
from vesalius.games.estimators.enumerate import Exact
from vesalius.games.estimators.estimate import Asked, Estimate, Estimator
from vesalius.games.estimators.kernel import Kernel
from vesalius.games.estimators.permutation import Permutation
from vesalius.games.estimators.surrogate import Surrogate

__all__ = ["ESTIMATORS", "Adaptive", "Asked", "Auto", "Estimate", "Estimator", "Exact", "Kernel", "Permutation", "Surrogate", "shapley"]
