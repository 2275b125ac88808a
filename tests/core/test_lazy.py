"""Modules that are imported when they are used."""

import sys

import pytest

from vesalius import core
from vesalius.core.lazy import LazyModule, submodules_of


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a module that works and one that needs what is not installed."""
    folder = tmp_path / "lazy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "works.py").write_text("answer = 42\n")
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


def test_a_module_of_a_package_is_found_and_others_are_not(package):
    find = submodules_of(package)
    assert find("works").answer == 42
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        find("nothing")
    with pytest.raises(AttributeError, match="_private"):
        find("_private")


def test_what_a_module_itself_lacks_is_said(package):
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        submodules_of(package)("needs")


def test_rooms_find_their_modules():
    assert core.errors.NoRule.__name__ == "NoRule" and not hasattr(core, "utils")
