"""Wrong pieces of ``vesalius.interactions``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("interactions/convergence.py", "agrees if self.pieces else", "", "tests/interactions/test_taylor.py -k kink"),
    Mutant(
        "interactions/taylor_weights.py",
        "[(1 - scale) * start",
        "[0 * start",
        "tests/interactions/test_taylor_weights.py -k x_input-baseline1",
    ),
    Mutant("interactions/harsanyi.py", "(size <= max_order)", "(size < max_order)", "tests/interactions/test_harsanyi.py -k shorter"),
    Mutant(
        "interactions/taylor.py",
        "by_size @ found.dividends - effects.sum(1)",
        "by_size @ found.dividends",
        "tests/interactions/test_taylor.py -k profile",
    ),
    Mutant("interactions/harsanyi.py", "table[-1].clone()", "table[-1]", "tests/interactions/test_harsanyi.py -k add_up"),
    Mutant("interactions/convergence.py", "long().cumprod(1).sum(1)", "long().sum(1)", "tests/interactions/test_taylor.py -k comes_back"),
    Mutant(
        "interactions/taylor_weights.py",
        "(times[fitted:, None] ** kappas)",
        "(times[fitted:, None] ** (kappas + 1))",
        "tests/interactions/test_taylor_weights.py -k known_weights",
    ),
    Mutant(
        "interactions/estimators/gaussian_process.py",
        "twice / 4 + same)",
        "twice / 4)",
        "tests/interactions/test_estimators_gaussian_process.py -k read_off",
    ),
    Mutant(
        "interactions/estimators/adaptive.py",
        "about=pair_covariance",
        "about=Covariance.shapley",
        "tests/interactions/test_estimators_gaussian_process.py -k collected",
    ),
    Mutant(
        "interactions/estimators/least_squares.py",
        "(total + base) / 2)]",
        "total / 2)]",
        "tests/interactions/test_estimators.py -k order_two",
    ),
    Mutant(
        "interactions/estimators/permutation.py",
        "torch.arange(1, players) != gap",
        "torch.arange(players - 1) != gap",
        "tests/interactions/test_estimators_gaussian_process.py -k sweep",
    ),
    Mutant(
        "interactions/estimators/sparse.py",
        ".double().sqrt().repeat(2)",
        ".double().pow(0).repeat(2)",
        "tests/interactions/test_estimators.py -k sparse_errors",
    ),
    Mutant(
        "interactions/estimators/sparse.py",
        "unknown.flat - unknown.columns(members) @ dividends, unknown.flat",
        "known.flat - known.columns(members) @ dividends, known.flat",
        "tests/interactions/test_estimators.py -k sparse_does_not",
    ),
    Mutant(
        "interactions/estimators/matching_pursuit.py",
        "2 * log(len(pool.members))",
        "0.0",
        "tests/interactions/test_estimators.py -k noise_begins",
    ),
    Mutant(
        "interactions/estimators/surrogate.py",
        "weights[some] / precision, 1 / precision",
        "weights[some], 1 / precision",
        "tests/interactions/test_estimators_gaussian_process.py -k left_out",
    ),
]
