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
        "interactions/estimators/sparse_model.py",
        "share = (seen.total - seen.base",
        "share = 0 * (seen.total - seen.base",
        "tests/interactions/test_estimators.py -k values_add_up",
    ),
    Mutant(
        "interactions/estimators/sparse_model.py",
        "errors[fold] = values[fold] - others[-1].predict(seen.rows[uniform[fold]])",
        "errors[fold] = 0.3 * (values[fold] - others[-1].predict(seen.rows[uniform[fold]]))",
        "tests/interactions/test_estimators_sparse.py -k explained",
    ),
    Mutant(
        "interactions/estimators/matching_pursuit.py",
        "2 * log(self.candidates)",
        "0.0",
        "tests/interactions/test_estimators.py -k noise_begins",
    ),
    Mutant(
        "interactions/estimators/terms.py",
        "(-1.0) ** (size - 1) if either else 1.0",
        "1.0",
        "tests/interactions/test_estimators_sparse.py -k dividends_of_terms",
    ),
    Mutant(
        "interactions/estimators/stacking.py",
        "-(other @ apart) / (apart @ apart)",
        "(other @ apart) / (apart @ apart)",
        "tests/interactions/test_estimators_sparse.py -k weighed",
    ),
    Mutant(
        "interactions/estimators/calibration.py",
        "signs = 2 * rows.double() - 1",
        "signs = rows.double()",
        "tests/interactions/test_estimators_sparse.py -k largest",
    ),
    Mutant(
        "interactions/estimators/observations.py",
        "without_known(pairs, seen.rows)[:wanted], uniform=False",
        "without_known(pairs, seen.rows)[:wanted], uniform=True",
        "tests/interactions/test_estimators_sparse.py -k uniform",
    ),
    Mutant(
        "interactions/estimators/surrogate.py",
        "return weights * expected, expected",
        "return weights, expected",
        "tests/interactions/test_estimators_gaussian_process.py -k left_out",
    ),
]
