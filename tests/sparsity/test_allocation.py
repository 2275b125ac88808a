"""How many links each layer keeps, and which."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.reference import pruning
from vesalius.sparsity.pruning.allocation import count_for_level, counts_from_importance_level, counts_from_sparsity, erk, top_k_mask

NUMBERS = st.lists(st.integers(0, 9), min_size=1, max_size=20)


@given(NUMBERS, st.integers(1, 20))
@example([3] * 40, 7)  # ties that a sort which is not stable puts into another order; shorter lists it leaves alone
def test_the_highest_are_kept_and_of_equal_ones_the_first(numbers, count):
    kept = top_k_mask(torch.tensor([numbers], dtype=torch.float64), min(count, len(numbers)))
    assert kept[0].tolist() == pruning.top_mask(numbers, count)


@given(NUMBERS.filter(lambda numbers: sum(numbers) > 0), st.sampled_from([0.1, 0.5, 0.8, 0.95, 1.0]))
def test_the_shortest_prefix_that_reaches_a_level(numbers, level):
    scores = torch.tensor([numbers], dtype=torch.float64)
    count = int(count_for_level(scores, level))
    assert count == pruning.shortest_prefix(numbers, level)
    kept = top_k_mask(scores, count)
    assert float(scores[kept].sum()) >= level * sum(numbers)
    assert count == 1 or float(scores[kept].sum() - scores[kept].min()) < level * sum(numbers)


def test_a_level_of_one_keeps_all_that_matters():
    scores = torch.tensor([[3.0, 0.0], [1.0, 2.0]])
    assert top_k_mask(scores, int(count_for_level(scores.reshape(1, -1), 1.0))).tolist() == [[True, False], [True, True]]


def test_units_keep_links_of_their_own():
    scores = torch.tensor([[9.0, 8.0, 7.0], [1.0, 2.0, 3.0]])
    assert top_k_mask(scores, torch.tensor([1, 2])).tolist() == [[True, False, False], [False, True, True]]


def test_what_was_cut_stays_cut():
    scores, among = torch.tensor([[5.0, 4.0, 3.0]]), torch.tensor([[False, True, True]])
    assert top_k_mask(scores, 1, among).tolist() == [[False, True, False]]
    assert top_k_mask(scores, 3, among).tolist() == [[False, True, True]]


def test_small_layers_are_kept_denser():
    """The densities of a 784-256-64-256-784 autoencoder at 90 %, as published with the recipe."""
    found = erk([(256, 784), (64, 256), (256, 64), (784, 256)], 0.1)
    assert found == pytest.approx([0.083, 0.312, 0.312, 0.083], abs=1e-3)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=5), st.floats(0.02, 1))
def test_densities_add_up(shapes, density):
    sizes = [units * links for units, links in shapes]
    found = erk(shapes, density)
    assert all(0 < one <= 1 for one in found)
    assert sum(one * size for one, size in zip(found, sizes, strict=True)) == pytest.approx(density * sum(sizes), rel=1e-6)


SCORES = {"a": torch.tensor([[10.0, 1.0], [1.0, 1.0]]), "b": torch.tensor([[0.3, 0.2, 0.1, 0.1]])}
SHAPES = {name: tuple(one.shape) for name, one in SCORES.items()}


@pytest.mark.parametrize(
    ("allocation", "counts"),
    [("uniform", {"a": 2, "b": 2}), ("raw", {"a": 4, "b": 1}), ("global", {"a": 1, "b": 3}), ("level", {"a": 1, "b": 3})],
)
def test_a_sparsity_is_shared_out(allocation, counts):
    assert counts_from_sparsity(SHAPES, 0.5, allocation, lambda: SCORES) == counts


def test_scores_are_not_asked_for_where_sizes_decide():
    def never():
        raise AssertionError

    assert sum(counts_from_sparsity(SHAPES, 0.5, "erk", never).values()) == 4


@pytest.mark.parametrize(("scope", "counts"), [("layer", {"a": 1, "b": 3}), ("global", {"a": 2, "b": 1})])
def test_a_level_is_of_the_layer_or_of_all(scope, counts):
    assert counts_from_importance_level(SCORES, {"a": 0.75, "b": 0.75}, scope) == counts


def test_a_level_of_each_unit():
    assert counts_from_importance_level(SCORES, {"a": 0.75, "b": 0.75}, "row")["a"].tolist() == [1, 2]
