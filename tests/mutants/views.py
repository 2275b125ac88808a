"""Wrong pieces of ``vesalius.views``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("views/groups.py", "value - 2 * error", "value - error", "tests/views/test_groups.py"),
    Mutant(
        "views/complexity/describe.py",
        "components.cumulative[:, at, channel]",
        "components.parts[:, at, channel]",
        "tests/views/complexity/test_section.py -k pictures",
    ),
]
