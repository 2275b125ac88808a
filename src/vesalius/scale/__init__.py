"""Whole data sets, on one machine or on many: surveys, and statistics that merge."""

from vesalius.scale.options import RayOptions, SurveyOptions
from vesalius.scale.result import Survey
from vesalius.scale.run import survey
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
    "CohortMeans",
    "Dividends",
    "MapCovariance",
    "MeanAbsolute",
    "MeanEstimate",
    "QuantileSketch",
    "RayOptions",
    "RunningMoments",
    "Statistic",
    "Survey",
    "SurveyOptions",
    "SurveySummary",
    "TokenMeans",
    "survey",
]
