"""Wrong pieces of ``vesalius.sparsity`` and ``vesalius.models``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("sparsity/pruning/masked_copy.py", "memo.update(computed_attributes(self.module))", "pass", "tests/test_copies.py -k middle"),
    Mutant(
        "sparsity/pruning/allocation.py",
        "ranked < level * ranked",
        "ranked <= level * ranked",
        "tests/sparsity/test_allocation.py -k shortest",
    ),
    Mutant(
        "sparsity/pruning/allocation.py",
        "(units + links) / (units * links)",
        "1 / (units * links)",
        "tests/sparsity/test_allocation.py -k denser",
    ),
    Mutant(
        "sparsity/pruning/allocation.py", "descending=True, stable=True", "descending=True", "tests/sparsity/test_allocation.py -k first"
    ),
    Mutant(
        "sparsity/pruning/loss.py",
        "*([labels] if with_labels else [])",
        "*([] if with_labels else [])",
        "tests/sparsity/test_loss.py -k taylor",
    ),
    Mutant(
        "sparsity/pruning/patterns.py",
        "most[-1] = -(-(m - rest) * kept // m)",
        "most[-1] = kept",
        "tests/sparsity/test_patterns.py -k channels",
    ),
    Mutant(
        "sparsity/pruning/patterns.py",
        "_block_sums(scores, high, wide) / sizes",
        "_block_sums(scores, high, wide)",
        "tests/sparsity/test_patterns.py -k highest_mean",
    ),
    Mutant(
        "sparsity/pruning/layer_inputs.py",
        "if self._bytes(names) > MAX_HELD_BYTES:",
        "if True:",
        "tests/sparsity/test_layer_inputs.py -k any_depth",
    ),
    Mutant(
        "sparsity/pruning/sparse_gpt.py",
        "upper[None, column, column:]",
        "upper[None, column, column:].abs()",
        "tests/sparsity/test_sparse_gpt.py -k makes_up",
    ),
    Mutant("sparsity/pruning/alps.py", "dual + tie * (solved - sparse)", "dual", "tests/sparsity/test_alps.py -k less_error"),
    Mutant(
        "sparsity/pruning/prune.py",
        "start.double() * steepness",
        "start.double()",
        "tests/sparsity/test_alps.py -k nothing_hears",
    ),
    Mutant("sparsity/pruning/refit.py", "moments.cross + pull * start.double()", "moments.cross", "tests/sparsity/test_refit.py -k own"),
    Mutant("sparsity/pruning/refit.py", "self.target - weight @ self.mean", "self.target", "tests/sparsity/test_refit.py -k mean"),
    Mutant("sparsity/pruning/refit.py", "(0, 1, 0, 1)", "(0, 1, 0, 1), value=0.3", "tests/sparsity/test_refit.py -k own"),
    Mutant(
        "sparsity/pruning/prune.py",
        "rows, targets = after.read(here)",
        "rows, targets = bench.inputs_of(bench.dense).read(dense)",
        "tests/sparsity/test_unstructured_pruning.py -k twin",
    ),
    Mutant(
        "sparsity/pruning/prune.py",
        "layer.weight * ~kept, means",
        "layer.weight * kept, means",
        "tests/sparsity/test_unstructured_pruning.py -k formula",
    ),
    Mutant(
        "sparsity/pruning/masked_copy.py",
        "copy_with_plain_weights(pruned.call.model)",
        "pruned.call.model",
        "tests/sparsity/test_unstructured_pruning.py -k alone",
    ),
    Mutant(
        "sparsity/pruning/finetune.py",
        "slope * kept[name] if",
        "slope if",
        "tests/sparsity/test_unstructured_pruning.py -k fine_tuning_gets",
    ),
    Mutant(
        "sparsity/scores.py",
        "(seen.rows - seen.rows.mean(0)).abs()) / len",
        "seen.rows.abs()) / len",
        "tests/sparsity/test_scores.py -k gate_is",
    ),
    Mutant("models/training.py", "weight * z.abs().mean()", "0 * z.abs().mean()", "tests/models/test_autoencoder.py -k penalty"),
]
