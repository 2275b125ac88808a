"""What pruning buys on this machine: every form of a pruned autoencoder, in one run, and what is lost.

Claims: no chosen form is slower than the dense network; at 90 % the file is at most a quarter of the dense one; with half of the hidden
units gone the network is at least 1.6 times as fast at batch 256.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

import vesalius as vs
from benchmarks.timing import print_table
from vesalius.data import load
from vesalius.models import Autoencoder, AutoencoderTraining, fit
from vesalius.sparsity import Compact, Pruning, Sparsified, remove_units, sparsify

ROWS = 4000
EPOCHS = 12


def form_rows(made: Compact, what: str) -> list[tuple[object, ...]]:
    """The table of one network, with the chosen form marked."""
    found: list[tuple[object, ...]] = []
    for row in made.table:
        times = [cell for batch in row.seconds for cell in (row.seconds[batch] * 1e6, row.least[batch] * 1e6, row.ratio[batch])]
        name = f"**{row.form}**" if row.form == made.chosen else row.form
        found.append((what, name, row.parameters, row.nonzeros, row.memory // 1000, row.file // 1000, row.flop / 1e6, *times))
    return found


def main() -> None:
    """Print the tables."""
    data = load("mnist")
    x, test = data.train_x.flatten(1), data.test_x.flatten(1)
    model = fit(Autoencoder([784, 256, 64]), x[:55000], validation=x[55000:], training=AutoencoderTraining(epochs=EPOCHS)).model.eval()
    network = vs.trace(model, x[:2])

    def error(of: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((of(test) - test).square().mean())

    base = error(model)
    results: dict[str, Sparsified] = {
        ".9": sparsify(network, x[:ROWS], sparsity=0.9),
        ".95": sparsify(network, x[:ROWS], sparsity=0.95),
        "half of the hidden units": remove_units(network, x[:ROWS], share=0.5),
        "half of the outer hidden units": remove_units(network, x[:ROWS], keep={"encoder.0": 128, "decoder.0": 128}),
        "the same by magnitude": remove_units(network, x[:ROWS], share=0.5, pruning=Pruning(score="magnitude")),
        "the same by chance": remove_units(network, x[:ROWS], share=0.5, pruning=Pruning(score="random")),
    }
    print(f"test error dense {base * 1e3:.2f}, mean image {float((test - x.mean(0)).square().mean()) * 1e3:.2f} (x 1000)\n")
    lost, measured = [], []
    for name, one in results.items():
        made = one.compact(test[:512])
        furthest = max(row.difference for row in made.table if row.form != "dense")
        lost.append((name, error(one.model) * 1e3, error(one.model) / base, made.chosen, furthest))
        measured += form_rows(made, name) if "same" not in name else []
    print_table(lost, ("cut", "test error x 1000", "x dense", "chosen", "largest difference of a form"))
    print()
    head = "us, batch 1|least|x dense|us, batch 256|least|x dense".split("|")
    print_table(measured, ("cut", "form", "parameters", "non-zeros", "memory kB", "file kB", "MFLOP", *head))


if __name__ == "__main__":
    main()
