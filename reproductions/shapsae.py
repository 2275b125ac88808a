"""SHAP-SAE: what is left of an autoencoder when its least important links go, over seeds, beside what the papers say.

    VESALIUS_DATA=... python reproductions/shapsae.py RESULTS.json [SEEDS] > docs/shapsae_claims.md

Takes about an hour with 5 seeds on one core. What is measured is kept in RESULTS.json, and trained weights beside it; neither is made
again.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from reproductions.results import Record, Results, table
from reproductions.shapsae_text import (
    ACCURACY,
    FINDINGS,
    LEVELS,
    ONE_EPOCH,
    ONE_SHOT,
    OPENING,
    OTHER_AUTOENCODERS_TEXT,
    PICTURES,
    ROUNDS,
    UNCOMPENSATED,
    WHOLE_UNITS,
)
from vesalius.core import store
from vesalius.data import load
from vesalius.models import Autoencoder, AutoencoderSparsity, AutoencoderTraining, fit
from vesalius.sparsity import Finetune, Pruning, Sparsified, link_importance, remove_units, sweep
from vesalius.sparsity.metrics import AutoencoderEvaluator, AutoencoderQuality, LabelledRows, Probe
from vesalius.sparsity.pruning.allocation import count_for_level

DATASETS = {"MNIST": "mnist", "Fashion-MNIST": "fashion_mnist"}
SIZES = (784, 256, 64)
DEEPER_SIZES = (784, 256, 128, 64, 32)
VALIDATION_ROWS = 5000
"""Training rows at the end that are kept for early stopping; settings were chosen on them, too."""
PROBE_ROWS = 10_000
"""Training rows that probes are fitted on."""
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
SCORES = ("shapley", "shapley_zero", "gate", "taylor", "linear", "wanda", "magnitude", "random")
UNCOMPENSATED_SCORES = ("shapley", "shapley_zero", "wanda", "magnitude")
HIGH_SPARSITIES = (0.9, 0.95)
UNIT_SHARES = (0.25, 0.5, 0.75)
EPOCHS = 12
ROWS = 20_000
"""Calibration rows of a refit; on held-out rows a little better than 8,000."""
SYNTHETIC_SEEDS = range(10)
FEATURES = ("x1", "x2", "x3", "x4", "x5", "x6")


# ---- six features ----------------------------------------------------------------------------------------------------------------------


def six_features(seed: int, rows: int = 15_000) -> Tensor:
    """The paper's synthetic rows: a constant, four kinds of noise, and two sums. The constant is 1, the 0.1 of x4 a standard deviation."""
    draws = torch.Generator().manual_seed(seed)
    x1, x2 = torch.ones(rows), torch.rand(rows, generator=draws)
    upper = (torch.arange(rows) % 2).float()
    x3 = torch.rand(rows, generator=draws) / 4 + 0.75 * upper
    x4 = torch.randn(rows, generator=draws) / 10 + 0.25 + 0.5 * upper[torch.randperm(rows, generator=draws)]
    return torch.stack([x1, x2, x3, x4, x1 + x2, x3 + x4], 1)


def measure_synthetic(seed: int) -> Record:
    """Importance of six features in a 6-3-6 autoencoder, exactly.

    Tanh, since three ReLU units often die and the paper does not name its activation.
    """
    x = six_features(seed)
    start = Autoencoder([6, 3], activation="tanh", output="identity", seed=seed)
    done = fit(start, x, training=AutoencoderTraining(epochs=3 * EPOCHS, rate=1e-2, seed=seed))
    found = link_importance(vs.trace(done.model, x[:2]), x, estimator="exact")
    kept = {}
    for name in found:
        values = found[name].values
        kept[name] = int(count_for_level(values.reshape(1, -1), 0.8))
    first = found["encoder.0"]
    return {
        "error": float(done.errors[done.best - 1]),
        "mean_row": float((x - x.mean(0)).square().mean()),
        "importance": first.unit_importance.tolist(),
        "variance": first.variance.tolist(),
        "kept": kept,
    }


# ---- pictures --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A trained autoencoder with its rows."""

    model: Autoencoder
    train: Tensor
    yardstick: AutoencoderEvaluator

    def record(self, found: Sparsified | torch.nn.Module, **more: float) -> Record:
        """Quality on test rows."""
        model = found.model if isinstance(found, Sparsified) else found
        cut = {"sparsity": found.sparsity, "seconds": found.provenance["seconds"]} if isinstance(found, Sparsified) else {}
        quality: AutoencoderQuality = self.yardstick.quality(model)
        return {**vars(quality), **cut, **more}


@dataclass(frozen=True, eq=False)
class Pictures:
    """A data set in parts."""

    train: Tensor
    held: Tensor
    probed: LabelledRows
    test: LabelledRows
    classifier: Probe

    @classmethod
    def of(cls, name: str) -> Pictures:
        """Rows of pixels; the classifier of reconstructions is linear on pixels."""
        data = load(DATASETS[name])
        x, y = data.train_x.flatten(1), data.train_y
        probed = (x[:PROBE_ROWS], y[:PROBE_ROWS])
        return cls(x[:-VALIDATION_ROWS], x[-VALIDATION_ROWS:], probed, (data.test_x.flatten(1), data.test_y), Probe.fit(*probed))

    def case(self, model: Autoencoder) -> Case:
        """With the dense network's probe."""
        return Case(model, self.train, AutoencoderEvaluator.of(model, self.probed, self.test, self.classifier.scores))


def load_or_train(
    pictures: Pictures, seed: int, kept: Path, *, sizes: Sequence[int] = SIZES, sparse: AutoencoderSparsity | None = None
) -> Autoencoder:
    """An autoencoder, from its file if it was trained before."""
    model = Autoencoder(sizes, sparse=sparse, seed=seed)
    if not kept.exists():
        done = fit(model, pictures.train, validation=pictures.held, training=AutoencoderTraining(epochs=EPOCHS, seed=seed))
        store.write(kept, "weights", done.model.state_dict(), {})
    model.load_state_dict(store.read(kept, "weights")[0])
    return model.eval()


def measure_masks(case: Case, score: str, *, scope: str = "layer", compensate: bool = True) -> Record:
    """One look, one mask, at every sparsity."""
    how = Pruning(score=score, scope=scope, compensate=compensate)
    found = sweep(case.model, case.train, sparsity=SPARSITIES, mode="paper", pruning=how)
    return {str(level): case.record(one) for level, one in zip(SPARSITIES, found, strict=True)}


def measure_refits(case: Case, levels: Sequence[float], **options: Any) -> Record:
    """Rounds of scoring, cutting and refitting."""
    found = sweep(case.model, case.train, sparsity=levels, pruning=Pruning(rows=ROWS, **options))
    return {str(level): case.record(one) for level, one in zip(levels, found, strict=True)}


def measure_finetuned(case: Case, mode: str) -> Record:
    """A pass over the data after a mask."""
    how = Pruning(rows=ROWS, finetune=Finetune(epochs=1))
    found = sweep(case.model, case.train, sparsity=HIGH_SPARSITIES, mode=mode, pruning=how)
    return {str(level): case.record(one) for level, one in zip(HIGH_SPARSITIES, found, strict=True)}


def measure_unit_removal(case: Case) -> Record:
    """Hidden units removed by the importance of their links, the rest refitted."""
    how = Pruning(score="shapley", rounds=1)
    return {str(share): case.record(remove_units(case.model, case.train, share=share, pruning=how)) for share in UNIT_SHARES}


def measure_importance_levels(case: Case) -> Record:
    """The paper's importance levels."""
    steps = (0.5, 0.8, 0.9, 0.95)
    found = sweep(case.model, case.train, importance_level=steps, mode="paper")
    return {str(level): case.record(one) for level, one in zip(steps, found, strict=True)}


MEASURES: Mapping[str, Callable[[Case], Record]] = {
    "dense": lambda case: case.record(case.model),
    **{f"mask {score}": partial(measure_masks, score=score) for score in SCORES},
    "mask magnitude, all layers together": partial(measure_masks, score="magnitude", scope="global"),
    **{f"mask {score}, no compensation": partial(measure_masks, score=score, compensate=False) for score in UNCOMPENSATED_SCORES},
    "mask by importance level": measure_importance_levels,
    "refit gate": partial(measure_refits, levels=SPARSITIES),
    **{
        f"refit {score}": partial(measure_refits, levels=HIGH_SPARSITIES, score=score)
        for score in ("shapley", "wanda", "magnitude", "random")
    },
    "mask shapley and one epoch": partial(measure_finetuned, mode="paper"),
    "refit gate and one epoch": partial(measure_finetuned, mode="refit"),
    "whole units": measure_unit_removal,
}
"""Everything that is measured of one autoencoder."""
OTHER_AUTOENCODERS: Mapping[str, tuple[Sequence[int], AutoencoderSparsity]] = {
    "k-sparse, 16 of 64": (SIZES, AutoencoderSparsity(k=16)),
    "L1 penalty 1e-4": (SIZES, AutoencoderSparsity(l1=1e-4)),
    "dropout 0.1": (SIZES, AutoencoderSparsity(dropout=0.1)),
    "784-256-128-64-32": (DEEPER_SIZES, AutoencoderSparsity()),
}
"""Other autoencoders, from one seed."""


def measure_other(case: Case) -> Record:
    """Dense, and refitted."""
    return {"0.0": case.record(case.model), **measure_refits(case, HIGH_SPARSITIES)}


def measure_dataset(name: str, results: Results, seeds: Sequence[int]) -> dict[str, list[Record]]:
    """All records of a data set, by what was measured."""
    found: dict[str, list[Record]] = {}
    ready = cache(lambda: Pictures.of(name))

    for seed in seeds:
        file = results.path.with_name(f"{results.path.stem}-{DATASETS[name]}-{seed}.safetensors")
        case = cache(lambda seed=seed, file=file: ready().case(load_or_train(ready(), seed, file)))
        for what, measure in MEASURES.items():
            key = f"{name} seed {seed} {what}"
            found.setdefault(what, []).append(results.get(key, lambda measure=measure, case=case: measure(case())))
    for number, (what, (sizes, sparse)) in enumerate(OTHER_AUTOENCODERS.items()):
        file = results.path.with_name(f"{results.path.stem}-{DATASETS[name]}-other-{number}.safetensors")

        def one(sizes: Sequence[int] = sizes, sparse: AutoencoderSparsity = sparse, file: Path = file) -> Record:
            return measure_other(ready().case(load_or_train(ready(), 0, file, sizes=sizes, sparse=sparse)))

        found[what] = [results.get(f"{name} {what}", one)]
    return found


# ---- telling ---------------------------------------------------------------------------------------------------------------------------


def mean_and_error(values: Iterable[float], scale: float = 1.0, digits: int = 3) -> str:
    """Mean and standard error."""
    listed = [scale * value for value in values]
    error = f" ± {statistics.stdev(listed) / len(listed) ** 0.5:.{digits}f}" if len(listed) > 1 else ""
    return f"{statistics.fmean(listed):.{digits}f}{error}"


def format_cell(records: Sequence[Record]) -> str:
    """Error and fixed probe."""
    return f"{mean_and_error((one['error'] for one in records), 1000, 1)} / {mean_and_error(one['fixed_probe'] for one in records)}"


def sweep_table(found: Mapping[str, list[Record]], what: Sequence[str], levels: Sequence[float]) -> str:
    """Error and fixed probe by sparsity."""
    rows = []
    for name in what:
        rows.append(
            [name, *(format_cell([one[str(level)] for one in found[name]]) if str(level) in found[name][0] else "" for level in levels)]
        )
    return table(["", *(f"{level:.0%}" for level in levels)], rows)


def accuracy_table(found: Mapping[str, list[Record]]) -> str:
    """Each meaning of accuracy, as a share of the dense network's."""
    dense = found["dense"]
    rows = []
    for name, level in [("mask shapley", 0.9), ("mask magnitude", 0.9), ("mask random", 0.9), ("refit gate", 0.9), ("refit gate", 0.95)]:
        records = [one[str(level)] for one in found[name]]
        shares = ("fixed_probe", "refitted_probe", "on_reconstructions")
        parts = [mean_and_error(100 * one[what] / whole[what] for one, whole in zip(records, dense, strict=True)) for what in shares]
        error = mean_and_error(one["error"] / whole["error"] for one, whole in zip(records, dense, strict=True))
        explained = [
            100 * (1 - one["error"] / one["mean_row"]) / (1 - whole["error"] / whole["mean_row"])
            for one, whole in zip(records, dense, strict=True)
        ]
        rows.append([f"{name} {level:.0%}", error, *parts, mean_and_error(explained)])
    head = ["", "error / dense error", "fixed probe, %", "refitted probe, %", "classifier on reconstructions, %", "variance explained, %"]
    return table(head, rows)


def dense_line(found: Mapping[str, list[Record]]) -> str:
    """The dense network and the yardstick."""
    dense = found["dense"]
    return (
        f"Dense: error {mean_and_error((one['error'] for one in dense), 1000, 2)},"
        f" PSNR {mean_and_error((one['psnr'] for one in dense), 1, 2)} dB, probe"
        f" {mean_and_error((one['fixed_probe'] for one in dense), 1, 4)}. **Always predicting the mean row: error"
        f" {1000 * dense[0]['mean_row']:.1f}.**"
    )


def level_table(found: Mapping[str, list[Record]]) -> str:
    """What an importance level comes to."""
    records = found["mask by importance level"]
    rows = []
    for level in records[0]:
        some = [one[level] for one in records]
        rows.append([level, mean_and_error(one["sparsity"] for one in some), format_cell(some)])
    return table(["importance level m", "links pruned", "error / probe"], rows)


def synthetic_table(results: Results) -> str:
    """Importance of six features."""
    found = [results.get(f"six features seed {seed}", lambda seed=seed: measure_synthetic(seed)) for seed in SYNTHETIC_SEEDS]
    rows = []
    for place, name in enumerate(FEATURES):
        first = sum(one["importance"].index(max(one["importance"])) == place for one in found)
        rows.append(
            [
                name,
                mean_and_error(one["importance"][place] for one in found),
                mean_and_error((one["variance"][place] for one in found), 1, 4),
                str(first),
            ]
        )
    kept = {layer: mean_and_error((one["kept"][layer] for one in found), 1, 1) for layer in found[0]["kept"]}
    errors = f"{mean_and_error((one['error'] for one in found), 1000, 2)} against {1000 * found[0]['mean_row']:.1f} of the mean row"
    lines = [table(["feature", "importance UI", "variance of LI", "seeds where it is highest"], rows)]
    sets = ", ".join(f"{count} of 18 in {name}" for name, count in kept.items())
    lines.append(f"Error x 1000 {errors}. Links kept at m = 0.8: {sets}.")
    return "\n\n".join(lines)


SECTIONS: Mapping[str, Callable[[Mapping[str, list[Record]]], str]] = {
    ONE_SHOT: lambda found: sweep_table(found, [f"mask {score}" for score in SCORES], SPARSITIES),
    UNCOMPENSATED: lambda found: sweep_table(
        found, ["mask magnitude, all layers together", *(what for what in found if "no compensation" in what)], SPARSITIES
    ),
    LEVELS: lambda found: level_table(found),
    ROUNDS: lambda found: sweep_table(found, [what for what in found if what[:5] == "refit"], SPARSITIES),
    ONE_EPOCH: lambda found: sweep_table(found, ["mask shapley and one epoch"], HIGH_SPARSITIES),
    WHOLE_UNITS: lambda found: sweep_table(found, ["whole units"], UNIT_SHARES),
    OTHER_AUTOENCODERS_TEXT: lambda found: sweep_table(found, list(OTHER_AUTOENCODERS), (0.0, 0.9, 0.95)),
    ACCURACY: lambda found: accuracy_table(found),
}
"""Each table by the words above it."""


def main() -> None:
    """Measure, and print the page."""
    torch.set_num_threads(1)
    results = Results(Path(sys.argv[1] if len(sys.argv) > 1 else "shapsae.json"))
    seeds = range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)
    print(f"{OPENING}\n{synthetic_table(results)}\n\n{PICTURES}")
    found = {name: measure_dataset(name, results, seeds) for name in DATASETS}
    for name, records in found.items():
        print(f"{name}: {dense_line(records)}\n")
    for words, tell in SECTIONS.items():
        print(words)
        for name, records in found.items():
            print(f"{name}:\n\n{tell(records)}\n")
    print(FINDINGS, end="")


if __name__ == "__main__":
    main()
