"""Whole data sets, on one machine or on many: surveys, and statistics that merge."""

from vesalius.core.statistic import Statistic, StoredStatistic
from vesalius.scale.audits import Audits, AuditSummary
from vesalius.scale.beeswarm import BeeswarmCells, Dependence, beeswarm_cells, dependence
from vesalius.scale.cost import SurveyCost, survey_cost
from vesalius.scale.drift import ExplanationDrift, explanation_drift
from vesalius.scale.flow import InformationFlow
from vesalius.scale.links import LinkImportances
from vesalius.scale.moments import ComponentMoments
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
)
from vesalius.scale.summary import SurveySummary
from vesalius.scale.task import Dividends
from vesalius.scale.tokens import TokenEstimate, TokenMeans, TokenSummary

__all__ = [
    "AuditSummary",
    "Audits",
    "BeeswarmCells",
    "CohortMeans",
    "ComponentMoments",
    "Dependence",
    "Dividends",
    "ExplanationClusters",
    "ExplanationDrift",
    "InformationFlow",
    "LinkImportances",
    "MapCovariance",
    "MeanAbsolute",
    "MeanEstimate",
    "NearestRows",
    "QuantileSketch",
    "RayOptions",
    "RunningMoments",
    "Shortcut",
    "Statistic",
    "StoredStatistic",
    "Survey",
    "SurveyCost",
    "SurveyOptions",
    "SurveySummary",
    "TokenEstimate",
    "TokenMeans",
    "TokenSummary",
    "beeswarm_cells",
    "dependence",
    "explanation_clusters",
    "explanation_drift",
    "find_shortcuts",
    "likely_label_errors",
    "nearest",
    "survey",
    "survey_cost",
]
