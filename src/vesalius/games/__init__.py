"""What a network would say if parts of its input were absent."""

import sys

from vesalius.core.lazy import LazyPackage

sys.modules[__name__].__class__ = LazyPackage
