"""kill -9 at ten random moments: the process that writes, the driver of a Ray cluster, its workers, and a disk that is full.

Claim: whatever happened, the next call goes on from what was there, and the survey is that of a run that was not disturbed, bit for bit: no
row is lost, and none is there twice.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import vesalius as vs
from vesalius.core.errors import VesaliusError
from vesalius.scale import RayOptions, SurveyOptions

ROWS = 1200
METHOD = vs.METHODS["shapley_value"](budget=20, estimator="permutation")


def ask(folder: str, network: str, engine: str = "local") -> vs.Survey:
    """The same question each time."""
    torch.set_num_threads(1)
    rows = torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(0))
    options = SurveyOptions(shard_rows=32, batch_rows=16, ray=RayOptions(workers=2))
    return vs.survey(vs.Network.load(network), rows, METHOD, target=1, out=folder, engine=engine, options=options)


def ask_with_a_full_disk(folder: str, network: str) -> None:
    """No file may be longer than 4 kB: every shard fails half written, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        ask(folder, network)
    except VesaliusError as error:
        print(f"    {str(error)[:150]}")
        return
    raise SystemExit("a full disk was not told")


def worker_ids(parent: int) -> list[int]:
    """Processes of Ray workers that hold a network, below a process."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
            ancestors, one = set(), place
            while (above := int((one / "stat").read_text().rpartition(")")[2].split()[1])) > 1:
                ancestors.add(above)
                one = Path(f"/proc/{above}")
        except (OSError, ValueError):
            continue
        if b"SurveyWorker" in words and parent in ancestors:
            found.append(int(place.name))
    return found


def disturb(what: str, target: Callable[..., object], args: tuple[str, ...], after: float) -> str:
    """Start a run, and kill something of it after some seconds."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=args)
    process.start()
    folder = Path(args[0])
    before = len(list(folder.glob("rows-*")))
    while process.is_alive() and len(list(folder.glob("rows-*"))) <= before and what != "full disk":
        time.sleep(0.01)
    time.sleep(after)
    killed = "nothing"
    if what == "worker" and (found := worker_ids(process.pid or 0)):
        os.kill(random.choice(found), signal.SIGKILL)
        killed = f"one of {len(found)} workers"
        process.join()
    elif what in ("writer", "driver") and process.is_alive():
        process.kill()
        killed = what
    process.join()
    return f"{what}: {killed} killed {after:.2f} s after the first new shard, exit code {process.exitcode}"


def main() -> None:
    """Ten disturbances of one survey, and one that is not disturbed."""
    random.seed(int(sys.argv[1]) if len(sys.argv) > 1 else time.time_ns())
    plan = ["writer"] * 4 + ["driver"] * 2 + ["worker"] * 3 + ["full disk"]
    random.shuffle(plan)
    with tempfile.TemporaryDirectory() as home:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).eval()
        network = str(vs.trace(model, torch.randn(2, 8)).save(Path(home) / "network.safetensors"))
        whole = ask(f"{home}/whole", network)
        folder = f"{home}/disturbed"
        Path(folder).mkdir()
        for what in plan:
            engine = "ray" if what in ("driver", "worker") else "local"
            if len(vs.Survey.load(folder)) > 0.8 * ROWS if (Path(folder) / "survey.json").exists() else False:
                for path in sorted(Path(folder).glob("rows-*"))[::2]:
                    path.unlink()  # so that there is something left to do
            target, args = (ask_with_a_full_disk, (folder, network)) if what == "full disk" else (ask, (folder, network, engine))
            print(disturb(what, target, args, random.uniform(0, 0.4)), f"-> {len(list(Path(folder).glob('rows-*')))} shards", flush=True)
        resumed = ask(folder, network)
        same = [one == other for one, other in zip(whole.shards, resumed.shards, strict=True)]
        equal = all(
            torch.equal(a.values, b.values) and a.provenance == b.provenance for a, b in zip(whole.parts(), resumed.parts(), strict=True)
        )
        rows = resumed.column("row") == list(range(ROWS))
        print(f"{sum(same)} of {len(same)} shards have the same digests; every value and fact equal: {equal}; every row once: {rows}")
        if not (all(same) and equal and rows):
            raise SystemExit("not the same")


if __name__ == "__main__":
    main()
