"""The anatomy of a trained neural network: what it rests on, in numbers that add up."""

import vesalius.models as models  # noqa: F401 - reached as vesalius.models
from vesalius.audit import Audit, audit
from vesalius.complexity import Complexity, complexity
from vesalius.core.allocation import Allocation
from vesalius.core.players import Players
from vesalius.core.version import VERSION as __version__
from vesalius.games.absence import Blur, Constant, Marginal, Mean
from vesalius.games.game import Game
from vesalius.information import FlowGraph, information_flow
from vesalius.interactions import interactions
from vesalius.methods import METHODS, attribute
from vesalius.sparsity import link_importance, sparsify
from vesalius.trace import Network, trace
from vesalius.views.report import report

__all__ = [
    "METHODS",
    "Allocation",
    "Audit",
    "Blur",
    "Complexity",
    "Constant",
    "FlowGraph",
    "Game",
    "Marginal",
    "Mean",
    "Network",
    "Players",
    "__version__",
    "attribute",
    "audit",
    "complexity",
    "information_flow",
    "interactions",
    "link_importance",
    "report",
    "sparsify",
    "trace",
]
