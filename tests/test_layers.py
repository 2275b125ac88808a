"""The architecture, read off the imports: they point one way, stand at the top of a file, and cost nothing that is not needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "vesalius"
LEVELS = {
    "core": 0,
    "inputs": 1,
    "trace": 2,
    "data": 2,
    "models": 2,
    "games": 3,
    "rules": 3,
    "methods": 4,
    "interactions": 4,
    "information": 4,
    "complexity": 4,
    "audit": 5,
    "sparsity": 5,
    "scale": 5,
    "views": 6,
    "workflow": 7,
    "cli": 8,
    "__init__": 9,
}
OPTIONAL = {"pandas", "pyarrow", "shap", "shapiq"}
"""Extras, which may be imported inside a function."""
FILES = sorted(SOURCE.rglob("*.py"))


def level(module):
    return LEVELS[module.split(".")[1] if "." in module else "__init__"]


def imports(tree):
    """(imported module, whether it stands at the top of the file) for every import."""
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", id(node) in top


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down_and_stand_at_the_top(path):
    relative = path.relative_to(SOURCE)
    mine = LEVELS[relative.parts[0].removesuffix(".py")]
    for module, at_top in imports(ast.parse(path.read_text())):
        assert at_top or module.split(".")[0] in OPTIONAL, f"{relative} hides the import of {module}"
        if module.split(".")[0] == "vesalius":
            own_room = len(relative.parts) > 1 and module.split(".")[1:2] == [relative.parts[0]]
            assert level(module) < mine or own_room, f"{relative} imports {module}, which is not below it"


def test_a_wrong_import_would_be_seen():
    found = list(imports(ast.parse("from vesalius.views import report\ndef f():\n    import torch\n")))
    assert found == [("vesalius.views", True), ("torch", False)]
    assert level("vesalius.views") > LEVELS["methods"]


def test_importing_is_pure():
    """No plotting, no cluster, no seed, no change of a default."""
    script = (
        "import sys, random, torch; before = (torch.initial_seed(), random.getstate(), torch.get_default_dtype(), torch.get_num_threads());"
        "import vesalius, vesalius.information.graph;"
        "after = (torch.initial_seed(), random.getstate(), torch.get_default_dtype(), torch.get_num_threads());"
        "assert before == after;"
        "heavy = 'matplotlib ray pandas sklearn captum shap shapiq transformers igraph networkx'.split();"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = node.end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 40, f"{node.name} has a body of {lines} lines"


def test_the_front_door_is_narrow():
    import vesalius

    assert len([name for name in vesalius.__all__ if not name.startswith("__")]) <= 24
