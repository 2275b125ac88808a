"""A survey on a page, in a notebook and in a paper: every number is the survey's, and a million rows are a picture of the same size."""

import time

import numpy as np
import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput
from vesalius.scale import BeeswarmCells, SurveyOptions, beeswarm_cells, dependence, explanation_drift
from vesalius.views.report import section_of
from vesalius.views.survey.chart_data import (
    STRIP,
    beeswarm_picture,
    cohort_tables,
    dependence_picture,
    importance_bars,
    survey_overview,
)
from vesalius.views.survey.charts import plot_class_maps


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Four columns, one of them called by a tag, with labels."""
    rows = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).eval()
    options = SurveyOptions(shard_rows=50, names=["age", "<b>bold</b>", "$5", "sex"])
    return vs.survey(
        model,
        (rows, (rows[:, 0] > 0).long()),
        "gradient_x_input",
        out=tmp_path_factory.mktemp("table"),
        classes=["no & never", "yes"],
        options=options,
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    x = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
    return vs.survey(model, (x, torch.arange(40) % 3), "gradient_x_input", out=tmp_path_factory.mktemp("pictures"))


def test_bars_are_means_with_intervals(table):
    bars = importance_bars(table.summary())
    values = np.abs(table[:].values.double().numpy())
    assert [bar.size for bar in bars] == pytest.approx(sorted(values.mean(0), reverse=True))
    names = ["age", "<b>bold</b>", "$5", "sex"]
    for bar in bars:
        own = values[:, names.index(bar.name)]
        assert bar.error == pytest.approx(1.96 * own.std(ddof=1) / 120**0.5)


def test_the_page_shows_all_of_it(table):
    html = vs.report(table, title="Everything").html
    for words in ("Whole data set", "mean size of its values", "by label", "by predicted", "by error", "no &amp; never (", "rows like row"):
        assert words in html, words
    assert "<b>bold" not in html and "&lt;b&gt;bold" in html and "$5" in html
    assert section_of(table).sources[0]["model"] == "Sequential"
    short = table._repr_html_()
    assert "gradient x input of 120 rows" in short and "<b>bold" not in short


def test_pictures_have_mean_maps(pictures):
    shown = survey_overview(pictures)
    values = pictures[:].values.double().numpy()[:, 0]
    np.testing.assert_allclose(shown.sizes, np.abs(values).mean(0), rtol=1e-6)
    labels = np.array(pictures.column("label"))
    for label, found in zip(range(3), shown.maps.values(), strict=True):
        np.testing.assert_allclose(found, values[labels == label].mean(0), rtol=1e-5, atol=1e-8)
    assert shown.swarm is None and "label 2 (13)" in vs.report(pictures, title="Maps").html


def test_cohorts_are_means_of_their_rows(table):
    by_error = {one.by: one for one in cohort_tables(table, table.summary())}["error"]
    wrong = table.where(error=True).values.double().mean(0)
    place = by_error.names.index(next(name for name in by_error.names if name.startswith("wrong")))
    order = np.argsort(-table.summary().importance.mean, kind="stable")
    np.testing.assert_allclose(by_error.means[:, place], wrong[torch.from_numpy(order)], rtol=1e-6)


def test_a_swarm_is_thick_where_many_rows_are():
    counts = np.zeros((1, 5, 2), np.int64)
    counts[0, 1] = 900, 100
    counts[0, 3] = 0, 10
    cells = BeeswarmCells(names=("a",), importance=np.ones(1), edges=np.linspace(-1, 1, 6), counts=counts, rows=1010)
    picture = beeswarm_picture(cells)
    drawn = (picture != picture[0, 0]).any(2)
    assert picture.shape == (STRIP, 5, 3) and drawn.sum(0).tolist()[::2] == [0, 0, 0]
    assert drawn[:, 1].sum() == STRIP - 4 and drawn[:, 3].sum() == round((STRIP - 4) * 0.1**0.5 * 0.1**0.5)
    red = picture[drawn[:, 1], 1][:, 0] > 128
    assert red.sum() == round(0.1 * (STRIP - 4)) and red[0], "the few high ones are on top"


def test_a_million_rows_make_a_picture_of_the_same_size():
    counts = np.random.default_rng(0).multinomial(1_000_000, np.full(160 * 8, 1 / 1280), size=12).reshape(12, 160, 8)
    cells = BeeswarmCells(names=tuple("abcdefghijkl"), importance=np.ones(12), edges=np.linspace(-1, 1, 161), counts=counts, rows=10**6)
    began = time.process_time()
    assert beeswarm_picture(cells).shape == (12 * STRIP, 160, 3)
    assert time.process_time() - began < 60, "not frozen"


def test_dependence_has_a_cell_where_there_are_rows(table):
    shown = dependence(table, "age", by="sex")
    picture, x, y = dependence_picture(shown)
    assert x == (shown.x.min(), shown.x.max()) and y == (shown.y.min(), shown.y.max())
    filled = (picture != 255).any(2)
    assert 20 < filled.sum() <= 120 and filled[:, 0].any() and filled[:, -1].any()


def test_figures_are_drawn(table, pictures):
    assert [bar.get_width() for bar in table.plot().axes[0].patches[:1]] == pytest.approx([table.summary().top(1)[0][1]])
    assert pictures.plot(title="mine").axes[0].get_title(loc="left") == "mine"
    assert len(plot_class_maps(pictures).axes) == 3
    with pytest.raises(InvalidInput, match=r"survey\.plot"):
        plot_class_maps(table)
    assert beeswarm_cells(table).plot().axes[0].get_yticklabels()[0].get_text() in ("age", "<b>bold</b>", r"\$5", "sex")
    assert dependence(table, "$5").plot().axes[0].get_xlabel() == r"\$5"


def test_drift_is_a_section(table):
    html = vs.report(explanation_drift(table, table), title="Drift").html
    assert "0 of 4 values changed" in html


def test_tokens_and_coalitions_are_shown(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(12, 2)).eval()
    ids = torch.randint(0, 7, (30, 4), generator=torch.Generator().manual_seed(0))
    found = vs.survey(model, ids, "occlusion", out=tmp_path / "tokens", target=1)
    shown = survey_overview(found)
    assert set(shown.tokens) <= set(range(7)) and "Tokens with the largest mean size" in vs.report(found, title="Words").html
    sizes = found[:].values.abs()
    for token, one in shown.tokens.items():
        assert one.size == pytest.approx(float(sizes[ids == token].double().mean()), rel=1e-5) and one.count == int((ids == token).sum())
    pairs = vs.survey(nn.Linear(3, 2).eval(), torch.randn(20, 3), "interactions", out=tmp_path / "pairs", target=0)
    assert "feature 0 &amp; feature 1" in vs.report(pairs, title="Pairs").html
