"""Mutual information of all pairs of units of two layers, with an error and a test of each."""

from vesalius.information.estimators.auto import ESTIMATORS, Auto, pairwise
from vesalius.information.estimators.binned import Binned
from vesalius.information.estimators.counts import Counts
from vesalius.information.estimators.estimate import Estimator, Pairwise, adjusted
from vesalius.information.estimators.gaussian import Gaussian
from vesalius.information.estimators.neighbours import Neighbours
from vesalius.information.estimators.neural import Neural

__all__ = [
    "ESTIMATORS",
    "Auto",
    "Binned",
    "Counts",
    "Estimator",
    "Gaussian",
    "Neighbours",
    "Neural",
    "Pairwise",
    "adjusted",
    "pairwise",
]
