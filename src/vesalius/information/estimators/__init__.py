"""Mutual information of all pairs of units of two layers, with an error and a test of each."""

from vesalius.information.estimators.auto import ESTIMATORS, AutoInformation, pairwise
from vesalius.information.estimators.binned import Binned
from vesalius.information.estimators.contingency import JointCounts
from vesalius.information.estimators.estimate import MutualInformationEstimator, PairwiseInformation, adjusted
from vesalius.information.estimators.gaussian import Gaussian
from vesalius.information.estimators.ksg import KSG
from vesalius.information.estimators.neural import Neural

__all__ = [
    "ESTIMATORS",
    "KSG",
    "AutoInformation",
    "Binned",
    "Gaussian",
    "JointCounts",
    "MutualInformationEstimator",
    "Neural",
    "PairwiseInformation",
    "adjusted",
    "pairwise",
]
