"""Every name that a function looks up among its module's is there.

The linters cannot say so: shapes in annotations look like undefined names to them, and the check is off.
"""

import builtins
import dis
import pkgutil
from importlib import import_module
from pathlib import Path
from types import CodeType

import pytest

import vesalius

MODULES = [module.name for module in pkgutil.walk_packages(vesalius.__path__, "vesalius.") if not module.name.endswith("__main__")]


def global_names(code):
    """Names that code, and all that is defined in it, reads as globals."""
    found = {one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return found.union(*(global_names(part) for part in code.co_consts if isinstance(part, CodeType)))


def undefined_names(source, known):
    """Those that are not known, and are no builtins; names of a class's body are its own."""
    code = compile(source, "a module", "exec")
    own = {one.argval for part in all_codes(code) for one in dis.get_instructions(part) if one.opname == "STORE_NAME"}
    return sorted(global_names(code) - set(known) - own - set(vars(builtins)) - {"__annotations__", "__module__", "__qualname__"})


def all_codes(code):
    return [code, *(inner for part in code.co_consts if isinstance(part, CodeType) for inner in all_codes(part))]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_names_are_defined(name):
    module = import_module(name)
    assert undefined_names(Path(module.__file__).read_text("utf-8"), vars(module)) == []


def test_a_missing_import_is_seen():
    source = "def f(x):\n    def g():\n        return helper(x)\n    return g\nclass A:\n    y = 1\n    z = y\n"
    assert undefined_names(source, {"f", "A", "__name__"}) == ["helper"]
