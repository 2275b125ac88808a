"""What is drawn of an audit: the numbers of its records, by rank."""

from dataclasses import replace

import pytest

from vesalius.core.errors import WrongType
from vesalius.views.audit.captions import describe_setting, format_share
from vesalius.views.audit.chart_data import FAITHFULNESS_COLUMN, agreement_sentence, audit_columns, method_rows, method_tiers, require_audit


def test_numbers_are_those_of_the_records(judged):
    columns = audit_columns(judged)
    for line, (rank, method) in zip(method_rows(judged), judged.ranking(), strict=True):
        assert line.rank == rank
        record = judged[method]
        for column, number in zip(columns, line.numbers, strict=True):
            assert repr(number.value) == repr(getattr(record.faithfulness if column is FAITHFULNESS_COLUMN else record, column.name))
            assert number.share == (min(max(number.value, 0), 1) if number.value == number.value else 0)


def test_verdicts_name_the_broken_principles(judged, drawn):
    words = {line.name: line.verdict for line in method_rows(judged)}
    assert words["Integrated gradients"].level == "ok" and words["Integrated gradients"].text == "holds all three"
    assert words["Occlusion"].text == "breaks P3" and words["Occlusion (patch)"].text == "breaks P2 and P3"
    words = {line.name: line.verdict.text for line in method_rows(drawn)}
    assert words["Integrated gradients"] == "no violation found" and words["Occlusion"] == "breaks P1 or P3"


def test_methods_that_say_the_same_are_named_together(judged):
    twin = replace(judged.records["occlusion"], method="prediction_difference")
    both = replace(judged, records={**judged.records, "prediction_difference": twin}, tiers=(*judged.tiers, ("prediction_difference",)))
    names = [names for names, _ in method_tiers(both)]
    assert "Occlusion and Prediction difference" in names
    assert [sentence for _, sentence in method_tiers(judged)] == list(dict.fromkeys(judged.sentences().values()))


def test_numbers_as_they_are_printed(judged):
    number = method_rows(judged)[0].numbers[0]
    cases = [(0.4, False, "0.40"), (0.0004, False, "<0.01"), (1e-12, True, "0"), (250.4, False, "250"), (-0.5, None, "\N{MINUS SIGN}0.50")]
    for value, held, words in cases:
        assert format_share(replace(number, value=value, held=held)) == words
    assert format_share(replace(number, value=float("nan"), held=None)) == "\N{EN DASH}"


def test_agreement_is_said_where_it_is_known(judged):
    assert "over 5 methods" in agreement_sentence(judged) and "(infidelity)" in agreement_sentence(judged)
    nothing = replace(judged.agreement, rho={"infidelity": float("nan")})
    assert agreement_sentence(replace(judged, agreement=nothing)) == ""


def test_how_it_was_done(judged, drawn):
    assert describe_setting(judged) == "all 16 coalitions of 4 patches, class 1, baseline constant 0"
    assert "coalitions drawn at random of 16 features" in describe_setting(drawn)


@pytest.mark.usefixtures("as_a_user")
def test_only_audits(table):
    with pytest.raises(WrongType, match="not Allocation"):
        require_audit(table, "it")
