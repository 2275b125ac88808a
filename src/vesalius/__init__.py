"""The anatomy of a trained neural network: what it rests on, in numbers that add up."""

import sys
from typing import TYPE_CHECKING

from vesalius.core.lazy import LazyPackage
from vesalius.core.version import VERSION as __version__

if TYPE_CHECKING:
    from vesalius import circuits as circuits
    from vesalius import cli as cli
    from vesalius import core as core
    from vesalius import data as data
    from vesalius import explorer as explorer
    from vesalius import games as games
    from vesalius import information as information
    from vesalius import inputs as inputs
    from vesalius import language as language
    from vesalius import logging as logging
    from vesalius import methods as methods
    from vesalius import models as models
    from vesalius import rules as rules
    from vesalius import scale as scale
    from vesalius import sparsity as sparsity
    from vesalius import views as views
    from vesalius import workflow as workflow
    from vesalius.audit import Audit as Audit
    from vesalius.audit import audit as audit
    from vesalius.complexity import Complexity as Complexity
    from vesalius.complexity import complexity as complexity
    from vesalius.core.allocation import Allocation as Allocation
    from vesalius.core.players import Players as Players
    from vesalius.games.absence import Blur as Blur
    from vesalius.games.absence import Constant as Constant
    from vesalius.games.absence import Marginal as Marginal
    from vesalius.games.absence import Mean as Mean
    from vesalius.games.game import Game as Game
    from vesalius.information import FlowGraph as FlowGraph
    from vesalius.information import information_flow as information_flow
    from vesalius.interactions import interactions as interactions
    from vesalius.methods import METHODS as METHODS
    from vesalius.methods import attribute as attribute
    from vesalius.scale import Survey as Survey
    from vesalius.scale import survey as survey
    from vesalius.sparsity import link_importance as link_importance
    from vesalius.sparsity import sparsify as sparsify
    from vesalius.trace import Network as Network
    from vesalius.trace import trace as trace
    from vesalius.views.report import report as report
    from vesalius.workflow.explain import explain as explain

PUBLIC = {
    "METHODS": "vesalius.methods",
    "Allocation": "vesalius.core.allocation",
    "Audit": "vesalius.audit",
    "Blur": "vesalius.games.absence",
    "Complexity": "vesalius.complexity",
    "Constant": "vesalius.games.absence",
    "FlowGraph": "vesalius.information",
    "Game": "vesalius.games.game",
    "Marginal": "vesalius.games.absence",
    "Mean": "vesalius.games.absence",
    "Network": "vesalius.trace",
    "Players": "vesalius.core.players",
    "Survey": "vesalius.scale",
    "attribute": "vesalius.methods",
    "audit": "vesalius.audit",
    "complexity": "vesalius.complexity",
    "explain": "vesalius.workflow.explain",
    "information_flow": "vesalius.information",
    "interactions": "vesalius.interactions",
    "link_importance": "vesalius.sparsity",
    "report": "vesalius.views.report",
    "sparsify": "vesalius.sparsity",
    "survey": "vesalius.scale",
    "trace": "vesalius.trace",
}
"""The public names, and where each is found when it is first used; torch is not imported before. The block above repeats them for type
checkers, which read no tables, and a test compares the two."""

__all__ = ["__version__", *PUBLIC]

sys.modules[__name__].__class__ = LazyPackage
