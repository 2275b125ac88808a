"""Units of ResNet-20 removed until half and 30 % of its multiplications are left, beside Torch-Pruning.

Claims: ahead of Torch-Pruning (L2 and Taylor, batch norms measured anew or not, over all groups or those within blocks) before any tuning,
and not behind after the same tuning on the 4,000 images.

``AMOUNT`` and ``SEED`` choose one run of each, ``EPOCHS`` how long is tuned; the latencies are medians, all models in one run.
"""

from __future__ import annotations

import copy
import os
import sys
import time
import warnings
from pathlib import Path

import torch
import torch_pruning
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.timing import median_seconds, print_table
from vesalius.data import load
from vesalius.data.pretrained import pretrained
from vesalius.sparsity import Pruning, remove_units

AMOUNTS = [float(one) for one in os.environ.get("AMOUNT", "0.5 0.7").split()]
SEEDS = [int(one) for one in os.environ.get("SEED", "0").split()]
EPOCHS = int(os.environ.get("EPOCHS", "2"))
IMAGES, TAYLOR_IMAGES, STEPS = 1000, 256, 100
RATES = [float(one) for one in os.environ.get("RATE", "0.01 0.002").split()]
DECAY, BATCH = 5e-4, 64
HEADINGS = (
    "fewer MACs",
    "seed",
    "method",
    "MACs left",
    "untuned, %",
    "batch norms anew, %",
    "tuned, %",
    "ms, batch 1",
    "ms, batch 64",
    "seconds",
)


class Pictures:
    """The images, and what is measured on them."""

    def __init__(self) -> None:
        self.data = load("cifar10_subset")

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """Per cent of the 1,000 test images."""
        model.eval()
        said = torch.cat([model(part) for part in self.data.test_x.split(100)]).argmax(1)
        return 100 * float((said == self.data.test_y).double().mean())

    @torch.no_grad()
    def macs(self, model: nn.Module) -> float:
        """Multiplications of one image."""
        with FlopCounterMode(display=False) as counted:
            model(self.data.test_x[:1])
        return counted.get_total_flops() / 2

    @torch.no_grad()
    def with_new_statistics(self, model: nn.Module) -> nn.Module:
        """Batch norms measured anew on the calibration images."""
        found = copy.deepcopy(model).train()
        for norm in found.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()
                norm.momentum = None
        for part in self.data.train_x[:IMAGES].split(128):
            found(part)
        for norm in found.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 0.1
        return found.eval()

    def tuned(self, model: nn.Module, seed: int, rate: float) -> nn.Module:
        """Trained on the 4,000 images, mirrored by chance, with a rate that falls as a cosine does."""
        found, draws = copy.deepcopy(model).requires_grad_().train(), torch.Generator().manual_seed(seed)
        steps = EPOCHS * -(-len(self.data.train_x) // BATCH)
        optimiser = torch.optim.SGD(found.parameters(), lr=rate, momentum=0.9, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(self.data.train_x), generator=draws).split(BATCH):
                images, mirrored = self.data.train_x[rows], torch.rand(len(rows), generator=draws) < 0.5
                images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
                optimiser.zero_grad()
                nn.functional.cross_entropy(found(images), self.data.train_y[rows]).backward()
                optimiser.step()
                schedule.step()
        return found.eval()


def ours(pictures: Pictures, model: nn.Module, amount: float, seed: int, *, inner: bool) -> nn.Module:
    """By Shapley importance of groups, refitted."""
    layers = [name for name, _ in model.named_modules() if name.endswith(".conv1")] if inner else None
    thin = remove_units(model, pictures.data.train_x[:IMAGES], flops=amount, pruning=Pruning(rounds=6, seed=seed, layers=layers))
    return thin.compact(pictures.data.test_x[:64], batches=(1,)).smallest


def theirs(pictures: Pictures, model: nn.Module, amount: float, seed: int, *, score: str, inner: bool) -> nn.Module:
    """Global pruning by Torch-Pruning in small steps until enough is gone."""
    found = copy.deepcopy(model).requires_grad_()
    kept = [found.linear]
    if inner:
        kept += [part for name, part in found.named_modules() if name == "conv1" or name.endswith("conv2")]
    importance = (
        torch_pruning.importance.GroupTaylorImportance() if score == "Taylor" else torch_pruning.importance.GroupMagnitudeImportance(p=2)
    )
    pruner = torch_pruning.pruner.BasePruner(
        found, pictures.data.train_x[:2], importance, global_pruning=True, pruning_ratio=1.0, max_pruning_ratio=0.95,
        iterative_steps=STEPS, ignored_layers=kept,
    )  # fmt: skip
    goal = (1 - amount) * pictures.macs(model)
    rows = torch.randperm(len(pictures.data.train_x), generator=torch.Generator().manual_seed(seed))[:TAYLOR_IMAGES]
    while pictures.macs(found) > goal and pruner.current_step < STEPS:
        if score == "Taylor" and pruner.current_step % 5 == 0:
            found.zero_grad()
            nn.functional.cross_entropy(found(pictures.data.train_x[rows]), pictures.data.train_y[rows]).backward()
        pruner.step()
    return found.eval()


def prune_all(pictures: Pictures, model: nn.Module, amount: float, seed: int) -> dict[str, tuple[nn.Module, float]]:
    """Every method's model, and the processor seconds it took."""
    found: dict[str, tuple[nn.Module, float]] = {}
    for inner in (True, False):
        began = time.process_time()
        made = ours(pictures, model, amount, seed, inner=inner)
        found[f"vesalius, {'within blocks' if inner else 'all'}"] = made, time.process_time() - began
    for score in ("L2", "Taylor"):
        for inner in (True, False):
            began = time.process_time()
            made = theirs(pictures, model, amount, seed, score=score, inner=inner)
            found[f"Torch-Pruning, {score}, {'within blocks' if inner else 'all'}"] = made, time.process_time() - began
    return found


def latencies(models: dict[str, nn.Module], x: Tensor) -> dict[str, float]:
    """Milliseconds of a call, all models by turns."""

    def call(model: nn.Module) -> None:
        with torch.no_grad():
            model(x)

    runs = {name: lambda model=model: call(model) for name, model in models.items()}
    return {name: 1000 * took for name, took in median_seconds(runs, rounds=15).items()}


def main() -> None:
    """Print the table; those of Torch-Pruning that prune all groups are not tuned, since they are behind from the start."""
    torch.set_num_threads(1)
    pictures, model = Pictures(), pretrained("resnet20").model.eval()
    whole, rows = pictures.macs(model), []
    for amount in AMOUNTS:
        for seed in SEEDS:
            found = prune_all(pictures, model, amount, seed)
            models = {"dense": model, **{name: made for name, (made, _) in found.items()}}
            one, many = (latencies(models, pictures.data.test_x[:batch]) for batch in (1, 64))
            rows.append((amount, seed, "dense", 1.0, pictures.accuracy(model), "", *([""] * len(RATES)), one["dense"], many["dense"], 0.0))
            for name, (made, seconds) in found.items():
                anew = pictures.with_new_statistics(made)
                skipped = not EPOCHS or name.endswith("all")
                tuned = ["" if skipped else pictures.accuracy(pictures.tuned(made, seed, rate)) for rate in RATES]
                plain = pictures.accuracy(made), pictures.accuracy(anew)
                row = (amount, seed, name, pictures.macs(made) / whole, *plain, *tuned, one[name], many[name], seconds)
                rows.append(row)
                print(*row, file=sys.stderr, flush=True)
    print_table(rows, HEADINGS)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
