"""What :mod:`tests.test_tests` breaks, room by room."""

from tests.mutants import (
    audit,
    circuits,
    cli,
    complexity,
    core,
    explorer,
    games,
    information,
    interactions,
    links,
    methods,
    rules,
    scale,
    sparsity,
    sparsity_compact,
    trace,
    views,
)

MUTANTS = [
    *audit.MUTANTS,
    *circuits.MUTANTS,
    *cli.MUTANTS,
    *complexity.MUTANTS,
    *core.MUTANTS,
    *explorer.MUTANTS,
    *games.MUTANTS,
    *information.MUTANTS,
    *interactions.MUTANTS,
    *links.MUTANTS,
    *methods.MUTANTS,
    *rules.MUTANTS,
    *scale.MUTANTS,
    *sparsity.MUTANTS,
    *sparsity_compact.MUTANTS,
    *trace.MUTANTS,
    *views.MUTANTS,
]
__all__ = ["MUTANTS"]
