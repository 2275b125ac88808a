"""There and back again: maps of other libraries keep their numbers, names and samples, and so do ours there."""

import sys

import captum.attr
import numpy as np
import pandas
import pytest
import shap
import torch

import vesalius as vs
from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).eval()


@pytest.fixture
def x():
    return torch.randn(5, 4, generator=rng())


@pytest.fixture
def ours(model, x):
    found = vs.attribute(vs.trace(model, x), x, target=1)
    return Allocation(**{**vars(found), "players": Players.features(x[0], names=list("abcd"))})


# ---- NumPy and pandas -----------------------------------------------------------------------------------------------------------------


def test_numpy_takes_an_allocation_for_its_values(ours):
    assert np.array_equal(np.asarray(ours), ours.values.numpy()) and np.asarray(ours).shape == (5, 4)
    assert np.asarray(ours, dtype=np.float64).dtype == np.float64
    assert float(np.abs(ours[0]).sum()) == pytest.approx(float(ours[0].values.abs().sum()))


def test_copies_are_made_when_numpy_asks_for_them(ours):
    shared, copied = ours.__array__(copy=False), ours.__array__(copy=True)
    assert np.shares_memory(shared, ours.values.numpy()) and not np.shares_memory(copied, ours.values.numpy())
    with pytest.raises(ValueError, match="without a copy"):
        ours.__array__(np.float64, copy=False)


def test_precisions_that_numpy_lacks_become_float32():
    found = Allocation(
        players=Players.plain(2), values=torch.tensor([0.5, 2.0], dtype=torch.bfloat16), base=torch.tensor(0.0), total=torch.tensor(2.5)
    )
    assert np.asarray(found).dtype == np.float32 and np.asarray(found).tolist() == [0.5, 2]
    with pytest.raises(ValueError, match="bfloat16"):
        found.__array__(copy=False)


def test_a_dataframe_has_a_row_per_sample_and_a_column_per_feature(ours):
    table = ours.to_dataframe()
    assert list(table.columns) == list("abcd") and list(table.index) == [0, 1, 2, 3, 4]
    assert np.array_equal(table.to_numpy(), ours.values.numpy())
    assert ours[2].to_dataframe().to_numpy().tolist() == [ours.values[2].tolist()]


def test_a_dataframe_names_coalitions_by_their_members(model, x):
    players = Players.features(x[0], names=list("abcd"))
    table = vs.interactions(vs.trace(model, x), x[0], players, target=0, max_order=2).to_dataframe()
    assert list(table.columns) == ["a", "b", "a & b", "c", "a & c", "b & c", "d", "a & d", "b & d", "c & d"] and len(table) == 1


def test_sample_ids_go_there_and_back():
    table = pandas.DataFrame({"age": [1.0, -2.0], "income": [0.5, 0.25]}, index=["ann", "bob"])
    found = Allocation.from_array(table, base=0, total=[1.5, -1.75], method="mine")
    pandas.testing.assert_frame_equal(found.to_dataframe(), table)
    assert found.gap.tolist() == [0, 0] and found.method == "mine"
    assert found[1].provenance["id"] == "bob" and list(found[1].to_dataframe().index) == ["bob"]
    assert list(found[[1]].to_dataframe().index) == ["bob"]


@pytest.mark.parametrize(("package", "call"), [("pandas", "to_dataframe"), ("shap", "to_shap")])
def test_what_is_not_installed_is_named_with_the_command(ours, monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"{call}.* needs {package}.*pip install {package}"):
        getattr(ours, call)()


# ---- from an array --------------------------------------------------------------------------------------------------------------------


def test_one_axis_is_one_sample_and_several_are_a_batch():
    assert Allocation.from_array([1.0, 2.0]).base.shape == ()
    assert Allocation.from_array(np.ones((3, 2))).base.shape == (3,)
    assert Allocation.from_array(torch.ones(3, 1, 4, 4)).players.shape == (1, 4, 4)
    single = Allocation.from_array(torch.ones(1, 4, 4), players=Players.features(torch.zeros(1, 4, 4)))
    assert single.base.shape == () and single.values.shape == (1, 4, 4)


def test_values_of_elements_are_summed_into_larger_players():
    image = torch.arange(32.0).reshape(2, 1, 4, 4)
    found = Allocation.from_array(image, players=Players.patches(image[0], 2))
    assert found.values[0].tolist() == [[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]
    assert float(found.values.sum()) == float(image.sum())


def test_a_gap_that_is_not_known_is_said_to_be_so(tmp_path):
    found = Allocation.from_array([1.0, -2.0, 0.5], names=list("abc"), method="elsewhere")
    assert found.gap.isnan() and "gap not known" in repr(found) and "nan" not in repr(found)
    batch = Allocation.from_array(np.ones((2, 3)), base=1.0)
    assert "gap not known" in repr(batch) and batch.base.tolist() == [1, 1]
    again = Allocation.load(found.save(tmp_path / "a"))
    assert again.gap.isnan() and again.top(1) == [(("b",), -2.0)]


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"values": np.array(3.0)}, InvalidInput, "one number"),
    ({"values": (np.ones(2), np.ones(2))}, InvalidInput, "2 came"),
    ({"values": np.array(["a", "b"])}, WrongType, "numbers"),
    ({"values": [1.0, 2.0], "names": ["a"]}, InvalidInput, "1 names were given for 2"),
    ({"values": np.ones((2, 3)), "base": [1.0, 2.0, 3.0]}, InvalidInput, r"base is a number, or one per sample \[2\], not \[3\]"),
    ({"values": np.ones((2, 3)), "players": Players.plain(4)}, InvalidInput, r"divide a tensor of shape \(4,\), not \(3,\)"),
    ({"values": np.ones((2, 3)), "players": Players.features(torch.ones(2), torch.ones(2))}, InvalidInput, r"\[2, 3\] do not fit"),
    ({"values": np.ones((2, 3)), "data": np.ones((2, 4))}, InvalidInput, r"of shape \(3,\), not \(4,\)"),
    ({"values": np.ones((2, 3)), "data": np.ones((3, 3))}, InvalidInput, r"2 samples were explained, and tensors of \[3\]"),
])  # fmt: skip
def test_an_array_that_does_not_fit_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Allocation.from_array(**arguments)


# ---- captum ---------------------------------------------------------------------------------------------------------------------------


def test_a_map_of_captum_is_kept_judged_and_drawn(model, x, ours):
    values = captum.attr.IntegratedGradients(model).attribute(x, target=1, n_steps=200)
    base, total = model(torch.zeros(1, 4))[0, 1], model(x)[:, 1]
    found = Allocation.from_captum(values, names=list("abcd"), base=base, total=total, data=x, method="integrated_gradients")
    assert torch.equal(found.values, values.to(found.values)) and found.values.requires_grad is False
    torch.testing.assert_close(found.values, ours.values, atol=1e-4, rtol=1e-3)
    assert float(found.relative_gap.max()) < 1e-3 and found[1].plot().axes
    pairs = found.group(Players.segments(torch.tensor([0, 0, 1, 1]), names=["ab", "cd"]))
    assert pairs.players.names == ("ab", "cd") and "ab" in vs.report([pairs], title="pairs").html


def test_several_inputs_of_captum_are_one_allocation():
    found = Allocation.from_captum((torch.ones(2, 3), torch.full((2, 1, 2), 2.0)), data=(torch.zeros(2, 3), torch.zeros(2, 1, 2)))
    assert found.values.tolist() == [[1, 1, 1, 2, 2]] * 2 and found.players.n == 5
    assert found.inputs_by_player.shape == (2, 5)
    assert found.map.shape == (2, 3)


def test_parts_of_a_feature_mask_are_paid_once(model, x):
    mask = torch.tensor([[0, 0, 7, 7]])
    values = captum.attr.FeatureAblation(model).attribute(x, target=0, feature_mask=mask)
    found = Allocation.from_captum(values, feature_mask=mask, names=["left", "right"], base=model(torch.zeros(1, 4))[0, 0])
    assert torch.allclose(found.values, values[:, [0, 2]].to(found.values)) and found.players.names == ("left", "right")
    with pytest.raises(InvalidInput, match="not made with it"):
        Allocation.from_captum(captum.attr.Saliency(model).attribute(x.clone().requires_grad_(), target=0), feature_mask=mask)
    with pytest.raises(InvalidInput, match="differs from sample to sample"):
        Allocation.from_captum(values[:2], feature_mask=torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]]))
    with pytest.raises(InvalidInput, match="give one"):
        Allocation.from_captum(values, feature_mask=mask, players=Players.plain(4))


def test_captums_maps_have_an_axis_of_samples():
    with pytest.raises(InvalidInput, match=r"these are \[\[4\]\]"):
        Allocation.from_captum(torch.ones(4))


# ---- shap -----------------------------------------------------------------------------------------------------------------------------


def test_an_explanation_goes_there_and_back(ours):
    there = ours.to_shap()
    assert isinstance(there, shap.Explanation) and there.feature_names == list("abcd")
    np.testing.assert_array_equal(there.values, ours.values.numpy())
    np.testing.assert_array_equal(there.base_values, ours.base.numpy())
    np.testing.assert_array_equal(there.data, ours.explained[0].numpy())
    back = Allocation.from_shap(there, total=ours.total)
    np.testing.assert_array_equal(back.values.numpy(), ours.values.numpy())
    assert back.players.names == ("a", "b", "c", "d") and float(back.gap.abs().max()) < 1e-6
    assert torch.equal(back.explained[0].float(), ours.explained[0])


def test_one_sample_goes_there_and_back(ours):
    there = ours[3].to_shap()
    assert there.values.shape == (4,) and there.base_values == float(ours.base[3]) and there.data.tolist() == ours.explained[0][3].tolist()
    back = Allocation.from_shap(there)
    assert back.base.shape == () and back.values.tolist() == ours.values[3].tolist() and back.gap.isnan()
    assert Allocation.from_shap(ours.to_shap()[3]).values.tolist() == ours.values[3].tolist()


@pytest.mark.slow
def test_shap_itself_explains_and_we_show_it(model, x):
    explain = shap.Explainer(lambda rows: model(torch.as_tensor(rows, dtype=torch.float32)).detach().numpy(), x.numpy())
    all_outputs = explain(x.numpy())
    with pytest.raises(InvalidInput, match="3 outputs; take one"):
        Allocation.from_shap(all_outputs)
    found = Allocation.from_shap(all_outputs[..., 2], total=model(x)[:, 2])
    assert float(found.gap.abs().max()) < 1e-5 and len(found) == 5 and found[0].plot().axes


def test_what_shap_cannot_hold_is_refused(model, x):
    with pytest.raises(InvalidInput, match="reduce"):
        vs.interactions(vs.trace(model, x), x[0], Players.features(x[0]), target=0).to_shap()
    with pytest.raises(WrongType, match=r"expected a shap.Explanation, not ndarray"):
        Allocation.from_shap(np.ones(3))


def test_larger_players_go_to_shap_without_data(x):
    image = torch.randn(2, 1, 4, 4, generator=rng())
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    found = vs.attribute(vs.trace(model, image), image, vs.METHODS["occlusion"](players=Players.patches(image[0], 2)), target=0)
    there = found.to_shap()
    assert there.data is None and there.values.shape == (2, 2, 2) and found.inputs_by_player is None


def test_inputs_are_in_the_order_of_their_players_and_bystanders_are_left_out():
    index = torch.tensor([2, -1, 0, 1])
    found = Allocation.from_array(torch.zeros(2, 3), players=Players((index,), (3,), "features"), data=torch.arange(8.0).reshape(2, 4))
    assert found.inputs_by_player.tolist() == [[2, 3, 0], [6, 7, 4]]
