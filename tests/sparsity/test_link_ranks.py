"""The two sets at an importance level, and a link's place among them."""

import pytest
import torch

from vesalius.core.errors import InvalidInput
from vesalius.sparsity import LinkImportance
from vesalius.sparsity.importance_result import LayerImportance
from vesalius.sparsity.link_ranks import important_links, rank_link

SCORES = torch.tensor([[5.0, 1.0, 0.0], [2.0, 0.5, 1.5]], dtype=torch.float64)


def test_a_link_is_important_at_every_level_above_what_stronger_ones_carry():
    for row in range(2):
        for column in range(3):
            found = rank_link("fc", SCORES, (row, column))
            stronger = SCORES[SCORES.gt(SCORES[row, column])]
            assert found.rank == len(stronger) + 1
            assert found.level == pytest.approx(float(stronger.sum()) / 10)
            assert found.share == pytest.approx(float(SCORES[row, column]) / 10)
            for level in (found.level - 1e-6, found.level + 1e-6):
                if 0 < level <= 1:
                    assert bool(important_links("fc", SCORES, level)[row, column]) == (level > found.level)


def test_a_sentence_says_what_became_of_the_link():
    mask = SCORES > 1
    assert str(rank_link("fc", SCORES, (1, 0), mask)) == (
        "Link [1, 0] of fc is number 2 of 6 and carries 20.00% of the layer's importance; the stronger ones carry 50.0%, so that it is"
        " among the important ones at levels above that. It stayed."
    )
    assert str(rank_link("fc", SCORES, (0, 1), mask)).endswith("It was cut.")


def test_kernels_are_ranked_by_all_of_their_axes():
    scores = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert rank_link("conv", scores, (1, 2, 1, 1)).rank == 1
    assert rank_link("conv", scores, (0, 1, 0, 1)).rank == 24 - 5


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("index", [(0,), (2, 0), (0, -1), (0, 1.0)])
def test_no_such_link(index):
    with pytest.raises(InvalidInput, match=r"weight's shape \[2, 3\]"):
        rank_link("fc", SCORES, index)


@pytest.mark.usefixtures("as_a_user")
def test_what_has_no_shares_is_refused():
    with pytest.raises(InvalidInput, match="below 0"):
        important_links("fc", -SCORES, 0.5)
    with pytest.raises(InvalidInput, match="importance_level"):
        important_links("fc", SCORES, 1.5)


def importance(**facts):
    layer = LayerImportance(
        name="fc", values=SCORES, stderr=None, axes=(0, 1), groups=1, estimator="exact", activation="relu", error=0.0, rows=9
    )
    return LinkImportance(layers={"fc": layer}, provenance=facts)


def test_the_result_knows_both():
    shown = importance()
    assert shown["fc"].important_links(0.7).tolist() == [[True, False, False], [True, False, False]]
    assert shown["fc"].rank(0, 0).rank == 1


def test_names_of_columns_are_kept_in_a_file(tmp_path):
    path = importance(features=["a", "b", "c"]).save(tmp_path / "links.safetensors")
    assert LinkImportance.load(path).features == ("a", "b", "c")
