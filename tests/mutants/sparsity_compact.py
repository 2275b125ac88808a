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
        "even = ((constants - constants[:, :1]).abs() <= ROUNDING * constants.abs().amax(1, keepdim=True)).all(1)",
        "even = torch.ones_like(constants[:, 0], dtype=torch.bool)",
        "tests/sparsity/test_dead_units.py -k counts_padding",
    ),
    Mutant(
        "sparsity/compression/unit_rules.py",
        "run.labels.join(first, one.labels, reason)",
        "pass",
        "tests/sparsity/test_joined_units.py -k residual",
    ),
    Mutant(
        "sparsity/compression/unit_layers.py",
        "run.labels.need_zeros(labels)",
        "pass",
        "tests/sparsity/test_joined_units.py -k zeros_are_needed",
    ),
    Mutant(
        "sparsity/compression/partial_norms.py",
        "(total - x.shape[-1]) * mean.square()",
        "0",
        "tests/sparsity/test_joined_units.py -k norms",
    ),
    Mutant(
        "sparsity/pruning/group_importance.py",
        "some * weight[unit]",
        "(some * weight[unit]).abs()",
        "tests/sparsity/test_joined_units.py -k enumeration",
    ),
    Mutant("trace/all_outputs.py", "return found", "return network", "tests/sparsity/test_joined_units.py -k another_output"),
    Mutant(
        "sparsity/parametrizations.py",
        'found[f"{path}.{stem}" if path else stem] = mask != 0',
        "pass",
        "tests/sparsity/test_joined_units.py -k goes_on",
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
        "moved = moved or not bool(mask.all())",
        "moved = False",
        "tests/sparsity/test_structured_pruning.py -k refit_loses",
    ),
]
