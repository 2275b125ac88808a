"""The documentation site holds every page, and its links lead somewhere."""

import importlib.util
import re
from pathlib import Path

import vesalius

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def load_pages():
    """``website/pages.py``, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / "website" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = load_pages()


def test_every_page_is_in_the_contents():
    listed = [name for part in pages.CONTENTS.values() for name in part]
    assert len(listed) == len(set(listed))
    ours = {path.stem for path in DOCS.glob("*.md")}
    at_the_root = {Path(name).stem for name in pages.ROOT_PAGES.values()} - {"index"}
    assert set(listed) == ours | at_the_root | {"reference/index"}


def test_links_lead_somewhere(tmp_path):
    pages.lay_out(tmp_path / "source")
    for page in (tmp_path / "source").rglob("*.md"):
        for found in pages.LINK.finditer(page.read_text("utf-8")):
            assert found["path"] is None or (page.parent / found["path"]).exists(), f"{page.name} leads to {found['path']}"


def test_links_out_of_the_site_lead_to_the_repository():
    text = pages.to_site("[a](docs/tour.md#open) [b](CONTRIBUTING.md) [c](LICENSE) [d](https://e.org)", ".")
    assert text == f"[a](tour.md#open) [b](contributing.md) [c]({pages.REPOSITORY}/blob/main/LICENSE) [d](https://e.org)"
    assert pages.to_site('`m["a"](b=1)`\n```\nm["a"](b)\n```\n', ".") == '`m["a"](b=1)`\n```\nm["a"](b)\n```\n'
    assert pages.to_site("[a](../CONTRIBUTING.md#tests) [b](flow.md)", "docs") == "[a](contributing.md#tests) [b](flow.md)"


def test_every_module_with_public_names_is_in_the_reference(tmp_path):
    pages.write_reference(tmp_path / "reference")
    text = (tmp_path / "reference" / "vesalius.methods.rst").read_text("utf-8")
    assert ".. automodule:: vesalius.methods.base\n" in text and "gradient\n--------\n" in text
    modules = {
        name for page in (tmp_path / "reference").glob("*.rst") for name in re.findall(r"automodule:: (\S+)", page.read_text("utf-8"))
    }
    assert {value.__module__ for name in vesalius.PUBLIC if hasattr(value := getattr(vesalius, name), "__module__")} <= modules


def test_every_public_name_has_an_example():
    text = (DOCS / "names.md").read_text("utf-8")
    headings = {name for line in text.splitlines() if line.startswith("### ") for name in re.findall(r"`(\w+)`", line)}
    assert headings == set(vesalius.PUBLIC)
