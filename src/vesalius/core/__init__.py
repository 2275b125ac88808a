"""What everything else is made of: players, allocations, files, errors."""

import sys

from vesalius.core.lazy import LazyPackage

sys.modules[__name__].__class__ = LazyPackage
