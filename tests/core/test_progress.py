"""A bar on a terminal, a line elsewhere, and nothing for what is quick."""

import io
import subprocess
import sys

from rich.console import Console

from vesalius.core import progress


def shown(monkeypatch, terminal, seconds):
    buffer, clock = io.StringIO(), iter([0.0, seconds])
    monkeypatch.setattr(progress, "_console", lambda: Console(file=buffer, force_terminal=terminal, width=100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock, seconds))
    with progress.progress_bar("shapley value") as step:
        step(3, 8)
    return buffer.getvalue()


def test_a_terminal_gets_a_bar_with_a_count(monkeypatch):
    text = shown(monkeypatch, True, 0.1)
    assert "shapley value" in text and "3/8" in text


def test_elsewhere_long_work_gets_one_plain_line(monkeypatch):
    assert shown(monkeypatch, False, 2.5).strip() == "shapley value: 2.5 s"


def test_elsewhere_quick_work_gets_none(monkeypatch):
    assert shown(monkeypatch, False, 0.2).strip() == ""


def test_the_users_random_state_is_left_alone():
    script = (
        "import random; from vesalius.core.progress import progress_bar, say; before = random.getstate()\n"
        "with progress_bar('work') as step: step(1, 2)\n"
        "say('done'); print(random.getstate() == before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
