"""What the estimators' own algebra takes on the nominal processor of ``vesalius.games.cost``, and what fits into a given time.

The constants were measured once, on one core (benchmarks/shapley_cost.py), and are rounded: they choose between estimators, and nothing
else depends on them.
"""

from __future__ import annotations

FREE_SECONDS = 0.01  # that algebra may take whatever the evaluations take
MOST_ELEMENTS = 30_000_000  # players times pairs that are held in memory as float64
MOST_PLAYERS = 1500  # of a regression or a process, whose algebra grows with their cube
DENSE_SECONDS = 2e-10  # of the cube of rows: a factorisation, an inverse, and the matrix itself
INDUCING_SECONDS = 4e-10  # of rows times the square of inducing rows
FITS_SECONDS = 0.1  # of both processes on 100 pairs
SHARED_SECONDS = 0.1  # that algebra may take which is done once for all samples of a batch
POLYNOMIAL_SECONDS = 0.003  # of polynomial regression, however few the pairs
POLYNOMIAL_CUBE_SECONDS = 1.2e-10  # of the cube of its pairs
REGRESSION_SECONDS = 2.5e-10  # of pairs times the square of players
COVARIANCE_SECONDS = 2.5e-8  # of an element of the odd covariance
REGRESSION_ROW_SECONDS = 1.4e-6  # of a coalition of the regression beside that: drawing it, asking for it
PERMUTATION_ROW_SECONDS = 0.8e-6  # of a coalition of permutations
PERMUTATIONS_NEED = 2.0  # times the evaluations of the regression at the same error (networks of 10 to 1,000 columns: 1.3 to 4)
REGRESSION_FIXED_SECONDS = 7e-4  # of the regression, beyond those of permutations, whatever it is asked
BALANCE_SECONDS = 1e-5  # that an evaluation takes from which on balanced coalitions are worth the time to draw them
REGRESSION_PLAYERS = 300  # above which permutations are sooner at an error than a regression whose cost grows with the square of players


def too_large(players: int, pairs: int) -> bool:
    """Whether only permutations, which keep nothing of what they ask, are to be taken."""
    return players > MOST_PLAYERS or players * pairs > MOST_ELEMENTS


def adaptive_seconds(budget: int) -> float:
    """Of choosing that many coalitions one after another."""
    return 0.02 + 1.2e-3 * budget


def dense_rows(seconds: float) -> int:
    """Rows whose factorisation takes half of some time."""
    return min(5000, int((seconds / 2 / DENSE_SECONDS) ** (1 / 3)))


def inducing_rows(rows: int, seconds: float) -> int:
    """Inducing rows with which so many rows take half of some time; at least 100."""
    slope, room = COVARIANCE_SECONDS / INDUCING_SECONDS, seconds / 2 / (INDUCING_SECONDS * max(rows, 1))
    return max(100, min(2500, int((slope**2 / 4 + room) ** 0.5 - slope / 2)))


def fit_rows(seconds: float) -> int:
    """Pairs on which the parameters of a process are fitted: a fit on 200 takes 0.1 s."""
    return 200 if seconds >= 1 else 100


def process_seconds(pairs: int, *, dense: bool = False) -> float:
    """Of two fitted processes on so many pairs, on the least number of inducing rows where pairs are many, unless they are to be dense."""
    rows = pairs if dense else min(pairs, 1000)
    return FITS_SECONDS + 2 * DENSE_SECONDS * rows**3 + (0 if dense else INDUCING_SECONDS * pairs * 100**2)


def polynomial_seconds(pairs: int) -> float:
    """Of polynomial regression on so many pairs, most of it shared by the games that are asked there."""
    return POLYNOMIAL_SECONDS + POLYNOMIAL_CUBE_SECONDS * pairs**3


def regression_seconds(players: int, pairs: int) -> float:
    """Of the regression on single players."""
    return REGRESSION_SECONDS * pairs * players**2


def polynomial_is_sooner(players: int, seconds: float) -> bool:
    """Whether polynomial regression, which saves some 5 evaluations per player at the same error, takes less time than those."""
    return polynomial_seconds(5 * players) <= 5 * players * seconds


def regression_is_sooner(players: int, seconds: float) -> bool:
    """Whether an error is reached sooner by asking more than by learning more from what was asked.

    The processes need some 10 evaluations per player where the regression needs 20. Projected on few inducing rows they save none, so that
    their algebra is that of the whole matrix.
    """
    return 10 * players * seconds < process_seconds(5 * players, dense=True)


def permutations_are_sooner(players: int, seconds: float) -> bool:
    """Whether permutations reach an error before the regression does with 10 evaluations per player, although they need more."""
    asked = 10 * players
    regression = asked * (seconds + REGRESSION_ROW_SECONDS + REGRESSION_SECONDS / 2 * players**2) + REGRESSION_FIXED_SECONDS
    return players > MOST_PLAYERS or PERMUTATIONS_NEED * asked * (seconds + PERMUTATION_ROW_SECONDS) < regression


def regression_fits(players: int) -> bool:
    """Whether the regression is to be preferred to permutations."""
    return players <= REGRESSION_PLAYERS
