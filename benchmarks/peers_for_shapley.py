"""The Shapley estimators of shapiq and captum behind one call: peer(game, budget, seed) -> one value per player.

A peer that raises at some budget is absent from that cell; nothing is substituted for it.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable

import numpy as np
import shap
import torch
from captum.attr import KernelShap, ShapleyValueSampling
from games_for_shapley import KnownGame
from shapiq import approximator as shapiq

Peer = Callable[[KnownGame, int, int], np.ndarray]
SLOW = {"kADD-SHAP(3)", "kADD-SHAP(3), paired"}  # n choose 3 columns: minutes to hours a call at 49 players


def from_shapiq(kind: type, **options: object) -> Peer:
    def call(game: KnownGame, budget: int, seed: int) -> np.ndarray:
        ask_game = lambda masks: game(torch.as_tensor(np.atleast_2d(masks))).numpy()  # noqa: E731 - some of shapiq asks for one coalition
        found = kind(n=game.n, random_state=seed, **options).approximate(budget, ask_game)
        return np.array([found[(player,)] for player in range(game.n)])

    return call


def captum_sampling(game: KnownGame, budget: int, seed: int, at_once: int = 1) -> np.ndarray:
    torch.manual_seed(seed)
    method = ShapleyValueSampling(lambda present: game(present.bool()))
    permutations = max(1, (budget - 1) // game.n)  # one call for the empty coalition, then n per permutation
    return method.attribute(torch.ones(1, game.n), n_samples=permutations, perturbations_per_eval=at_once)[0].double().numpy()


def captum_kernel(game: KnownGame, budget: int, seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    method = KernelShap(lambda present: game(present.bool()))
    return method.attribute(torch.ones(1, game.n), n_samples=budget, perturbations_per_eval=64)[0].double().numpy()


def peers() -> dict[str, Peer]:
    """Every estimator of Shapley values in shapiq 1.4.1 and captum 0.9.0, and their main variants."""
    regression = {
        f"{name}{', paired' * paired}": from_shapiq(kind, pairing_trick=paired, **options)
        for paired in (False, True)
        for name, kind, options in [
            ("KernelSHAP", shapiq.KernelSHAP, {}),
            ("kADD-SHAP(2)", shapiq.kADDSHAP, {"max_order": 2}),
            ("kADD-SHAP(3)", shapiq.kADDSHAP, {"max_order": 3}),
            ("UnbiasedKernelSHAP", shapiq.UnbiasedKernelSHAP, {}),
            ("SVARM", shapiq.SVARM, {}),
            ("SVARM-IQ(1)", shapiq.SVARMIQ, {"max_order": 1, "index": "SV"}),
        ]
    }
    return regression | {
        "permutations": from_shapiq(shapiq.PermutationSamplingSV),
        "stratified": from_shapiq(shapiq.StratifiedSamplingSV),
        "Owen(10)": from_shapiq(shapiq.OwenSamplingSV),
        "Owen(2)": from_shapiq(shapiq.OwenSamplingSV, n_anchor_points=2),
        "ProxySPEX": from_shapiq(shapiq.ProxySPEX, max_order=1, index="SV"),
        "captum sampling": captum_sampling,
        "captum KernelShap": captum_kernel,
    }


def shap_kernel(game: KnownGame, budget: int, seed: int) -> np.ndarray:
    explainer = shap.KernelExplainer(_of_numpy(game), np.zeros((1, game.n)), seed=seed)
    return explainer.shap_values(np.ones((1, game.n)), nsamples=budget, l1_reg=0, silent=True)[0]


def shap_sampling(game: KnownGame, budget: int, seed: int) -> np.ndarray:
    explainer = shap.SamplingExplainer(_of_numpy(game), np.zeros((1, game.n)), seed=seed)
    return explainer.shap_values(np.ones((1, game.n)), nsamples=budget, silent=True)[0]


def shap_permutations(game: KnownGame, budget: int, seed: int) -> np.ndarray:
    explainer = shap.PermutationExplainer(_of_numpy(game), np.zeros((1, game.n)), seed=seed)
    return explainer(np.ones((1, game.n)), max_evals=max(budget, 2 * game.n + 1), silent=True).values[0]


def _of_numpy(game: KnownGame) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: game(torch.as_tensor(np.asarray(rows)) > 0.5).numpy()


def fast_peers() -> dict[str, Peer]:
    """Those whose algebra is light enough for a thousand players: the fastest of every library."""
    every = peers()
    names = ("KernelSHAP", "KernelSHAP, paired", "permutations", "captum sampling", "captum KernelShap")
    theirs = {
        f"shap {name}": peer for name, peer in (("kernel", shap_kernel), ("sampling", shap_sampling), ("permutations", shap_permutations))
    }
    return {name: every[name] for name in names} | theirs


def run_peer(peer: Peer, game: KnownGame, budget: int, seed: int) -> np.ndarray | None:
    """A peer's values, or None where it fails; the global generators that some peers use are seeded first."""
    np.random.seed(seed)
    random.seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = peer(game, budget, seed)
        except (ValueError, IndexError, ZeroDivisionError, np.linalg.LinAlgError, RuntimeError, KeyError, TypeError, AssertionError):
            return None
    return values if np.isfinite(values).all() else None
