"""Numbers of a handful of verbs on small models, written to a file: ``tests.test_same_numbers`` runs this under several settings."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import vesalius as vs
from tests.complexity import small_network
from tests.same_models import CASES, METHOD_CASES, ask_method
from vesalius.information import MeasurementOptions, pointwise_flow
from vesalius.interactions import interactions_of


def methods() -> dict[str, Tensor]:
    """Values of every method."""
    return {f"{name} {case} {options.get('estimator', '')}": ask_method(case, name, options).values for case, name, options in METHOD_CASES}


def flow() -> dict[str, Tensor]:
    """Weights of a flow graph and maps of single samples, of continuous inputs and of ones that take few values."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    found = {}
    for name, data in {"continuous": torch.randn(700, 6), "binary": (torch.randn(700, 6) > 0.4).float()}.items():
        network = vs.trace(model, data[:2])
        graph = vs.information_flow(network, data, measuring=MeasurementOptions(batch=96))
        found |= {f"flow {name} {at}": part for at, part in enumerate(graph.flows)}
        found[f"pointwise flow {name}"] = pointwise_flow(network, graph, data, data[:5])
    return found


def estimated_interactions() -> dict[str, Tensor]:
    """Of 14 players, by every estimator that draws."""
    model, x = CASES["many"]
    game = vs.Game.on(model, x[0], target=0)
    return {
        f"interactions {name}": interactions_of(game, estimator=name, budget=400, generator=torch.Generator().manual_seed(0)).values
        for name in ("surrogate", "least_squares", "permutation", "sparse")
    }


def pruned() -> dict[str, Tensor]:
    """Links kept of each layer, and values of links."""
    model = CASES["many"][0]
    data = torch.randn(200, 14, generator=torch.Generator().manual_seed(5))
    small = vs.sparsify(model, data, sparsity=0.6)
    values = vs.link_importance(model, data)
    kept = {f"kept {name}": mask.sum().double() for name, mask in small.masks.items()}
    return kept | {f"importance {name}": values[name].values for name in values}


def components() -> dict[str, Tensor]:
    """Significance of the components of a feature, and how much of it they explain."""
    found = small_network.small_complexity()
    return {"significance": found.rho, "explained": found.r2}


if __name__ == "__main__":
    torch.save(methods() | flow() | estimated_interactions() | pruned() | components(), Path(sys.argv[1]))
