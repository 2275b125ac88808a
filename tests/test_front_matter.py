"""What people meet before the code: how the project is cited, built, checked and shown by a package index."""

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from trove_classifiers import classifiers

from hatch_build import with_absolute_links
from vesalius.core.version import VERSION

ROOT = Path(__file__).parent.parent
METADATA = ProjectMetadata(str(ROOT), PluginManager())
PROJECT = METADATA.config["project"]
ADDRESS = PROJECT["urls"]["Homepage"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
MAKE = re.compile(r"^\s*make ([a-z -]+)$", re.MULTILINE)
REQUIRED_BY_CFF = {"cff-version", "message", "title", "authors"}


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def make_targets(commands):
    return {target for line in MAKE.findall(commands) for target in line.split()}


def ci_steps():
    (job,) = read_yaml(".github/workflows/ci.yml")["jobs"].values()
    return job["steps"]


def test_the_citation_names_this_version_and_its_four_papers():
    cited = read_yaml("CITATION.cff")
    assert cited["cff-version"] == "1.2.0" and set(cited) >= REQUIRED_BY_CFF
    assert (str(cited["version"]), cited["license"], cited["repository-code"]) == (VERSION, PROJECT["license"], ADDRESS)
    papers = {reference["title"]: reference for reference in cited["references"]}
    assert len(papers) == 4
    for reference in papers.values():
        assert reference["authors"] and reference["type"] in ("article", "conference-paper")
    bibliography = (ROOT / "docs" / "references.bib").read_text().lower()
    assert [title for title in papers if f"{{{title.lower()}}}" not in re.sub(r"\{(\w+)\}", r"\1", bibliography)] == []


def test_ci_runs_what_the_script_runs():
    here = make_targets((ROOT / ".ci" / "run").read_text())
    there = make_targets("\n".join(step.get("run", "") for step in ci_steps()))
    assert here == there == {"lint", "test", "test-slow"} and here <= TARGETS


def test_the_makefile_is_described_as_it_is():
    described = set(re.findall(r"^\| `make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert described == TARGETS


def test_commits_are_checked_by_what_lint_runs():
    (local,) = read_yaml(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local", "a hook from elsewhere would be downloaded"
    hooks = {hook["entry"].replace(".venv/bin/", "").replace(" --force-exclude", "") for hook in local["hooks"]}
    command = ["make", "--dry-run", "--old-file=.venv/.ready", "VENV=.venv", "lint"]
    lint = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    assert hooks == {line.removeprefix(".venv/bin/").removesuffix(" .") for line in lint.stdout.splitlines() if "/bin/" in line}


def test_the_project_has_one_address():
    for path in [ROOT / "CITATION.cff", ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for found in re.findall(r"https://github\.com/[\w.-]*vesalius[\w.-]*/[\w.-]+", path.read_text("utf-8")):
            assert found == ADDRESS, path
    assert all(url.startswith(ADDRESS) for url in PROJECT["urls"].values())
    assert set(PROJECT["urls"]) == {"Homepage", "Documentation", "Issues", "Changelog"}


def test_the_metadata_is_whole():
    core = METADATA.core
    assert METADATA.version == VERSION and core.requires_python and core.keywords and core.authors
    assert set(core.classifiers) <= classifiers
    assert core.readme_content_type == "text/markdown"


def test_the_index_shows_a_readme_whose_links_lead_somewhere():
    prose = re.sub(r"```.*?```", "", METADATA.core.readme, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)]+)\)", prose)
    assert len(links) > 5
    for link in links:
        assert link.startswith("https://"), link
        if link.startswith(f"{ADDRESS}/"):
            _, branch, path = link.removeprefix(f"{ADDRESS}/").split("/", 2)
            assert branch == "main" and (ROOT / path).exists(), link


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[how](docs/a.md)", "[how](R/blob/main/docs/a.md)"),
        ("![a page](docs/a.png)", "![a page](R/raw/main/docs/a.png)"),
        ("[there](https://example.org/x)", "[there](https://example.org/x)"),
        ("[below](#part)", "[below](#part)"),
        ('```python\nMETHODS["x"](players=y)\n```\n[how](a.md)', '```python\nMETHODS["x"](players=y)\n```\n[how](R/blob/main/a.md)'),
    ],
)
def test_relative_links_become_absolute_and_nothing_else_does(text, expected):
    assert with_absolute_links(text, "R") == expected


def test_the_wheel_holds_everything_that_the_package_reads(tmp_path):
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    packed = set(zipfile.ZipFile(built).namelist())
    source = ROOT / "src"
    files = (path for path in (source / "vesalius").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    kept = {str(path.relative_to(source)) for path in files}
    assert kept <= packed
    assert {"vesalius/py.typed", "vesalius/views/templates/report.html.j2", "vesalius/views/templates/page.css"} <= packed
