"""Feature complexity: the experiments of Ren et al. at the size of a laptop, over seeds, beside what the paper says.

    VESALIUS_DATA=... python reproductions/complexity.py RESULTS.json > docs/complexity_claims.md

Takes about an hour. What is measured is kept in RESULTS.json, and not measured again.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from reproductions import complexity_nets as nets
from vesalius.complexity import Judging, Profile, Training, complexity, profile, replace
from vesalius.complexity.prediction import predict_accuracy
from vesalius.core import store
from vesalius.data import Dataset, load

DATASETS = {"MNIST": "mnist", "Fashion-MNIST": "fashion_mnist"}
DEPTHS = (1, 2, 3)
SIZES = (200, 1000, 5000)
SEEDS = (0, 1)
TASKS = (0, 2, 8, 26)
TASK_SEEDS = range(3)
ORDERS = (0, 1, 2, 4)
POOL, JUDGED = 3000, 1000
TRAINING = Training(epochs=20, seeds=2)
STRONG = (100, 101)

Record = dict[str, Any]


class Results:
    """What was measured before, by key, in a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, measure: Callable[[], Record]) -> Record:
        """A record, measured if it is new."""
        if key not in self.known:
            print(key, file=sys.stderr, flush=True)
            self.known[key] = measure()
            store.write_text(self.path, json.dumps(self.known))
        found: Record = self.known[key]
        return found


# ---- measuring -------------------------------------------------------------------------------------------------------------------------


def task(depth: int, seed: int, size: int) -> Record:
    """A generator of known depth, taken apart."""
    data = load("cifar10_subset")
    network = vs.trace(nets.Generator(depth, seed, size=size), data.train_x[:2])
    found = complexity(network, data.train_x[:POOL], at="out", orders=ORDERS, training=Training(epochs=20, seeds=1, seed=seed))
    return {"gain": found.gain[0].tolist(), "rest": float(found.residual[0])}


def taken(model: nn.Module, data: Dataset, x: Tensor, y: Tensor, strong: Sequence[vs.Network], pool: Tensor | None = None) -> Profile:
    """A network's last feature, and everything that is measured of it."""
    network = vs.trace(model, data.train_x[:2])
    found = complexity(network, data.train_x[:POOL] if pool is None else pool, at="last", orders=ORDERS, training=TRAINING)
    judging = Judging(train=(x[:JUDGED], y[:JUDGED]), test=(data.test_x[: 2 * JUDGED], data.test_y[: 2 * JUDGED]), others=strong)
    return profile(found, judging)


def recorded(found: Profile, **more: float) -> Record:
    """Numbers of a profile, as a file holds them."""
    judged = found.coalitions
    assert judged is not None and found.reliability is not None and judged.test_correct is not None
    half = torch.arange(judged.test_correct.shape[1]) < JUDGED
    best = judged.best(half)
    return {
        "gain": found.complexity.gain.mean(0).tolist(),
        "rest": float(found.complexity.residual.mean()),
        "reliability": found.reliability.values.nan_to_num(0).tolist(),
        "soft": found.reliability.soft.mean(0).nan_to_num(0).tolist(),
        "effectiveness": judged.effectiveness("std").values.nan_to_num(0).tolist(),
        "useful": judged.effectiveness(None).values.tolist(),
        "useful_error": judged.effectiveness(None).stderr.tolist(),
        "overfitting": judged.overfitting.values.tolist(),
        "overfitting_error": judged.overfitting.stderr.tolist(),
        "chain": [float(judged.accuracy[(2 << at) - 1]) for at in range(len(ORDERS))],
        "best": {"orders": list(best.orders), "test": best.test, "whole": best.whole, "stderr": best.stderr},
        **more,
    }


def strong_nets(data: Dataset) -> list[vs.Network]:
    """Deep networks trained on many rows, to compare with."""
    return [vs.trace(nets.target(data, max(DEPTHS), nets.STRONG_ROWS, seed).model, data.train_x[:2]) for seed in STRONG]


def grid(name: str, results: Results) -> dict[tuple[int, int, int], Record]:
    """Every depth, sample size and seed."""
    data, strong = load(DATASETS[name]), list[vs.Network]()

    def one(depth: int, rows: int, seed: int) -> Record:
        strong.extend(() if strong else strong_nets(data))
        target = nets.target(data, depth, rows, seed)
        found = taken(target.model, data, target.x, target.y, strong)
        more = {"accuracy": target.accuracy}
        if depth == 2 and rows >= 1000:
            more |= boosts(target, data, found)
        return recorded(found, **more)

    keys = [(depth, rows, seed) for rows in SIZES for depth in DEPTHS for seed in SEEDS]
    return {key: results.get(f"{name} depth {key[0]} rows {key[1]} seed {key[2]}", lambda key=key: one(*key)) for key in keys}


def boosts(target: nets.Target, data: Dataset, found: Profile) -> Record:
    """Accuracy of the network on its components when these were learnt from other images, and from its own; and of a distilled student."""
    own = complexity(vs.trace(target.model, data.train_x[:2]), target.x, at="last", orders=ORDERS, training=TRAINING)
    x, y = data.test_x[JUDGED : 2 * JUDGED], data.test_y[JUDGED : 2 * JUDGED]
    pool = nets.Target(model=target.model, blocks=target.blocks, x=data.train_x[:POOL], y=data.train_y[:POOL], accuracy=0)
    student = nets.distilled(target.model, pool, 50)
    return {
        "as it is": nets.accuracy(target.model, x, y),
        "other images": max(nets.accuracy(replace(found.complexity, order), x, y) for order in ORDERS[1:]),
        "own images": max(nets.accuracy(replace(own, order), x, y) for order in ORDERS[1:]),
        "student": nets.accuracy(student, x, y),
    }


def procedures(name: str, results: Results) -> dict[str, Record]:
    """One network, and what usual procedures make of it."""
    data, made = load(DATASETS[name]), dict[str, Any]()

    def one(kind: str) -> Record:
        if not made:
            made["strong"] = strong_nets(data)
            made["base"] = nets.target(data, 2, 5000, 0)
        base: nets.Target = made["base"]
        retrained = {"fewer steps": (5000, 100, 0.0), "more data": (20_000, nets.STEPS, 0.0), "label noise": (5000, nets.STEPS, 0.3)}
        if kind in retrained:
            rows, steps, noise = retrained[kind]
            base = nets.target(data, 2, rows, 0, steps=steps, noise=noise)
        changed = {
            "pruned by 80 %": lambda: nets.pruned(base.model, 0.8),
            "weights of 3 bits": lambda: nets.quantised(base.model, 3),
            "distilled": lambda: nets.distilled(base.model, base, 7),
        }
        model = changed[kind]() if kind in changed else base.model
        accuracy = nets.accuracy(model, data.test_x, data.test_y)
        return recorded(taken(model, data, base.x, base.y, made["strong"]), accuracy=accuracy)

    kinds = ("trained", "pruned by 80 %", "weights of 3 bits", "distilled", "fewer steps", "more data", "label noise")
    return {kind: results.get(f"{name} {kind}", lambda kind=kind: one(kind)) for kind in kinds}


# ---- telling ---------------------------------------------------------------------------------------------------------------------------


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Mean and standard error."""
    listed = list(values)
    error = statistics.stdev(listed) / len(listed) ** 0.5 if len(listed) > 1 else float("nan")
    return f"{statistics.fmean(listed):.{digits}f} ± {error:.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def by(found: Mapping[tuple[int, int, int], Record], *, depth: int | None = None, rows: int | None = None) -> list[Record]:
    """Records of one depth or size."""
    return [record for (d, n, _), record in found.items() if depth in (None, d) and rows in (None, n)]


def orders_of(records: Sequence[Record], name: str, digits: int = 3) -> list[str]:
    """One cell per order."""
    return [spread((record[name][at] for record in records), digits) for at in range(len(ORDERS))]


HEADS = ["order 0", "order 1", "order 2", "orders 3-4"]


def task_table(size: int, results: Results) -> str:
    """Gain by order of generators of known depth."""
    rows = []
    for depth in TASKS:
        found = [results.get(f"task {depth} size {size} seed {seed}", lambda d=depth, s=seed: task(d, s, size)) for seed in TASK_SEEDS]
        deep = spread(sum(record["gain"][2:]) for record in found)
        beyond = spread(sum(record["gain"][2:]) + record["rest"] for record in found)
        rows.append([str(depth), *orders_of(found, "gain"), spread(record["rest"] for record in found), deep, beyond])
    return table(["ReLU layers", *HEADS, "rest", "orders >= 2", "orders >= 2 and rest"], rows)


def size_table(found: Mapping[tuple[int, int, int], Record], name: str) -> str:
    """A measure by order, for each sample size."""
    return table(["rows", *HEADS], [[f"{rows:,}", *orders_of(by(found, rows=rows), name)] for rows in SIZES])


def depth_table(found: Mapping[tuple[int, int, int], Record], name: str) -> str:
    """A measure by order, for each depth."""
    named = [f"{2 * 3 * depth + 1}" for depth in DEPTHS]
    return table(["layers", *HEADS], [[label, *orders_of(by(found, depth=d), name)] for label, d in zip(named, DEPTHS, strict=True)])


def boost_table(found: Mapping[tuple[int, int, int], Record]) -> str:
    """Accuracy on components."""
    kinds = ("as it is", "other images", "own images", "student")
    rows = []
    for size in SIZES[1:]:
        records = [record for record in by(found, depth=2, rows=size) if kinds[0] in record]
        rows.append([f"{size:,}", *(spread(record[kind] for record in records) for kind in kinds)])
    return table(
        ["rows", "the network", "on components of other images", "on components of its own rows", "a student on the other images"], rows
    )


def predicted(found: Mapping[tuple[int, int, int], Record]) -> list[str]:
    """How well accuracy is predicted, left-one-out, by components and by the number of rows alone."""
    records = list(found.values())
    features = torch.tensor([[*record["gain"], *record["soft"]] for record in records], dtype=torch.float64)
    accuracy = torch.tensor([record["accuracy"] for record in records], dtype=torch.float64)
    fits = predict_accuracy(features, accuracy, samples=torch.tensor([rows for _, rows, _ in found]))
    return [f"{fit.left_out_r2:.2f}" for fit in (fits.features, fits.samples)]


def procedure_table(found: Mapping[str, Record], name: str) -> str:
    """A measure of each procedure."""
    return table(["", *HEADS], [[kind, *(f"{value:.3f}" for value in record[name])] for kind, record in found.items()])


def main() -> None:
    """Measure, and write the tables."""
    torch.set_num_threads(1)
    results = Results(Path(sys.argv[1] if len(sys.argv) > 1 else "complexity.json"))
    print("# Feature complexity, measured again")
    for size, words in ((3, "3 x 3 convolutions"), (1, "1 x 1 convolutions after the first")):
        print(f"\n## Generators of known depth, {words}\n\n{task_table(size, results)}")
    for name in DATASETS:
        for title, found in told(name, results):
            print(f"\n## {name}: {title}\n\n{found}")


def told(name: str, results: Results) -> Iterable[tuple[str, str]]:
    """All tables of a data set."""
    records = grid(name, results)
    for measure in ("gain", "reliability", "soft", "effectiveness", "useful", "overfitting"):
        yield f"{measure} by sample size", size_table(records, measure)
        yield f"{measure} by depth", depth_table(records, measure)
    yield "accuracy on components", boost_table(records)
    yield (
        "accuracy predicted, R^2 with each net left out",
        table(["from gains and reliability", "from the number of rows alone"], [predicted(records)]),
    )
    changed = procedures(name, results)
    yield "usual procedures: accuracy", table(list(changed), [[f"{record['accuracy']:.3f}" for record in changed.values()]])
    for measure in ("gain", "soft", "useful", "overfitting"):
        yield f"usual procedures: {measure}", procedure_table(changed, measure)


if __name__ == "__main__":
    main()
