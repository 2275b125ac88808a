"""Rows in every form, against the same numbers as a tensor; what is missing or no number is never read as one."""

import numpy as np
import pandas
import polars
import pytest
import torch
import xarray
from torch.utils.data import DataLoader, TensorDataset

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.rows import read_rows, split_labels

ROWS = np.random.default_rng(0).normal(size=(6, 3))
NAMES = ("age", "income", "tenure")
GAPS = {"age": [1, None], "income": [1, 2], "tenure": [3, 4]}


@pytest.mark.parametrize(
    ("data", "features"),
    [
        (torch.tensor(ROWS), ()),
        (ROWS, ()),
        (ROWS[:, ::-1][:, ::-1], ()),
        (ROWS.tolist(), ()),
        (pandas.DataFrame(ROWS, columns=NAMES), NAMES),
        (polars.DataFrame(ROWS, schema=list(NAMES)), NAMES),
        (xarray.DataArray(ROWS, dims=("row", "column"), coords={"column": list(NAMES)}), NAMES),
        (xarray.Dataset({name: ("row", ROWS[:, i]) for i, name in enumerate(NAMES)}), NAMES),
        (TensorDataset(torch.tensor(ROWS), torch.arange(6)), ()),
        (DataLoader(TensorDataset(torch.tensor(ROWS)), batch_size=4), ()),
    ],
    ids=["tensor", "array", "reversed view", "lists", "pandas", "polars", "xarray array", "xarray set", "dataset", "loader"],
)
def test_every_form_holds_the_same_numbers(data, features):
    rows = read_rows(data)
    torch.testing.assert_close(rows.tensors, torch.tensor(ROWS), rtol=0, atol=0)
    assert rows.features == features and not rows.single


@pytest.mark.parametrize("row", [pandas.Series(ROWS[0], index=NAMES), polars.Series(ROWS[0])], ids=["pandas", "polars"])
def test_a_series_is_one_row(row):
    rows = read_rows(row)
    assert rows.single and rows.tensors.tolist() == ROWS[0].tolist()


@pytest.mark.parametrize(
    "data",
    [
        polars.DataFrame(GAPS),
        pandas.DataFrame({name: pandas.array(column, dtype="Int64") for name, column in GAPS.items()}),
        pandas.DataFrame(GAPS),
        np.ma.MaskedArray(np.array([[1, 1, 3], [9, 2, 4]]), mask=[[False] * 3, [True, False, False]]),
    ],
    ids=["polars", "nullable pandas", "pandas", "masked array"],
)
def test_what_is_missing_is_not_a_number(data):
    found = read_rows(data).tensors
    assert found.isnan().tolist() == [[False] * 3, [True, False, False]]
    assert found.nan_to_num(0).tolist() == [[1, 1, 3], [0, 2, 4]]


def test_whole_numbers_stay_whole():
    for data in (polars.DataFrame({"a": [1, 2]}), pandas.DataFrame({"a": [1, 2]}), np.array([[1], [2]], dtype=np.uint16)):
        assert read_rows(data).tensors.dtype == torch.int64


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (pandas.DataFrame({"a": [1.0], "b": ["x"]}), WrongType, "columns that are not numbers: 'b'"),
        (polars.DataFrame({"a": [1.0], "b": ["x"]}), WrongType, "columns that are not numbers: 'b'"),
        (pandas.DataFrame({"a": [1] * 9 + ["x"]}), WrongType, "no number.*'x'"),
        (np.array([["x"]]), WrongType, "expected numbers, not <U1"),
        ([], InvalidInput, "no rows"),
        ({}, InvalidInput, "no rows"),
        (pandas.DataFrame({"a": []}), InvalidInput, "no rows"),
        ("x.csv", WrongType, "a DataFrame or Series .*, not str"),
        (TensorDataset(torch.zeros(5000, 1)), InvalidInput, "more than 4,096 rows.*next"),
    ],
)
def test_what_is_no_rows_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        read_rows(data)


def test_labels_are_told_from_inputs():
    x, y, z = torch.zeros(4, 2), torch.arange(4), torch.ones(4, 3)
    assert split_labels((x, y)) == (x, y) and split_labels([x]) == (x, None) and split_labels(x) == (x, None)
    assert split_labels([x, z], inputs=2) == ([x, z], None)
    assert split_labels([x, z, y], inputs=2) == ([x, z], y)
    assert split_labels(((x, z), y), inputs=2) == ((x, z), y)
    assert split_labels(({"a": x, "b": z}, y), inputs=2) == ({"a": x, "b": z}, y)
    assert split_labels({"ids": x, "labels": y}) == ({"ids": x}, y)
