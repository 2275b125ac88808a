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
    "language": 1,
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
    "circuits": 5,
    "scale": 6,
    "views": 7,
    "logging": 8,
    "workflow": 8,
    "explorer": 9,
    "cli": 10,
    "__init__": 11,
}
OPTIONAL = {"mlflow", "onnx", "onnx2torch", "pandas", "pyarrow", "shap", "shapiq", "tokenizers", "transformers", "wandb", "xarray"}
"""Extras, which may be imported inside a function."""
FILES = sorted(SOURCE.rglob("*.py"))


def level(module):
    return LEVELS[module.split(".")[1] if "." in module else "__init__"]


def imports(tree):
    """(imported module, whether it stands at the top of the file, or in a block for type checkers there) for every import."""
    checked = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    top = {id(node) for body in (tree.body, *(block.body for block in checked)) for node in body}
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
            own_room = module.split(".")[1:2] == list(relative.parts[:-1][:1])
            assert level(module) < mine or own_room, f"{relative} imports {module}, which is not below it"


def test_a_wrong_import_would_be_seen():
    text = "from vesalius.views import report\ndef f():\n    import torch\n"
    found = list(imports(ast.parse(f"{text}if TYPE_CHECKING:\n    import jax\nif f():\n    import numpy\n")))
    assert sorted(found) == [("jax", True), ("numpy", False), ("torch", False), ("vesalius.views", True)]
    assert level("vesalius.views") > LEVELS["methods"]


def run_python(script):
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


HEAVY = (
    "matplotlib ray pandas sklearn captum shap shapiq tokenizers transformers igraph networkx numba"
    " scipy.special scipy.stats scipy.optimize scipy.spatial"
)


@pytest.mark.slow
def test_importing_is_pure():
    """No plotting, no cluster, no statistics, no seed, no change of a default; neither at first nor when all public names are touched."""
    script = (
        "import sys, random, torch; before = (torch.initial_seed(), random.getstate(), torch.get_default_dtype(), torch.get_num_threads());"
        "import vesalius, vesalius.information.graph; [getattr(vesalius, name) for name in vesalius.__all__];"
        "after = (torch.initial_seed(), random.getstate(), torch.get_default_dtype(), torch.get_num_threads());"
        "assert before == after;"
        f"print([name for name in {HEAVY.split()} if name in sys.modules])"
    )
    assert run_python(script) == "[]"


def test_the_package_alone_needs_no_torch():
    assert run_python("import sys, vesalius; dir(vesalius); print('torch' in sys.modules, 'numpy' in sys.modules)") == "False False"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = node.end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 40, f"{node.name} has a body of {lines} lines"


def test_the_command_line_parses_without_torch():
    """``vesalius --help`` answers at once; what a command needs is imported when its words are understood."""
    script = "import sys; from vesalius.cli import main; code = main({words}); print(code, 'torch' in sys.modules, 'numpy' in sys.modules)"
    for words in (["--version"], ["--help"], ["explain", "--help"], ["explain", "a.py:f"]):
        expected = "2" if words[-1] == "a.py:f" else "0"
        assert run_python(script.format(words=words)).splitlines()[-1].split() == [expected, "False", "False"], words


def test_the_front_door_is_narrow():
    import vesalius

    assert len([name for name in vesalius.__all__ if not name.startswith("__")]) <= 24


def test_the_front_door_is_the_same_for_type_checkers():
    import vesalius

    block = next(node for node in ast.parse((SOURCE / "__init__.py").read_text()).body if isinstance(node, ast.If))
    shown = {alias.name: node.module for node in block.body for alias in node.names}
    rooms = {name for name, module in shown.items() if module == "vesalius"}
    assert {name: module for name, module in shown.items() if name not in rooms} == vesalius.PUBLIC
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert rooms == folders - set(vesalius.PUBLIC), "a room whose name is also a verb is reached by importing from it"
    assert set(dir(vesalius)) >= {*vesalius.PUBLIC, *rooms}


@pytest.mark.slow
def test_verbs_keep_their_names_whatever_is_imported():
    """``trace`` is a verb and a room; importing a module of the room must not put the room in the verb's place."""
    script = (
        "import vesalius.trace.network, vesalius.audit.result, vesalius.complexity, vesalius as vs;"
        "print(callable(vs.trace), callable(vs.audit), callable(vs.complexity), callable(vs.interactions));"
        "from vesalius import trace; print(trace is vs.trace)"
    )
    assert run_python(script).split() == ["True"] * 5


def test_rooms_are_found_as_attributes():
    import vesalius as vs

    assert run_python("import vesalius as vs; print(vs.core.errors.NoRule.__name__, vs.models.fit.__name__)") == "NoRule fit"
    with pytest.raises(AttributeError, match="has no attribute 'atribute'"):
        _ = vs.atribute
