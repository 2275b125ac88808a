"""What there is to draw: sums are kept, whatever is folded, placed or put side by side."""

from dataclasses import replace
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players
from vesalius.views import chart_data


def alone(players, values, gap=0.0):
    values = torch.as_tensor(values, dtype=torch.float64).reshape(players.shape)
    base = torch.tensor(1.0, dtype=torch.float64)
    return Allocation(players=players, values=values, base=base, total=base + values.sum() + gap)


def test_features_of_several_channels_are_added_up_per_pixel():
    allocation = alone(Players.features(torch.zeros(3, 2, 2)), torch.arange(12.0))
    assert chart_data.heatmap_values(allocation).tolist() == [[12, 15], [18, 21]]


def test_patches_are_shown_as_blocks():
    allocation = alone(Players.patches(torch.zeros(3, 2, 4), (2, 2)), [5.0, -1.0])
    assert chart_data.heatmap_values(allocation).tolist() == [[5, 5, -1, -1]] * 2


def test_a_segment_over_all_channels_counts_once_and_bystanders_are_zero():
    labels = torch.tensor([[0, 0, 1], [-1, 1, 1]]).expand(3, 2, 3)
    allocation = alone(Players.segments(labels), [4.0, 6.0])
    assert chart_data.heatmap_values(allocation).tolist() == [[4, 4, 6], [0, 6, 6]]
    assert chart_data.heatmap_values(allocation, per_pixel=True).tolist() == [[2, 2, 2], [0, 2, 2]]


@given(st.integers(1, 4), st.integers(2, 7), st.integers(2, 7), st.integers(1, 5), st.integers(0, 99))
def test_values_per_pixel_keep_their_sum(channels, height, width, size, seed):
    sample = torch.zeros(channels, height, width)
    draw = torch.Generator().manual_seed(seed)
    for players in (Players.features(sample), Players.patches(sample, min(size, height, width))):
        values = torch.randn(players.n, generator=draw, dtype=torch.float64)
        image = chart_data.heatmap_values(alone(players, values), per_pixel=True)
        assert image.shape == (height, width)
        np.testing.assert_allclose(image.sum(), float(values.sum()), atol=1e-12)


@pytest.mark.parametrize(
    "players",
    [
        Players.features(torch.zeros(4)),
        Players.tokens(torch.zeros(4, 2)),
        Players.channels(torch.zeros(4, 2, 2)),
        Players.segments(torch.tensor([0, 1, 2, 3])),
        Players.features(torch.zeros(2), torch.zeros(2)),
    ],
    ids=["features", "tokens", "channels", "columns", "two inputs"],
)
def test_what_divides_no_image_has_no_map(players):
    assert chart_data.heatmap_values(alone(players, torch.ones(4))) is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(2, 8))
def test_rows_fall_in_size_and_folding_keeps_the_sum(values, most):
    rows = chart_data.ranked_values(alone(Players.features(torch.zeros(len(values))), values), most=most)
    assert len(rows) == min(len(values), most)
    np.testing.assert_allclose(sum(row.value for row in rows), sum(values), atol=1e-9)
    named = [abs(row.value) for row in rows if row.position is not None]
    assert named == sorted(named, reverse=True)
    assert (rows[-1].name == f"{len(values) - most + 1} others") == (len(values) > most)


def test_rows_carry_names_errors_and_coalitions(table):
    rows = chart_data.ranked_values(table)
    assert [(row.name, row.value) for row in rows] == [("petal length", 3.0), ("sepal length", -2.0), ("petal width", 0.5)]
    assert [row.stderr for row in rows] == pytest.approx([0.3, 0.2, 0.1])
    together = replace(table, coalitions=torch.tensor([[True, True, False]]), values=torch.tensor([1.0]), stderr=None)
    assert [row.name for row in chart_data.ranked_values(together)] == ["petal width & sepal length"]


def test_lines_match_by_name_and_keep_the_columns_sums():
    one = alone(Players.features(torch.zeros(3), names=("a", "b", "c")), [1.0, -4.0, 2.0])
    other = alone(Players.features(torch.zeros(3), names=("c", "d", "a")), [10.0, 0.5, 3.0])
    lines = chart_data.aligned_rows([one, other], most=3)
    assert [line.name for line in lines] == ["c", "b", "2 others"]
    assert [[cell and cell.value for cell in line.cells] for line in lines] == [[2.0, 10.0], [-4.0, None], [1.0, 3.5]]


def test_tokens_of_the_same_name_stay_apart():
    twins = alone(Players.tokens(torch.zeros(2, 1), names=("x", "x")), [1.0, 2.0])
    lines = chart_data.aligned_rows([twins, twins])
    assert [[cell.value for cell in line.cells] for line in lines] == [[2.0, 2.0], [1.0, 1.0]]


def test_what_is_no_number_comes_first():
    broken = alone(Players.features(torch.zeros(3)), [5.0, float("nan"), 9.0])
    assert [row.name for row in chart_data.ranked_values(broken)] == ["feature 1", "feature 2", "feature 0"]
    assert [line.name for line in chart_data.aligned_rows([broken, broken])] == ["feature 1", "feature 2", "feature 0"]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.floats(-5, 5))
def test_steps_lead_from_base_to_total_without_a_break(values, gap):
    allocation = alone(Players.features(torch.zeros(len(values))), values, gap)
    steps = chart_data.waterfall_steps(allocation, most=6)
    assert (steps[0].part, steps[-1].part) == ("base", "total")
    assert steps[-1].end == float(allocation.total)
    for before, after in pairwise(steps[:-1]):
        assert after.start == pytest.approx(before.end)
    shown = [step.part for step in steps].count("gap")
    assert shown == (chart_data.gap_verdict(allocation).level != "ok")
    if shown:
        assert steps[-2].end == steps[-1].end


def test_scale_is_shared_and_never_zero():
    assert chart_data.symmetric_scale([np.array([1.0, -3.0]), np.array([2.0])]) == 3.0
    assert chart_data.symmetric_scale([np.zeros(3)]) == 1.0
    assert chart_data.symmetric_scale([np.array([np.nan, 2.0, np.inf])]) == 2.0
    assert chart_data.symmetric_scale([]) == 1.0


def test_a_batch_or_another_thing_is_refused(batch):
    with pytest.raises(InvalidInput, match=r"batch of 6; take allocation\[i\]"):
        chart_data.require_single_sample(batch, "plot")
    with pytest.raises(WrongType, match="not list"):
        chart_data.require_single_sample([1], "plot")
