"""Every source named in a docstring is in the bibliography, and every entry of it is named."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENTRIES = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs" / "references.bib").read_text(), re.MULTILINE))
KEY = re.compile(r"\b[A-Z][A-Za-z]+(?:19|20)\d\d\b")


def cited():
    return {key for path in (ROOT / "src").rglob("*.py") for key in KEY.findall(path.read_text())}


def test_every_citation_has_an_entry():
    assert cited() - ENTRIES == set()


def test_every_entry_is_cited():
    assert ENTRIES - cited() == set()
