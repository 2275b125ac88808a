"""Stopped by the user: what is said of it is true, at whatever moment it happens."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from vesalius.cli import commands
from vesalius.cli.app import written
from vesalius.workflow import method_runs

explaining, pruning = (import_module(f"vesalius.workflow.{name}") for name in ("explain", "sparsify"))


def stop(*args, **kwargs):
    raise KeyboardInterrupt


def assert_stopped(ran, text):
    lines = ran.err.strip().splitlines()
    assert ran.code == 130 and ran.out == "" and lines[-1].startswith("vesalius: stopped") and text in lines[-1], ran
    assert "Traceback" not in ran.err


def test_before_the_command_has_begun(explain, monkeypatch):
    monkeypatch.setattr("vesalius.cli.app._parse", stop)
    assert_stopped(explain(), "before anything was done")


def test_before_anything_is_finished(explain, monkeypatch):
    monkeypatch.setattr(commands, "open_network", stop)
    assert_stopped(explain(), "nothing was finished in out")
    assert not Path("out").exists()


def test_between_two_methods(explain, monkeypatch):
    whole, done = method_runs._allocate, []

    def second_stops(job, method):
        if done:
            stop()
        done.append(method.name)
        return whole(job, method)

    monkeypatch.setattr(method_runs, "_allocate", second_stops)
    ran = explain()
    assert_stopped(ran, "gradient_x_input.safetensors in out is finished and kept, and the same command goes on from there")
    assert "occlusion" not in ran.err.splitlines()[-1]
    monkeypatch.setattr(method_runs, "_allocate", whole)
    again = explain()
    assert again.code == 0 and "gradient_x_input: kept from" in again.err


def test_what_was_there_before_is_not_of_this_run(explain, monkeypatch):
    assert explain().code == 0
    monkeypatch.setattr(explaining, "run_methods", stop)
    assert_stopped(explain(), "nothing was finished in out since this command began")


def test_when_the_page_is_written(explain, monkeypatch):
    monkeypatch.setattr("vesalius.cli.app.print", stop, raising=False)
    assert_stopped(explain(), "stopped when everything was done; the page is out/report.html")


def test_a_pruning_is_not_taken_up_again(vesalius, home, monkeypatch):
    monkeypatch.setattr(pruning, "prune", stop)
    np.savez("rows.npz", x=np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32))
    words = ("sparsify", "models.py:net", "rows.npz", "--sparsity", "0.5", "--out", "out")
    assert_stopped(vesalius(*words), "nothing was finished in out")
    monkeypatch.undo()
    monkeypatch.chdir(home)
    monkeypatch.setattr(pruning, "_page", stop)
    ran = vesalius(*words)
    assert_stopped(ran, "the same command does all of it again")
    assert "goes on" not in ran.err


@pytest.mark.parametrize("damage", ["truncate", "half a draft"])
def test_after_a_stop_nothing_half_written_is_taken_for_whole(explain, damage):
    assert explain().code == 0
    file = Path("out/occlusion.safetensors")
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        file.rename("out/.1234.draft")
    ran = explain()
    assert ran.code == 0 and "occlusion: kept" not in ran.err and "gradient_x_input: kept" in ran.err


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert written(tmp_path / "nowhere") == {}
