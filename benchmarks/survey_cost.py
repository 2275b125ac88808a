"""The model of time of a survey: a row's cost by players and layers, and what a pilot foretells, beside what was measured.

Claims: a row costs a + b E + c E L milliseconds of a processor, E evaluations of a network of L layers (E by method and players n: the
table of docs/scale.md), which is fitted to some cases and foretells those left out; a survey of N rows costs N times what a pilot measures.
Times are of the processor, so that other work on the machine does not count.

    python benchmarks/survey_cost.py            # two minutes
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import print_table
from vesalius.scale import Dividends, SurveyOptions, survey_cost

PLAYERS, LAYERS, ROWS, TIMES = (6, 8, 10), (2, 8, 24), 64, 3
METHODS: dict[str, tuple[Any, Callable[[int], int]]] = {
    "deeplift_rescale": ("deeplift_rescale", lambda n: 3),
    "occlusion": ("occlusion", lambda n: n + 2),
    "integrated gradients, 50 steps": (vs.METHODS["integrated_gradients"](rule="quadrature", steps=50), lambda n: 50),
    "Shapley values, kernel, 62 evaluations": (vs.METHODS["shapley_value"](budget=62, estimator="kernel"), lambda n: 62),
    "interactions": (Dividends(max_order=2), lambda n: 1 << n),
}


def network(players: int, layers: int) -> nn.Module:
    """Linear layers and tanh, 64 wide."""
    torch.manual_seed(0)
    inner = [part for _ in range(layers - 1) for part in (nn.Linear(64, 64), nn.Tanh())]
    return nn.Sequential(nn.Linear(players, 64), nn.Tanh(), *inner, nn.Linear(64, 2)).eval()


def milliseconds(model: nn.Module, x: torch.Tensor, method: Any) -> float:
    """Of a processor, for a row: the least of some runs."""
    found = []
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory() as folder:
            before = time.process_time()
            vs.survey(model, x, method, target=1, out=folder, options=SurveyOptions(keep_inputs=False))
            found.append(1e3 * (time.process_time() - before) / len(x))
    return min(found)


def fitted_rows() -> list[tuple[object, ...]]:
    """Constants of each method, and how far cases that were left out of the fit are foretold."""
    rows: list[tuple[object, ...]] = []
    for name, (method, evaluations) in METHODS.items():
        cases, measured = [], []
        for layers in LAYERS:
            for players in PLAYERS:
                model, x = network(players, layers), torch.randn(ROWS, players)
                vs.survey(model, x[:8], method, target=1, out=tempfile.mkdtemp())
                count = evaluations(players)
                cases.append([1.0, count, count * layers])
                measured.append(milliseconds(model, x, method))
        table, took = np.array(cases), np.array(measured)
        if len({case[1] for case in cases}) == 1:
            table = table[:, [0, 2]]  # a and b E are one constant
        ratios = []
        for left in range(len(took)):
            kept = np.arange(len(took)) != left
            ratios.append(float(table[left] @ _least_squares(table[kept], took[kept]) / took[left]))
        found = _least_squares(table, took)
        told = [f"{found[0]:.2g}", "" if len(found) == 2 else f"{1e3 * found[1]:.2g}", f"{1e3 * found[-1]:.2g}"]
        rows.append((name, *told, f"{took.min():.2f} to {took.max():.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"))
    return rows


def _least_squares(table: np.ndarray, took: np.ndarray) -> np.ndarray:
    """Of relative errors."""
    found: np.ndarray = np.linalg.lstsq(table / took[:, None], np.ones(len(took)), rcond=None)[0]
    return found


def pilot_rows() -> list[tuple[object, ...]]:
    """What a pilot of 512 rows foretells of more, in processor time."""
    rows: list[tuple[object, ...]] = []
    for name in ("deeplift_rescale", "occlusion", "integrated gradients, 50 steps"):
        method, model = METHODS[name][0], network(10, 8)
        for count in (1024, 4096, 16384):
            x = torch.randn(count, 10)
            cost = survey_cost(model, x, method, target=1)
            with tempfile.TemporaryDirectory() as folder:
                before = time.process_time()
                found = vs.survey(model, x, method, target=1, out=folder)
                took = time.process_time() - before
                rows.append((name, f"{count:,}", took, count * (cost.processor + cost.overhead) / took, cost.disk() / found.file_bytes))
    return rows


def main() -> None:
    """Print both tables."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print_table(fitted_rows(), ("method", "a, ms", "b, us", "c, us", "measured, ms a row", "foretold / measured, left out"))
    print()
    print_table(pilot_rows(), ("method", "rows", "s of a processor", "foretold / measured", "bytes, foretold / measured"))


if __name__ == "__main__":
    main()
