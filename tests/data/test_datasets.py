"""The data sets as published: sizes, splits, ranges; and what is said when files are missing or wrong."""

import io
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.core.errors import ForeignFile, UnknownName
from vesalius.data import DATASETS, MissingData, datasets, load
from vesalius.data.download import DataFile, fetch

BUNDLED = {"iris": (150, (4,), 3), "wine": (178, (13,), 3), "breast_cancer": (569, (30,), 2), "digits": (1797, (1, 8, 8), 10)}


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No data folder, and a download that fails as it does without a connection."""
    monkeypatch.delenv("VESALIUS_DATA", raising=False)

    def refuse(*args, **kwargs):
        raise OSError("no connection")

    monkeypatch.setattr("pooch.retrieve", refuse)
    return tmp_path


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_whole_and_split_alike_in_every_class(name):
    rows, event, classes = BUNDLED[name]
    found = load(name)
    assert len(found.train_x) + len(found.test_x) == rows
    assert found.train_x.shape[1:] == found.test_x.shape[1:] == event
    assert len(found.class_names) == classes and len(found.feature_names) in (0, *event)
    assert found.train_x.dtype == torch.float32 and found.train_y.dtype == torch.int64
    share = found.test_y.bincount() / (found.test_y.bincount() + found.train_y.bincount())
    assert ((share > 0.22) & (share <= 0.25)).all()


def test_digits_are_pictures_in_0_to_1():
    digits = load("digits")
    assert digits.picture and digits.train_x.min() == 0 and digits.train_x.max() == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_a_stratified_split_takes_every_fourth_of_each_class(labels):
    y = torch.tensor(labels)
    test = datasets.stratified_test_mask(y)
    for label in set(labels):
        assert test[y == label].tolist() == [place % 4 == 3 for place in range(labels.count(label))]


def test_an_unknown_set_is_named_with_near_ones():
    with pytest.raises(UnknownName, match=r"'minst'.*'mnist'"):
        load("minst")


@pytest.mark.parametrize("name", ["banknote", "german", "cifar10_subset", "reviews"])
def test_a_missing_set_says_where_it_was_looked_for(name, nowhere):
    with pytest.raises(MissingData, match=rf"looked for {nowhere}.*VESALIUS_DATA is not set.*could not be fetched \(no connection\)"):
        load(name, cache=nowhere)


def test_a_file_published_nowhere_is_not_fetched(nowhere):
    with pytest.raises(MissingData, match="published nowhere"):
        fetch(DataFile(path="a/b.npz", sha256=("0",)), cache=nowhere)


def test_a_file_with_other_contents_is_refused(nowhere):
    (nowhere / "banknote").mkdir()
    (nowhere / "banknote/data_banknote_authentication.txt").write_text("1,2,3,4,0\n")
    with pytest.raises(ForeignFile, match=r"not the file expected.*replace or remove"):
        load("banknote", cache=nowhere)


def test_the_data_folder_is_looked_in_before_the_cache(monkeypatch, tmp_path):
    source = DataFile(
        path="part/file", sha256=("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",), other_paths=("other",)
    )
    for folder in ("data/part", "cache/part"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text("abc")
    monkeypatch.setenv("VESALIUS_DATA", str(tmp_path / "data"))
    assert fetch(source, cache=tmp_path / "cache") == tmp_path / "data/part/file"
    (tmp_path / "data/part/file").rename(tmp_path / "data/other")
    assert fetch(source, cache=tmp_path / "cache") == tmp_path / "data/other"
    (tmp_path / "data/other").unlink()
    assert fetch(source, cache=tmp_path / "cache") == tmp_path / "cache/part/file"


def test_a_download_is_asked_for_with_the_address_and_the_hash(monkeypatch, tmp_path):
    monkeypatch.delenv("VESALIUS_DATA", raising=False)
    asked = []
    monkeypatch.setattr("pooch.retrieve", lambda url, known, **rest: asked.append((url, known, rest["fname"], rest["path"])))
    found = fetch(DataFile(path="part/file", sha256=("beef", "cafe"), url="https://example.org/file"), cache=tmp_path)
    assert asked == [("https://example.org/file", "sha256:beef", "file", tmp_path / "part")] and found == tmp_path / "part/file"


def test_the_original_cifar_archive_gives_the_same_layout(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4000, 3, 32, 32), dtype=np.uint8)
    records = np.concatenate([(np.arange(4000) % 10).astype(np.uint8)[:, None], pixels.reshape(4000, -1)], 1)
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz", compresslevel=1) as archive:
        for name, rows in (("data_batch_1.bin", 4000), ("test_batch.bin", 1500)):
            content = records[:rows].tobytes()
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    parts = datasets._read_cifar_archive(tmp_path / "cifar.tar.gz")
    assert {part: len(labels) for part, (_, labels) in parts.items()} == {"train": 4000, "test": 1000}
    assert (parts["train"][0] == pixels).all() and parts["test"][1].tolist() == [i % 10 for i in range(1000)]


def test_german_reads_the_original_separated_by_spaces(tmp_path):
    (tmp_path / "a").write_text("A11 6 A34\nA12 48 A32\n\n|comment\n")
    (tmp_path / "b").write_text("A11,6, A34\nA12,48, A32\n")
    assert datasets._read_rows(tmp_path / "a") == datasets._read_rows(tmp_path / "b") == [["A11", "6", "A34"], ["A12", "48", "A32"]]


def test_categories_become_columns_known_from_the_training_part():
    features, encode = datasets._one_hot_encoder([["3", "red"], ["4", "blue"]], ["size", "colour*"])
    assert features == ("size", "colour=blue", "colour=red")
    assert encode([["5", "red"], ["6", "green"]]).tolist() == [[5, 0, 1], [6, 0, 0]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "train", "test", "event", "counts"),
    [
        ("banknote", 1030, 342, (4,), [762, 610]),
        ("german", 750, 250, (61,), [700, 300]),
        ("reviews", 1800, 200, (400,), [1000, 1000]),
        ("adult", 32561, 16281, (108,), [37155, 11687]),
        ("cifar10_subset", 4000, 1000, (3, 32, 32), None),
        ("mnist", 60000, 10000, (1, 28, 28), None),
        ("fashion_mnist", 60000, 10000, (1, 28, 28), [7000] * 10),
    ],
)
def test_sets_from_files_are_whole(name, train, test, event, counts, data_dir):
    found = load(name)
    assert (len(found.train_x), len(found.test_x), tuple(found.train_x.shape[1:])) == (train, test, event)
    assert len(found.train_y) == train and len(found.test_y) == test
    classes = found.train_y.bincount() + found.test_y.bincount()
    assert len(classes) == len(found.class_names) and (counts is None or classes.tolist() == counts)
    assert bool(found.train_x.isfinite().all())
    assert not found.picture or (found.train_x.min() == 0 and found.train_x.max() == 1)


@pytest.mark.slow
def test_one_hot_columns_of_adult_add_up_per_column(data_dir):
    adult = load("adult")
    assert len(adult.columns) == len(adult.feature_names) == 108
    members = [place for place, column in enumerate(adult.columns) if column == "workclass"]
    assert (adult.train_x[:, members].sum(1) == 1).all()


def test_every_set_is_tested_here():
    assert set(DATASETS) == {*BUNDLED, "banknote", "german", "adult", "cifar10_subset", "mnist", "fashion_mnist", "reviews"}
