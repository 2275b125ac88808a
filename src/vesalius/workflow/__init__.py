"""The main jobs as library calls: from a model and data to results, files and a page."""

import sys

from vesalius.core.lazy import LazyPackage

sys.modules[__name__].__class__ = LazyPackage
