"""How relevance and contributions are passed on along the graph of a network."""

import sys

from vesalius.core.lazy import LazyPackage

sys.modules[__name__].__class__ = LazyPackage
