"""A browser, and pages opened in it that remember what went wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import pages

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Opened:
    """A page, and all that it complained of or asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of the system, or of ``$CHROMIUM``; without one these tests fail, since nobody runs them by accident."""
    place = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if place is None:
        pytest.fail("there is no Chromium: apt-get install chromium, or name one, CHROMIUM=/path/to/it make browser")
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Opens a file or an address: ``visit(path, width=400, theme="dark")``."""
    contexts = []

    def start(place: Path | str, *, width: int = 1600, theme: str = "light", **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, accept_downloads=True, **options)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda said: opened.complaints.append(f"{said.type}: {said.text}"))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("dialog", lambda dialog: (opened.complaints.append("a dialog"), dialog.dismiss()))
        opened.page.on("request", lambda asked: opened.requests.append(asked.url))
        opened.page.goto(place.resolve().as_uri() if isinstance(place, Path) else place)
        return opened

    yield start
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def every_section(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of section and a hundred decisions."""
    folder = tmp_path_factory.mktemp("page")
    return pages.page(lambda name: name, folder / "survey", decisions=100).save(folder / "page.html")


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in which every name is an attack."""
    folder = tmp_path_factory.mktemp("attacked")
    return pages.page(pages.attacked(), folder / "survey", decisions=6).save(folder / "page.html")
