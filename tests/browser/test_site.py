"""The documentation site in a browser: quiet, on its own, within the window, and found by search and by keys. ``make docs`` builds it."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

SITE = Path(__file__).parents[2] / "build" / "site"
FRAMEWORK = ("scrollable-region-focusable", "color-contrast", "aria-required-attr")
"""What axe says of the theme's own furniture and colours of code, which are not ours."""


@pytest.fixture(scope="module")
def pages():
    found = sorted(page for page in SITE.rglob("*.html") if page.parent.name != "reference")
    assert len(found) > 20, "build the site first: make docs"
    return found


def test_every_page_is_quiet_and_asks_for_nothing(visit, pages):
    opened = visit(pages[0])
    for page in pages:
        opened.page.goto(page.as_uri())
        assert opened.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, page.name
    assert not opened.complaints
    assert [asked for asked in opened.requests if not asked.startswith(("file:", "data:"))] == []


def test_every_page_fits_a_telephone(visit, pages):
    opened = visit(pages[0], width=400, theme="dark")
    wide = []
    for page in pages:
        opened.page.goto(page.as_uri())
        wide += [page.name] if opened.page.evaluate("document.documentElement.scrollWidth > innerWidth") else []
    assert not wide and not opened.complaints


def test_every_picture_has_words_and_is_there(visit, pages):
    page = visit(pages[0]).page
    for path in pages:
        page.goto(path.as_uri())
        found = page.evaluate("[...document.images].filter((one) => !one.alt || !one.naturalWidth).map((one) => one.src)")
        assert found == [], path.name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_critical(visit, pages, theme):
    page = visit(pages[0], theme=theme).page
    for name in ("index.html", "tour.html", "how_to.html", "results.html"):
        page.goto((SITE / name).as_uri())
        grave = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        told = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in grave if one["id"] not in FRAMEWORK]
        assert not told, f"{name}\n" + "\n".join(told)


def test_a_name_is_found_by_search(visit, pages):
    page = visit(SITE / "index.html").page
    page.locator("input.sidebar-search").fill("shapley_value")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("search.html"))
    results = page.locator("#search-results li a")
    expect(results.first).to_be_visible(timeout=20_000)
    assert results.count() > 2


def test_from_the_front_page_to_a_tutorial_by_keys(visit, pages):
    page = visit(SITE / "index.html").page
    link = page.locator(".sidebar-tree a", has_text="A table").first
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1").first).to_be_visible()
    assert page.url != (SITE / "index.html").as_uri()


def test_code_is_copied_without_its_prompt(visit, pages):
    page = visit(SITE / "tour.html").page
    block = page.locator("div.highlight:has(button.copybtn)").first
    assert ">>>" in block.inner_text()
    copied = page.evaluate(
        """(block) => {
      let copied = "";
      document.addEventListener("copy", () => { copied = document.activeElement.value ?? getSelection().toString(); });
      block.querySelector("button.copybtn").click();
      return copied;
    }""",
        block.element_handle(),
    )
    assert copied.strip() and ">>>" not in copied
