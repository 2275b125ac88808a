"""What inputs do together: dividends and indices made of them, Taylor effects by order, and how methods share them out."""

from vesalius.interactions.estimators import interactions_of
from vesalius.interactions.harsanyi import harsanyi_dividends, interactions
from vesalius.interactions.taylor import order_totals, subset_orders, taylor_profile, taylor_terms
from vesalius.interactions.taylor_weights import Scalings, allocation_weights

__all__ = [
    "Scalings",
    "allocation_weights",
    "harsanyi_dividends",
    "interactions",
    "interactions_of",
    "order_totals",
    "subset_orders",
    "taylor_profile",
    "taylor_terms",
]
