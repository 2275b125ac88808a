"""Real data sets with a fixed split: four that come with scikit-learn, and seven that are found or fetched.

Everything is float32 and in the unit it was published in, except pictures, which are scaled to 0..1, and words, which are numbered. A
model that wants standardised columns standardises them itself, so that an explanation stays in the unit of the data.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from sklearn import datasets as bundled
from torch import Tensor

from vesalius.core.entry import verb
from vesalius.core.names import require_known
from vesalius.data.download import DataFile, MissingData, fetch
from vesalius.data.text import REVIEW_LENGTH, Review, build_vocabulary, encode_texts, load_reviews

ByteArray = UInt8[np.ndarray, "..."]
PixelsAndLabels = tuple[ByteArray, ByteArray]

TEST_STRIDE = 4
"""Every fourth sample of each class is for testing, where a data set has no split of its own."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Samples in two parts.

    Attributes:
        name: as in ``DATASETS``.
        train_x, test_x: [rows *event] float32; pictures [rows channels height width] in 0..1; texts [rows length] int64.
        train_y, test_y: [rows] int64, positions in ``class_names``.
        feature_names: one per element of a sample, in order; for pictures empty.
        class_names: one per class.
        picture: whether a sample is a picture.
        columns: for tables with categories, the column each feature was made from; else empty.
        words: for texts, the word of each number; else empty.
    """

    name: str
    train_x: Float[Tensor, "train *event"] | Int[Tensor, "train length"]
    train_y: Int[Tensor, " train"]
    test_x: Float[Tensor, "test *event"] | Int[Tensor, "test length"]
    test_y: Int[Tensor, " test"]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    picture: bool = False
    columns: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def __repr__(self) -> str:
        event = " x ".join(str(side) for side in self.train_x.shape[1:])
        return f"Dataset({self.name}: {len(self.train_x)} + {len(self.test_x)} samples of {event}, {len(self.class_names)} classes)"


@verb
def load(name: str, *, cache: Path | None = None) -> Dataset:
    """A data set by name.

    Args:
        name: one of ``DATASETS``.
        cache: where downloads are kept; the user's cache by default.

    Raises:
        UnknownName: there is no such data set.
        MissingData, ForeignFile: its files are not here, or are not what they should be.
    """
    require_known("data set", name, DATASETS)
    return DATASETS[name](cache)


def stratified_test_mask(classes: Int[Tensor, " rows"], every: int = TEST_STRIDE) -> Bool[Tensor, " rows"]:
    """Which rows are for testing: of each class the ``every``-th, twice that, ... in order. It depends on nothing but the classes."""
    test = torch.zeros(len(classes), dtype=torch.bool)
    for label in classes.unique():
        members = (classes == label).nonzero().flatten()
        test[members[every - 1 :: every]] = True
    return test


# ---- with scikit-learn --------------------------------------------------------------------------------------------------------------


def _load_iris(cache: Path | None) -> Dataset:
    return _sklearn_table("iris", bundled.load_iris())


def _load_wine(cache: Path | None) -> Dataset:
    return _sklearn_table("wine", bundled.load_wine())


def _load_breast_cancer(cache: Path | None) -> Dataset:
    return _sklearn_table("breast_cancer", bundled.load_breast_cancer())


def _sklearn_table(name: str, found: Mapping[str, Any]) -> Dataset:
    return Dataset(
        name=name,
        **_stratified_split(torch.tensor(found["data"], dtype=torch.float32), torch.tensor(found["target"], dtype=torch.int64)),
        feature_names=tuple(str(feature) for feature in found["feature_names"]),
        class_names=tuple(str(label) for label in found["target_names"]),
    )


def _load_digits(cache: Path | None) -> Dataset:
    found = bundled.load_digits()
    x = torch.tensor(found["images"], dtype=torch.float32)[:, None] / 16
    return _picture_dataset("digits", _stratified_split(x, torch.tensor(found["target"], dtype=torch.int64)), DIGIT_CLASSES)


def _stratified_split(x: Float[Tensor, "rows *event"], y: Int[Tensor, " rows"]) -> dict[str, Any]:
    test = stratified_test_mask(y)
    return {"train_x": x[~test], "train_y": y[~test], "test_x": x[test], "test_y": y[test]}


def _picture_dataset(name: str, parts: Mapping[str, Any], classes: tuple[str, ...]) -> Dataset:
    return Dataset(name=name, **parts, feature_names=(), class_names=classes, picture=True)


# ---- pictures -----------------------------------------------------------------------------------------------------------------------


def _load_mnist(cache: Path | None) -> Dataset:
    return _picture_dataset("mnist", _read_idx_folder("MNIST", cache), DIGIT_CLASSES)


def _load_fashion_mnist(cache: Path | None) -> Dataset:
    return _picture_dataset("fashion_mnist", _read_idx_folder("FashionMNIST", cache), FASHION_CLASSES)


def _read_idx_folder(folder: str, cache: Path | None) -> dict[str, Tensor]:
    """The four files of MNIST or of a set in its format."""
    parts = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images = _read_idx_file(folder, f"{prefix}-images-idx3-ubyte.gz", 16, cache).reshape(-1, 1, 28, 28)
        parts[f"{part}_x"] = torch.tensor(images, dtype=torch.float32) / 255
        parts[f"{part}_y"] = torch.tensor(_read_idx_file(folder, f"{prefix}-labels-idx1-ubyte.gz", 8, cache), dtype=torch.int64)
    return parts


def _read_idx_file(folder: str, name: str, header: int, cache: Path | None) -> ByteArray:
    base, digests = IDX_FILES[folder]
    source = DataFile(path=f"{folder}/raw/{name}", sha256=(digests[name],), url=base + name)
    with gzip.open(fetch(source, cache=cache)) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def _load_cifar10_subset(cache: Path | None) -> Dataset:
    """The first 4000 training and the first 1000 test pictures of CIFAR-10: not the whole of it."""
    try:
        parts = {part: _read_cifar_npz(source, cache) for part, source in CIFAR_PARTS.items()}
    except MissingData:
        parts = _read_cifar_archive(fetch(CIFAR_ARCHIVE, cache=cache))
    tensors = {}
    for part, (pixels, labels) in parts.items():
        tensors[f"{part}_x"] = torch.tensor(pixels, dtype=torch.float32) / 255
        tensors[f"{part}_y"] = torch.tensor(labels, dtype=torch.int64)
    return _picture_dataset("cifar10_subset", tensors, CIFAR_CLASSES)


def _read_cifar_npz(source: DataFile, cache: Path | None) -> PixelsAndLabels:
    with np.load(fetch(source, cache=cache), allow_pickle=False) as arrays:
        return arrays["X"].transpose(0, 3, 1, 2), arrays["y"]


def _read_cifar_archive(path: Path) -> dict[str, PixelsAndLabels]:
    """The same pictures from the original archive: records of one label byte and 3 x 32 x 32 bytes."""
    parts = {}
    with tarfile.open(path) as archive:
        for part, (batch, rows) in {"train": ("data_batch_1.bin", 4000), "test": ("test_batch.bin", 1000)}.items():
            file = archive.extractfile(f"cifar-10-batches-bin/{batch}")
            assert file is not None
            records = np.frombuffer(file.read(rows * 3073), np.uint8).reshape(rows, 3073)
            parts[part] = (records[:, 1:].reshape(rows, 3, 32, 32), records[:, 0])
    return parts


# ---- tables -------------------------------------------------------------------------------------------------------------------------


def _load_banknote(cache: Path | None) -> Dataset:
    rows = _read_rows(fetch(BANKNOTE, cache=cache))
    x, y = [[float(cell) for cell in row[:-1]] for row in rows], [int(row[-1]) for row in rows]
    features = ("variance", "skewness", "curtosis", "entropy")
    return Dataset(
        name="banknote",
        **_stratified_split(torch.tensor(x, dtype=torch.float32), torch.tensor(y)),
        feature_names=features,
        class_names=("0", "1"),
    )


def _load_adult(cache: Path | None) -> Dataset:
    """Census income: one column per category, ``?`` being a category; the split is the original one."""
    train, test = (_read_rows(fetch(source, cache=cache)) for source in ADULT)
    features, encode = _one_hot_encoder(train, ADULT_COLUMNS)
    parts: dict[str, Any] = {}
    for part, rows in (("train", train), ("test", test)):
        parts[f"{part}_x"] = encode(rows)
        parts[f"{part}_y"] = torch.tensor([int(row[-1].startswith(">50K")) for row in rows])
    return Dataset(name="adult", **parts, feature_names=features, class_names=("<=50K", ">50K"), columns=_source_columns(features))


def _load_german(cache: Path | None) -> Dataset:
    """German credit: one column per category, with the codes of the original."""
    rows = _read_rows(fetch(GERMAN, cache=cache))
    features, encode = _one_hot_encoder(rows, GERMAN_COLUMNS)
    parts = _stratified_split(encode(rows), torch.tensor([int(row[-1]) - 1 for row in rows]))
    return Dataset(name="german", **parts, feature_names=features, class_names=("good", "bad"), columns=_source_columns(features))


def _read_rows(path: Path) -> list[list[str]]:
    """Cells of a file separated by commas or, without any, by spaces; blank lines and comments (``|``) are left out."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith("|")]
    return [[cell.strip() for cell in (line.split(",") if "," in line else line.split())] for line in lines]


def _one_hot_encoder(
    rows: Sequence[Sequence[str]], columns: Sequence[str]
) -> tuple[tuple[str, ...], Callable[[Sequence[Sequence[str]]], Tensor]]:
    """Feature names, and the function from rows to features: numbers as they are, categories (``*`` after the name) one column each."""
    plan: list[tuple[int, str, str | None]] = []
    for place, column in enumerate(columns):
        known = sorted({row[place] for row in rows}) if column.endswith("*") else [None]
        plan += [(place, column.rstrip("*"), value) for value in known]

    def encode(rows: Sequence[Sequence[str]]) -> Tensor:
        made = [[float(row[place]) if value is None else float(row[place] == value) for row in rows] for place, _, value in plan]
        return torch.tensor(made, dtype=torch.float32).T.contiguous()

    return tuple(name if value is None else f"{name}={value}" for _, name, value in plan), encode


def _source_columns(features: Sequence[str]) -> tuple[str, ...]:
    return tuple(feature.split("=")[0] for feature in features)


# ---- texts --------------------------------------------------------------------------------------------------------------------------


def _load_reviews(cache: Path | None) -> Dataset:
    """Movie reviews, the last words of each; the tenth of the published folds is for testing."""
    found = load_reviews(cache=cache)
    train, test = ([one for one in found if one.test == part] for part in (False, True))
    words = build_vocabulary(train)
    parts: dict[str, Any] = {}
    for part, texts in (("train", train), ("test", test)):
        parts[f"{part}_x"] = encode_texts([_review_words(text) for text in texts], words, REVIEW_LENGTH)
        parts[f"{part}_y"] = torch.tensor([text.label for text in texts])
    return Dataset(name="reviews", **parts, feature_names=(), class_names=("negative", "positive"), words=words)


def _review_words(text: Review) -> list[str]:
    return [word for sentence in text.sentences for word in sentence]


# ---- where they are -----------------------------------------------------------------------------------------------------------------

DIGIT_CLASSES = tuple(str(digit) for digit in range(10))
FASHION_CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

IDX_FILES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "MNIST": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "FashionMNIST": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
}
CIFAR_PARTS = {
    "train": DataFile(
        path="cifar10/cifar10_train_first4000.npz", sha256=("fd9e39ce8150299681dc3fa939101066ccf1d9a63a162b658000a7db0d283afa",)
    ),
    "test": DataFile(
        path="cifar10/cifar10_test_first1000.npz", sha256=("42f8ab528387545c5e2aeca572837b3490aa036fc0710f24bd3d8477effd671f",)
    ),
}
CIFAR_ARCHIVE = DataFile(
    path="cifar10/cifar-10-binary.tar.gz",
    sha256=("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",),
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)
UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/"
BANKNOTE = DataFile(
    path="banknote/data_banknote_authentication.txt",
    sha256=("d0539aaed2139ba7a587b3e34fb345ce503ff7d5d33dbf9912d8e195ce425cb9",),
    url=UCI + "00267/data_banknote_authentication.txt",
)
ADULT = (
    DataFile(
        path="tabular/adult.data",
        sha256=("5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",),
        url=UCI + "adult/adult.data",
    ),
    DataFile(
        path="tabular/adult.test",
        sha256=(
            "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            "72567b94f5c1a6f8501377dd80f93892c3848ff071cf91ba47e00b0785a28074",  # the same without its comment line
        ),
        url=UCI + "adult/adult.test",
    ),
)
GERMAN = DataFile(
    path="tabular/german.data",
    sha256=(
        "b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871",
        "ec12a88b9fc14d74ba646ea0410cf7ff4533bec2eb61652f8ad76796bbfec017",  # the same separated by commas
    ),
    url=UCI + "statlog/german/german.data",
    other_paths=("tabular/german.data.csv",),
)
ADULT_COLUMNS = (
    "age workclass* fnlwgt education* education-num marital-status* occupation* relationship* race* sex* capital-gain capital-loss"
    " hours-per-week native-country*"
).split()
GERMAN_COLUMNS = (
    "checking* duration history* purpose* amount savings* employment* rate status* guarantors* residence property* age other-plans*"
    " housing* credits job* dependents telephone* foreign*"
).split()

DATASETS: Mapping[str, Callable[[Path | None], Dataset]] = {
    "iris": _load_iris,
    "digits": _load_digits,
    "wine": _load_wine,
    "breast_cancer": _load_breast_cancer,
    "mnist": _load_mnist,
    "fashion_mnist": _load_fashion_mnist,
    "cifar10_subset": _load_cifar10_subset,
    "banknote": _load_banknote,
    "adult": _load_adult,
    "german": _load_german,
    "reviews": _load_reviews,
}
"""Loaders by name; each takes the folder downloads are kept in."""
