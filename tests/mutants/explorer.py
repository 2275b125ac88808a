"""Wrong pieces of ``vesalius.explorer``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("explorer/server.py", "not in [[host] for host in self.server.hosts]", "== []", "tests/explorer/test_server.py -k host_name"),
]
