"""What is asked of a language model: targets that are functions of its output, and templates."""

from vesalius.core.text_division import Template
from vesalius.language.targets import Continuation, LogitDifference, LogProbability, NextTokenLogit, PerToken, Probability

__all__ = ["Continuation", "LogProbability", "LogitDifference", "NextTokenLogit", "PerToken", "Probability", "Template"]
