"""What a network would say if parts of its input were absent."""

from vesalius.core.lazy import submodules_of

__getattr__ = submodules_of(__name__)
