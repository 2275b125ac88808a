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
        "games/estimators/adaptive.py",
        "covariance.rounded(DESIGN_GRID)",
        "covariance",
        "tests/test_same_numbers.py -k coalitions",
    ),
]
