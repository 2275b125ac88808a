"""A page in a browser: quiet, on its own, whole at every width, and each of its controls does what it says."""

import csv
import io
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

LOOKS = [(1600, "light"), (1600, "dark"), (400, "light"), (400, "dark")]
LOCAL = re.compile(r"(file|data|blob):")


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_it_is_quiet_asks_for_nothing_and_stays_within_the_window(visit, every_section, width, theme):
    opened = visit(every_section, width=width, theme=theme)
    for _ in range(40):
        opened.page.mouse.wheel(0, 900)
    assert not opened.complaints
    assert [asked for asked in opened.requests if not LOCAL.match(asked)] == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_axe_finds_nothing_serious(visit, every_section, width, theme):
    page = visit(every_section, width=width, theme=theme).page
    page.emulate_media(reduced_motion="reduce")
    page.add_style_tag(content="*{transition:none!important}")
    found = Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    told = [f"{one['id']}: {one['help']}: {len(one['nodes'])} as {one['nodes'][0]['html'][:160]}" for one in grave]
    assert not told, "\n".join(told)


def test_the_summary_and_the_navigation_lead_to_their_sections(visit, every_section):
    page = visit(every_section).page
    assert page.locator(".summary li").count() == 3
    labels = page.locator("nav > ol > li > a, nav .group > summary, nav .group > ol > li > a").all_inner_texts()
    assert len(labels) > 12 and len(labels) == len(set(labels)), "no two entries are alike"
    assert page.locator("nav .group").count() > 0 and page.locator("nav li > a + ol").count() > 2, "there are levels"
    for link in page.locator("nav > ol > li > a, .summary a").all():
        target = link.get_attribute("href")[1:]
        link.click()
        expect(page.locator(f"[id='{target}']")).to_be_in_viewport()


def test_sections_collapse_and_open_where_they_are_led_to(visit, every_section):
    page = visit(every_section).page
    page.get_by_role("button", name="Collapse all").click()
    assert page.locator("details.part[open]").count() == 0
    page.locator("nav a[href='#rows']").click()
    assert page.locator("details.part[open]").count() == 1
    page.get_by_role("button", name="Collapse all").click()
    page.get_by_role("button", name="Open all").click()
    assert page.locator("details.part:not([open])").count() == 0
    page.locator("details.part > summary").first.press("Enter")
    assert page.locator("details.part:not([open])").count() == 1


def test_search_leaves_out_what_does_not_match_and_goes_to_what_does(visit, every_section):
    page = visit(every_section).page
    box = page.get_by_label("Search this page")
    page.keyboard.press("/")
    expect(box).to_be_focused()
    box.fill("MODULARITY")
    expect(page.locator(".controls .status")).to_have_text(re.compile("1 place in 1 section"))
    assert page.locator("main section:visible:not(.summary)").count() == 1
    box.press("Enter")
    expect(page.get_by_text("modularity", exact=True)).to_be_in_viewport()
    box.fill("no such words anywhere")
    expect(page.locator(".controls .status")).to_have_text("nothing found")
    box.press("Escape")
    assert page.locator("main section[hidden]").count() == 0


def test_search_turns_to_the_page_of_a_decision(visit, every_section):
    page = visit(every_section).page
    last = page.locator("#decisions").locator("xpath=ancestor::details").locator(".decision").last
    expect(last).to_be_hidden()
    page.evaluate("node => reveal(node)", last.element_handle())
    expect(last).to_be_visible()


def test_a_hundred_decisions_come_in_pages_and_are_filtered_and_ordered(visit, every_section):
    page = visit(every_section).page
    section = page.locator("#decisions").locator("xpath=ancestor::details")
    shown = section.locator(".decision:visible")
    assert section.locator(".decision").count() == 100 and shown.count() == 10
    section.get_by_role("button", name="next decisions").click()
    expect(section.locator(".pager [role=status]")).to_have_text("11\u201320 of 100 decisions")
    section.get_by_label("which decisions").select_option(label="wrong ones")
    expect(section.locator(".pager [role=status]")).to_have_text("1\u201310 of 15 decisions, of 100 in all")
    assert section.locator(".decision:visible .chip.ok", has_text="predicted").count() == 0
    section.get_by_label("which decisions").select_option(label="all decisions")
    section.get_by_label("order of decisions", exact=True).select_option(label="most sure first")
    sure = [float(item.get_attribute("data-sure")) for item in shown.all()]
    assert sure == sorted(sure, reverse=True) and sure[0] > 0.99
    section.get_by_label("filter decisions by their words").fill("predicted 4 (0.52)")
    expect(shown).to_have_count(1)


def test_tables_are_sorted_and_filtered(visit, every_section):
    page = visit(every_section).page
    section = page.locator("#connection-pruning").locator("xpath=ancestor::details")
    table = section.locator("table").last
    heads = table.locator("thead th")
    place = heads.all_inner_texts().index("importance")
    column = f"tbody tr:visible > :nth-child({place + 1})"
    given = table.locator(column).all_inner_texts()
    button = heads.nth(place).get_by_role("button")
    for way, back in (("descending", True), ("ascending", False)):
        button.click()
        assert heads.nth(place).get_attribute("aria-sort") == way
        numbers = [float(text.replace("\u2212", "-")) for text in table.locator(column).all_inner_texts()]
        assert numbers == sorted(numbers, reverse=back)
    button.click()
    assert table.locator(column).all_inner_texts() == given and not heads.nth(place).get_attribute("aria-sort")
    box = section.get_by_label("filter the rows of this table").last
    box.fill("pruned")
    assert all("pruned" in row for row in table.locator("tbody tr:visible").all_inner_texts())
    box.fill("nothing like it")
    assert table.locator("tbody tr:visible").count() == 0


@pytest.mark.parametrize("what", ["figure.saved", ".flowbox.saved", ".filters", ".corner", ".swarm.saved", ".arcbox.saved"])
def test_every_figure_and_table_is_saved_in_three_ways(visit, every_section, what):
    opened = visit(every_section)
    page = opened.page
    place = page.locator(what).filter(has=page.locator("button.save:visible")).first
    starts = {"PNG": b"\x89PNG\r\n\x1a\n", "SVG": b"<svg", "CSV": b"\xef\xbb\xbf"}
    for ending, start in starts.items():
        place.locator("button.save").first.click()
        with page.expect_download() as waiting:
            page.locator(".menu").get_by_role("button", name=ending).click()
        content = waiting.value.path().read_bytes()
        assert content.startswith(start) and waiting.value.suggested_filename.endswith(ending.lower())
        if ending == "PNG":
            assert len(content) > 1000, "not an empty picture"
        if ending == "CSV":
            lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
            assert len(lines) > 1 and any(re.search(r"\d", cell) for line in lines[1:] for cell in line)
    assert not opened.complaints


def test_all_figures_and_tables_can_be_saved(visit, every_section):
    page = visit(every_section).page
    bare = """[...main.querySelectorAll("figure, .wide > table")].filter((node) => !(node.querySelector("button.save")
              || node.parentElement.previousElementSibling?.querySelector("button.save"))).map((node) => node.outerHTML.slice(0, 200))"""
    assert page.evaluate(bare) == []


def test_units_of_a_flow_are_reached_with_the_keys(visit, every_section):
    page = visit(every_section).page
    box = page.locator(".flowbox", has=page.locator("svg.flow[data-units]")).first
    stops = box.locator("svg [tabindex='0']")
    assert stops.count() == 1, "one stop of the tab key"
    assert box.locator(".block.closed").count() == 4, "a deep network starts with its blocks closed"
    stops.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("block.0, 3 layers, 18 units")
    page.keyboard.press("Enter")
    expect(box.locator(".block.closed")).to_have_count(3)
    seen = set()
    for key in ["Home", *["ArrowDown"] * 6, "ArrowRight", *["ArrowDown"] * 8, "ArrowRight", *["ArrowUp"] * 8]:
        page.keyboard.press(key)
        seen.add(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert len(seen) > 8, "units of several columns, each with its name"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert box.locator(".trail path").count() > 0 and box.locator("[aria-pressed=true]").count() == 1
    page.keyboard.press("Escape")
    assert box.locator(".trail path").count() == 0


def test_the_keys_reach_every_unit_of_every_flow(visit, every_section):
    page = visit(every_section).page
    box = page.locator(".flowbox", has=page.locator("svg.flow[data-units]")).first
    box.get_by_role("button", name="Open all blocks").click()
    walked = """(net) => {
      const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      const seen = new Set();
      net.querySelector("[tabindex='0']").focus();
      press("Home");
      for (let column = 0; column < 14; column++) {
        for (const key of ["ArrowUp", "ArrowDown"])
          for (let step = 0; step < 8; step++) { seen.add(document.activeElement); press(key); seen.add(document.activeElement); }
        press("ArrowRight");
      }
      return [...net.querySelectorAll(".unit")].filter((unit) => !seen.has(unit)).map((unit) => unit.getAttribute("aria-label"));
    }"""
    assert page.evaluate(walked, box.locator("svg.flow").element_handle()) == []


def test_a_tap_near_a_unit_holds_it(visit, every_section):
    page = visit(every_section, width=400, has_touch=True, is_mobile=True).page
    box = page.locator(".flowbox", has=page.locator("svg.flow[data-units]")).first
    unit = box.locator(".unit:not([hidden])").first
    unit.scroll_into_view_if_needed()
    spot = unit.bounding_box()
    page.touchscreen.tap(spot["x"] + spot["width"] / 2 + 9, spot["y"] + spot["height"] / 2 + 2)
    assert unit.get_attribute("aria-pressed") == "true" and box.locator(".readout b").inner_text()
    block = box.locator(".block.closed").first
    block.tap()
    expect(box.locator(".block.closed")).to_have_count(3)


def test_marks_of_other_drawings_are_reached_with_the_keys(visit, every_section):
    page = visit(every_section).page
    for drawing in page.locator("svg:has(.point):visible").all():
        drawing.locator("[tabindex='0']").first.focus()
        page.keyboard.press("ArrowRight")
        said = page.evaluate("document.activeElement.getAttribute('aria-label')")
        note = drawing.locator("xpath=following-sibling::p[contains(@class,'told')]")
        assert said and note.inner_text().strip() == said


def test_partners_are_shown_with_the_keys_and_held(visit, every_section):
    page = visit(every_section).page
    drawing = page.locator("svg.partners").first
    first = drawing.locator("path").first
    rest = drawing.locator("path").nth(1).get_attribute("fill")
    first.focus()
    assert first.get_attribute("fill") == "currentColor"
    page.keyboard.press("Enter")
    assert first.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Enter")
    page.get_by_label("Search this page").focus()
    assert drawing.locator("path").nth(1).get_attribute("fill") == rest


def test_the_tab_key_passes_by_all_controls_in_order(visit, every_section):
    page = visit(every_section).page
    found = []
    for _ in range(8):
        page.keyboard.press("Tab")
        found.append(page.evaluate("document.activeElement.textContent || document.activeElement.getAttribute('aria-label')"))
    assert found[:4] == ["Skip to the findings", "Search this page", "Collapse all", "Print"] and found[4] == "In short"


def test_on_paper_it_is_a_few_pages(visit, every_section, capsys):
    page = visit(every_section).page
    content = page.pdf(format="A4", margin={side: "14mm" for side in ("top", "bottom", "left", "right")})
    sheets = len(re.findall(rb"/Type\s*/Page[^s]", content))
    with capsys.disabled():
        print(f"\n{sheets} sheets of A4 for {page.locator('details.part').count()} sections and 150 decisions")
    assert sheets <= 12
