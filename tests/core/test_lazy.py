"""Modules that are imported when they are used."""

import pickle
import sys
from importlib import import_module

import pytest

from vesalius import core
from vesalius.core.lazy import LazyModule, LazyPackage


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a module that works and one that needs what is not installed."""
    folder = tmp_path / "lazy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(f"PUBLIC = {{'works': '{folder.name}.works', 'answer': '{folder.name}.works'}}")
    (folder / "works.py").write_text("answer = 42\n\n\ndef works():\n    return answer\n")
    (folder / "other.py").write_text("answer = 43\n")
    (folder / "needs.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    for name in [name for name in sys.modules if name.startswith(folder.name)]:
        del sys.modules[name]


def test_a_library_is_imported_at_its_first_use(package):
    module = LazyModule(f"{package}.works")
    assert f"{package}.works" not in sys.modules and "works" in repr(module)
    assert f"{package}.works" not in sys.modules and module.answer == 42 and f"{package}.works" in sys.modules
    with pytest.raises(AttributeError, match="question"):
        _ = module.question


@pytest.fixture
def lazy(package):
    found = import_module(package)
    found.__class__ = LazyPackage
    return found


def test_a_function_that_uses_a_package_can_be_pickled(lazy):
    assert pickle.loads(pickle.dumps(lazy)) is lazy


def test_names_of_the_table_are_found_where_they_are_defined(lazy):
    assert f"{lazy.__name__}.works" not in sys.modules and lazy.answer == 42 and lazy.__dict__["answer"] == 42


def test_a_name_is_not_hidden_by_a_module_of_the_same_name(lazy):
    import_module(f"{lazy.__name__}.works")
    assert lazy.works() == 42
    import_module(f"{lazy.__name__}.other")
    assert lazy.__dict__["other"].answer == 43, "modules that are no names of the table are bound as ever"


def test_modules_are_found_and_others_are_not(lazy):
    assert lazy.other.answer == 43 and {"other", "works", "answer", "__name__"} <= set(dir(lazy))
    with pytest.raises(AttributeError, match=f"module '{lazy.__name__}' has no attribute 'nothing'"):
        _ = lazy.nothing
    with pytest.raises(AttributeError, match="_private"):
        _ = lazy._private


def test_what_a_module_itself_lacks_is_said(lazy):
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        _ = lazy.needs


def test_rooms_find_their_modules():
    assert core.errors.NoRule.__name__ == "NoRule" and not hasattr(core, "utils")
