"""Pixels as a model expects them: words, what they do to pictures, and models for which they must be given."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vesalius as vs
from vesalius.cli import pictures
from vesalius.cli.data_loading import DataOptions, load_samples
from vesalius.cli.normalization import IMAGENET, Normalization, parse_normalization, require_normalization
from vesalius.core.errors import ForeignFile, InvalidInput


@pytest.fixture
def photos(home):
    """Two colour pictures of other proportions."""
    rng = np.random.default_rng(0)
    Path("photos").mkdir()
    for name, (high, wide) in {"a.png": (20, 30), "b.png": (44, 22)}.items():
        Image.fromarray(rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)).save(f"photos/{name}")
    return home / "photos"


@pytest.fixture
def torchvision(monkeypatch):
    """A stand-in for the library: a package of that name with a small model of ImageNet."""
    package, models = ModuleType("torchvision"), ModuleType("torchvision.models")

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Linear(4, 1000)

        def forward(self, x):
            return self.out(torch.relu(self.conv(x)).mean((2, 3)))

    Small.__module__ = "torchvision.models.small"
    models.small = lambda: Small()
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return models


# ---- words --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (None, None),
        ("none", None),
        ("imagenet", IMAGENET),
        ("0.5:0.25", Normalization((0.5,), (0.25,))),
        ("0.1,0.2,0.3:1,2,4", Normalization((0.1, 0.2, 0.3), (1, 2, 4))),
    ],
)
def test_words(words, found):
    assert parse_normalization(words) == found


@pytest.mark.parametrize("words", ["imagenette", "0.5", "0.5:", "a:b", "1:2:3", "0.5:0", "0.5:-1", "nan:1", "0.5:inf", "1,2:1", ""])
def test_other_words_are_refused_with_those_that_are_known(words):
    with pytest.raises(InvalidInput, match=r"--normalize .*expected"):
        parse_normalization(words)


def test_a_configuration_of_hugging_face_is_read(tmp_path):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1], "do_normalize": True}))
    assert parse_normalization(str(path)) == Normalization((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    path.write_text("{}")
    with pytest.raises(ForeignFile, match="does not say image_mean"):
        parse_normalization(str(path))
    with pytest.raises(FileNotFoundError, match="there is no file"):
        parse_normalization(str(tmp_path / "no.json"))


# ---- pictures -----------------------------------------------------------------------------------------------------------------------


def test_all_that_is_compared_is_normalised_alike(photos):
    asked = DataOptions(rows="0", size=9, mean=True, background="1", flow=":", whole=2)
    plain, normal = load_samples(photos, asked), load_samples(photos, DataOptions(**{**vars(asked), "normalize": "imagenet"}))
    pairs = [(plain.x, normal.x), (plain.background, normal.background), (plain.flow, normal.flow), (plain.whole.x, normal.whole.x)]
    for before, after in [*pairs, (plain.mean[None], normal.mean[None])]:
        for channel in range(3):
            truth = (before[:, channel].double() - IMAGENET.mean[channel]) / IMAGENET.std[channel]
            torch.testing.assert_close(after[:, channel].double(), truth, rtol=1e-5, atol=1e-6)


def test_proportions_are_kept_and_the_middle_is_cropped(photos):
    files = pictures.listed(photos)
    assert pictures.read(files[:1], resize=10).shape == (1, 3, 10, 15) and pictures.read(files[1:], resize=11).shape == (1, 3, 22, 11)
    both = pictures.read(files, resize=20, crop=16)
    whole = pictures.read(files[:1], resize=20)
    assert both.shape == (2, 3, 16, 16) and torch.equal(both[0], whole[0, :, 2:18, 7:23])
    torch.testing.assert_close(pictures.mean(files, resize=20, crop=16), both.mean(0))


def test_arrays_of_pictures_are_normalised_too(home):
    x = np.random.default_rng(0).random((3, 3, 5, 5)).astype(np.float32)
    np.save("x.npy", x)
    found = load_samples(Path("x.npy"), DataOptions(normalize="0.5:0.25")).x
    torch.testing.assert_close(found, (torch.tensor(x) - 0.5) / 0.25)


@pytest.mark.parametrize(
    ("x", "words", "said"),
    [
        (np.full((2, 3, 4, 4), 200, np.float32), "imagenet", "divide them by 255"),
        (np.full((2, 3, 4, 4), -0.5, np.float32), "imagenet", "normalised already"),
        (np.full((2, 1, 4, 4), 0.5, np.float32), "imagenet", r"\[2, 1, 4, 4\]"),
        (np.full((2, 7), 0.5, np.float32), "0.5:0.5", "goes with pictures"),
    ],
)
def test_what_cannot_be_normalised_is_refused(x, words, said, home):
    np.save("x.npy", x)
    with pytest.raises(InvalidInput, match=said):
        load_samples(Path("x.npy"), DataOptions(normalize=words))


@pytest.mark.parametrize("option", ["--size", "--resize", "--crop"])
def test_sizes_for_a_file_are_refused_instead_of_ignored(option, explain):
    ran = explain("models.py:net", "x.npz", option, "3")
    assert ran.code == 2 and f"{option} goes with a folder of pictures" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "9", "--resize", "9"), "give one of them"),
        (("--resize", "0"), "(--resize); expected 1 to"),
        (("--crop", "25"), "--crop 25 keeps more than that"),
        (("--resize", "8"), "--crop N"),
        (("--resize", "8192"), "of at most"),
    ],
)
def test_sizes_that_cannot_be_are_refused(words, said, photos, explain):
    ran = explain("models.py:colour", "photos", *words)
    assert ran.code == 2 and said in ran.err


# ---- models -------------------------------------------------------------------------------------------------------------------------


def test_a_factory_of_imagenet_weights_asks_for_normalisation(torchvision, photos, explain):
    refused = explain("torchvision.models:small", "photos", "--size", "8")
    assert refused.code == 2 and "--normalize imagenet" in refused.err and not Path("out").exists()
    assert explain("torchvision.models:small", "photos", "--resize", "8", "--crop", "8", "--normalize", "imagenet").code == 0
    normal = vs.Allocation.load("out/occlusion.safetensors").explained[0]
    assert float(normal.min()) < 0 and "--normalize imagenet" in Path("out/report.html").read_text()
    assert explain("torchvision.models:small", "photos", "--size", "8", "--normalize", "none").code == 0


def test_models_of_libraries_are_known_behind_what_is_around_them(torchvision):
    x = torch.rand(2, 3, 8, 8, dtype=torch.float32)
    for model in (torchvision.small(), nn.Sequential(torchvision.small(), nn.Softmax(1)), nn.DataParallel(torchvision.small())):
        with pytest.raises(InvalidInput, match="--normalize imagenet"):
            require_normalization(model, "mine.py:f", x)
    for model, pixels in [
        (nn.Sequential(nn.BatchNorm2d(3), torchvision.small()), x),  # normalised by what stands before it
        (torchvision.small(), x - 0.5),
        (torchvision.small(), x[:, :1]),
        (nn.Conv2d(3, 4, 3), x),
    ]:
        require_normalization(model, "mine.py:f", pixels)


def test_the_numbers_of_a_timm_model_are_its_own():
    model = nn.Conv2d(3, 4, 3)
    model.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    with pytest.raises(InvalidInput, match=r"--normalize 0\.5,0\.5,0\.5:0\.25,0\.25,0\.25 "):
        require_normalization(model, "timm.models:vit", torch.rand(2, 3, 8, 8, dtype=torch.float32))
