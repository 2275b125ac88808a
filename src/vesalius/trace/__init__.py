"""From a model to a :class:`Network` one can look into."""

from vesalius.trace.network import Network
from vesalius.trace.split import Split
from vesalius.trace.trace import from_exported, trace

__all__ = ["Network", "Split", "from_exported", "trace"]
