"""Pruning methods compared: what each leaves of the same networks, against sparsity.

Axes: R networks, T amounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from vesalius.core.display import load_view
from vesalius.core.entry import as_caller, verb
from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.options import Options
from vesalius.sparsity.pruning_options import MODES, Pruning
from vesalius.sparsity.unstructured_pruning import sweep
from vesalius.trace.batches import Data

Evaluation = Callable[[nn.Module, int], Mapping[str, float]]
"""From a model, pruned or not, and its place among the networks to numbers by name."""


@dataclass(frozen=True, kw_only=True)
class PruningMethod(Options):
    """One way to prune: the mode and options of :func:`vesalius.sparsity.sparsify`."""

    mode: str = "refit"
    pruning: Pruning | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_known("mode", self.mode, MODES)


PRUNING_METHODS: Mapping[str, PruningMethod] = {
    "refit": PruningMethod(),
    "refit, gate": PruningMethod(pruning=Pruning(score="gate")),
    "refit, magnitude": PruningMethod(pruning=Pruning(score="magnitude")),
    "ALPS": PruningMethod(mode="alps", pruning=Pruning(allocation="erk")),
    "SparseGPT": PruningMethod(mode="sparse_gpt", pruning=Pruning(allocation="erk")),
    "once, Shapley": PruningMethod(mode="paper"),
    "once, Wanda": PruningMethod(mode="paper", pruning=Pruning(score="wanda")),
    "once, magnitude": PruningMethod(mode="paper", pruning=Pruning(score="magnitude")),
    "random, once": PruningMethod(mode="paper", pruning=Pruning(score="random")),
}
"""What is usually compared; ways that go layer by layer keep as many links of each layer."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PruningComparison:
    """What ways to prune leave of networks.

    Attributes:
        sparsity: [T] share of the links that was cut.
        dense: [R] numbers of the networks before, by measure.
        found: [R T] numbers after, by measure, then by way.
    """

    sparsity: Float64[Tensor, " T"]
    dense: Mapping[str, Float64[Tensor, " R"]]
    found: Mapping[str, Mapping[str, Float64[Tensor, "R T"]]]

    def measure(self, name: str) -> Mapping[str, Float64[Tensor, "R T"]]:
        """One measure, by way.

        Raises:
            UnknownName: nothing of that name was measured.
        """
        require_known("measure", name, self.found)
        return self.found[name]

    def plot(self, measure: str = "", *, title: str | None = None, ax: Any = None) -> Any:
        """Curves of a measure, the first by default; returns the matplotlib figure."""
        return load_view("pruning_comparison_plot")(self, measure or next(iter(self.found)), title=title, ax=ax)

    def _repr_html_(self) -> str:
        return str(load_view("pruning_comparison_html")(self))

    def __repr__(self) -> str:
        amounts = ", ".join(f"{amount:.0%}" for amount in self.sparsity)
        lines = [f"PruningComparison({len(next(iter(self.dense.values())))} networks, pruned by {amounts})"]
        for name, ways in self.found.items():
            lines.append(f"  {name}: dense {float(self.dense[name].mean()):.4g}")
            lines += [f"    {way:<18} {' '.join(f'{value:>9.4g}' for value in rows.mean(0).tolist())}" for way, rows in ways.items()]
        return "\n".join(lines)


@verb
def compare_pruning(
    models: Sequence[nn.Module],
    data: Data,
    judge: Evaluation,
    *,
    sparsity: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 0.95),
    ways: Mapping[str, PruningMethod] = PRUNING_METHODS,
) -> PruningComparison:
    """Prune each network in each way by each amount, and judge what is left.

    Args:
        models: of one kind, such as from several seeds; never changed.
        data: samples to prune by.
        judge: from a model and its place in ``models`` to numbers by name, on rows that nothing was pruned by.
        sparsity: shares of the links that are pruned, in [0, 1).
        ways: by name.

    Raises:
        InvalidInput: no networks or ways; a judge whose names differ; otherwise as :func:`vesalius.sparsity.sparsify`.
    """
    if not models or not ways:
        raise InvalidInput(f"{len(models)} networks and {len(ways)} ways to prune came; at least one of each is needed")
    dense = [as_caller(judge, model, place) for place, model in enumerate(models)]
    names = list(dense[0])
    found: dict[str, dict[str, list[list[float]]]] = {name: {way: [] for way in ways} for name in names}
    for place, model in enumerate(models):
        for way, how in ways.items():
            pruned = sweep(model, data, sparsity=list(sparsity), mode=how.mode, pruning=how.pruning)
            judged = [as_caller(judge, one.model, place) for one in pruned]
            if any(list(one) != names for one in (*dense, *judged)):
                raise InvalidInput(f"the judge gave numbers of other names than {', '.join(names)}; it must always give the same")
            for name in names:
                found[name][way].append([one[name] for one in judged])
    return PruningComparison(
        sparsity=torch.tensor(list(sparsity), dtype=torch.float64),
        dense={name: torch.tensor([one[name] for one in dense], dtype=torch.float64) for name in names},
        found={name: {way: torch.tensor(rows, dtype=torch.float64) for way, rows in by_way.items()} for name, by_way in found.items()},
    )
