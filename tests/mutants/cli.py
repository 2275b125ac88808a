"""Wrong pieces of ``vesalius.cli``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "cli/normalization.py",
        "background=normalized(samples.background)",
        "background=samples.background",
        "tests/cli/test_normalization.py",
    ),
    Mutant("cli/normalization.py", "(pixels - mean) / std", "pixels / std - mean", "tests/cli/test_normalization.py -k alike"),
    Mutant("cli/checkpoints.py", "if len(fitting) > 1:", "if False:", "tests/cli/test_checkpoints.py -k told_apart"),
    Mutant("cli/checkpoints.py", "weights_only=not trust", "weights_only=False", "tests/cli/test_checkpoints.py -k trusted"),
]
