"""What is shown in a notebook looks as it is meant to, whatever the host writes about bare elements."""

import re

import pytest

from tests.nouns import NOUNS

SHOWN = sorted(name for name in NOUNS if name not in {"Network", "Network, opaque", "Players", "Game.on", "Game.of", "Report"})

HOST_SELECTORS = [  # the strongest that JupyterLab, nbconvert, VS Code, Colab and marimo have for bare elements
    ".jp-RenderedHTMLCommon dl > dt",
    ".jp-RenderedHTMLCommon tbody tr:nth-child(even)",
    ".jp-RenderedHTMLCommon tbody tr:hover",
    ":not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon td",
    ".jp-OutputArea-output.jp-RenderedHTMLCommon ul:not(.list-inline) ul",
    ".rendered_html table tbody tr:nth-child(odd)",
    "#container .output_container .output table tr:nth-child(even) td",
    ".output-area .output_subarea.output_html p + p",
    ".prose table thead th",
    "svg",
]


def specificity(selector):
    """Ids, classes with attributes and pseudo-classes, elements; ``:not`` counts as what it holds (Selectors 4, section 17)."""
    plain = re.sub(r":not\(([^()]*)\)", r"\1", selector)
    ids, classes = len(re.findall(r"#\w", plain)), len(re.findall(r"\.\w|\[|:\w", plain))
    return ids, classes, len(re.findall(r"(?:^|[\s>+~,])[a-z]\w*", plain))


@pytest.fixture(scope="module", params=SHOWN)
def html(request):
    return NOUNS[request.param]()._repr_html_()


def test_all_that_can_be_shown_is_looked_at():
    assert {name for name, make in NOUNS.items() if hasattr(make(), "_repr_html_")} - {"Report"} == set(SHOWN)


def test_every_element_is_reset_before_it_is_styled(html):
    style = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    reset, rules = re.findall(r"^(\.vesalius(?::not\(#host\))+)\{", style, re.M)
    assert "&,& *:not(svg,svg *){all:revert}" in style[style.index(reset + "{") : style.index(rules + "{")]
    assert specificity(rules) > specificity(f"{reset} *:not(svg *)")
    for selector in HOST_SELECTORS:
        ids, classes, elements = specificity(selector)
        assert specificity(reset) >= (ids, 0, 0) and (specificity(reset) > (ids, classes, elements) or ids), selector
        assert specificity(rules) > (ids, classes, elements), selector


def test_nothing_stands_outside_of_what_is_reset(html, read):
    page = read(html)
    assert html.strip().startswith('<div class="vesalius">') and html.strip().endswith("</div>")
    assert page.elements[0] == ("div", {"class": "vesalius"})


def test_there_are_no_elements_that_hosts_lay_out_as_they_like(html, read):
    tags = {tag for tag, _ in read(html).elements}
    assert not tags & {
        "dl",
        "dt",
        "dd",
        "ul",
        "ol",
        "li",
        "pre",
        "code",
        "blockquote",
        "hr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "img",
        "a",
    }
