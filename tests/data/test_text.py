"""Reviews as word numbers."""

import pytest
import torch

from vesalius.data import load, text
from vesalius.data.text import Review


def review(*lines, test=False):
    return Review(tuple(tuple(line.split()) for line in lines), 1, test)


def test_words_are_ranked_by_the_number_of_texts_that_use_them():
    words = text.build_vocabulary([review("a b b b", "c"), review("c a"), review("a d")], most=3)
    assert words == ("", "?", "a", "c", "b")


def test_the_last_words_are_kept_and_short_texts_are_filled_in_front():
    rows = text.encode_texts([["a", "b", "z"], ["b"], []], ("", "?", "a", "b"), 2)
    assert rows.tolist() == [[3, 1], [0, 3], [0, 0]] and rows.dtype == torch.int64


def test_the_vocabulary_is_made_of_the_training_part(data_dir):
    found, reviews = load("reviews"), text.load_reviews()
    assert len(reviews) == 2000 and sum(one.test for one in reviews) == 200
    trained = {word for one in reviews if not one.test for line in one.sentences for word in line}
    assert set(found.words[2:]) <= trained and len(found.words) == text.VOCABULARY_SIZE + 2
    last = [word for line in next(one for one in reviews if one.test).sentences for word in line][-1]
    assert found.words[found.test_x[0, -1]] == last


@pytest.mark.parametrize("part", ["train", "test"])
def test_both_labels_are_equally_frequent(part, data_dir):
    assert getattr(load("reviews"), f"{part}_y").float().mean() == 0.5
