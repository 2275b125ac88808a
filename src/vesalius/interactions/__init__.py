"""What inputs do together: dividends and indices made of them, Taylor effects by order, and how methods share them out."""

from vesalius.interactions.estimators import interactions_of
from vesalius.interactions.harsanyi import enumerate_all, interactions
from vesalius.interactions.taylor import kappa_terms, order_totals, subset_orders, taylor_profile
from vesalius.interactions.weights import Scalings, allocation_weights

__all__ = [
    "Scalings",
    "allocation_weights",
    "enumerate_all",
    "interactions",
    "interactions_of",
    "kappa_terms",
    "order_totals",
    "subset_orders",
    "taylor_profile",
]
