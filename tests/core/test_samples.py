"""Samples of a batch: every way of choosing some takes along what belongs to them."""

import numpy as np
import pandas
import pytest
import torch

import vesalius as vs
from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players
from vesalius.core.samples import join_provenances


@pytest.fixture
def batch():
    """Four samples of three features, with something of everything that a sample can have."""
    values = torch.arange(12.0).reshape(4, 3)
    rows = torch.arange(4.0)
    return Allocation(
        players=Players.features(torch.zeros(3)),
        values=values,
        base=rows,
        total=rows + values.sum(1),
        stderr=values / 10,
        absorbed={"bias": rows + 7},
        evaluations=torch.arange(4) + 1,
        converged=rows > 1,
        map_error=rows / 5,
        explained=(values + 100,),
        provenance={"method": "occlusion", "target": "class per sample", "samples": {"target": list("abcd"), "id": [10, 11, 12, 13]}},
    )


def assert_same_samples(found, batch, rows):
    """Each sample of ``found`` is, in all its parts, the sample of ``batch`` in that place."""
    assert len(found) == len(rows)
    for name in ("values", "base", "total", "stderr", "evaluations", "converged", "map_error"):
        assert torch.equal(getattr(found, name), getattr(batch, name)[rows]), name
    assert torch.equal(found.absorbed["bias"], batch.absorbed["bias"][rows])
    assert torch.equal(found.explained[0], batch.explained[0][rows])
    assert found.provenance["samples"] == {"target": ["abcd"[row] for row in rows], "id": [10 + row for row in rows]}


@pytest.mark.parametrize(("choice", "rows"), [
    (slice(1, 3), [1, 2]), (slice(None), [0, 1, 2, 3]), (slice(None, None, -1), [3, 2, 1, 0]), (slice(5, 9), []),
    ([0, 3], [0, 3]), ([3, 3, -1], [3, 3, 3]), ([], []), (np.array([2, 0]), [2, 0]), (torch.tensor([1]), [1]), (range(2), [0, 1]),
    ([True, False, False, True], [0, 3]), (np.array([False, True, False, False]), [1]), (torch.tensor([False] * 4), []),
])  # fmt: skip
def test_several_samples_are_chosen_as_in_numpy(batch, choice, rows):
    assert_same_samples(batch[choice], batch, rows)


@pytest.mark.parametrize(("choice", "row"), [(2, 2), (-1, 3), (np.int64(1), 1), (torch.tensor(0), 0)])
def test_one_sample_has_its_own_facts_in_place_of_the_batchs(batch, choice, row):
    one = batch[choice]
    assert one.values.tolist() == batch.values[row].tolist() and float(one.absorbed["bias"]) == row + 7
    assert one.explained[0].tolist() == [100 + 3 * row, 101 + 3 * row, 102 + 3 * row]
    assert one.provenance == {"method": "occlusion", "target": "abcd"[row], "id": 10 + row}


@pytest.mark.parametrize(("choice", "error"), [
    (4, IndexError), (-5, IndexError), ([0, 4], IndexError), ([-5], IndexError), ([True, False], IndexError), ("a", WrongType),
    (None, WrongType), (1.0, WrongType), ([0.5], WrongType), ((1, 2), WrongType), ([[0], [1]], WrongType), (True, WrongType),
])  # fmt: skip
def test_what_chooses_no_samples_is_refused(batch, choice, error):
    with pytest.raises(error, match=r"of a batch of 4|4 are needed|chosen by a number"):
        batch[choice]


def test_iterating_gives_the_samples_in_order_and_ends(batch):
    assert [float(one.base) for one in batch] == [0, 1, 2, 3]
    assert [one.provenance["target"] for one in batch] == list("abcd")


def test_a_single_sample_is_its_own_first_and_only(batch):
    one = batch[2]
    assert list(one) == [one] and one[0] is one and one[-1] is one and len(one) == 1
    with pytest.raises(IndexError, match="sample 1 of a batch of 1"):
        one[1]
    with pytest.raises(InvalidInput, match="single sample"):
        one[:1]


def test_no_samples_at_all_are_still_a_batch(batch):
    none = batch[[]]
    assert len(none) == 0 and list(none) == [] and "batch of 0" in repr(none) and none.gap.shape == (0,) and none.flat.shape == (0, 3)


def test_tensors_of_another_number_of_samples_are_refused():
    with pytest.raises(InvalidInput, match=r"2 samples were explained, and tensors of \[3\]"):
        Allocation(
            players=Players.plain(1), values=torch.zeros(2, 1), base=torch.zeros(2), total=torch.zeros(2), explained=(torch.zeros(3, 1),)
        )


def test_batches_are_joined_with_the_facts_that_all_have():
    first = {"target": "class 1", "samples": {"target": ["a", "b"], "id": [1, 2]}}
    assert join_provenances([first, {"target": "class 2", "samples": {"target": ["c"]}}]) == {
        "target": "class 1",
        "samples": {"target": ["a", "b", "c"]},
    }
    assert join_provenances([{"target": "x"}, first]) == {"target": "x"}


@pytest.mark.parametrize("target", [None, 2, torch.tensor([1, 0, 2, 1])])
def test_every_sample_of_an_attribution_keeps_what_was_explained(target):
    torch.manual_seed(0)
    model, x = torch.nn.Linear(5, 3), torch.randn(4, 5)
    found = vs.attribute(vs.trace(model, x), x, target=target)
    classes = model(x).argmax(1) if target is None else torch.as_tensor(target).expand(4)
    for row, one in enumerate(found):
        assert one.provenance["target"] == f"class {int(classes[row])}"
        assert torch.equal(one.explained[0], x[row]) and torch.equal(one.inputs_by_player, x[row])
        alone = vs.attribute(vs.trace(model, x), x[row], target=int(classes[row]))
        assert alone.provenance["target"] == one.provenance["target"] and torch.equal(alone.explained[0], one.explained[0])


def test_what_was_explained_is_a_copy_and_not_the_users_own_tensor():
    x = torch.ones(2, 3)
    found = vs.attribute(vs.trace(torch.nn.Linear(3, 1), x), x)
    x.zero_()
    assert found.explained[0].tolist() == [[1, 1, 1]] * 2


@pytest.mark.parametrize(("index", "ids"), [(["ann", "bob"], ["ann", "bob"]), ([7, 3], [7, 3]), (None, None)])
def test_rows_of_a_table_keep_what_the_table_calls_them(index, ids):
    table = pandas.DataFrame({"age": [1.0, 2.0], "income": [3.0, 4.0]}, index=index)
    model = torch.nn.Linear(2, 1)
    found = vs.attribute(model, table)
    assert found.provenance["samples"].get("id") == ids and found.players.names == ("age", "income")
    assert list(found.to_dataframe().index) == (ids or [0, 1])
    row = vs.attribute(model, table.iloc[1])
    assert row.provenance["id"] == (ids or [0, 1])[1] and torch.equal(row.values, found[1].values)
