"""Whole data sets, on one machine or on many: surveys, and statistics that merge."""

from vesalius.scale.beeswarm import BeeswarmCells, Dependence, beeswarm_cells, dependence
from vesalius.scale.drift import ExplanationDrift, explanation_drift
from vesalius.scale.options import RayOptions, SurveyOptions
from vesalius.scale.result import Survey
from vesalius.scale.run import survey
from vesalius.scale.search import ExplanationClusters, NearestRows, explanation_clusters, likely_label_errors, nearest
from vesalius.scale.shortcuts import Shortcut, find_shortcuts
from vesalius.scale.statistics import (
    CohortMeans,
    MapCovariance,
    MeanAbsolute,
    MeanEstimate,
    QuantileSketch,
    RunningMoments,
    Statistic,
    TokenMeans,
)
from vesalius.scale.summary import SurveySummary
from vesalius.scale.task import Dividends

__all__ = [
    "BeeswarmCells",
    "CohortMeans",
    "Dependence",
    "Dividends",
    "ExplanationClusters",
    "ExplanationDrift",
    "MapCovariance",
    "MeanAbsolute",
    "MeanEstimate",
    "NearestRows",
    "QuantileSketch",
    "RayOptions",
    "RunningMoments",
    "Shortcut",
    "Statistic",
    "Survey",
    "SurveyOptions",
    "SurveySummary",
    "TokenMeans",
    "beeswarm_cells",
    "dependence",
    "explanation_clusters",
    "explanation_drift",
    "find_shortcuts",
    "likely_label_errors",
    "nearest",
    "survey",
]
