"""Neural information flow: the experiments of Davis et al. with our estimators, over many seeds, beside what the paper says.

    VESALIUS_DATA=... python reproductions/nif.py > docs/nif.md

Small multilayer perceptrons on Iris and Banknote as in the paper, and a small convolutional network on MNIST. Nothing is tuned: the paper
gives no learning rate, number of epochs or split, so these are ours.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import ks_2samp, spearmanr
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from vesalius.data import load
from vesalius.information import AblationOptions, FlowGraph, MeasurementOptions, ablation_curves, information_flow
from vesalius.information.estimators import pairwise

SEEDS = range(10)
MLPS = {
    "Iris 4-5-3": ("iris", (5,)),
    "Iris 4-5-5-3": ("iris", (5, 5)),
    "Banknote 4-5-2": ("banknote", (5,)),
    "Banknote 4-5-5-2": ("banknote", (5, 5)),
}
ORDERS = ("flow", "magnitude", "random")
METHODS = ("flow", "shapley_value", "integrated_gradients")
MNIST_SEEDS = range(10)
MNIST_ROWS = 10_000


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedNetwork:
    """A trained network and its data, standardised where it is a table."""

    model: nn.Module
    network: vs.Network
    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor

    @property
    def accuracy(self) -> float:
        return float((self.network(self.test_x).argmax(1) == self.test_y).float().mean())


def train_model(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, batch: int, rate: float = 0.01) -> nn.Module:
    """Adam on cross-entropy."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def train_perceptron(dataset: str, hidden: Sequence[int], seed: int) -> TrainedNetwork:
    """A ReLU network on a table."""
    torch.manual_seed(seed)
    data = load(dataset)
    mean, spread = data.train_x.mean(0), data.train_x.std(0)
    x, test_x = (data.train_x - mean) / spread, (data.test_x - mean) / spread
    sizes = [x.shape[1], *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], int(data.train_y.max()) + 1))
    train_model(model, x, data.train_y, epochs=300, batch=32)
    return TrainedNetwork(model=model, network=vs.trace(model, x[:2]), x=x, y=data.train_y, test_x=test_x, test_y=data.test_y)


def train_cnn(seed: int) -> TrainedNetwork:
    """A small CNN on the first images of MNIST."""
    torch.manual_seed(seed)
    data = load("mnist")
    x, y = data.train_x[:MNIST_ROWS], data.train_y[:MNIST_ROWS]
    features = nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 5, stride=2), nn.ReLU(), nn.Flatten()
    model = nn.Sequential(*features, nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10))
    train_model(model, x, y, epochs=3, batch=64, rate=2e-3)
    return TrainedNetwork(model=model, network=vs.trace(model, x[:2]), x=x, y=y, test_x=data.test_x[:2000], test_y=data.test_y[:2000])


def attributions(found: TrainedNetwork, graph: FlowGraph) -> dict[str, Tensor]:
    """By method, how much each feature says of each class [features classes]."""
    rows = found.x[:100]
    table = {"flow": graph.attribution()}
    for name in METHODS[1:]:
        columns = [vs.attribute(found.network, rows, name, target=c).flat.abs().mean(0) for c in range(len(graph.layers[-1]))]
        table[name] = torch.stack(columns, 1).double()
    return table


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How like raw mutual information an attribution is."""

    spearman: float
    cosine: float
    distance: float
    p: float
    rescaled: float


def similarity_to_mutual_information(values: Tensor, raw: Tensor) -> Similarity:
    """The paper's Kolmogorov-Smirnov test, class by class, as it is and with columns that add up to 1; and what looks at who gets what."""
    tests = [ks_2samp(a, b, method="exact") for a, b in zip(values.T.numpy(), raw.T.numpy(), strict=True)]
    scaled = [ks_2samp(a / a.sum(), b / b.sum(), method="exact").statistic for a, b in zip(values.T.numpy(), raw.T.numpy(), strict=True)]
    return Similarity(
        spearman=float(spearmanr(values.flatten(), raw.flatten()).statistic),
        cosine=float(torch.nn.functional.cosine_similarity(values.flatten(), raw.flatten(), dim=0)),
        distance=statistics.fmean(test.statistic for test in tests),
        p=statistics.median(test.pvalue for test in tests),
        rescaled=statistics.fmean(scaled),
    )


def deletion_area(found: TrainedNetwork, values: Tensor) -> float:
    """Mean accuracy while features are replaced by their mean (0), the most important first; lower is better."""
    order = values.sum(1).argsort(descending=True)
    x, curve = found.test_x.clone().flatten(1), []
    for step in range(len(order) + 1):
        curve.append(float((found.network(x.reshape(found.test_x.shape)).argmax(1) == found.test_y).float().mean()))
        if step < len(order):
            x[:, order[step]] = 0
    return float(np.trapezoid(curve) / len(order))


def measure_network(found: TrainedNetwork, seed: int) -> dict[str, float]:
    """All numbers of one trained network."""
    graph = information_flow(found.network, found.x, measuring=MeasurementOptions(seed=seed))
    hidden = graph.layers[1:-1]
    parts = graph.communities(shuffles=19)
    raw = pairwise(found.x.flatten(1), found.network(found.x)).values.clamp_min(0)
    numbers = {
        "accuracy": found.accuracy,
        "dead": float(sum(int(layer.dead.sum()) for layer in hidden)),
        "no flow": float(sum(len(units) for units in graph.prunable().values())),
        "communities": float(parts.count),
        "modularity": float(parts.modularity),
        "stability": parts.stability,
        "chance": parts.p,
        "spare": redundant_unit_cost(found, graph),
    }
    for name, values in attributions(found, graph).items():
        alike = similarity_to_mutual_information(values, raw)
        numbers |= {f"{name} {what}": number for what, number in vars(alike).items()} | {f"{name} deletion": deletion_area(found, values)}
    for what in ("links", "units"):
        how = AblationOptions(what=what, repeats=20, seed=seed)
        gone = ablation_curves(found.network, graph, found.test_x, found.test_y, layer=graph.names[1], removing=how)
        numbers |= {f"{what} {name}": area for name, area in gone.areas.items()}
    return numbers


def redundant_unit_cost(found: TrainedNetwork, graph: FlowGraph) -> float:
    """Accuracy lost when all units without flow are set to 0."""
    model = found.model
    held = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    following = {layer: after for layer, after in zip(graph.names[1:-1], [*graph.names[2:-1], str(len(model) - 1)], strict=True)}  # type: ignore[arg-type]
    for layer, units in graph.prunable().items():
        held[f"{following[layer]}.weight"][:, list(units)] = 0
    left = torch.func.functional_call(model, held, (found.test_x,)).argmax(1)
    return found.accuracy - float((left == found.test_y).float().mean())


def measure_mnist(seed: int) -> dict[str, float]:
    """The numbers of a convolutional network: what is dead, and what removing costs."""
    found = train_cnn(seed)
    graph = information_flow(found.network, found.x[:4000], measuring=MeasurementOptions(estimator="binned", seed=seed))
    raw = pairwise(found.x[:4000].flatten(1), found.network(found.x[:4000]), estimator="binned").values.clamp_min(0)
    flow = graph.attribution()
    numbers = {
        "accuracy": found.accuracy,
        "dead pixels": float(graph.layers[0].dead.sum()),
        "dead": float(sum(int(layer.dead.sum()) for layer in graph.layers[1:-1])),
        "spearman": float(spearmanr(flow.flatten(), raw.flatten()).statistic),
        "cosine": float(torch.nn.functional.cosine_similarity(flow.flatten(), raw.flatten(), dim=0)),
    }
    for what, layer in (("links", "2"), ("units", "2"), ("units", "5")):
        gone = ablation_curves(
            found.network, graph, found.test_x, found.test_y, layer=layer, removing=AblationOptions(what=what, repeats=5, seed=seed)
        )
        numbers |= {f"{what} {layer} {name}": area for name, area in gone.areas.items()}
    return numbers


# ---- showing ----------------------------------------------------------------------------------------------------------------------


def median_and_range(rows: Sequence[Mapping[str, float]], name: str, digits: int = 2) -> str:
    """Median and range over seeds."""
    values = [row[name] for row in rows if row[name] == row[name]]
    if not values:
        return ""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def print_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print()


def print_columns(found: Mapping[str, list[dict[str, float]]], names: Sequence[str], head: Sequence[str]) -> None:
    print_table(["network", *head], [[net, *(median_and_range(rows, name) for name in names)] for net, rows in found.items()])


def print_similarities(found: Mapping[str, list[dict[str, float]]]) -> None:
    kinds = ("spearman", "cosine", "distance", "p", "rescaled", "deletion")
    head = ("network", "attribution", "Spearman", "cosine", "K-S distance", "exact p", "K-S, rescaled", "deletion (low is good)")
    lines = [
        [net, method, *(median_and_range(rows, f"{method} {kind}") for kind in kinds)] for net, rows in found.items() for method in METHODS
    ]
    print_table(head, lines)


def main() -> None:
    """Print the page."""
    torch.set_num_threads(1)
    found = {name: [measure_network(train_perceptron(data, hidden, seed), seed) for seed in SEEDS] for name, (data, hidden) in MLPS.items()}
    pictures = [measure_mnist(seed) for seed in MNIST_SEEDS]
    print(OPENING)
    graphs = {
        "accuracy": "test accuracy",
        "dead": "dead hidden units",
        "no flow": "units without flow",
        "spare": "accuracy lost without these",
        "communities": "communities",
        "modularity": "modularity",
        "stability": "agreement of runs",
        "chance": "p against shuffled weights",
    }
    print_columns(found, list(graphs), list(graphs.values()))
    print(SIMILARITY)
    print_similarities(found)
    print(REMOVAL)
    removed = [(what, order) for what in ("links", "units") for order in ORDERS]
    print_columns(found, [f"{what} {order}" for what, order in removed], [f"{what}, {order}" for what, order in removed])
    print(PICTURES)
    print_table(("number", "median (range over seeds)"), [(name, median_and_range(pictures, name)) for name in pictures[0]])
    print(FINDINGS, end="")


OPENING = """# Neural information flow, measured again

Davis et al. (2019, 2020) draw a trained network as a graph whose edges are the mutual information of units, read dead (constant) units,
communities and attributions off it, and prune by it. Here the same networks are trained from ten seeds each, measured with estimators
that have errors and tests, and set beside magnitude, chance, Shapley values and integrated gradients. Cells are medians with the range
over seeds.

    VESALIUS_DATA=... python reproductions/nif.py > docs/nif.md

## Graphs, dead units, communities

The paper's drawings show dead units (2 of 5 hidden ones of Iris 4-5-3), and it says that setting them to 0 changes nothing. Which units
die is a matter of the seed, and that a unit which is always 0 can be left out needs no information theory. The column beside it is about
all units on no path of significant flow, set to 0.
"""
SIMILARITY = """## Attribution against raw mutual information

The paper compares attributions of four features with their raw mutual information with a class by a Kolmogorov-Smirnov test, and reports
D = 1, p = .011 for its own as the best, .75 and .107 for SHAP, .25 and .996 for integrated gradients. **That reading is the wrong way
round**: D = 1 says that the two samples do not overlap at all. D is a matter of scale (sums of products of nats against nats), as the
column with columns rescaled to sum 1 shows; with four values the exact p of D = 1 is .029, so that the test has no power; and it does
not look at which feature got which value. Spearman, cosine and deletion (accuracy while features are replaced by their mean) do.
"""
REMOVAL = """## Ablation of connections (links) and units of the first hidden layer

Mean accuracy on the way from none to all ablated, the least first; higher is better. The paper shows single curves for flow alone.
"""
PICTURES = """## MNIST

A convolutional network (8 and 16 channels, 32 units) on 10,000 images; flow of 4,000 rows, pixels as features. Numbers of layer 2 are of
the second convolution (links are its kernels), of layer 5 of the hidden linear layer.
"""
FINDINGS = """## What holds and what does not

Read off the tables above, as they came out on 2026-11-24:

- *Units without significant flow can be set to 0*: holds. Accuracy does not change, in all 40 perceptrons.
- *Communities*: not shown. Runs agree on them mostly, but networks with shuffled weights divide as well (median p .88 to 1, least .10).
- *Attribution is closest to raw mutual information* (D = 1): the test says the opposite, and is one of scale. By rank it is true: Spearman
  .85 to .96 against .37 to .76 of Shapley values and integrated gradients, as an attribution made of mutual information should. Ranked by
  it, features of Banknote are deleted to more effect (.63 against .71); on Iris there is no difference.
- *Links are pruned by flow*: the order is better than chance on the perceptrons and a little worse than magnitude; on the kernels of MNIST
  it is worse than chance, and so is magnitude. Units: much as by magnitude; better than chance on Iris and MNIST's linear layer, worse on
  Banknote and MNIST's channels.
"""


if __name__ == "__main__":
    main()
