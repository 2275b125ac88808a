"""What the pages for engineers say of the code, and of the code of others, is so."""

import importlib
import inspect
import re
from pathlib import Path

import captum.attr
import captum.attr._utils.lrp_rules
import captum.metrics
import pytest
import shapiq
import shapiq.approximator.base
import shapiq.imputer.base
from shapiq.game_theory.indices import ALL_AVAILABLE_CONCEPTS

import vesalius
from tests.peers.zennit import composites, core, rules
from tests.test_layers import LEVELS, SOURCE

DOCS = Path(__file__).parent.parent / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text("utf-8")
GLOSSARY = (DOCS / "glossary.md").read_text("utf-8")
CODE = re.compile(r"`([^`]+)`")
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def section(page, heading):
    """What stands below a heading, up to the next of its kind."""
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def tables(text):
    """Every table of a page: its head, and its rows as lists of cells."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in block.splitlines()]
        yield head, rows


def column(text, head):
    """All pieces of code in the columns of that name, whatever their table."""
    for heads, rows in tables(text):
        if head in heads:
            place = heads.index(head)
            yield from (code for row in rows if place < len(row) for code in CODE.findall(row[place]))


def parameters(functions):
    return {name for function in functions for name in inspect.signature(function).parameters}


def captum_names():
    modules = (captum.attr, captum.metrics, captum.attr._utils.lrp_rules)
    classes = [value for module in modules for value in vars(module).values() if inspect.isclass(value)]
    called = [getattr(each, name) for each in classes for name in ("__init__", "attribute") if callable(getattr(each, name, None))]
    return {name for holder in (*modules, *classes) for name in dir(holder)} | parameters(called)


def shapiq_names():
    holders = (shapiq, shapiq.imputer.base, shapiq.approximator.base, shapiq.Game, shapiq.InteractionValues)
    called = (shapiq.Game.__init__, shapiq.InteractionValues.__init__, shapiq.TabularExplainer.__init__, shapiq.KernelSHAP.approximate)
    indices = {f'"{index}"' for index in ALL_AVAILABLE_CONCEPTS}
    return {name for holder in holders for name in dir(holder)} | parameters(called) | indices | {"max_order"}


def zennit_names():
    import zennit.attribution
    import zennit.canonizers

    holders = (rules, composites, core, zennit.attribution, zennit.canonizers)
    return {name for holder in holders for name in dir(holder)} | parameters([zennit.attribution.Attributor.__init__])


def test_tables_are_read():
    text = "\n| a | b |\n|---|---|\n| `x`, `y` | `z` |\n| | `w` |\n\nwords | no table\n"
    assert list(column(text, "b")) == ["z", "w"] and list(column(text, "a")) == ["x", "y"]


@pytest.mark.parametrize(("peer", "known"), [("captum", captum_names), ("shapiq", shapiq_names), ("zennit", zennit_names)])
def test_the_words_of_others_are_theirs(peer, known):
    words = set(column(GLOSSARY, peer))
    assert len(words) > 10
    assert words - known() == set()


def test_our_words_are_ours():
    source = "\n".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    defined = set(IDENTIFIER.findall(source))
    words = {name for code in column(GLOSSARY, "here") for name in IDENTIFIER.findall(code)}
    assert len(words) > 60
    assert words - defined == set()


def test_every_method_and_every_noun_is_in_the_glossary():
    words = {name for code in column(GLOSSARY, "here") for name in IDENTIFIER.findall(code)}
    assert set(vesalius.METHODS) <= words
    assert {"Network", "Players", "Game", "Allocation", "FlowGraph", "audit", "complexity", "link_importance", "sparsify"} <= words


def test_the_public_names_are_listed():
    listed = list(column(section(ARCHITECTURE, "Public names"), "name"))
    assert sorted(listed) == sorted(vesalius.__all__)


def test_the_layers_are_listed():
    ((_, rows),) = tables(section(ARCHITECTURE, "The layers"))
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {row[1].strip("`"): int(row[0]) for row in rows} == {name: level for name, level in LEVELS.items() if name in packages}


def test_the_nouns_are_where_they_are_said_to_be():
    ((_, rows),) = tables(section(ARCHITECTURE, "The nouns"))
    for noun, place, _ in rows:
        assert inspect.isclass(getattr(importlib.import_module(place.strip("`")), noun.strip("`"))), noun


def find(dotted):
    """What a dotted name stands for."""
    module, _, rest = dotted.partition(".")
    found = importlib.import_module(module)
    for part in filter(None, rest.split(".")):
        module = f"{module}.{part}"
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(module)
    return found


@pytest.mark.parametrize("dotted", sorted(set(re.findall(r"`(vesalius\.[\w.]+)`", ARCHITECTURE + GLOSSARY))))
def test_names_stand_for_something(dotted):
    assert find(dotted) is not None


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[a-z_]+/)+(?:\w+\.py)?)`", ARCHITECTURE))))
def test_files_are_there(path):
    places = (SOURCE / path, SOURCE.parent.parent / path)
    assert any(place.exists() for place in places)
