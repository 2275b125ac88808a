"""Every public function, and every method of a noun that computes, enters the one context for the modes of its caller."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import vesalius
from vesalius.core.entry import ENTERED

SOURCE = Path(vesalius.__file__).parent
UNENTERED = {
    "vesalius.cli.main": "parses words before torch is imported, and calls verbs",
    "vesalius.methods.register": "puts a class into a table",
}
"""Public functions that no mode matters to, and why."""
METHODS = {
    "vesalius.core.allocation.Allocation": "flat gap unaccounted relative_gap map reduce top group from_array from_captum from_shap load",
    "vesalius.games.game.Game": "of on __call__ table nominal_seconds",
    "vesalius.audit.Auditor": "audit audit_map",
    "vesalius.information.FlowGraph": (
        "without betweenness communities attribution through strongest_paths redundant prunable compare to_json load"
    ),
    "vesalius.circuits.Circuit": "summary load",
    "vesalius.circuits.FaithfulnessCurve": "area",
    "vesalius.complexity.Complexity": (
        "rho r2 gain residual reproducible significance components table summary load profile effectiveness reliability replace picture"
    ),
    "vesalius.sparsity.LayerImportance": "total unit_importance variance",
    "vesalius.sparsity.Sparsified": "mask compact load",
    "vesalius.trace.Network": "cast unit_index load",
    "vesalius.scale.Survey": "load __getitem__ column find measure summary result tokens",
}
"""Methods and properties of nouns that make tensors."""
ESTIMATORS = ("vesalius.games.estimators", "vesalius.information.estimators", "vesalius.interactions.estimators")


def packages():
    found = [name for _, name, is_package in pkgutil.walk_packages([str(SOURCE)], "vesalius.") if is_package]
    return [importlib.import_module(name) for name in ("vesalius", *found)]


def public_functions():
    """Every function that a package says is public, by its full name."""
    return {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in packages()
        for name in getattr(package, "__all__", ())
        if inspect.isfunction(getattr(package, name))
    }


def plain_function(attribute):
    """The function in a method, class method or property."""
    for name in ("__func__", "fget", "func"):
        attribute = getattr(attribute, name, attribute)
    return attribute


def test_every_public_function_is_a_verb():
    functions = public_functions()
    assert len(functions) > 40 and set(UNENTERED) <= set(functions)
    assert [name for name, function in functions.items() if not hasattr(function, ENTERED) and name not in UNENTERED] == []
    assert [name for name in UNENTERED if hasattr(functions[name], ENTERED)] == [], "is one after all"


@pytest.mark.parametrize("noun", METHODS)
def test_methods_that_compute_are_verbs(noun):
    module, _, name = noun.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    assert [method for method in METHODS[noun].split() if not hasattr(plain_function(vars(kind)[method]), ENTERED)] == []


@pytest.mark.parametrize("package", ESTIMATORS)
def test_every_estimator_enters(package):
    estimators = importlib.import_module(package).ESTIMATORS
    assert [name for name, kind in estimators.items() if not hasattr(kind.estimate, ENTERED)] == []
