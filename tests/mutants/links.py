"""Wrong pieces of the importance of links."""

from tests.mutants.mutant import Mutant

VALUES, STEPS = "tests/sparsity/test_estimators.py", "tests/sparsity/test_elementwise_steps.py"
MUTANTS = [
    Mutant("sparsity/estimators/gaussian.py", "q * (1 - q) * (squares", "q * q * (squares", f"{VALUES} -k means_and_variances"),
    Mutant("sparsity/estimators/gaussian.py", "(1 - 2 * q) / 2", "(1 - q) / 2", f"{VALUES} -k form_against"),
    Mutant("sparsity/estimators/gaussian.py", "2 * (1 - q) * (joint - apart)", "0", f"{VALUES} -k means_and_variances"),
    Mutant("sparsity/estimators/permutation.py", "(forwards + backwards) / 2", "forwards.flip(2)", f"{VALUES} -k orders_agree"),
    Mutant("sparsity/estimators/permutation.py", "one.mean(0) * _weights(two,", "one.mean(0) * _weights(one,", f"{VALUES} -k noise"),
    Mutant(
        "sparsity/estimators/permutation.py",
        "return by_half + (PRIOR_ORDERS",
        "return by_half + 0 * (PRIOR_ORDERS",
        f"{VALUES} -k wrong_signs",
    ),
    Mutant(
        "sparsity/estimators/enumeration.py",
        "units.contributions(units.others, chosen)).flip(0)",
        "units.contributions(units.others, chosen))",
        f"{VALUES} -k twin",
    ),
    Mutant("sparsity/estimators/unit_games.py", "torch.where(low == high, low,", "torch.where(low > high, low,", f"{VALUES} -k constant"),
    Mutant("sparsity/activations.py", "* (width / r).square()", "", "tests/sparsity/test_activations.py -k derivatives"),
    Mutant("sparsity/elementwise_steps.py", "- mean * scale", "", "tests/sparsity/test_links.py -k takes"),
    Mutant(
        "sparsity/unit_region.py",
        "if all(set(_readers(node)) <= needed for node in needed - {end}) and",
        "if",
        "tests/sparsity/test_importance.py -k one_unit",
    ),
    Mutant(
        "sparsity/unit_region.py",
        "    if len(found) != 1:",
        "    if not found:",
        f"{STEPS} -k moved_between",
    ),
    Mutant(
        "sparsity/importance.py",
        "part.total for part in parts]) * (gain.square() if rms else gain)",
        "part.total for part in parts])",
        f"{STEPS} -k every_function",
    ),
    Mutant(
        "sparsity/convolution_patches.py",
        "step * (side - 1) - cut",
        "step * (side - 1)",
        "tests/sparsity/test_convolution_patches.py -k rows_times",
    ),
    Mutant("sparsity/recurrent.py", "found[:, :-1]", "found[:, 1:]", "tests/sparsity/test_recurrent.py -k rows_are"),
    Mutant(
        "sparsity/einsum_links.py", "movedim(found.read_axis, -1)", "movedim(-1, -1)", "tests/sparsity/test_einsum_links.py -k rows_are"
    ),
    Mutant("sparsity/coverage.py", "(*seen, *left.values())", "seen", "tests/sparsity/test_coverage.py -k shares"),
    Mutant("sparsity/links.py", "movedim((0, 1), axes)", "movedim((1, 0), axes)", "tests/sparsity/test_links.py -k rows_times"),
]
