"""Names in prose are names of the code: what a docstring or a page refers to exists, and what a docstring lists is what it describes."""

import ast
import importlib
import re
from dataclasses import fields, is_dataclass
from inspect import getsource, isclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "vesalius"
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__main__.py")  # which runs on import
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROLE = re.compile(r":(func|class|mod|meth|data|attr|exc):`~?([\w.]+)`")
DOTTED = re.compile(r"\bvesalius(?:\.\w+)+")
LISTED = re.compile(r"^(\w+(?:, \w+)*)(?: \([^)]*\))?: ")
IS_KIND = {
    "mod": lambda found: isinstance(found, ModuleType),
    "class": isclass,
    "exc": lambda found: isclass(found) and issubclass(found, BaseException),
    "func": callable,
    "meth": callable,
    "data": lambda found: not isinstance(found, ModuleType),
    "attr": lambda found: True,
}


def module_name(path):
    return ".".join(["vesalius", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")


def member(owner, name):
    """An attribute of an object; a field of a dataclass that has no default stands for itself."""
    if isclass(owner) and is_dataclass(owner) and name in {field.name for field in fields(owner)}:
        return getattr(owner, name, name)
    if isclass(owner) and any(name in vars(base).get("__annotations__", {}) for base in owner.__mro__):
        return getattr(owner, name, name)
    return getattr(owner, name)


def is_attribute(owner, name):
    """Whether a class has an attribute, or its instances are given one."""
    try:
        member(owner, name)
    except AttributeError:
        return re.search(rf"\bself\.{name}\b", getsource(owner)) is not None
    return True


def resolve(parts, start):
    """What names lead to, one after the other, from an object; AttributeError where they lead nowhere."""
    for part in parts:
        start = member(start, part)
    return start


def absolute(path):
    """All that a dotted path from the top can mean: ``vesalius.trace`` is a package and a function."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:count]))
            yield resolve(parts[count:], module)
        except (ModuleNotFoundError, AttributeError):
            continue


def meanings(path, places):
    """All that a reference can mean in some places (a class, its module), or from the top."""
    for place in places:
        try:
            yield resolve(path.split("."), place)
        except AttributeError:
            continue
    yield from absolute(path)


def documented(tree, module):
    """(docstring, its line, the object it describes, places where its names are looked up) for all of a module."""

    def walk(body, owner, places):
        for before, node in zip([None, *body], body, strict=False):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                yield node.value.value, node.lineno, owner if before is None else None, places
            elif isinstance(node, ast.ClassDef):
                found = member(owner, node.name) if isclass(owner) or isinstance(owner, ModuleType) else None
                yield from walk(node.body, found, [found, *places] if found is not None else places)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from walk(node.body, node, places)

    yield from walk(tree.body, module, [module])


def docstrings(path):
    module = importlib.import_module(module_name(path))
    yield from documented(ast.parse(path.read_text()), module)


def wrong_references(found):
    for text, line, _, places in found:
        for kind, path in ROLE.findall(text):
            if not any(IS_KIND[kind](meaning) for meaning in meanings(path, places)):
                yield f"line {line}: :{kind}:`{path}`"


def listed_names(text, heading):
    """Names that a section of a docstring explains: those at the section's own indent."""
    lines = text.expandtabs().split("\n")
    starts = [number for number, line in enumerate(lines) if line.strip() == f"{heading}:"]
    for start in starts:
        outer = len(lines[start]) - len(lines[start].lstrip())
        inner = None
        for line in lines[start + 1 :]:
            indent = len(line) - len(line.lstrip())
            if line.strip() and indent <= outer:
                break
            inner = indent if inner is None and line.strip() else inner
            if line.strip() and indent == inner and (names := LISTED.match(line.strip())):
                yield from names[1].split(", ")


def wrong_lists(found):
    for text, line, owner, _ in found:
        if isclass(owner):
            for name in listed_names(text, "Attributes"):
                if not is_attribute(owner, name):
                    yield f"line {line}: {owner.__name__} has no attribute {name}"
        elif isinstance(owner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = owner.args
            known = {one.arg for one in [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg] if one is not None}
            yield from (f"line {line}: {owner.name} takes no {name}" for name in listed_names(text, "Args") if name not in known)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_references_in_docstrings_lead_somewhere(path):
    assert list(wrong_references(docstrings(path))) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_docstrings_list_what_is_there(path):
    assert list(wrong_lists(docstrings(path))) == []


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_dotted_names_in_prose_exist(path):
    texts = [text for text, *_ in docstrings(path)] if path.suffix == ".py" else [path.read_text()]
    names = {name for text in texts for name in DOTTED.findall(text)}
    assert [name for name in sorted(names) if not any(True for _ in absolute(name))] == []


class Listed:
    """Says :meth:`shown`, :meth:`hidden`, :func:`vesalius.trace`, :mod:`vesalius.trace`, :func:`vesalius.core` and :class:`Missing`.

    Attributes:
        made: there.
        lost: not there.
    """

    def __init__(self):
        self.made = 1

    def shown(self, kept, *rest):
        """Says nothing.

        Args:
            kept, rest: there.
            gone: not there,
                whatever: this means.
        """


def test_wrong_names_would_be_seen():
    module = importlib.import_module(__name__)
    found = list(documented(ast.parse(getsource(Listed)), module))
    assert [wrong.partition(": ")[2] for wrong in wrong_references(found)] == [
        ":meth:`hidden`", ":func:`vesalius.core`", ":class:`Missing`"
    ]  # fmt: skip
    assert [wrong.partition(": ")[2] for wrong in wrong_lists(found)] == ["Listed has no attribute lost", "shown takes no gone"]
    assert list(absolute("vesalius.trace.nowhere")) == []
