"""Surveys of whole data sets: rows a second, memory and size on disk, beside loops over captum and shap, and on Ray with two workers.

Claims: memory is flat within 10 % from 1,000 rows on; a row costs what the method costs, plus a few percent for reading, writing and
digests; two workers give the same numbers as the local run. Peers run on a part of the rows, in the same process, and are given per row.

    python benchmarks/survey.py                 # some minutes
    python benchmarks/survey.py --rows 60000    # all of MNIST and Adult
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from benchmarks.timing import print_table
from vesalius.data import load
from vesalius.scale import RayOptions, SurveyOptions, ray_engine

MEMORY = """
import sys, tempfile, torch, vesalius as vs
from pathlib import Path
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

class Rows(IterableDataset):
    def __init__(self, count):
        self.count = count
    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.count):
            yield torch.rand(1, 28, 28, generator=generator), 3

torch.set_num_threads(1)
torch.manual_seed(0)
net = vs.trace(nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)).eval(), torch.rand(2, 1, 28, 28))
with tempfile.TemporaryDirectory() as folder:
    found = vs.survey(net, DataLoader(Rows(int(sys.argv[1])), batch_size=64), "deeplift_rescale", out=folder)
    found.summary()
line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(line.split()[1]) / 1024)
"""


HEAD = (
    "survey",
    "rows",
    "rows/s",
    "ms a row",
    "ms of the method alone",
    "foretold by 1,024 rows / measured",
    "MB on disk",
    "s to find it all there",
)
SCHEDULER_HEAD = ("simulated workers", "blocks", "ms of the scheduler a block", "workers busy")
RAY_HEAD = (
    "engine",
    "rows/s between first and last shard",
    "speed-up, median (least to most)",
    "s with the start",
    "ms of a processor a row, in this process",
    "same numbers",
)
TURNS = 3


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int = 2) -> nn.Module:
    """A few epochs of Adam."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model.eval()


def seconds_of(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def survey_row(name: str, model: Any, data: Any, method: Any, **asked: Any) -> tuple[object, ...]:
    """Rows a second, what the method alone takes, what the first rows foretell, and size on disk."""
    rows = len(data[0])
    pilot, network = min(1024, rows), vs.trace(model, data[0][:2])
    target = {name: value for name, value in asked.items() if name == "target"}
    batches = [slice(at, at + 64) for at in range(0, pilot, 64)]
    with tempfile.TemporaryDirectory() as folder:
        bare = seconds_of(lambda: [vs.attribute(network, data[0][part], method, **target) for part in batches])
        first = seconds_of(lambda: vs.survey(network, tuple(part[:pilot] for part in data), method, out=f"{folder}/pilot", **asked))
        took = seconds_of(lambda: vs.survey(network, data, method, out=folder, **asked))
        found = vs.Survey.load(folder)
        again = seconds_of(lambda: vs.survey(network, data, method, out=folder, **asked))
        each = 1e3 * took / rows
        return (name, f"{rows:,}", rows / took, each, 1e3 * bare / pilot, first / pilot * rows / took, found.file_bytes / 1e6, again)


def peers(model: nn.Module, x: Tensor, y: Tensor, table: nn.Module, rows: Tensor) -> list[tuple[object, ...]]:
    """captum and shap on a part, milliseconds per row."""
    import shap
    from captum.attr import IntegratedGradients

    found: list[tuple[object, ...]] = []
    part = x[:1024]
    labels = model(part).argmax(1)
    loop = IntegratedGradients(model)
    took = seconds_of(
        lambda: [loop.attribute(part[at : at + 64], target=labels[at : at + 64], n_steps=50) for at in range(0, len(part), 64)]
    )
    found.append(("captum IntegratedGradients, 50 steps, loop", len(part), len(part) / took, 1e3 * took / len(part)))
    deep = shap.DeepExplainer(model, x[:20])
    took = seconds_of(lambda: deep.shap_values(x[100:164], check_additivity=False))
    found.append(("shap DeepExplainer, 20 references, all classes", 64, 64 / took, 1e3 * took / 64))

    def call(given: Any) -> Any:
        with torch.no_grad():
            return table(torch.from_numpy(np.asarray(given, np.float32)))[:, 1].numpy()

    kernel = shap.KernelExplainer(call, rows[:1].numpy() * 0, silent=True)
    took = seconds_of(lambda: kernel.shap_values(rows[:64].numpy(), nsamples=256, silent=True))
    found.append(("shap KernelExplainer, 256 samples", 64, 64 / took, 1e3 * took / 64))
    return found


def adult_table() -> tuple[Tensor, Tensor]:
    """Adult with a number for each category: 14 columns, each scaled."""
    found = load("adult")
    columns = list(dict.fromkeys(found.columns))
    coded = []
    for name in columns:
        places = [place for place, own in enumerate(found.columns) if own == name]
        part = found.train_x[:, places]
        coded.append(part[:, 0] if len(places) == 1 else part.argmax(1).float())
    x = torch.stack(coded, 1)
    return (x - x.mean(0)) / x.std(0).clamp_min(1e-6), found.train_y


def memory_rows(counts: tuple[int, ...]) -> list[tuple[object, ...]]:
    """Peak memory of a whole process, at some numbers of rows."""
    import subprocess

    found = []
    for count in counts:
        command = [sys.executable, "-W", "ignore", "-c", MEMORY, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append((f"{count:,}", float(done.stdout.split()[-1])))
    return found


def deep_network() -> nn.Module:
    """One whose rows take long enough that sending them does not matter: 784, four times 512, 10."""
    inner = [part for _ in range(3) for part in (nn.Linear(512, 512), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), *inner, nn.Linear(512, 10)).eval()


def ray_rows(x: Tensor) -> list[tuple[object, ...]]:
    """The same survey here, on one worker, on two, and on two of which one is killed in the middle, in turns, so that other work on the
    machine falls on all alike; rows a second between the first shard and the last, without the start of the actors."""
    import ray

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - its name; the workers as the driver, not at Ray's own 15
    method = vs.METHODS["integrated_gradients"](rule="quadrature", steps=50)
    model, pace, took, driver = vs.trace(deep_network(), x[:2]), {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        ray.init(address="local", num_cpus=2, object_store_memory=200_000_000, **quiet)
        for turn in range(TURNS):
            for name in ("local", "1 worker", "2 workers", "2 workers, one killed"):
                out = Path(f"{folder}/{turn} {name}")
                options = SurveyOptions(shard_rows=32, ray=RayOptions(workers=1 if name == "1 worker" else 2))
                engine, before, began = "local" if name == "local" else "ray", time.process_time(), time.perf_counter()
                killer = Thread(target=kill_a_worker, args=(out,)) if "killed" in name else None
                if killer:
                    killer.start()
                vs.survey(model, x, method, target=1, out=out, engine=engine, options=options)
                took.setdefault(name, []).append(time.perf_counter() - began)
                driver.setdefault(name, []).append(1e3 * (time.process_time() - before) / len(x))
                written = sorted(path.stat().st_mtime for path in out.glob("rows-*"))
                pace.setdefault(name, []).append((len(x) - 32) / (written[-1] - written[0]))
                if killer:
                    killer.join()
        ray.shutdown()
        one = vs.Survey.load(f"{folder}/0 local")
        rows: list[tuple[object, ...]] = []
        for name, each in pace.items():
            other = vs.Survey.load(f"{folder}/0 {name}")
            same = all(torch.equal(a.values, b.values) for a, b in zip(one.parts(), other.parts(), strict=True))
            speed = [there / here for here, there in zip(pace["local"], each, strict=True)]
            told = f"{np.median(speed):.2f} ({min(speed):.2f} to {max(speed):.2f})"
            numbers = float(np.median(each)), told, float(np.median(took[name])), float(np.median(driver[name]))
            rows.append((name, *numbers, "yes" if same else "NO"))
    return rows


def kill_a_worker(out: Path) -> None:
    """Kill the process of an actor once two shards are there."""
    import psutil

    while len(list(out.glob("rows-*"))) < 2 if out.exists() else True:
        time.sleep(0.05)
    actors = [one for one in psutil.process_iter(["cmdline"]) if "ray::SurveyWorker" in " ".join(one.info["cmdline"] or ())]
    mine = [one for one in actors if psutil.Process() in one.parents()]
    if mine:
        mine[0].kill()


class SimulatedRay:
    """A cluster whose workers take no time of a processor: blocks are done in the order of a simulated clock."""

    def __init__(self, workers: int) -> None:
        self.clock, self.free = 0.0, [0.0] * workers
        self.due: dict[int, float] = {}
        self.count = 0
        self.workers = [SimpleNamespace(run=SimpleNamespace(remote=partial(self.submit, place))) for place in range(workers)]

    def submit(self, place: int, sent: object, block: object) -> int:
        """A block for a worker, which is done a second after the one before, more or less."""
        self.free[place] = max(self.free[place], self.clock) + 0.5 + (self.count * 0.618) % 1
        self.count += 1
        self.due[self.count] = self.free[place]
        return self.count

    def wait(self, refs: list[int], num_returns: int) -> tuple[list[int], list[int]]:
        """The block that is done first."""
        first = min(refs, key=self.due.__getitem__)
        self.clock = self.due[first]
        return [first], []

    def get(self, ref: int) -> int:
        """What it gave."""
        return ref


def scheduler_rows() -> list[tuple[object, ...]]:
    """What the scheduler itself computes for a block, and how busy simulated workers are."""
    found = []
    real = ray_engine.ray
    for workers in (2, 10, 100, 400):
        simulated = SimulatedRay(workers)
        ray_engine.ray = simulated
        blocks = 40 * workers
        before = time.process_time()
        done = sum(1 for _ in ray_engine._spread(simulated.workers, [], iter(range(blocks)), 2))
        took = time.process_time() - before
        found.append((workers, done, 1e3 * took / blocks, f"{100 * blocks / (workers * simulated.clock):.0f} %"))
    ray_engine.ray = real
    return found


def main() -> None:
    """Print all tables."""
    words = argparse.ArgumentParser()
    words.add_argument("--rows", type=int, default=4096)
    words.add_argument("--only-ray", action="store_true")
    words.add_argument("--skip-ray", action="store_true")
    asked = words.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures = load("mnist")
    x, y = pictures.train_x, pictures.train_y
    model = train(nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)), x[:20_000], y[:20_000])
    if asked.only_ray:
        print_table(scheduler_rows(), SCHEDULER_HEAD)
        print()
        print_table(ray_rows(x[: asked.rows]), RAY_HEAD)
        return
    rows, labels = adult_table()
    table = train(nn.Sequential(nn.Linear(14, 32), nn.ReLU(), nn.Linear(32, 2)), rows, labels)
    count = asked.rows
    shapley = vs.METHODS["shapley_value"](budget=256, estimator="kernel")
    quadrature = vs.METHODS["integrated_gradients"](rule="quadrature", steps=50)
    found = [
        survey_row("MNIST, deeplift_rescale", model, (x[:count], y[:count]), "deeplift_rescale"),
        survey_row("MNIST, integrated gradients, exact (tol=0.01)", model, (x[:count], y[:count]), "integrated_gradients"),
        survey_row("MNIST, integrated gradients, 50 steps", model, (x[:count], y[:count]), quadrature),
        survey_row("Adult, integrated gradients, exact (tol=0.01)", table, (rows[:count], labels[:count]), "integrated_gradients"),
        survey_row("Adult, Shapley values, kernel, 256 evaluations", table, (rows[:count], labels[:count]), shapley, target=1),
    ]
    print_table(found, HEAD)
    print()
    print_table(peers(model, x, y, table, rows), ("peer", "rows", "rows/s", "ms a row"))
    print()
    print_table(memory_rows((1_000, 4_000, 16_000, 60_000 if asked.rows > 10_000 else 30_000)), ("rows", "peak MB of the process"))
    print()
    print_table(scheduler_rows(), SCHEDULER_HEAD)
    print()
    if not asked.skip_ray:
        print_table(ray_rows(x[: min(count, 512)]), RAY_HEAD)


if __name__ == "__main__":
    main()
