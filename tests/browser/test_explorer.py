"""The explorer in a browser: every control, by hand and by keys, two pages at once, and attacks in every name."""

import re
import threading

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.payloads import MARK, PAYLOADS, attack
from tests.explorer.conftest import gallery, library, pictures, rows, table, table_model, texts, tokenizer, trained_models  # noqa: F401
from vesalius.explorer import ExplorerOptions, explore
from vesalius.methods import METHODS

pytestmark = pytest.mark.slow

KINDS = ["table", "gallery", "library"]
DONE = re.compile(r"done in [\d.]+ s")
ALIEN = "img:not([src^='data:image/png']), iframe, object, embed, video, audio, marquee, base, math, template, noscript"


def state(page):
    return page.locator("#state")


def waited(page, change):
    """What a change leads to, once it is computed."""
    before = page.evaluate("globalThis.answers")
    change()
    page.wait_for_function("before => globalThis.answers > before && !asking", arg=before, timeout=90_000)
    expect(state(page)).to_have_text(DONE)


@pytest.fixture
def opened(visit):
    """Opens an explorer, and waits for its first answer."""

    def start(explorer, **options):
        found = visit(explorer.address, **options)
        found.page.evaluate(
            "() => { globalThis.answers = 0; const shown = show; show = (found) => { shown(found); globalThis.answers++; }; }"
        )
        expect(state(found.page)).to_have_text(DONE, timeout=30_000)
        return found

    return start


def assert_quiet(found, explorer):
    assert not found.complaints
    assert [asked for asked in found.requests if not asked.startswith((explorer.address, "data:"))] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "theme"), [(1600, "light"), (400, "dark")])
def test_it_is_quiet_within_the_window_and_readable(opened, request, kind, width, theme):
    explorer = request.getfixturevalue(kind)
    found = opened(explorer, width=width, theme=theme)
    page = found.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(reduced_motion="reduce")
    grave = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    assert not grave, "\n".join(f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in grave)
    assert [said for said in found.complaints if "Content Security Policy" not in said] == [], "axe is no part of the page"
    assert_quiet(opened(explorer), explorer)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_answers_or_says_why_not(opened, request, kind):
    explorer = request.getfixturevalue(kind)
    found = opened(explorer)
    page = found.page
    page.locator("#budget").fill("64")
    for method in METHODS:
        waited(page, lambda method=method: page.locator("#method").select_option(method))
        part = page.locator(".model").first
        assert part.locator(".refusal").count() or f"'{method}'" in part.locator("pre").first.text_content(), method
    assert_quiet(found, explorer)


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_control_changes_what_is_shown(opened, request, kind):
    explorer = request.getfixturevalue(kind)
    found = opened(explorer)
    page = found.page
    page.locator("#budget").fill("64")
    names = [page.locator("#name").inner_text()]
    waited(page, lambda: page.locator("#row").fill("1") or page.locator("#row").press("Enter"))
    assert page.locator("#name").inner_text() not in names
    for control in ("baseline", "players", "at"):
        for place in range(page.locator(f"#{control} option").count()):
            if page.locator(f"#{control}").input_value() != page.locator(f"#{control} option").nth(place).get_attribute("value"):
                waited(page, lambda control=control, place=place: page.locator(f"#{control}").select_option(index=place))
        if page.locator(f"#{control} option").count() > 1:
            waited(page, lambda control=control: page.locator(f"#{control}").select_option(index=0))
    waited(page, lambda: page.locator("#target").fill("1") or page.locator("#target").press("Enter"))
    assert "target=1" in page.locator("pre").first.text_content()
    if kind == "gallery":  # effects of 64 pixels take half a minute
        waited(page, lambda: page.locator("#players").select_option("patches:4"))
    waited(page, lambda: page.locator("#effects").check())
    waited(page, lambda: page.locator("#audit").select_option("method"))
    assert page.locator(".model").first.locator("h2").all_inner_texts()[1:] == ["Map", "Effects", "Audit"]
    assert_quiet(found, explorer)


def test_values_of_a_table_are_changed_and_taken_back(opened, table):  # noqa: F811
    page = opened(table).page
    before = page.locator(".model").first.inner_text()
    field = page.get_by_label("width", exact=True)
    given = field.input_value()
    waited(page, lambda: field.fill("3.25"))
    assert "edited" in (field.get_attribute("class") or "") and page.locator(".model").first.inner_text() != before
    assert page.locator(".model").count() == 2, "two models, side by side"
    waited(page, lambda: page.get_by_role("button", name="Undo all changes").click())
    expect(page.get_by_label("width", exact=True)).to_have_value(given)
    seconds = re.compile(r"\([\d.]+ s\)")
    assert seconds.sub("", page.locator(".model").first.inner_text()) == seconds.sub("", before)


def test_regions_are_masked_by_dragging_by_touch_and_by_numbers(opened, gallery):  # noqa: F811
    page = opened(gallery).page
    box = page.locator("#picture")
    box.scroll_into_view_if_needed()
    room = box.bounding_box()

    def drag():
        page.mouse.move(room["x"] + 0.3 * room["width"], room["y"] + 0.3 * room["height"])
        page.mouse.down()
        page.mouse.move(room["x"] + 0.6 * room["width"], room["y"] + 0.6 * room["height"], steps=4)
        page.mouse.up()

    waited(page, drag)
    kept = page.locator("#kept li")
    expect(kept).to_have_text([re.compile(r"region 2, 2, 5, 5")])
    assert box.locator("i").count() == 1
    for name, side in (("top", "0"), ("left", "0"), ("bottom", "1"), ("right", "8")):
        page.get_by_label(name, exact=True).fill(side)
    waited(page, lambda: page.get_by_role("button", name="Mask the region").press("Enter"))
    assert kept.count() == 2
    page.get_by_label("bottom", exact=True).fill("0")
    page.get_by_role("button", name="Mask the region").click()
    expect(state(page)).to_have_text("bottom and right must be larger than top and left")
    waited(page, lambda: kept.first.get_by_role("button").click())
    assert kept.count() == 1
    page.get_by_label("element", exact=True).fill("9")
    page.get_by_label("becomes", exact=True).fill("0.5")
    waited(page, lambda: page.get_by_role("button", name="Change the value").click())
    expect(kept.nth(1)).to_have_text(re.compile("element 9 = 0.5"))


def test_a_text_is_written_anew(opened, library):  # noqa: F811
    page = opened(library).page
    before = page.locator(".model").first.inner_text()
    waited(page, lambda: page.get_by_label("text", exact=True).fill("dull , not great"))
    assert page.locator(".model").first.inner_text() != before


def test_a_class_that_is_not_there_is_refused_in_words(opened, table):  # noqa: F811
    page = opened(table).page
    page.locator("#target").fill("no such class")
    page.locator("#target").press("Enter")
    expect(page.locator(".refusal").first).to_contain_text("no such class")


def test_everything_is_reached_with_the_tab_key(opened, table):  # noqa: F811
    page = opened(table).page
    stops = page.locator("input:visible, select:visible, textarea:visible, button:visible:not([disabled]), summary:visible").count()
    seen = set()
    for _ in range(stops + 4):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(seen) >= stops


def slow_model(gate):
    torch.manual_seed(0)
    line = table_model()

    def function(x):
        gate.wait(30)
        return line(x)

    return function


@pytest.fixture
def held(visit, rows):  # noqa: F811
    """An explorer whose model waits, the gate that lets it go on, and a page that waits for an answer."""
    gate = threading.Event()
    gate.set()
    with explore(slow_model(gate), rows) as explorer:
        gate.clear()
        page = visit(explorer.address).page
        expect(state(page)).to_have_text("computing")
        page.wait_for_timeout(500)
        yield explorer, gate, page
        gate.set()


def test_two_pages_wait_for_each_other_and_cancel_only_their_own(visit, held):
    explorer, gate, first = held
    second = visit(explorer.address).page
    expect(state(second)).to_have_text("another page is computing; this one waits for it")
    second.get_by_role("button", name="Cancel").click()
    expect(state(second)).to_have_text("cancelled")
    expect(state(first)).to_have_text("computing")
    second.get_by_role("button", name="Ask").click()
    expect(state(second)).to_have_text("another page is computing; this one waits for it")
    gate.set()
    for page in (first, second):
        expect(state(page)).to_have_text(DONE, timeout=20_000)


def test_a_page_that_is_closed_takes_its_question_with_it(visit, held):
    explorer, gate, first = held
    first.goto("about:blank")
    gate.set()
    expect(state(visit(explorer.address).page)).to_have_text(DONE, timeout=20_000)


def test_a_server_that_is_gone_is_told(opened, rows):  # noqa: F811
    explorer = explore(table_model(), rows)
    page = opened(explorer).page
    explorer.close()
    page.get_by_role("button", name="Ask").click()
    expect(state(page)).to_have_text("the explorer does not answer; is it still running?")


def test_nothing_of_a_name_runs(visit, rows):  # noqa: F811
    options = ExplorerOptions(
        names=[attack(place) for place in range(4)],
        classes=[attack(place + 4) for place in range(3)],
        labels=[attack(place % 3 + 4) for place in range(len(rows))],
        titles=[attack(9)],
    )
    with explore(table_model(), rows, options=options) as explorer:
        found = visit(explorer.address)
        page = found.page
        expect(state(page)).to_have_text(DONE, timeout=30_000)
        page.locator("#effects").check()
        page.locator("#audit").select_option("method")
        expect(page.locator(".model h2")).to_have_count(4, timeout=30_000)
        assert page.evaluate(f"globalThis.{MARK.split('.')[1].split('=')[0]}") is None
        assert page.locator(ALIEN).count() == 0 and page.locator("script").count() == 2
        text = page.locator("main").text_content()
        assert [payload for payload in PAYLOADS if payload not in text] == []
        assert_quiet(found, explorer)
