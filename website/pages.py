"""Lays out what the documentation site is built from: the pages of ``docs/``, those at the root, and a page for every module.

``python website/pages.py FOLDER``, then ``sphinx-build -c website FOLDER SITE`` (``make docs`` does both).
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "vesalius"
REPOSITORY = "https://github.com/vesalius-anatomy/vesalius"
ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages outside ``docs/``, and what they are called on the site."""
LINK = re.compile(r"^```.*?^```|`[^`\n]+`|\]\((?P<path>(?!https?:|#)[^)\s#]+)(?P<anchor>#[^)\s]*)?\)", re.MULTILINE | re.DOTALL)
"""A piece of code, in which nothing is a link, or the end of a relative link."""

CONTENTS = {
    "Start": ["tour", "names", "glossary", "coming_from", "changelog"],
    "Guides": [
        "methods",
        "language",
        "circuits",
        "scale",
        "interactions",
        "flow",
        "complexity",
        "sparsity",
        "results",
        "how_to",
        "explorer",
        "integrations",
        "gallery",
    ],
    "Measured": ["benchmarks", "architectures", "reproductions", "complexity_claims", "shapsae_claims", "nif"],
    "Developers": ["architecture", "contributing", "reference/index"],
}
"""The pages by part; tutorials follow the start. A test holds every page of ``docs/`` to be among them."""


def lay_out(folder: Path) -> None:
    """Write all sources of the site into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    for path in folder.glob("*.md"):
        path.write_text(to_site(path.read_text("utf-8"), "docs"), "utf-8")
    for path, name in ROOT_PAGES.items():
        text = to_site((ROOT / path).read_text("utf-8"), str(Path(path).parent))
        (folder / name).write_text(text + contents() * (name == "index.md"), "utf-8")
    write_reference(folder / "reference")


def to_site(text: str, folder: str) -> str:
    """A page of some folder of the repository, with links that lead somewhere on the site, or to the repository."""

    def on_site(found: re.Match[str]) -> str:
        return f"]({moved(found['path'], folder)}{found['anchor'] or ''})" if found["path"] else found[0]

    return LINK.sub(on_site, text)


def moved(path: str, folder: str) -> str:
    """Where a file is on the site that a page of a folder of the repository leads to; its place in the repository if it is not there."""
    place = (Path("/") / folder / path).resolve().relative_to("/")
    if str(place) in ROOT_PAGES:
        return ROOT_PAGES[str(place)]
    return str(place.relative_to("docs")) if place.is_relative_to("docs") else f"{REPOSITORY}/blob/main/{place}"


def contents() -> str:
    """The parts of the site, as Sphinx reads them."""
    tutorials = [f"tutorials/{path.stem}" for path in sorted((ROOT / "docs" / "tutorials").glob("*.py"))]
    start, *others = CONTENTS.items()
    parts = [start, ("Tutorials", tutorials), *others]
    return "".join(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n" for caption, pages in parts)


def write_reference(folder: Path) -> None:
    """A page for each package, with a section for each module that defines something for its users; and one that lists them."""
    folder.mkdir()
    packages: dict[str, list[Path]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if not path.stem.startswith("_") and has_public_names(path):
            packages.setdefault(".".join(("vesalius", *path.relative_to(SOURCE).parts[:-1])), []).append(path)
    for package, paths in packages.items():
        (folder / f"{package}.rst").write_text(heading(package, "=") + "".join(section(package, path) for path in paths), "utf-8")
    rows = "".join(f"| [{package}]({package}.rst) | {summary(paths[0].parent / '__init__.py')} |\n" for package, paths in packages.items())
    head = "# Reference\n\nThe names for a first hour are on [a page of their own](../names.md).\n\n| package | |\n|---|---|\n"
    tree = "\n```{toctree}\n:hidden:\n\n" + "\n".join(packages) + "\n```\n"
    (folder / "index.md").write_text(head + rows + tree, "utf-8")


def section(package: str, path: Path) -> str:
    """A module, as Sphinx reads it from the source."""
    return heading(path.stem, "-") + f".. automodule:: {package}.{path.stem}\n\n"


def heading(text: str, line: str) -> str:
    """A heading of reStructuredText."""
    return f"{text}\n{line * len(text)}\n\n"


def has_public_names(path: Path) -> bool:
    """Whether a module defines functions or classes that are not its own affair."""
    body = ast.parse(path.read_text("utf-8")).body
    return any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_") for node in body)


def summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
