"""Reading rows, labels and pictures, apart from the command."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vesalius.cli import pictures
from vesalius.cli.data_loading import DataOptions, load_samples


def csv(folder: Path, kinds: list[str]) -> Path:
    path = folder / "t.csv"
    path.write_text("\ufeffsize, kind\n" + "".join(f"{number},{kind}\n" for number, kind in enumerate(kinds)), encoding="utf-8")
    return path


def test_words_as_labels_are_in_alphabetical_order_until_named(tmp_path):
    path = csv(tmp_path, ["rose", "lily", "rose"])
    found = load_samples(path, DataOptions(label="kind"))
    assert found.classes == ("lily", "rose") and found.y.tolist() == [1, 0, 1] and not found.ordered
    named = load_samples(path, DataOptions(label="kind", names="rose,lily,iris", rows="1:"))
    assert named.classes == ("rose", "lily", "iris") and named.y.tolist() == [1, 0] and named.ordered and named.labels == ("lily", "rose")
    assert found.features == ("size",) and found.x.tolist() == [[0], [1], [2]]


def test_fractions_as_labels_are_values_and_not_classes(tmp_path):
    found = load_samples(csv(tmp_path, ["1.5", "2", "3"]), DataOptions(label="kind"))
    assert found.y is None and found.labels == ("1.5", "2", "3") and found.classes == ()


def test_big_endian_arrays_are_read(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6, dtype=">f4").reshape(3, 2))
    assert load_samples(tmp_path / "x.npy", DataOptions()).x.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_small_whole_numbers_become_int64(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6, dtype=np.int16).reshape(3, 2))
    assert load_samples(tmp_path / "x.npy", DataOptions()).x.dtype == torch.int64


def test_pictures_are_scaled_to_0_to_1_in_their_own_depth(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "a.png")
    assert pictures.read([tmp_path / "a.png"], None).tolist() == [[[[0, 1]]]]
    Image.fromarray(np.array([[0, 65535, 13107]], np.uint16)).save(tmp_path / "b.png")
    assert pictures.read([tmp_path / "b.png"], None).flatten().tolist() == pytest.approx([0, 1, 0.2], abs=1e-6)


def test_grey_among_coloured_pictures_becomes_coloured(tmp_path):
    Image.fromarray(np.full((2, 2), 51, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((2, 2, 3), (255, 0, 0), np.uint8)).save(tmp_path / "b.png")
    found = pictures.read(pictures.listed(tmp_path), None)
    assert found.shape == (2, 3, 2, 2) and found[0].unique().tolist() == pytest.approx([0.2])
    assert found[1, :, 0, 0].tolist() == [1, 0, 0]
    torch.testing.assert_close(pictures.mean(pictures.listed(tmp_path), None), found.mean(0))


def test_labels_come_from_subfolders_only_if_all_pictures_are_in_one(tmp_path):
    (tmp_path / "cat").mkdir()
    for name in ("cat/a.png", "b.png"):
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / name)
    assert load_samples(tmp_path, DataOptions()).y is None
    (tmp_path / "b.png").unlink()
    found = load_samples(tmp_path, DataOptions())
    assert found.labels == ("cat",) and found.ids == (str(Path("cat/a.png")),)
