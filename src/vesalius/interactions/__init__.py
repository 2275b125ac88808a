"""What inputs do together: dividends of coalitions, and the indices made of them."""

from vesalius.interactions.estimators import interactions_of
from vesalius.interactions.harsanyi import enumerate_all, interactions

__all__ = ["enumerate_all", "interactions", "interactions_of"]
