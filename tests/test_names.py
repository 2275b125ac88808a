"""One meaning per class name in the whole house, private ones included, whether written with an underscore or without."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "vesalius"


def classes_defined_twice(trees):
    """Names of classes that several places define, with these places; ``_Name`` and ``Name`` are one name."""
    places = defaultdict(list)
    for where, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(f"{where}:{node.lineno}")
    return {name: found for name, found in places.items() if len(found) > 1}


@pytest.mark.slow
def test_a_class_name_has_one_meaning():
    trees = {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
    assert len(trees) > 100
    assert classes_defined_twice(trees) == {}


def test_a_second_class_of_a_name_would_be_seen():
    trees = {"a": ast.parse("class Line: ..."), "b": ast.parse("def f():\n    class _Line: ...\nclass Other: ...")}
    assert classes_defined_twice(trees) == {"Line": ["a:1", "b:2"]}
