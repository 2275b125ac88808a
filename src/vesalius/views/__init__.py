"""Charts, graphs and the page."""

from vesalius.core.lazy import submodules_of

__getattr__ = submodules_of(__name__)
