"""The main jobs as library calls: from a model and data to results, files and a page."""

from vesalius.core.lazy import submodules_of

__getattr__ = submodules_of(__name__)
