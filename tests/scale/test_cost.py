"""What a survey will take: the form of the model of time. How true it is, ``benchmarks/survey_cost.py`` measures."""

import pytest

import vesalius as vs
from tests.scale.conftest import small
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.scale import SurveyCost, survey_cost
from vesalius.scale.cost import START_SECONDS, duration


def cost(**changed):
    known = {"rows": 1000, "method": 0.01, "stderr": 0.001, "processor": 0.008, "overhead": 0.002, "evaluations": 7.0, "bytes": 50.0}
    return SurveyCost(**{**known, "pilot": 64, **changed})


def test_time_is_a_sum_over_rows_and_the_driver_its_limit():
    one = cost()
    assert one.seconds() == pytest.approx(12) and one.seconds(2000) == pytest.approx(24) and one.disk(2000) == 100_000
    assert one.seconds(workers=2) == pytest.approx(START_SECONDS + 6) and one.seconds(workers=1000) == pytest.approx(START_SECONDS + 2)
    low, high = one.interval()
    assert (low, high) == (pytest.approx(12 - 1.96), pytest.approx(12 + 1.96))
    assert "1,000 rows: 12 s (10 s to 14 s)" in repr(one) and "10,000,000 rows" in repr(one)
    assert [duration(seconds) for seconds in (1.5, 300, 7200, 1e6)] == ["1.5 s", "5 min", "2 h", "11.6 days"]
    with pytest.raises(InvalidInput, match="not known; name a number of rows"):
        cost(rows=None).seconds()


def test_a_pilot_counts_what_the_survey_counts(model, rows, tmp_path):
    found = survey_cost(model, (row[None] for row in rows), "occlusion", target=1, pilot=80, options=small())
    done = vs.survey(model, rows, "occlusion", target=1, out=tmp_path, options=small(shard_rows=80))
    assert found.rows is None and found.evaluations == float(done[:].evaluations.double().mean()) == 7 and found.pilot == 80
    assert found.bytes == pytest.approx((tmp_path / done.shards[0].file).stat().st_size / 80, rel=0.05)
    assert found.method > 0 and found.processor > 0 and found.overhead > 0 and found.stderr >= 0


def test_sums_and_texts_have_a_cost(model, rows):
    assert survey_cost(model, rows, "link_importance", options=small()).evaluations == 0


def test_what_foretells_nothing_is_refused(model, rows):
    with pytest.raises(InvalidInput, match="7 rows, too few"):
        survey_cost(model, rows[:7])
    with pytest.raises(InvalidInput, match="pilot"):
        survey_cost(model, rows, pilot=2)
    with pytest.raises(UnknownName, match="occlusion"):
        survey_cost(model, rows, "oclusion")
