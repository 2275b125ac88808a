"""The same sample, the same numbers: alone or in a batch, whatever else is in it, on any processor and with any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.same_models import CASES, METHOD_CASES, ask_method
from vesalius.games.estimators import ESTIMATORS, shapley
from vesalius.games.game import Game
from vesalius.interactions.estimators import ESTIMATORS as INTERACTION_ESTIMATORS
from vesalius.interactions.estimators import interactions_of

SETTINGS = [
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2", "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
]
"""Threads, and the newest instructions that PyTorch, MKL and oneDNN may use: all that the processor has, those of 2008 and of 2013."""
ROOT = Path(__file__).parents[1]


def assert_close(mine, theirs, rtol=1e-5):
    torch.testing.assert_close(mine, theirs, rtol=rtol, atol=rtol * float(theirs.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize(("case", "name", "options"), METHOD_CASES)
def test_a_sample_has_the_same_values_alone_in_a_batch_and_in_another_order(case, name, options):
    whole = ask_method(case, name, options)
    assert_close(ask_method(case, name, options, [2, 1, 0]).values.flip(0), whole.values)
    for i in range(3):
        alone = ask_method(case, name, options, i)
        assert_close(alone.values, whole[i].values)
        assert alone.provenance["target"] == whole[i].provenance["target"]
        if alone.stderr is not None:
            assert_close(alone.stderr, whole[i].stderr, rtol=1e-3)


def noisy_game(size, seed=0):
    """A game of 14 players on a network, whose values differ from the network's as they do in a batch of another size."""
    model, x = CASES["many"]
    noise = torch.Generator().manual_seed(seed)

    def value(masks):
        with torch.no_grad():
            found = model(masks.float() * x[0])[:, 0].double()
        return found * (1 + size * torch.randn(len(masks), dtype=torch.float64, generator=noise))

    return Game.of(value, 14)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimate", "name"),
    [(shapley, name) for name in ESTIMATORS if name != "exact"]
    + [(interactions_of, name) for name in INTERACTION_ESTIMATORS if name != "exact"],
)
def test_rounding_of_the_values_does_not_change_which_coalitions_are_asked(estimate, name):
    """And so not the answer by more than rounding, nor what is left of the generator."""
    found, left = [], []
    for size in (0.0, 1e-7):
        generator = torch.Generator().manual_seed(3)
        found.append(estimate(noisy_game(size), budget=400, estimator=name, generator=generator))
        left.append(generator.get_state())
    assert torch.equal(*left)
    assert_close(found[1].values, found[0].values)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """What the verbs say under each setting of the processor, side by side."""
    folder, runs = tmp_path_factory.mktemp("numbers"), []
    plain = {name: value for name, value in os.environ.items() if name not in set().union(*SETTINGS)}
    for at, setting in enumerate(SETTINGS):
        command = [sys.executable, "-W", "ignore", "-m", "tests.numbers_of_verbs", str(folder / f"{at}.pt")]
        runs.append(subprocess.Popen(command, cwd=ROOT, env=plain | setting | {"OMP_WAIT_POLICY": "passive"}))
    assert [run.wait() for run in runs] == [0] * len(SETTINGS)
    return [torch.load(folder / f"{at}.pt") for at in range(len(SETTINGS))]


@pytest.mark.slow
def test_any_processor_and_any_number_of_threads_give_the_same_numbers(numbers):
    first, *others = numbers
    apart = [
        f"{name}: {difference:.1e}"
        for other in others
        for name in first
        if (difference := float((first[name] - other[name]).abs().max() / first[name].abs().max())) > 1e-4
    ]
    assert not apart and len(first) > 60
