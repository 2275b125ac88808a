"""Circuits of a language model: which heads and MLPs a behaviour needs, and along which edges they pass it on.

Each function is a few lines on top of players, games and methods; what it is called elsewhere stands in its docstring.
"""

from vesalius.circuits.acdc import acdc
from vesalius.circuits.circuit import Circuit
from vesalius.circuits.edge_attribution import eap_ig, edge_attribution_patching
from vesalius.circuits.faithfulness import FaithfulnessCurve, faithfulness_curve
from vesalius.circuits.logits import direct_logit_attribution, logit_lens
from vesalius.circuits.patching import activation_patching, attribution_patching
from vesalius.circuits.search import circuit_of

__all__ = [
    "Circuit",
    "FaithfulnessCurve",
    "acdc",
    "activation_patching",
    "attribution_patching",
    "circuit_of",
    "direct_logit_attribution",
    "eap_ig",
    "edge_attribution_patching",
    "faithfulness_curve",
    "logit_lens",
]
