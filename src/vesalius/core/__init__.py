"""What everything else is made of: players, allocations, files, errors."""

from vesalius.core.lazy import submodules_of

__getattr__ = submodules_of(__name__)
