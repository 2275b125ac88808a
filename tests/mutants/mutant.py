"""One wrong piece."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """In ``file`` of the package, ``old``, which stands there once, becomes ``new``, and some of ``tests`` must fail."""

    file: str
    old: str
    new: str
    tests: str
