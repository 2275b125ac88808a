"""Allocations: what adds up, what is refused, what survives a file."""

import pytest
import torch

from vesalius.core.allocation import Allocation
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName
from vesalius.core.players import Players
from vesalius.games.moebius import membership


def allocation(values, base=0.0, total=1.0, **more):
    values = torch.as_tensor(values)
    return Allocation(
        players=Players.features(torch.zeros(values.shape[-1])), values=values, base=torch.tensor(base), total=torch.tensor(total), **more
    )


def test_the_gap_is_what_is_missing():
    found = allocation([1.0, 2.0, -0.5], base=0.25, total=3.0)
    assert found.gap.item() == pytest.approx(3.0 - 0.25 - 2.5)
    assert found.relative_gap.item() == pytest.approx(0.25 / 2.75)


class Single(torch.Tensor):
    """As on a device without float64: nothing there can be of that type."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        found = super().__torch_function__(func, types, args, kwargs or {})
        if func is torch.Tensor.cpu:
            return found.as_subclass(torch.Tensor)
        if isinstance(found, torch.Tensor) and found.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return found


def test_a_device_without_float64_has_gaps():
    here = [torch.tensor([[1.0, 2.0, -0.5]]), torch.tensor([0.25]), torch.tensor([3.0]), torch.tensor([0.125])]
    values, base, total, bias = (tensor.as_subclass(Single) for tensor in here)
    with pytest.raises(TypeError, match="no float64"):
        total.double()
    found = Allocation(players=Players.features(torch.zeros(3)), values=values, base=base, total=total, absorbed={"bias": bias})
    assert (found.gap.tolist(), found.unaccounted.tolist(), found.relative_gap.tolist()) == ([0.25], [0.375], pytest.approx([0.25 / 2.75]))


def test_small_values_are_not_lost_in_a_large_sum():
    found = allocation([1e8, 1.0, -1e8], base=0.0, total=1.0)
    assert found.gap.item() == 0 and found.gap.dtype == torch.float32


def test_a_gap_where_nothing_changed_is_infinite():
    assert allocation([1.0, 0.0], base=1.0, total=1.0).relative_gap.item() == float("inf")
    assert allocation([1.0, -1.0], base=1.0, total=1.0).relative_gap.item() == 0


def test_values_of_another_shape_are_refused():
    with pytest.raises(InvalidInput, match=r"values have shape \(4,\).*need \(3,\)"):
        Allocation(players=Players.features(torch.zeros(3)), values=torch.zeros(4), base=torch.tensor(0.0), total=torch.tensor(0.0))


def test_reducing_dividends_is_the_definition():
    members = membership(3)[1:]
    dividends = torch.randn(7, dtype=torch.float64)
    whole = Allocation(
        players=Players.features(torch.zeros(3)),
        values=dividends,
        coalitions=members,
        base=torch.tensor(1.0, dtype=torch.float64),
        total=1 + dividends.sum(),
    )
    for player in range(3):
        mine = [(row, value) for row, value in zip(members, dividends, strict=True) if row[player]]
        assert whole.reduce("shapley").values[player].item() == pytest.approx(sum(v / row.sum() for row, v in mine).item())
        assert whole.reduce("banzhaf").values[player].item() == pytest.approx(sum(v / 2 ** (row.sum() - 1) for row, v in mine).item())
    assert whole.order == 3
    assert whole.reduce("shapley").gap.abs() < 1e-12


def test_an_unknown_index_is_named_with_its_neighbours():
    with pytest.raises(UnknownName, match="shapley"):
        allocation([1.0]).reduce("shaply")


def test_top_ranks_by_size():
    assert allocation([0.1, -3.0, 2.0]).top(2) == [(("feature 1",), -3.0), (("feature 2",), 2.0)]


def test_a_batch_is_indexed_before_it_is_ranked_or_drawn():
    batch = Allocation(
        players=Players.features(torch.zeros(2)), values=torch.tensor([[1.0, 2.0], [3.0, 4.0]]), base=torch.zeros(2), total=torch.ones(2)
    )
    assert batch[1].values.tolist() == [3, 4]
    assert len(batch) == 2
    for refused in (batch.top, batch.plot):
        with pytest.raises(InvalidInput, match=r"take allocation\[i\]"):
            refused()
    with pytest.raises(IndexError):
        batch[2]


def test_grouping_sums_members():
    x = torch.zeros(1, 4, 4)
    fine = Allocation(
        players=Players.features(x), values=torch.arange(16.0).reshape(1, 4, 4), base=torch.tensor(0.0), total=torch.tensor(120.0)
    )
    coarse = fine.group(Players.patches(x, 2))
    assert coarse.values.tolist() == [[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]
    assert coarse.gap == fine.gap == 0


def test_a_file_brings_everything_back(tmp_path):
    before = allocation(
        [[1.0, 2.0]],
        base=[0.5],
        total=[4.0],
        stderr=torch.tensor([[0.1, 0.2]]),
        stderr_note="a guess",
        evaluations=torch.tensor([7]),
        converged=torch.tensor([False]),
        provenance={"method": "shapley_value", "options": {"budget": 3}},
    )
    after = Allocation.load(before.save(tmp_path / "deep" / "a.safetensors"))
    for name in ("values", "base", "total", "stderr", "evaluations", "converged"):
        assert torch.equal(getattr(after, name), getattr(before, name))
    assert (after.provenance, after.stderr_note) == (before.provenance, before.stderr_note)
    assert after.players.names == before.players.names
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


def test_a_corrupted_file_is_a_clear_error(tmp_path):
    path = allocation([1.0]).save(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ForeignFile, match="corrupted"):
        Allocation.load(path)


def test_the_text_says_what_matters():
    text = repr(allocation([1.0, -2.0], converged=torch.tensor(False), stderr_note="not honest"))
    assert "completeness error (gap) 2" in text
    assert "NOT CONVERGED" in text
    assert "feature 1" in text
    assert "not honest" in text


def test_equal_values_are_ranked_by_their_place():
    values = torch.tensor([0.5, 2.0, -2.0, 0.5, 0.1])
    players = Players.plain(5)
    for seed in range(4):
        moved = values * (1 + 1e-7 * torch.randn(5, generator=torch.Generator().manual_seed(seed)))
        found = Allocation(players=players, values=moved, base=torch.tensor(0.0), total=torch.tensor(1.1)).top(4)
        assert [names for names, _ in found] == [(players.name(at),) for at in (1, 2, 0, 3)]


def test_values_that_all_but_cancel_are_said_to():
    """A map of 1e7 - (1e7 - 1) says little about a change of 1; one of 3 - 2 is as good as any."""
    players, ends = Players.features(torch.zeros(2)), {"base": torch.zeros(2), "total": torch.ones(2)}
    values = torch.tensor([[1e7, 1 - 1e7], [3.0, -2.0]], dtype=torch.float64)
    both = Allocation(players=players, values=values, evaluations=torch.ones(2, dtype=torch.long), **ends)
    assert "VALUES CANCEL: those of 1 of 2 samples are over 1e+06 times what they sum to" in repr(both)
    assert "CANCEL" not in repr(both[1:])
