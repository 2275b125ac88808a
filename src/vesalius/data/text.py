"""Movie reviews as word numbers, with the vocabulary of the training part."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from vesalius.core.errors import ForeignFile
from vesalius.data.download import DataFile, fetch

REVIEWS_ARCHIVE = DataFile(
    path="text/review_polarity.tar.gz",
    sha256=("fc0dccc2671af5db3c5d8f81f77a1ebfec953ecdd422334062df61ede36b2179",),
    url="https://www.cs.cornell.edu/people/pabo/movie-review-data/review_polarity.tar.gz",
)
LABEL_FOLDERS = ("neg", "pos")
TEST_FOLD_PREFIX = "cv9"
"""How the files of the tenth of the ten folds begin."""

PAD_TOKEN, UNKNOWN_TOKEN = 0, 1
"""Numbers of what stands before a short text, and of words outside the vocabulary."""

VOCABULARY_SIZE = 10_000
REVIEW_LENGTH = 400
"""Words kept of a review: its last ones, in which the verdict usually stands."""


@dataclass(frozen=True, eq=False)
class Review:
    """One review.

    Attributes:
        sentences: each as its words, punctuation included, in lower case.
        label: 1 if it recommends the film.
        test: whether it belongs to the test part.
    """

    sentences: tuple[tuple[str, ...], ...]
    label: int
    test: bool


def load_reviews(*, cache: Path | None = None) -> list[Review]:
    """All 2000 reviews, in the order of their names. Reference: Pang2004.

    Raises:
        MissingData, ForeignFile: the file is not here, or is not what it should be.
    """
    found = {}
    with tarfile.open(fetch(REVIEWS_ARCHIVE, cache=cache)) as archive:
        for entry in archive:
            folder, _, name = entry.name.partition("/")[2].partition("/")
            if entry.isfile() and folder in LABEL_FOLDERS and (file := archive.extractfile(entry)) is not None:
                lines = file.read().decode("latin-1").splitlines()
                sentences = tuple(tuple(line.split()) for line in lines if line.strip())
                found[entry.name] = Review(sentences, LABEL_FOLDERS.index(folder), name.startswith(TEST_FOLD_PREFIX))
    if not found:
        raise ForeignFile(f"{REVIEWS_ARCHIVE.path} holds no reviews; expected files such as txt_sentoken/pos/cv000_29590.txt")
    return [found[name] for name in sorted(found)]


def build_vocabulary(texts: Sequence[Review], most: int = VOCABULARY_SIZE) -> tuple[str, ...]:
    """Words by number: nothing, the unknown word, then the words in most of the texts, ties in alphabetical order."""
    counts = Counter(word for text in texts for word in {word for sentence in text.sentences for word in sentence})
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return ("", "?", *ranked[:most])


def encode_texts(texts: Sequence[Sequence[str]], words: Sequence[str], length: int) -> Int[Tensor, "texts length"]:
    """Texts as word numbers: the last ``length`` words of each, shorter ones with ``PAD_TOKEN`` in front."""
    known = {word: number for number, word in enumerate(words)}
    rows = torch.full((len(texts), length), PAD_TOKEN)
    for row, text in zip(rows, texts, strict=True):
        numbers = [known.get(word, UNKNOWN_TOKEN) for word in text[-length:]]
        if numbers:
            row[-len(numbers) :] = torch.tensor(numbers)
    return rows
