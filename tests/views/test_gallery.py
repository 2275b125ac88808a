"""Exhibits: maps, words and tables on scales of their own; a refusal is a sentence; nothing is lost where players are added up."""

import re

import pytest
import torch

from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.views import style
from vesalius.views.gallery import Exhibit, MethodAnswer, adds_up, exhibit_section, missing_section, overview_section
from vesalius.views.report import report

WORDS = ("not", "<b>good</b>", ".")
COLOURS = re.compile(r"background:(#\w{6});color:(#\w+)")


def exhibit(*answers, **shown):
    facts = {"heading": "One", "model": "a net", "outcome": style.Verdict("ok", "predicted 4"), "target": "class 4", "baseline": "zero"}
    given = [one if isinstance(one, MethodAnswer) else MethodAnswer(method=one.method, allocation=one) for one in answers]
    return Exhibit(**facts, unit="logits", answers=tuple(given), **shown)


def body(*answers, **shown):
    return str(exhibit_section(exhibit(*answers, **shown)).body)


def refused(method="grad_cam"):
    return MethodAnswer(method=method, refusal="there is no layer with <places>")


def hexed(value, scale):
    return style.to_hex(tuple(style.diverging_colours(torch.tensor(value).numpy(), scale).tolist()))


def test_maps_stand_beside_the_picture_each_with_its_gap_and_scale(pixels, give, read):
    coarse = give(Players.features(torch.zeros(4, 4)), torch.linspace(-8, 7, 16), gap=9.0, method="grad_cam")
    page = read(body(pixels, coarse, picture=torch.zeros(3, 2, 3)))
    assert len(page.all("figure")) == 3
    assert "Integrated gradients gap 0 64 evaluations 2 \N{MULTIPLICATION SIGN} 3 pixels scale \N{PLUS-MINUS SIGN}3" in page.text
    assert "Grad-CAM incomplete: gap 9 64 evaluations 4 \N{MULTIPLICATION SIGN} 4 places scale \N{PLUS-MINUS SIGN}8" in page.text


@pytest.mark.parametrize(
    "shown", [{"picture": torch.zeros(1, 2, 3)}, {"words": WORDS}, {"columns": (("age", "3"), ("sex", "f"), ("pay", "9"))}]
)
def test_a_refusal_is_shown_as_its_sentence(shown, pixels, table, read):
    page = read(body(pixels if "picture" in shown else table, refused(), **shown))
    assert "there is no layer with <places>" in page.text and "Grad-CAM refused" in page.text


def test_words_are_coloured_by_their_values_and_escaped(give, read):
    html = body(give(Players.features(torch.zeros(3)), [-2.0, 1.0, 0.0]), words=WORDS)
    assert [back for back, _ in COLOURS.findall(html)] == [hexed(-2.0, 2.0), hexed(1.0, 2.0), hexed(0.0, 2.0)]
    assert [front for _, front in COLOURS.findall(html)] == ["#fff", "#1c1f24", "#1c1f24"]
    assert "<b>good</b>" not in html and read(html).text.count("<b>good</b>") == 2


def test_values_of_vectors_are_added_up_over_words(give, read):
    vectors = give(Players.features(torch.zeros(3, 2)), [1.0, 2, 0, 0, -1, 0], method="smooth_grad")
    html = body(vectors, words=WORDS, parts=Players.tokens(torch.zeros(3, 1)))
    assert re.findall(r'title="([^"]+)"', html) == ["+3.00", "0", "\N{MINUS SIGN}1.00"]


def test_values_that_have_no_word_are_not_shown_on_one(give, read):
    units = give(Players.features(torch.zeros(5)), [1.0, 2, 3, 4, 5])
    page = read(body(units, words=WORDS, parts=Players.tokens(torch.zeros(3, 1))))
    assert "It values 5 features, and there are 3 words to show them on." in page.text
    channels = give(Players.channels(torch.zeros(3, 2, 2)), [1.0, 2.0, 3.0])
    assert "It values 3 channels, which have no places" in read(body(channels, picture=torch.zeros(3, 2, 2))).text


def test_the_smallest_columns_of_a_table_are_added_up(give, read):
    names = tuple((f"column {place}", str(place)) for place in range(12))
    one = give(Players.features(torch.zeros(12)), [float(place) for place in range(12)])
    page = read(body(one, columns=names))
    assert "column 11 11 column 10 10" in page.text and "4 others" in page.text and "column 3" not in page.text
    assert page.text.index("+11.0") < page.text.index("+4.00") < page.text.index("+6.00", page.text.index("+4.00"))  # 0 + 1 + 2 + 3


def test_one_hot_columns_are_added_up_over_the_column_they_were_made_from(give, read):
    groups = Players.segments(torch.tensor([0, 1, 1]), ("age", "sex"))
    fine = give(Players.features(torch.zeros(3)), [1.0, 2.0, -5.0], method="occlusion")
    page = read(body(fine, columns=(("age", "3"), ("sex", "f")), parts=groups))
    assert "sex f age 3" in page.text and "\N{MINUS SIGN}3.00 +1.00" in page.text


def test_a_few_extreme_pixels_do_not_hide_the_others(give, read):
    values = torch.ones(20, 20)
    values[0, 0] = 500.0
    text = read(body(give(Players.features(values), values), picture=torch.zeros(1, 20, 20))).text
    assert "scale \N{PLUS-MINUS SIGN}1" in text.replace("scale \N{PLUS-MINUS SIGN}1 ", "scale \N{PLUS-MINUS SIGN}1")
    lonely = torch.zeros(20, 20)
    lonely[3, 3] = 5.0
    assert "scale \N{PLUS-MINUS SIGN}5" in read(body(give(Players.features(lonely), lonely), picture=torch.zeros(1, 20, 20))).text


def test_the_overview_tells_who_adds_up(give, read):
    good = give(Players.features(torch.zeros(3)), [1.0, 2.0, 3.0])
    bad = give(Players.features(torch.zeros(3)), [1.0, 2.0, 3.0], gap=2.0, method="occlusion")
    page = read(str(overview_section([exhibit(good, bad, refused(), words=WORDS)]).body))
    assert "Shapley value complete Occlusion 25 % Grad-CAM refused" in page.text
    assert (
        adds_up(MethodAnswer(method="a", allocation=good))
        and not adds_up(MethodAnswer(method="a", allocation=bad))
        and not adds_up(refused())
    )


def test_what_was_absorbed_on_the_way_is_named(give, read):
    absorbed = {"bias": torch.tensor(2.9), "one_sided": torch.tensor(0.1), "stabiliser": torch.tensor(1e-6)}
    kept = give(Players.features(torch.zeros(3)), [1.0, 2.0, 3.0], gap=2.0, absorbed=absorbed, method="lrp_epsilon")
    assert style.gap_verdict(kept) == style.Verdict("warn", "+3.00 absorbed by biases and one-sided neurons")
    assert "LRP \N{GREEK SMALL LETTER EPSILON} accounted" in read(str(overview_section([exhibit(kept, words=WORDS)]).body)).text
    lost = give(Players.features(torch.zeros(3)), [1.0, 2.0, 3.0], gap=2.0, absorbed={"bias": torch.tensor(1.0)})
    assert style.gap_verdict(lost).level == "bad"


def test_a_report_takes_exhibits_and_says_what_is_missing(give, read):
    good = give(Players.features(torch.zeros(3)), [1.0, 2.0, 3.0])
    page = read(report([exhibit(good, words=WORDS), missing_section([("photo", "there is no <file>")])], title="All").html)
    assert "photo : there is no <file>" in page.text and "Shapley value" in page.text


def test_what_is_no_exhibit_is_refused(pixels, batch):
    with pytest.raises(InvalidInput, match="at least one answer"):
        exhibit(words=WORDS)
    with pytest.raises(InvalidInput, match="one of a picture, words and columns"):
        exhibit(pixels)
    with pytest.raises(InvalidInput, match="either gives an allocation or refuses"):
        MethodAnswer(method="occlusion")
    with pytest.raises(InvalidInput, match="batch of 6"):
        MethodAnswer(method="occlusion", allocation=batch)
