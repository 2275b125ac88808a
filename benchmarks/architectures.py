"""Which methods add up on which architectures: a zoo of small models, each in a process of its own.

Claim: at least 97 % of the models that run at all miss at most 1e-5 of the change in float32 and 1e-10 in float64 with DeepLIFT (both
rules), Deep SHAP, integrated and expected gradients, at one sample and at three; LRP's account is closed to 1e-4.

``python benchmarks/architectures.py`` (``make zoo``) examines what the file of results does not hold yet and writes the page; with names it
examines those anew; with ``--page`` it only writes the page, with ``--more`` it leaves the page alone, as a run beside another does.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import warnings
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.zoo import ENTRIES
from benchmarks.zoo.entry import Entry
from benchmarks.zoo.examination import examine
from benchmarks.zoo.page import write_page
from benchmarks.zoo.subject import in_words

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "architectures.jsonl"
PAGE = ROOT / "docs" / "architectures.md"
SECONDS, BYTES = 120, 12 << 30
"""What one model may take of a processor, and of memory."""

Results = dict[str, dict[str, Any]]


def read_results(path: Path = RESULTS) -> Results:
    """What was found about each model of the zoo, in the zoo's order; of a model examined twice, the last."""
    lines = map(json.loads, path.read_text("utf-8").splitlines()) if path.exists() else ()
    found = {line["name"]: line for line in lines}
    return {entry.name: found[entry.name] for entry in ENTRIES if entry.name in found}


def add_result(found: Mapping[str, Any]) -> None:
    """One more line, in one write, so that several runs may share the file."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")


def put_in_order(found: Results) -> None:
    """One line for each model, under a temporary name first."""
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(one) + "\n" for one in found.values()), "utf-8")
    temporary.replace(RESULTS)


def examine_apart(entry: Entry) -> dict[str, Any]:
    """Examine a model in a process that may crash, with bounds on its time and memory."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_examine_within_bounds, args=(entry, there))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv()
    except EOFError:
        found = {"fails": f"more than {SECONDS} seconds of a processor, or {BYTES >> 30} GB of memory, or a crash"}
    process.join()
    return {"name": entry.name, "family": entry.family, **found}


def _examine_within_bounds(entry: Entry, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    try:
        answer.send(examine(entry))
    except Exception as error:
        answer.send({"fails": in_words(error)})


def main() -> None:
    """Examine what is missing, and write the page."""
    warnings.filterwarnings("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),), strict=False)  # what export imports is not a model's time
    asked = [word for word in sys.argv[1:] if not word.startswith("--")]
    for entry in () if "--page" in sys.argv else ENTRIES:
        if entry.name in asked if asked else entry.name not in read_results():
            add_result(examine_apart(entry))
            print(entry.name, flush=True)
    if "--more" not in sys.argv:
        put_in_order(read_results())
        write_page(PAGE, list(read_results().values()), [entry.name for entry in ENTRIES])
        print(PAGE)


if __name__ == "__main__":
    main()
