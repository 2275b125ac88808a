"""Charts, graphs and the page."""

import sys

from vesalius.core.lazy import LazyPackage

sys.modules[__name__].__class__ = LazyPackage
