"""Sections of disentangled features: what is measured is shown, what is not is left out, on paper as on a page."""

from dataclasses import replace

import pytest
import torch

import vesalius as vs
from tests.complexity.small_network import labelled_rows, network, rows, small_complexity
from vesalius.complexity.compare import ComplexityComparison, EvaluationData, profile_components
from vesalius.core.errors import UnknownName, WrongType
from vesalius.views.complexity import chart_data
from vesalius.views.complexity.captions import summary
from vesalius.views.complexity.charts import plot_complexity, plot_complexity_comparison
from vesalius.views.complexity.section import complexity_comparison_section, complexity_section


@pytest.fixture(scope="module")
def judged():
    return profile_components(
        small_complexity(), EvaluationData(train=labelled_rows(), test=labelled_rows(40, 2), others=[network(1)], weighted=True)
    )


def test_bands_cover_the_orders_between():
    assert chart_data.order_bands((0, 1, 2, 4, 8)) == ["0", "1", "2", "3\N{EN DASH}4", "5\N{EN DASH}8"] and chart_data.order_bands(
        (2,)
    ) == ["0\N{EN DASH}2"]


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
    assert page.text.count("up to 0") == chart_data.MOST_SAMPLES and page.text.count("rest") >= chart_data.MOST_SAMPLES


def test_components_alone_are_shown_alone(read):
    page = read(str(complexity_section(small_complexity()).body))
    assert len(page.all("svg", **{"class": "lines"})) == 1 and "effectiveness" not in page.text and "up to 0" not in page.text


def test_pictures_are_the_components_on_one_scale():
    found, x = small_complexity(), rows(5)
    pictures = chart_data.component_maps(found, x)
    components = found.components(x[:3])
    feature = components.parts.sum(0) + components.rest
    channel = int((feature > 0).sum((0, 2, 3)).argmax())
    for at, picture in enumerate(pictures):
        assert list(picture.parts) == ["feature", "0", "1", "2", "rest"]
        torch.testing.assert_close(torch.tensor(picture.parts["1"]), components.parts[1, at, channel].double())
        torch.testing.assert_close(torch.tensor(picture.sums["2"] + picture.parts["rest"]), feature[at, channel].double())
        assert picture.scale >= abs(picture.parts["feature"]).max() and picture.image.shape == (1, 6, 6)


def test_the_finding_is_said_in_words():
    said = summary(small_complexity())
    assert said.startswith("Of the variance of second/conv2d, ") and "% is linear in the input" in said


def test_on_paper(judged):
    assert plot_complexity(judged).axes[0].get_ylabel() == "share of the variance"
    assert plot_complexity(judged, measure="overfitting").axes[0].get_title("left") == "over-fitting"
    assert judged.plot(measure="reliability").axes[0].get_ylabel().startswith("share found in other")
    with pytest.raises(UnknownName, match="strength"):
        plot_complexity(small_complexity(), measure="reliability")
    both = ComplexityComparison(profiles={"before": judged, "after": profile_components(small_complexity(1), EvaluationData())})
    assert [text.get_text() for text in both.plot().axes[0].get_legend().get_texts()] == ["before", "after"]
    with pytest.raises(UnknownName):
        plot_complexity_comparison(
            ComplexityComparison(profiles={"a": profile_components(small_complexity(), EvaluationData())}), measure="reliability"
        )


def test_a_comparison_has_a_chart_per_measure_that_any_has(judged, read):
    both = ComplexityComparison(profiles={"<before>": judged, "after": profile_components(small_complexity(1), EvaluationData())})
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
    assert not chart_data.component_maps(replace(small_complexity(), source=None), rows(2))
