"""The page: whole, self-contained, escaped, in order."""

import base64
import hashlib
import html
import re
from dataclasses import replace

import pytest
import torch
from markupsafe import Markup

import vesalius as vs
from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players
from vesalius.core.version import VERSION
from vesalius.views import report as module
from vesalius.views import svg
from vesalius.views.decisions import Decision, Decisions
from vesalius.views.html import Section
from vesalius.views.report import report

EVIL = '"><script>alert(1)</script>'


def decision(*allocations, size=8, **rest):
    facts = {"predicted": "4", "label": "4", "probability": 0.98, "target": "class 4", **rest}
    return Decision(sample=torch.zeros(1, size, size), picture=torch.rand(1, size, size), allocations=allocations, **facts)


@pytest.fixture
def page(table, pixels, batch, read):
    shown = [Decisions(items=(decision(pixels), decision(pixels, label="5")), baseline="zero"), table, pixels, batch]
    facts = {"model": "3 layers", "test accuracy": "98.1 %"}
    return read(report(shown, title="It looks at strokes", lead="Two decisions.", facts=facts, reproduce="vesalius demo --seed 0").html)


def test_the_order_is_finding_lead_facts_sections_reproduction(page):
    places = [
        page.text.index(words)
        for words in ("Skip to the findings vesalius report of digits", "It looks at strokes Two decisions. model 3 layers test accuracy",
                      "Decisions 1 of 2 predictions is right;", "Red raised the score of class 4", "How the score is shared out among 3",
                      "vesalius demo --seed 0")
    ]  # fmt: skip
    assert places == sorted(places)


def test_every_entry_of_the_navigation_leads_to_a_heading_and_back(page):
    skip, *entries = [link["href"][1:] for link in page.all("a")]
    heads = [head["id"] for head in page.all("h2")]
    sections = ["decisions", "shapley-value", "integrated-gradients", "integrated-gradients-2"]
    assert heads == ["summary", *sections, "reproduce"]
    assert entries == [*heads, *sections[:3]], "the navigation, then the findings"
    assert len(page.all("h1")) == 1 and page.all("main")[0]["id"] == skip


def test_sections_of_the_same_heading_are_told_apart(page, pixels, read):
    assert "Integrated gradients: 1" in page.text and "Integrated gradients: 2" in page.text
    named = [replace(pixels, provenance={**pixels.provenance, "target": target}) for target in ("class cat", "class <dog>")]
    shown = read(report(named, title="x").html)
    assert "Integrated gradients: class cat How the score" in shown.text and "Integrated gradients: class <dog>" in shown.text
    assert shown.all("details", cls="group"), "one entry for all of a kind"
    assert "In short" not in read(report(pixels, title="x").html).text, "of a single section the title is the finding"


def test_a_page_without_a_title_goes_by_the_model(pixels, read):
    assert "The anatomy of digits" in read(report(pixels).html).text
    attack = replace(pixels, provenance={**pixels.provenance, "model": "<b>net"})
    assert "<title>The anatomy of &lt;b&gt;net</title>" in report(attack).html
    assert "The anatomy of a network" in read(report(Section(heading="A", anchor="a", body=Markup("x"))).html).text


def test_a_finding_in_the_summary_ends_as_a_sentence(read):
    parts = [
        Section(heading=name, anchor=name, body=Markup('<p class="finding">{}</p>').format(words))
        for name, words in (("A", "No stop"), ("B", "A stop."), ("C", "Why?"))
    ]
    assert "A No stop. B A stop. C Why?" in read(report(parts).html).text


def test_how_to_read_a_picture_is_said_once(page):
    assert page.text.count("Red raised the score, blue lowered it.") == 1


def test_parts_of_a_section_have_addresses(read):
    body = Markup('<p class="lead apart">One part: of two</p><p class="lead apart">{}</p>').format("<b>Another")
    parts = [Section(heading="A", anchor="a", body=body), Section(heading="B", anchor="a-part-1", body=Markup("b"))]
    shown = read(report(parts, title="x").html)
    assert [head["id"] for head in shown.all("h3")] == ["a-part-1", "a-part-2"]
    assert [head["id"] for head in shown.all("h2")] == ["a", "a-part-1-2", "reproduce"]
    links = [link["href"] for link in shown.all("a")]
    assert "#a-part-1" in links and "One part" in shown.words and "<b>Another" in shown.words


def test_a_page_runs_its_own_script_and_no_other(pixels, read):
    html = report(pixels, title="x").html
    script = re.search(r"<script>(.*?)</script>", html, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = read(html).all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert f"script-src 'sha256-{digest}'" in policy and "script-src 'unsafe-inline'" not in policy
    assert not re.search(r"\son\w+=", re.sub(r"<script>.*?</script>", "", html, flags=re.S))


def test_pictures_hold_their_numbers_and_no_formulas(give, read):
    evil = give(Players.features(torch.zeros(1, 2, 2)), [-2.0, 0.12345, 1, 3])
    assert read(report(evil, title="x").html).all("svg")[0]["data-csv"] == "-2,0.123\n1,3\n"
    wide = give(Players.features(torch.zeros(1, 65, 65)), torch.arange(65 * 65.0))
    first, *lines = read(report(wide, title="x").html).all("svg")[0]["data-csv"].splitlines()
    assert first == "means of blocks of 2 by 2" and len(lines) == 33 and lines[0].startswith("33,35,37")
    assert svg.numbers_attribute([("=1+1", -1.5)]) == ' data-csv="&#39;=1+1,-1.5&#10;"'


def test_nothing_is_fetched(page, pixels):
    assert not page.all("link") and not page.all("img")
    assert not [attributes for _, attributes in page.elements if (attributes.get("src") or "").strip()]
    assert "http" not in report(pixels, title="x").html.replace("http-equiv", "")


def test_every_picture_has_a_text(page):
    pictures = page.all("svg")
    assert pictures
    assert all(picture.get("role") == "img" and picture.get("aria-label") for picture in pictures)


def test_no_number_is_missing(page):
    assert not re.search(r"\b(nan|inf|None)\b", page.text)


def test_both_themes_print_and_narrow_screens_are_cared_for(pixels):
    text = report(pixels, title="x").html
    for rule in (
        "screen and (prefers-color-scheme:dark)",
        "@media print",
        "@media (max-width:900px)",
        "--paper:#14171b",
        "--paper:#fcfcfa",
    ):
        assert rule in text


def test_an_allocation_alone_is_a_section_with_its_numbers(table, read):
    known = replace(table, provenance={**table.provenance, "target": "class 3", "unit": "logits", "baseline": "constant 0"})
    text = read(report(known, title="x").html).text
    assert "How the score of class 3 is shared out among 3 features" in text
    assert "base value 1 output 2.5 sum of the values 1.5 completeness error (gap) 0 target class 3 unit logits baseline constant 0" in text
    assert "From the base value to the output base value 1 petal length +3.00" in text
    assert "digest ab12" in text


def test_coalitions_are_counted_and_named(table, read):
    members = torch.tensor([[True, False, False], [True, False, True]])
    pair = replace(table, coalitions=members, values=torch.tensor([1.0, 0.5]).double(), stderr=None)
    text = read(report(pair, title="x").html).text
    assert "Interactions of features" in text
    assert "petal width +1.00 petal width & petal length +0.500" in text
    assert "completeness error (gap) 0" in text and "evaluations 64" in text


def test_a_batch_of_coalitions_is_counted_and_named(table, read):
    members = torch.tensor([[True, False, False], [True, False, True]])
    values, ends = torch.tensor([[1.0, 0.5], [2.0, 0.0]]).double(), torch.tensor([1.0, 1.0]).double()
    both = replace(table, coalitions=members, values=values, base=ends, total=ends + values.sum(1), stderr=None)
    text = read(report(both, title="x").html).text
    assert "shared out among 2 coalitions of 3 features" in text and "petal width & petal length +0.500 0" in text


def test_a_batch_shows_its_first_samples(pixels, stack, read):
    page = read(report(stack(pixels, 20), title="x").html)
    assert len(page.all("figure")) == module.MOST_SAMPLES
    assert "The first 12 samples are shown; 8 more are left out." in page.text


def test_a_batch_of_tables_has_a_column_per_sample(table, stack, read):
    page = read(report(stack(table, 6), title="x").html)
    assert "petal length +3.00 \N{MINUS SIGN}3.00 +3.00 \N{MINUS SIGN}3.00 sepal" in page.text
    assert "The first 4 samples are shown; 2 more are left out." in page.text


def test_an_empty_batch_is_a_section_without_samples(table, pixels, stack, read):
    page = read(report([stack(pixels, 0), stack(table, 0)], title="x").html)
    assert not page.all("figure") and not page.all("svg")


def test_reproduction_lists_versions_models_seeds_and_options(pixels, table, read):
    first = replace(
        pixels, provenance={**pixels.provenance, "versions": {"torch": "2.13.0"}, "options": {"tolerance": 0.01, "seed": 3, "steps": None}}
    )
    text = read(report([first, first, table], title="x", reproduce="run me").html).text
    last = text[text.rindex("How to reproduce") :]
    assert f"run me versions vesalius {VERSION}, torch 2.13.0 model and digest digits ab12 seed 3, 7" in last
    assert "Integrated gradients tolerance 0.01, seed 3, steps default Shapley value seed 7" in last
    assert last.count("tolerance") == 1


def test_odd_provenance_is_shown_and_breaks_nothing(table, read):
    odd = replace(
        table, provenance={"method": "mine", "options": "fast", "versions": None, "at": ["input", 3], "seed": None, "t": torch.ones(1)}
    )
    text = read(report(odd, title="x").html).text
    assert "Mine fast" in text and "at input, 3" in text


@pytest.mark.parametrize("field", ["title", "lead", "reproduce"])
def test_words_of_the_page_are_escaped(field, pixels, read):
    words = {"title": "x", field: EVIL}
    made = read(report(pixels, **words).html)
    assert len(made.all("script")) == 1
    assert "alert(1)" in made.text


def test_names_inside_are_escaped(give, read):
    shown = give(Players.features(torch.zeros(2), names=(EVIL, "b")), [1.0, 2.0], method=EVIL,
                 provenance={"target": EVIL, "model": EVIL, "options": {EVIL: EVIL}})  # fmt: skip
    section = Decisions(items=(decision(shown, predicted=EVIL),), baseline=EVIL, heading=EVIL, anchor=EVIL, unit=EVIL)
    made = read(report([shown, section], title="x", facts={EVIL: EVIL}).html)
    assert len(made.all("script")) == 1
    assert made.text.count("alert(1)") > 10
    assert all(re.fullmatch(r"[a-z0-9-]+", head["id"]) for head in made.all("h2"))


def test_sixteen_digits_by_four_methods_stay_small():
    draw = torch.Generator().manual_seed(0)
    from_zero = torch.zeros(())

    def method():
        values = torch.randn(1, 28, 28, generator=draw)
        return module.Allocation(players=Players.features(values), values=values, base=from_zero, total=values.sum())

    items = tuple(decision(*(method() for _ in range(4)), size=28) for _ in range(16))
    assert len(report(Decisions(items=items, baseline="zero"), title="x").html) < 2_000_000


def test_saving_writes_the_page_and_returns_its_place(pixels, tmp_path):
    made = report(pixels, title="x")
    path = made.save(tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == made.html
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_notebook_shows_the_page_in_a_frame(pixels, read):
    made = report(pixels, title="x")
    frame = read(made._repr_html_()).all("iframe")[0]
    assert frame["srcdoc"] == made.html
    assert html.escape(made.html, quote=False).count("&lt;nav") == 1
    assert repr(made).startswith("Report of ")


def test_a_type_that_has_no_section_is_refused():
    with pytest.raises(WrongType, match="cannot show dict; it shows Allocation, Decisions"):
        report([{}], title="x")
    with pytest.raises(InvalidInput, match="at least one section"):
        report([], title="x")


def test_a_new_type_needs_one_line(monkeypatch, read):
    class Flow:
        pass

    monkeypatch.setitem(
        module.SECTIONS,
        Flow,
        lambda shown: Section(heading="Flow", anchor="flow", body=module.render_template("frame.html.j2", {"html": "f"})),
    )
    assert [head["id"] for head in read(report(Flow(), title="x").html).all("h2")] == ["flow", "reproduce"]


def test_samples_of_a_batch_go_by_their_ids_and_targets(read, batch):
    each = {"target": ["class 1", "class 2"] * 3, "id": ["<b>ann", *range(5)]}
    named = replace(batch, provenance={**batch.provenance, "target": "predicted class", "samples": each})
    text = report(named, title="Two samples").html
    page = read(text)
    assert "<b>ann, class 1" in page.text and "<b>ann" not in text and "sample 0, class 2" in page.text and "sample 5" not in page.text
    assert "samples" not in {words.strip() for words in page.words}, "facts of single samples are not among those of all"
    same = replace(named, provenance={**batch.provenance, "samples": {"target": ["class 1"] * 6}})
    assert "sample 3" in read(report(same, title="One class").html).text and ", class 1" not in report(same, title="One class").html


def test_values_of_another_library_are_shown_without_a_verdict(read):
    text = report(Allocation.from_array([1.0, -2.0], names=["<i>a", "b"], method="elsewhere"), title="A map").html
    page = read(text)
    assert "Elsewhere" in page.text and "gap not known" in page.text and "From the base value" not in page.text
    assert "not a number" not in page.text and "<i>a" in page.text and "<i>a" not in text


def test_a_class_goes_by_its_name_where_names_are_known():
    model, x = torch.nn.Linear(3, 2), torch.randn(4, 3)
    names = ("cat", "dog <b>")
    many = vs.attribute(model, x, "integrated_gradients", target=[1, 0, 1, 1], classes=names)
    assert many.provenance["samples"]["target"] == ["class dog <b>", "class cat", "class dog <b>", "class dog <b>"]
    single = vs.attribute(model, x[0], "integrated_gradients", target=1, classes=names)
    both = vs.interactions(model, x[0], target="dog <b>", classes=names)
    judged = vs.audit(model, x[0], target=1, classes=names, methods=["occlusion"])
    assert {found.provenance["target"] for found in (single, both, judged)} == {"class dog <b>"}
    assert "class dog &lt;b&gt;" in report([single, both, judged], title="x").html
    other = vs.attribute(model, x[0], "integrated_gradients", target=1, classes=("of", "something", "else"))
    assert other.provenance["target"] == "class 1", "names of another number of classes"
