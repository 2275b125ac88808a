"""Shapley values from few dear evaluations: proxies of boosted trees, adjusted by regression, beside ``auto`` and its parts.

    python benchmarks/shapley_proxies.py        some 2 minutes on one core

Asked: whether what shapiq 1.5 and 1.6 brought would make ``auto`` better where evaluations are dear. Those versions want another Python, so
the ideas are written anew here, on the same coalitions as ours (pairs of complements, single players first):

- proxy (ProxySHAP, arXiv 2605.22738, without its correction): boosted trees on the coalitions; their Shapley values, read off the trees
  exactly, answer.
- proxy, adjusted (after regression-adjusted MSR, arXiv 2506.11849): the same, plus the Shapley regression of what trees, fitted on the
  other half of the pairs, leave over (two-fold, so that no pair is judged by trees that have seen it).
- odd (after OddSHAP, Fumagalli et al. 2026): regression on single players and on those products of three that a sparse fit of the odd part
  selects.

PolySHAP, all products of few players, is ``polynomial``; ShaplEIG, a Gaussian process that chooses what to ask, is ``adaptive``. Games are
the sixteen of ``unlike_games.py``, instance 903, which chose nothing.
Mean square errors are in that of answering 0, geometric means over the games.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import shap
import torch
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LassoLarsIC
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from games_for_shapley import KnownGame
from unlike_games import KINDS

from benchmarks.timing import print_table
from vesalius.games.estimators import AutoShapley, KernelShapley, PolynomialShapley, SurrogateShapley
from vesalius.games.estimators.coalition_sampling import singles_first_pairs
from vesalius.games.estimators.kernel_regression import KernelRegression

SEED, RUNS = 903, 2
BUDGETS = (3, 5, 10)
Answer = Callable[[KnownGame, int, int], Tensor]


def observe(game: KnownGame, budget: int, seed: int) -> tuple[Tensor, Tensor, Tensor, float, float]:
    """Pairs, their values, and those of the two ends."""
    rows = singles_first_pairs(game.n, (budget - 2) // 2, generator=torch.Generator().manual_seed(seed))
    values = game(torch.cat([rows, ~rows])).view(2, -1)
    ends = game(torch.tensor([[False], [True]]).expand(2, game.n))
    return rows, values[0], values[1], float(ends[0]), float(ends[1])


def trees(rows: Tensor, values: Tensor, seed: int) -> tuple[GradientBoostingRegressor, Tensor]:
    """Boosted trees on coalitions, and the Shapley values of the game that they are."""
    x = rows.numpy().astype(np.float64)
    model = GradientBoostingRegressor(n_estimators=150, max_depth=3, learning_rate=0.1, subsample=0.7, random_state=seed)
    model.fit(x, values.numpy())
    explainer = shap.TreeExplainer(model, data=np.zeros((1, x.shape[1])), feature_perturbation="interventional")
    return model, torch.tensor(explainer.shap_values(np.ones((1, x.shape[1])), check_additivity=False)[0])


def proxy(game: KnownGame, budget: int, seed: int) -> Tensor:
    rows, first, second, base, total = observe(game, budget, seed)
    ends = torch.tensor([[False], [True]]).expand(2, game.n)
    _, found = trees(torch.cat([rows, ~rows, ends]), torch.cat([first, second, torch.tensor([base, total])]), seed)
    return found + (total - base - found.sum()) / game.n


def adjusted(game: KnownGame, budget: int, seed: int) -> Tensor:
    rows, first, second, base, total = observe(game, budget, seed)
    half = torch.arange(len(rows)) % 2 == 0
    ends = torch.tensor([[False], [True]]).expand(2, game.n)
    odd, gain, shared = (first - second) / 2, total - base, torch.zeros(game.n, dtype=torch.float64)
    rest = odd.clone()
    for fit, judged in ((half, ~half), (~half, half)):
        x = torch.cat([rows[fit], ~rows[fit], ends])
        model, found = trees(x, torch.cat([first[fit], second[fit], torch.tensor([base, total])]), seed)
        predicted = torch.tensor(model.predict(torch.cat([rows[judged], ~rows[judged]]).double().numpy())).view(2, -1)
        rest[judged] = odd[judged] - (predicted[0] - predicted[1]) / 2
        shared += found / 2
    regression = KernelRegression.of(rows)
    values, _ = regression.estimate(rest, gain - float(shared.sum()))
    return shared + values


def odd_sparse(game: KnownGame, budget: int, seed: int) -> Tensor:
    """Signs of single players, and of products of three that a Lasso selects by an information criterion, refitted by least squares."""
    rows, first, second, base, total = observe(game, budget, seed)
    full = torch.ones(1, game.n, dtype=torch.bool)
    sign = 2 * torch.cat([full, rows]).double().numpy() - 1
    y = torch.cat([torch.tensor([(total - base) / 2]), (first - second) / 2]).numpy()
    triples = list(combinations(range(game.n), 3))
    cubic = np.stack([sign[:, a] * sign[:, b] * sign[:, c] for a, b, c in triples], 1)
    linear, *_ = np.linalg.lstsq(sign, y, rcond=None)
    rest = y - sign @ linear
    chosen: list[int] = []
    if len(y) > game.n + 3 and np.abs(rest).max() > 1e-9 * np.abs(y).max():
        noise = max(float(rest.var()), 1e-30)
        fit = LassoLarsIC("bic", fit_intercept=False, noise_variance=noise, max_iter=len(y) - game.n - 2).fit(cubic, rest)
        chosen = np.flatnonzero(fit.coef_)[: (len(y) - game.n) // 2].tolist()
    design = np.concatenate([sign, cubic[:, chosen]], 1)
    weight, *_ = np.linalg.lstsq(design, y, rcond=None)
    found = 2 * weight[: game.n]
    for at, w in zip(chosen, weight[game.n :], strict=True):
        for player in triples[at]:
            found[player] += 2 / 3 * w
    values = torch.tensor(found)
    return values + (total - base - values.sum()) / game.n


def ours(estimator: AutoShapley | KernelShapley | PolynomialShapley | SurrogateShapley) -> Answer:
    return lambda game, budget, seed: estimator.estimate(game, budget, generator=torch.Generator().manual_seed(seed)).values


ANSWERS: dict[str, Answer] = {
    "auto, dear": ours(AutoShapley(evaluation_seconds=0.1)),
    "surrogate": ours(SurrogateShapley()),
    "polynomial": ours(PolynomialShapley()),
    "kernel": ours(KernelShapley()),
    "proxy": proxy,
    "proxy, adjusted": adjusted,
    "odd": odd_sparse,
}


def main() -> None:
    """Print the table of games, and the means."""
    torch.set_num_threads(1)
    games = {name: build(SEED) for name, build in KINDS.items()}
    rows: list[tuple[object, ...]] = []
    every: dict[tuple[int, str], list[float]] = {}
    for name, game in games.items():
        zero = float(game.truth.square().mean())
        for multiple in BUDGETS:
            found = {}
            for label, answer in ANSWERS.items():
                each = [float((answer(game, multiple * game.n, 500 + run) - game.truth).square().mean()) / zero for run in range(RUNS)]
                found[label] = max(statistics.fmean(each), 1e-12)
                every.setdefault((multiple, label), []).append(found[label])
            rows.append((name, f"{multiple}n", *(f"{error:.2g}" for error in found.values())))
    for multiple in BUDGETS:
        means = [math.exp(statistics.fmean(map(math.log, every[multiple, label]))) for label in ANSWERS]
        rows.append(("geometric mean", f"{multiple}n", *(f"{mean:.2g}" for mean in means)))
        wins = [sum(a < b for a, b in zip(every[multiple, label], every[multiple, "auto, dear"], strict=True)) for label in ANSWERS]
        rows.append(("better than auto in", f"{multiple}n", *wins))
    print_table(rows, ("game", "budget", *ANSWERS))


if __name__ == "__main__":
    main()
