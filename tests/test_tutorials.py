"""Tutorials are scripts in cells: each runs from its first line to its last, and checks what it says."""

import ast
import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

from vesalius.methods import METHODS

TUTORIALS = sorted((Path(__file__).parent.parent / "docs" / "tutorials").glob("*.py"))


@pytest.fixture
def as_before():
    """A tutorial may register a method and leave figures open, which no other test knows of."""
    before = dict(METHODS)
    yield
    plt.close("all")
    METHODS.clear()
    METHODS.update(before)


@pytest.mark.slow
@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(path, monkeypatch, tmp_path):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    text = path.read_text("utf-8")
    assert text.startswith("# %% [markdown]\n# # "), "a tutorial begins with its title"
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text))), "a tutorial checks what it says"
    runpy.run_path(str(path), run_name="__main__")
    assert list(tmp_path.iterdir()) == [], "a tutorial leaves nothing behind"
