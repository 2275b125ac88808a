"""Whatever a user's names say, a page shows it as text."""

import re

import pytest

from tests.browser.payloads import MARK, PAYLOADS, attack

pytestmark = pytest.mark.slow

ALIEN = "img, iframe, object, embed, video, audio, marquee, form, base, link, math, template, noscript, textarea, animate"
HANDLERS = """[...document.querySelectorAll("*")].filter((node) => [...node.attributes].some(({ name, value }) =>
  name.startsWith("on") || (["href", "src", "action", "data"].includes(name) && !/^(#|data:image\\/png)/.test(value))))
  .map((node) => node.outerHTML.slice(0, 200))"""


def test_there_are_enough_of_them():
    assert len(set(PAYLOADS)) >= 40 and all(payload in attack(3) for payload in PAYLOADS)


def test_nothing_of_a_name_runs_or_is_fetched(visit, attacked):
    opened = visit(attacked)
    page = opened.page
    page.wait_for_timeout(500)
    page.get_by_label("Search this page").fill("<script>")
    page.wait_for_timeout(500)
    page.get_by_label("Search this page").press("Enter")
    page.get_by_label("Search this page").press("Escape")
    for net in page.locator("svg.flow[data-units]").all():
        net.locator(".unit:not([hidden])").first.focus()
        page.keyboard.press("Enter")
    for box in page.locator("input[type=search]").all():
        if box.is_visible():
            box.fill(PAYLOADS[0])
            box.fill("")
    assert page.evaluate(f"globalThis.{MARK.split('.')[1].split('=')[0]}") is None
    assert page.locator("script").count() == 1 and page.locator(ALIEN).count() == 0
    assert page.evaluate(HANDLERS) == []
    assert not opened.complaints and [asked for asked in opened.requests if not asked.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.querySelectorAll('style').length") == 1


def test_every_section_shows_every_attack_as_text(visit, attacked):
    """But those that hold no words of a user's own: a summary shortens them, a curve has numbers, two are of a network with plain names."""
    page = visit(attacked).page
    written = """[...document.querySelectorAll("main section")].map((part) => [part.querySelector("h2").id, part.textContent
      + [...part.querySelectorAll("[aria-label], [data-units], [data-csv], [title]")].map((node) =>
        [...node.attributes].map(({ value }) => value).join("\\n")).join("\\n")])"""
    missing = {name: [payload for payload in PAYLOADS if payload not in text] for name, text in page.evaluate(written)}
    assert len(missing) > 15
    plain = {"summary", "faithfulness-of-the-best-edges", "feature-complexity", "connection-pruning"}
    assert {name: some for name, some in missing.items() if some and name not in plain} == {}


def test_files_that_are_saved_hold_no_formulas(visit, attacked):
    page = visit(attacked).page
    formulas = """[...main.querySelectorAll("[data-csv]")].flatMap((node) => node.dataset.csv.split("\\n"))
      .concat([...main.querySelectorAll("table")].flatMap((table) => csvText(tableRows(table)).split("\\r\\n")))
      .filter((line) => /(^|,)"?[=@]/.test(line))"""
    assert page.evaluate(formulas) == []
    assert page.evaluate("cellOf('=1+1') + cellOf('@x') + cellOf('\u22121.5') + cellOf('+a')") == "'=1+1'@x-1.5'+a"


def test_the_notebook_frame_keeps_it_too(visit, attacked, tmp_path):
    from vesalius.views.report import Report

    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{Report.load(attacked)._repr_html_()}", encoding="utf-8")
    opened = visit(path)
    opened.page.wait_for_timeout(500)
    assert opened.page.evaluate("globalThis.attacked") is None
    assert not [said for said in opened.complaints if not re.search("sandbox", said)]
