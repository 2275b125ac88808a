"""Fair times on a noisy machine: contenders take turns, and medians are compared."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

PEAK = """
from pathlib import Path

def memory(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024

Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here (Linux)
before = memory("VmRSS")
run()
print(memory("VmHWM") - before)
"""

torch.set_num_threads(1)  # a second thread spins while the machine is shared, and times the neighbours


def median_seconds(
    contenders: Mapping[str, Callable[[], object]], rounds: int = 5, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each contender by a clock (``time.process_time`` where others use the machine); one unmeasured round first."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            if turn:
                seconds[name].append(clock() - start)
    return {name: median(taken) for name, taken in seconds.items()}


def peak_megabytes(preparation: str) -> float:
    """Memory that ``run()``, defined by some code, needs beyond what was there before it, in a process of its own."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", preparation + PEAK], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_table(rows: list[tuple[object, ...]], head: tuple[str, ...]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
