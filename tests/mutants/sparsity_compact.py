"""Wrong pieces of making a pruned network small."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "sparsity/compression/dead_units.py",
        "(before.double() + added)",
        "before.double()",
        "tests/sparsity/test_dead_units.py -k definition",
    ),
    Mutant(
        "sparsity/compression/dead_units.py",
        'return any(side not in (0, "valid") for side in sides)',
        "return False",
        "tests/sparsity/test_dead_units.py -k padding",
    ),
    Mutant(
        "sparsity/compression/dead_units.py",
        "even = ((seen - seen[:, :, :1]).abs() <= ROUNDING * seen.abs().amax(2, keepdim=True)).all(2).all(1)",
        "even = torch.ones_like(seen[:, 0, 0], dtype=torch.bool)",
        "tests/sparsity/test_dead_units.py -k counts_padding",
    ),
    Mutant(
        "sparsity/compression/dependencies.py",
        "UnitAxis(at, size // layer.units)",
        "UnitAxis(at, 1)",
        "tests/sparsity/test_dead_units.py -k flatten",
    ),
    Mutant(
        "sparsity/compression/dependencies.py",
        "if self.uses(name) != 1:",
        "if self.uses(name) < 1:",
        "tests/sparsity/test_dead_units.py -k tied",
    ),
    Mutant("sparsity/compression/codec.py", "steps // most", "steps // (most + 1)", "tests/sparsity/test_exporting.py -k pattern"),
    Mutant(
        "sparsity/compression/timing.py",
        "if not is_slower(name, reference)]",
        "]",
        "tests/sparsity/test_compact.py -k over_batch_sizes",
    ),
    Mutant(
        "sparsity/structured_pruning.py",
        "scores[reader.layer.name].double().mean(0)",
        "scores[reader.layer.name].double().sum(0)",
        "tests/sparsity/test_structured_pruning.py -k importance_of_a_unit",
    ),
    Mutant(
        "sparsity/structured_pruning.py",
        "moved = moved or not bool(mask.all())",
        "moved = False",
        "tests/sparsity/test_structured_pruning.py -k refit_loses",
    ),
]
