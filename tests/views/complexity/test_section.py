"""Sections of disentangled features: what is measured is shown, what is not is left out, on paper as on a page."""

from dataclasses import replace

import pytest
import torch

import vesalius as vs
from tests.complexity.small_network import labelled_rows, network, rows, small_complexity
from vesalius.complexity.compare import ComplexityComparison
from vesalius.complexity.orders import order_bands
from vesalius.complexity.picture import MOST_SAMPLES
from vesalius.core.errors import UnknownName, WrongType
from vesalius.views.complexity.captions import summary
from vesalius.views.complexity.charts import plot_complexity, plot_complexity_comparison
from vesalius.views.complexity.section import complexity_comparison_section, complexity_section


@pytest.fixture(scope="module")
def judged():
    return small_complexity().profile(labelled_rows(), labelled_rows(40, 2), others=[network(1)], weighted=True)


def test_bands_cover_the_orders_between():
    assert order_bands((0, 1, 2, 4, 8)) == ["0", "1", "2", "3\N{EN DASH}4", "5\N{EN DASH}8"] and order_bands((2,)) == ["0\N{EN DASH}2"]


def test_everything_that_was_measured_is_on_the_page(judged, read):
    page = read(str(complexity_section(judged, x=rows(5)).body))
    assert len(page.all("svg", **{"class": "lines"})) == 4
    for words in (
        "strength",
        "reliability",
        "effectiveness",
        "over-fitting",
        "cumulative accuracy",
        "cumulative R\N{SUPERSCRIPT TWO}",
        "rows of 300",
        "weighted by the head",
    ):
        assert words in page.text
    assert page.text.count("up to 0") == MOST_SAMPLES and page.text.count("rest") >= MOST_SAMPLES


def test_components_alone_are_shown_alone(read):
    page = read(str(complexity_section(small_complexity()).body))
    assert len(page.all("svg", **{"class": "lines"})) == 1 and "effectiveness" not in page.text and "up to 0" not in page.text


def test_the_finding_is_said_in_words():
    found = small_complexity()
    said, gain = summary(found), found.table()["gain"]
    assert said.startswith("Of the variance of second/conv2d on rows not trained on, a linear map of the input explains ")
    assert f"{100 * gain.values[0]:.1f} \N{PLUS-MINUS SIGN} {100 * gain.stderr[0]:.1f} %" in said


def test_what_is_within_its_error_of_nothing_is_said_to_be():
    """Groups of rows that disagree about what a deeper net adds, and the same where they agree."""
    agreed = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.6, 0.6], [0.5, 0.6, 1.0]]).double().expand(8, 3, 3) / 8
    swing = torch.tensor([1.0, -1.0] * 4).double()[:, None, None] * torch.tensor([[0, 0, 0], [0, 0, 0.05], [0, 0.05, 0]]).double()
    base = {"orders": (0, 1), "kept": torch.tensor([[True, True]]), "nets": (small_complexity().nets[0][:2],), "time_matched_gain": None}
    told = [summary(replace(small_complexity(), moments=moments, **base)) for moments in (agreed, agreed + swing)]
    assert "nets of 1 nonlinear layer add 10.0" in told[0] and "within two standard errors" not in told[0]
    assert told[1].endswith("What order 1 adds is within two standard errors of nothing.")


def test_on_paper(judged):
    assert plot_complexity(judged).axes[0].get_ylabel() == "share of the variance"
    assert plot_complexity(judged, measure="overfitting").axes[0].get_title("left") == "over-fitting"
    assert judged.plot(measure="reliability").axes[0].get_ylabel().startswith("share found in other")
    with pytest.raises(UnknownName, match="strength"):
        plot_complexity(small_complexity(), measure="reliability")
    both = ComplexityComparison(profiles={"before": judged, "after": small_complexity(1).profile()})
    assert [text.get_text() for text in both.plot().axes[0].get_legend().get_texts()] == ["before", "after"]
    with pytest.raises(UnknownName):
        plot_complexity_comparison(ComplexityComparison(profiles={"a": small_complexity().profile()}), measure="reliability")


def test_a_comparison_has_a_chart_per_measure_that_any_has(judged, read):
    both = ComplexityComparison(profiles={"<before>": judged, "after": small_complexity(1).profile()})
    body = str(complexity_comparison_section(both).body)
    page = read(body)
    assert len(page.all("svg", **{"class": "lines"})) == 4 and "<before>" not in body
    bars = [bar for bar in page.all("rect") if bar["class"] == "kind c1"]
    assert len(bars) == 3, "the second has strengths alone"


def test_pages_and_notebooks_take_them(judged):
    both = ComplexityComparison(profiles={"before": judged, "after": judged})
    page = vs.report([small_complexity(), judged, both], title="t").html
    assert page.count("Feature complexity") >= 2 and "One feature in several networks" in page
    assert "Feature complexity" in small_complexity()._repr_html_() and small_complexity().plot().axes[0].get_title("left") == "strength"
    assert "Feature complexity" in judged._repr_html_() and "One feature" in both._repr_html_()


@pytest.mark.usefixtures("as_a_user")
def test_what_was_not_taken_apart_is_refused():
    with pytest.raises(WrongType, match="expected a Complexity or a ComponentProfile, not int"):
        complexity_section(3)
    assert "up to 0" not in complexity_section(replace(small_complexity(), source=None), x=rows(2)).body
