"""Wrong pieces of ``vesalius.games``."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant("games/baselines.py", "isinstance(given, Integral)", "False", "tests/games/test_baselines.py -k whole_number"),
    Mutant("games/absence.py", "and first.is_floating_point():", "and False:", "tests/games/test_baselines.py -k as_long"),
    Mutant("games/network_game.py", "if question.dependent is None:", "if True:", "tests/trace/test_sites.py -k computed_anew"),
    Mutant(
        "games/estimators/estimate.py",
        "values=values.reshape(shape)",
        "values=values.flip(0).reshape(shape)",
        "tests/games/test_estimators.py -k exact_values",
    ),
    Mutant(
        "games/game.py",
        "baseline=absence, at=at, direct=direct)._value",
        "at=at, direct=direct)._value",
        "tests/test_copies.py -k baseline",
    ),
    Mutant("games/moebius.py", "present -= absent", "present += absent", "tests/games/test_moebius.py"),
    Mutant("games/game.py", "max(1, tried // 2)", "1", "tests/games/test_game.py -k halves"),
    Mutant("games/network_game.py", "torch.stack(each).mean(0)", "each[0]", "tests/games/test_game.py"),
    Mutant("games/absence.py", "data.to(here.dtype).mean(0)", "data.to(here.dtype).amax(0)", "tests/games/test_game.py"),
    Mutant("games/game.py", ".bool()).numpy()", ".bool()).neg().numpy()", "tests/interactions/test_shapiq.py -k same_values"),
    Mutant(
        "games/estimators/tolerance.py",
        "if found.stderr is None or found.stderr_note:",
        "if found.stderr is None:",
        "tests/games/test_estimators_auto.py -k not_to_be_trusted",
    ),
    Mutant(
        "games/estimators/gaussian_process/likelihood.py",
        "linear * (slope * first).sum(), total\n        found[4]",
        "linear * slope.sum(), total\n        found[4]",
        "tests/games/test_estimators_likelihood.py -k gradient",
    ),
    Mutant(
        "games/estimators/gaussian_process/low_rank.py",
        "residual / (1 - leverage)",
        "residual",
        "tests/games/test_estimators_low_rank.py -k projection",
    ),
    Mutant(
        "games/estimators/auto.py",
        "found.evaluations + lost",
        "found.evaluations",
        "tests/games/test_estimators_auto.py -k no_use",
    ),
    Mutant(
        "games/estimators/kernel_regression.py",
        "if pairs < n:",
        "if pairs < 10 * n:",
        "tests/games/test_estimators_auto.py -k exact_on_games_of_pairs",
    ),
    Mutant(
        "games/estimators/gaussian_process/isotropic.py",
        "(players - k + 1) * found[k - 1]",
        "(players - k) * found[k - 1]",
        "tests/games/test_estimators_polynomial.py -k products_of_signs",
    ),
    Mutant(
        "games/estimators/gaussian_process/isotropic.py",
        "share = 2 / order * variance",
        "share = 2 * variance",
        "tests/games/test_estimators_polynomial.py -k shapley_values_of_the_process",
    ),
]
