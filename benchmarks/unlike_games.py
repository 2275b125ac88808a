"""Games unlike those that estimators were developed on: sixteen kinds from statistics, economics, graphs and machine learning, by seed.

All have 10 to 16 players, so that the Shapley values are exact. No constant of an estimator was chosen on any of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from games_for_shapley import KnownGame, table_game
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

Build = Callable[[int], KnownGame]


def airport(seed: int) -> KnownGame:
    """The cost of the longest runway among those who land."""
    cost = torch.tensor(np.random.default_rng([seed, 1]).exponential(size=14))
    return table_game("airport", 14, lambda masks: (masks * cost).max(1).values)


def voting(seed: int) -> KnownGame:
    """Whether the weights of those present reach a quota of 60 %."""
    weight = torch.tensor(np.random.default_rng([seed, 2]).integers(1, 20, 14).astype(float))
    return table_game("voting", 14, lambda masks: (masks.double() @ weight > 0.6 * weight.sum()).double())


def covering(seed: int) -> KnownGame:
    """How much of 60 weighted places is covered by somebody."""
    rng = np.random.default_rng([seed, 3])
    covers = torch.tensor(rng.random((14, 60)) < 0.15)
    weight = torch.tensor(rng.exponential(size=60))
    return table_game("covering", 14, lambda masks: ((masks.double() @ covers.double()) > 0).double() @ weight)


def explained_variance(seed: int) -> KnownGame:
    """R^2 of a linear regression on the columns present, which are correlated."""
    rng = np.random.default_rng([seed, 4])
    x = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12))
    y = x @ rng.normal(size=12) + 5 * rng.normal(size=200)
    every = np.corrcoef(np.column_stack([x, y]).T)

    def value(masks: Tensor) -> Tensor:
        found = []
        for row in masks.numpy():
            at = np.flatnonzero(row)
            found.append(every[at, -1] @ np.linalg.solve(every[np.ix_(at, at)], every[at, -1]) if len(at) else 0.0)
        return torch.tensor(np.array(found))

    return table_game("explained-variance", 12, value)


def cut(seed: int) -> KnownGame:
    """The square root of the weight of arrows from those present to those absent."""
    rng = np.random.default_rng([seed, 5])
    weight = torch.tensor((rng.random((14, 14)) < 0.4) * rng.exponential(size=(14, 14)))
    out = torch.tensor(rng.exponential(size=14))
    return table_game("cut", 14, lambda masks: (((masks.double() @ weight) * ~masks).sum(1) + masks.double() @ out).sqrt())


def connection(seed: int) -> KnownGame:
    """The square of the largest connected part of a graph on those present."""
    rng = np.random.default_rng([seed, 6])
    near = np.triu(rng.random((12, 12)) < 0.22, 1)
    near = torch.tensor(near | near.T | np.eye(12, dtype=bool)).double()

    def value(masks: Tensor) -> Tensor:
        present = masks.double()
        reach = torch.diag_embed(present)
        for _ in range(12):
            reach = ((reach @ near > 0) & masks[:, None, :]).double()
        return reach.sum(2).max(1).values.square()

    return table_game("connection", 12, value)


def _table(name: str, model: Callable[[np.ndarray], np.ndarray], x: np.ndarray, absent: np.ndarray) -> KnownGame:
    """A model of columns at a row, absent ones replaced."""
    return table_game(name, len(x), lambda masks: torch.tensor(model(np.where(masks.numpy(), x, absent))).double())


def boosted_trees(seed: int) -> KnownGame:
    """Log odds of boosted trees on the first 14 columns of the breast cancer data."""
    data = load_breast_cancer()
    x = data.data[:, :14]
    model = GradientBoostingClassifier(n_estimators=60, max_depth=4, random_state=seed).fit(x, data.target)
    return _table("boosted-trees", model.decision_function, x[(37 * seed) % len(x)], x.mean(0))


def forest(seed: int) -> KnownGame:
    """A random forest on the diabetes data."""
    data = load_diabetes()
    model = RandomForestRegressor(40, random_state=seed).fit(data.data, data.target)
    return _table("forest", model.predict, data.data[(41 * seed) % 400], data.data.mean(0))


def support_vectors(seed: int) -> KnownGame:
    """Decision value of a support vector machine with a Gaussian kernel on the wine data."""
    data = load_wine()
    x = StandardScaler().fit_transform(data.data)
    model = SVC(C=3.0, gamma=0.15).fit(x, data.target)
    return _table("support-vectors", lambda rows: model.decision_function(rows)[:, seed % 3], x[(29 * seed) % len(x)], np.zeros(13))


def neighbours(seed: int) -> KnownGame:
    """The share of class 1 among the 15 nearest rows of the wine data: steps only."""
    data = load_wine()
    x = StandardScaler().fit_transform(data.data)
    model = KNeighborsClassifier(15).fit(x, data.target)
    return _table("neighbours", lambda rows: model.predict_proba(rows)[:, 1], x[(31 * seed) % len(x)], np.zeros(13))


def gaussian_process(seed: int) -> KnownGame:
    """A smooth random function of 12 columns."""
    rng = np.random.default_rng([seed, 7])
    x = rng.normal(size=(80, 12))
    model = GaussianProcessRegressor(optimizer=None, normalize_y=False, alpha=1e-4).fit(x / 3, rng.normal(size=80))
    return _table("smooth", lambda rows: model.predict(rows / 3), x[0], np.zeros(12))


def _network_game(name: str, n: int, net: nn.Module, compose: Callable[[Tensor], Tensor]) -> KnownGame:
    def value(masks: Tensor) -> Tensor:
        with torch.no_grad():
            return net(compose(masks)).double()

    return table_game(name, n, value)


class Reader(nn.Module):
    """One number from a sequence of vectors, by attention or by a recurrence."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = (
            nn.LSTM(8, 16, batch_first=True) if kind == "recurrent" else nn.TransformerEncoderLayer(8, 2, 32, 0.0, batch_first=True)
        )
        self.out = nn.Linear(16 if kind == "recurrent" else 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = self.layer(x)
        return self.out(found[0][:, -1] if isinstance(found, tuple) else found.amax(1))[:, 0]


def _reader(kind: str) -> Build:
    def build(seed: int) -> KnownGame:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net, x = Reader(kind).eval(), 2 * torch.randn(12, 8)
            for parameter in net.parameters():
                parameter.data *= 2
        return _network_game(kind, 12, net, lambda masks: masks[..., None].float() * x)

    return build


def probability(seed: int) -> KnownGame:
    """The probability of a class where the network is sure of it: most of the game is flat."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net, x = nn.Sequential(nn.Linear(14, 40), nn.GELU(), nn.Linear(40, 40), nn.GELU(), nn.Linear(40, 5)).eval(), torch.randn(14)
        for parameter in net.parameters():
            parameter.data *= 3
        label = int(net(x[None]).argmax())
    return _network_game("probability", 14, lambda rows: net(rows).softmax(1)[:, label], lambda masks: masks.float() * x)


def distance(seed: int) -> KnownGame:
    """Minus the distance of a point from the corner that those present make: a root of a quadratic."""
    rng = np.random.default_rng([seed, 8])
    direction, target = torch.tensor(rng.normal(size=(14, 5))), torch.tensor(2 * rng.normal(size=5))
    return table_game("distance", 14, lambda masks: -(masks.double() @ direction - target).norm(dim=1))


def parity(seed: int) -> KnownGame:
    """Effects of single players, and the parity of three groups of three."""
    rng = np.random.default_rng([seed, 9])
    order = torch.tensor(rng.permutation(12)).view(4, 3)[:3]
    alone = torch.tensor(rng.normal(size=12))
    return table_game("parity", 12, lambda masks: masks.double() @ alone + (masks.long()[:, order].sum(2) % 2).double().sum(1))


KINDS: dict[str, Build] = {
    "airport": airport,
    "voting": voting,
    "covering": covering,
    "explained-variance": explained_variance,
    "cut": cut,
    "connection": connection,
    "boosted-trees": boosted_trees,
    "forest": forest,
    "support-vectors": support_vectors,
    "neighbours": neighbours,
    "smooth": gaussian_process,
    "recurrent": _reader("recurrent"),
    "attention": _reader("attention"),
    "probability": probability,
    "distance": distance,
    "parity": parity,
}
