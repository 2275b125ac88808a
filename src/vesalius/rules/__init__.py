"""How relevance and contributions are passed on along the graph of a network."""

from vesalius.core.lazy import submodules_of

__getattr__ = submodules_of(__name__)
