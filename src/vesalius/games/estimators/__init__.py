"""Shapley values of games too large to enumerate, within a budget of evaluations."""

from vesalius.games.estimators.adaptive import AdaptiveShapley
from vesalius.games.estimators.auto import ESTIMATORS, AutoShapley, shapley
from vesalius.games.estimators.estimate import GameLike, ShapleyEstimator
from vesalius.games.estimators.exact import ExactShapley
from vesalius.games.estimators.kernel_shap import KernelShapley
from vesalius.games.estimators.permutation import PermutationShapley
from vesalius.games.estimators.polynomial import PolynomialShapley
from vesalius.games.estimators.surrogate import SurrogateShapley

__all__ = [
    "ESTIMATORS",
    "AdaptiveShapley",
    "AutoShapley",
    "ExactShapley",
    "GameLike",
    "KernelShapley",
    "PermutationShapley",
    "PolynomialShapley",
    "ShapleyEstimator",
    "SurrogateShapley",
    "shapley",
]
