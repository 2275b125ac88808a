"""Choosing rows, labels in words and numbers, and data in the forms users have it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.rows import MAX_COLLECTED_ROWS
from vesalius.workflow.samples import LabelledRows, RowSelection, choose_rows, read_labelled, select_samples

X = torch.arange(12.0).reshape(6, 2)
ends = st.none() | st.integers(-12, 12)


@given(ends, ends, st.none() | st.integers(1, 3), st.integers(1, 9))
def test_a_slice_of_rows_is_that_of_python(start, stop, step, count):
    text = ":".join("" if part is None else str(part) for part in (start, stop, step))
    expected = tuple(range(count)[start:stop:step])
    if not expected:
        with pytest.raises(InvalidInput, match=f"none of the {count} rows"):
            choose_rows(text, count)
    else:
        assert choose_rows(text, count) == expected


@given(st.lists(st.integers(0, 5), min_size=1))
def test_single_rows_keep_their_order_and_come_once(rows):
    assert choose_rows(",".join(map(str, rows)), 6) == tuple(dict.fromkeys(rows))


@pytest.mark.parametrize("text", ["", "a", "1;2", "0:1:0", "0:1:2:3", "6", "-7", "1,,2"])
def test_other_rows_are_refused(text):
    with pytest.raises(InvalidInput, match="rows="):
        choose_rows(text, 6)


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        (slice(1, 3), (1, 2)),
        (4, (4,)),
        (np.int64(-1), (5,)),
        ([1, 4, 1], (1, 4)),
        (range(2), (0, 1)),
        (np.array([2, 0]), (2, 0)),
        (torch.tensor([3]), (3,)),
        (np.array([True, False, False, False, False, True]), (0, 5)),
    ],
)
def test_rows_are_chosen_as_in_python(choice, rows):
    assert choose_rows(choice, 6) == rows


@pytest.mark.parametrize(("choice", "kind"), [([7], InvalidInput), ([], InvalidInput), ([0.5], WrongType), ([True, False], WrongType)])
def test_choices_of_no_row_are_refused(choice, kind):
    with pytest.raises(kind, match="rows"):
        choose_rows(choice, 6)


def test_only_what_is_needed_is_taken_and_checked():
    x = X.clone()
    x[5, 1] = float("nan")
    data = LabelledRows(x=x, labels=list("abcabc"), features=("p", "q"), ids=tuple("uvwxyz"))
    found = select_samples(data, RowSelection(rows=[1, 3], background=":2", flow="2:5"))
    assert found.x.tolist() == x[[1, 3]].tolist() and found.of == 6 and found.ids == ("v", "x") and found.labels == ("b", "a")
    assert found.background.tolist() == x[:2].tolist() and found.flow.tolist() == x[2:5].tolist() and found.mean is None
    with pytest.raises(InvalidInput, match="row 5 holds nan \\(column 'q'\\)"):
        select_samples(data, RowSelection(rows=[1, 3], mean=True))
    whole = select_samples(LabelledRows(x=X, labels=[0, 1] * 3), RowSelection(rows=[1], mean=True, whole=4))
    assert whole.mean.tolist() == X.mean(0).tolist() and len(whole.whole.x) == 4 and whole.whole.y.tolist() == [0, 1, 0, 1]


def test_labels_are_classes_by_name_or_number_or_values():
    def labelled(labels, classes=()):
        return select_samples(LabelledRows(x=X[: len(labels)], labels=labels, classes=classes), RowSelection())

    assert labelled(["no", "yes"]).classes == ("no", "yes") and not labelled(["no", "yes"]).ordered
    assert labelled(["no", "yes"], ("yes", "no")).y.tolist() == [1, 0] and labelled(["no", "yes"], ("yes", "no")).ordered
    assert labelled([0, 1], ("yes", "no")).labels == ("yes", "no")
    assert labelled([5, 9], ("5", "7", "9")).y.tolist() == [0, 2], "names of classes may be numbers"
    assert labelled([0.5, 2]).y is None and labelled([0.5, 2]).labels == ("0.5", "2")
    with pytest.raises(InvalidInput, match="labels go from 0 to 3; expected 0 to 1"):
        labelled([0, 3], ("yes", "no"))
    with pytest.raises(UnknownName, match=r"no class among the names given .*'maybe'"):
        labelled(["maybe"], ("yes", "no"))
    with pytest.raises(InvalidInput, match="2 labels for 6 rows"):
        select_samples(LabelledRows(x=X, labels=[0, 1]), RowSelection())
    with pytest.raises(InvalidInput, match="3 names of features, and a row has 2"):
        select_samples(LabelledRows(x=X, features=("a", "b", "c")), RowSelection())


Y = [0, 1, 2, 0, 1, 2]
TENSORS = TensorDataset(X, torch.tensor(Y))


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ((X, torch.tensor(Y)), Y),
        ((X.numpy(), np.array(list("abcabc"))), list("abcabc")),
        ({"x": X, "labels": torch.tensor(Y)}, Y),
        (TENSORS, Y),
        (DataLoader(TENSORS, batch_size=4), Y),
        (X, None),
        (DataLoader(X, batch_size=4), None),
    ],
)
def test_labels_come_with_the_data(data, labels):
    rows, found = read_labelled(data)
    assert rows.parts[0].tolist() == X.tolist() and found == labels
    assert read_labelled(data, list("uvwxyz"))[1] == list("uvwxyz"), "given labels come first"


def test_labels_are_a_column_of_a_table():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.numpy(), columns=["p", "q"]).assign(kind=list("abcabc"))
    rows, labels = read_labelled(frame, "kind")
    assert rows.features == ("p", "q") and labels == list("abcabc")
    with pytest.raises(UnknownName, match="no column of labels 'knd'"):
        read_labelled(frame, "knd")
    with pytest.raises(UnknownName, match="no column of labels 'kind'"):
        read_labelled(X, "kind")


def test_endless_batches_are_read_as_far_as_is_held_at_once(capsys):
    def batches():
        while True:
            yield torch.ones(1000, 2), torch.zeros(1000, dtype=torch.long)

    rows, labels = read_labelled(batches())
    assert MAX_COLLECTED_ROWS <= len(rows.parts[0]) == len(labels) < MAX_COLLECTED_ROWS + 1000
    assert "the first 5,000 rows of the data are looked at" in capsys.readouterr().err
