"""One question about every row: the same numbers as row by row, whatever form the data has and wherever it is cut."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, Sampler, SubsetRandomSampler, TensorDataset, WeightedRandomSampler
from torch.utils.data.distributed import DistributedSampler

import vesalius as vs
from tests.scale.conftest import assert_same_survey, small
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName, WrongType
from vesalius.scale import Dividends, MapCovariance, RayOptions, SurveyOptions


class Lines(IterableDataset):
    """Rows of unknown number, each made when it is asked for, and counted."""

    def __init__(self, rows, labels):
        self.rows, self.labels, self.read = rows, labels, 0

    def __iter__(self):
        for row, label in zip(self.rows, self.labels, strict=True):
            self.read += 1
            yield row, label


@pytest.fixture(scope="module")
def done(model, rows, labels, tmp_path_factory):
    return vs.survey(model, (rows, labels), out=tmp_path_factory.mktemp("survey"), options=small())


def test_values_are_those_of_each_row_alone(done, model, rows):
    alone = vs.attribute(model, rows)
    assert len(done) == 100 and done.complete and len(done.shards) == 7
    torch.testing.assert_close(done[:].values, alone.values)
    torch.testing.assert_close(done[17].values, vs.attribute(model, rows[17:18])[0].values)


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7),
        lambda x, y: DataLoader(Lines(x, y), batch_size=9),
        lambda x, y: TensorDataset(x, y),
        lambda x, y: [(x[:50], y[:50]), (x[50:], y[50:])],
        lambda x, y: ((x[at : at + 30], y[at : at + 30]) for at in range(0, 100, 30)),
        lambda x, y: {"x": x, "labels": y},
    ],
    ids=["loader", "stream", "dataset", "batches", "generator", "mapping"],
)
def test_every_form_of_data_gives_the_same(done, model, rows, labels, form, tmp_path):
    network = vs.trace(model, rows[:2])
    data = form(rows, labels)
    if isinstance(data, dict):
        data = {network.inputs[0].name: data["x"], "labels": labels}
    assert_same_survey(vs.survey(network, data, out=tmp_path, options=small()), done)


@pytest.mark.parametrize("texts", ["a film", ["a film", "a plot"], [["a film"], ["a plot"]]])
def test_texts_are_refused_with_what_to_give(model, texts, tmp_path):
    with pytest.raises(InvalidInput, match=r"texts came \('a film'\).*give tokenizer="):
        vs.survey(model, texts, out=tmp_path)


def test_no_row_of_a_generator_is_lost_while_a_module_is_traced(done, model, rows, labels, tmp_path):
    batches = ((rows[at : at + 30], labels[at : at + 30]) for at in range(0, 100, 30))
    found = vs.survey(model, batches, out=tmp_path, options=small())
    assert len(found) == len(done) and found.column("label") == done.column("label")
    torch.testing.assert_close(found[:].values, done[:].values)


def test_a_stream_is_never_collected(model, rows, labels, tmp_path):
    lines, seen = Lines(rows, labels), []

    def method(x):
        seen.append(lines.read)
        return vs.Allocation.from_array(x.double())

    vs.survey(vs.trace(model, rows[:2]), DataLoader(lines, batch_size=4), method, out=tmp_path, options=small())
    assert seen[0] == 16 and seen[2] <= 36, "rows were read before they were needed"


def test_batches_and_shards_change_rounding_at_most(done, model, rows, labels, tmp_path):
    for place, (batch, shard) in enumerate([(3, 5), (64, 1000), (16, 16)]):
        other = vs.survey(model, (rows, labels), out=tmp_path / str(place), options=small(batch_rows=batch, shard_rows=shard))
        torch.testing.assert_close(other[:].values, done[:].values)


def test_sampled_methods_draw_for_each_row_alone(model, rows, tmp_path):
    method = vs.METHODS["shapley_value"](budget=14, estimator="permutation")
    whole = vs.survey(model, rows[:24], method, target=1, out=tmp_path / "whole", options=small())
    part = vs.survey(model, rows[10:20], method, target=1, out=tmp_path / "part", options=small(shard_rows=3, batch_rows=2))
    torch.testing.assert_close(part[:].values, whole[10:20].values)


def test_columns_and_choices(done, rows, labels, model):
    assert done.columns == ("target", "row", "label", "predicted", "error", "margin")
    predicted = model(rows).argmax(1)
    assert done.column("predicted") == predicted.tolist() and done.column("label") == labels.tolist()
    output = model(rows).double()
    own = output[range(100), labels]
    output[range(100), labels] = -torch.inf
    np.testing.assert_allclose(done.column("margin"), (own - output.amax(1)).detach(), atol=1e-6)
    wrong = done.where(label=1, predicted=[0, 2])
    assert wrong.provenance["samples"]["row"] == [row for row in range(100) if labels[row] == 1 and predicted[row] != 1]
    assert done.find(margin=lambda margin: margin < 0).tolist() == (predicted != labels).nonzero().flatten().tolist()
    assert done.find(lambda part: part.total > 0.3).tolist() == (done[:].total > 0.3).nonzero().flatten().tolist()


def test_rows_are_chosen_in_the_order_asked_for(done):
    assert done[[99, 0, 33]].provenance["samples"]["row"] == [99, 0, 33]
    assert done[-1].provenance["row"] == 99 and done[5:30:5].provenance["samples"]["row"] == [5, 10, 15, 20, 25]
    assert [row.provenance["row"] for row in done][::25] == [0, 25, 50, 75]
    with pytest.raises(IndexError):
        done[100]
    assert len(done[5:5]) == len(done.where(label=7)) == 0 and done[5:5].values.shape == (0, 5)
    with pytest.raises(UnknownName, match="did you mean 'label'"):
        done.column("labels")
    with pytest.raises(InvalidInput, match="one boolean for each"):
        done.where(lambda part: part.values > 0)


def test_summary_and_measures(done):
    values = done[:].values.double().numpy()
    found = done.summary()
    np.testing.assert_allclose(found.importance.mean, np.abs(values).mean(0), rtol=1e-12)
    assert found.by == "label" and set(found.cohorts) == {0, 1} and found.names[0] == "feature 0"
    assert found.top(1)[0][0] in repr(found)
    (covariance,) = done.measure(MapCovariance())
    np.testing.assert_allclose(covariance, np.cov(values.T), rtol=1e-10)
    assert set(done.summary(by="predicted").cohorts) == set(done.column("predicted"))


def test_other_libraries_take_it(done):
    frame, cube = done.to_dataframe(), done.to_xarray()
    assert frame.shape == (100, 5) and cube["values"].dims == ("row", "player") and cube["label"].shape == (100,)
    np.testing.assert_array_equal(cube["values"], frame.to_numpy())


def test_tables_keep_their_names_and_ids(model, rows, tmp_path):
    table = pd.DataFrame(rows.numpy(), columns=list("abcde"), index=[f"person {row}" for row in range(100)]).assign(income="low")
    table.loc["person 3", "income"] = "high"
    found = vs.survey(model, table, labels="income", classes=["low", "high", "none"], target="true", out=tmp_path, options=small())
    assert found[3].provenance["id"] == "person 3" and found.column("label")[:5] == [0, 0, 0, 1, 0]
    assert found[3].provenance["target"] == "class high" and found.classes == ("low", "high", "none")
    assert found[0].players.names == list("abcde") or tuple(found[0].players.names) == tuple("abcde")
    assert found.to_dataframe().index[3] == "person 3"


def test_targets_and_baselines(model, rows, labels, tmp_path):
    each = vs.survey(model, rows, "occlusion", target=labels, baseline="mean", out=tmp_path / "a", options=small())
    expected = vs.attribute(model, rows, "occlusion", target=labels, baseline=vs.Constant(rows.double().mean(0).float()))
    torch.testing.assert_close(each[:].values, expected.values)
    background = vs.survey(model, rows[:20], "occlusion", target=1, baseline=rows[80:], out=tmp_path / "b", options=small())
    expected = vs.attribute(model, rows[:20], "occlusion", target=1, baseline=rows[80:])
    torch.testing.assert_close(background[:].values, expected.values)


def test_interactions_of_every_row(model, rows, tmp_path):
    found = vs.survey(model, rows[:20], Dividends(max_order=2), target=1, out=tmp_path, options=small())
    alone = vs.interactions(model, rows[7], target=1, max_order=2)
    torch.testing.assert_close(found[7].values, alone.values)
    assert torch.equal(found[7].coalitions, alone.coalitions) and "feature 0 & feature 1" in found.summary().names


def test_an_own_function_draws_the_same_again(model, rows, tmp_path):
    def noisy(x):
        return vs.Allocation.from_array(x + torch.randn_like(x))

    before = torch.get_rng_state()
    one = vs.survey(model, rows, noisy, out=tmp_path / "a", options=small())
    other = vs.survey(model, rows, noisy, out=tmp_path / "b", options=small())
    assert torch.equal(one[:].values, other[:].values) and torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one[:8].values - rows[:8], one[8:16].values - rows[8:16])


def test_pictures_of_two_inputs_and_single_outputs(tmp_path):
    class Two(nn.Module):
        def forward(self, a, b):
            return (a * b).sum(1)

    a, b = torch.randn(30, 3), torch.randn(30, 3)
    found = vs.survey(Two(), (a, b), "gradient_x_input", out=tmp_path, options=small())
    assert found[:].values.shape == (30, 6)
    np.testing.assert_allclose(found.column("predicted"), (a * b).sum(1), rtol=1e-5)


def test_inputs_may_be_left_out(model, rows, tmp_path):
    assert vs.survey(model, rows, "occlusion", out=tmp_path, options=small(keep_inputs=False))[:].explained == ()


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"engine": "spark"}, UnknownName, "engine 'spark'"),
        ({"method": "integrated_gradient"}, UnknownName, "integrated_gradients"),
        ({"method": 3}, WrongType, "a method is"),
        ({"labels": [0] * 99}, InvalidInput, "99 values for"),
        ({"columns": {"label": [0] * 100}}, InvalidInput, "column 'label' of its own"),
        ({"columns": {"age": [0] * 101}}, InvalidInput, "101 values for 100 rows"),
        ({"target": "true"}, InvalidInput, "needs a class for each row"),
        ({"target": 9}, InvalidInput, "rows 0 to 7 of the data"),
        ({"baseline": "nought"}, UnknownName, "zero"),
        ({"method": lambda x: x}, WrongType, "gives a vesalius.Allocation"),
        ({"method": lambda x: vs.Allocation.from_array(x[:3])}, InvalidInput, "was given 8 rows"),
        ({"method": lambda x: vs.Allocation.from_array(x), "baseline": 0}, InvalidInput, "an own method has its own"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_what_does_not_fit_is_refused(model, rows, tmp_path, change, kind, words):
    with pytest.raises(kind, match=words):
        vs.survey(model, rows, **{"out": tmp_path / "s", "options": small(), **change})


def test_options_are_held_to_their_limits(as_a_user):
    for wrong in ({"batch_rows": 0}, {"shard_rows": 1.5}, {"keep_inputs": "yes"}):
        with pytest.raises((InvalidInput, WrongType)):
            SurveyOptions(**wrong)
    with pytest.raises(InvalidInput):
        RayOptions(workers=0)


def test_data_without_an_order_or_a_shape_is_refused(model, rows, labels, tmp_path):
    with pytest.raises(InvalidInput, match="shuffles"):
        vs.survey(model, DataLoader(TensorDataset(rows, labels), shuffle=True), out=tmp_path)
    ragged = [torch.zeros(4, 5, dtype=torch.long), torch.zeros(4, 7, dtype=torch.long)]
    embed = vs.trace(nn.Sequential(nn.Embedding(9, 3), nn.AdaptiveAvgPool1d(2), nn.Flatten(1)), ragged[0])
    with pytest.raises(InvalidInput, match=r"one shape: pad|shape"):
        vs.survey(embed, ragged, "occlusion", out=tmp_path / "ragged")
    nan = rows.clone()
    nan[50, 2] = torch.nan
    with pytest.raises(InvalidInput, match=r"rows 48 to 55 of the data: .*NaN"):
        vs.survey(model, nan, out=tmp_path / "nan", options=small())
    assert len(vs.Survey.load(tmp_path / "nan")) == 48, "what was done before is kept"
    with pytest.raises(InvalidInput, match="gone through only once"):
        vs.survey(model, iter([rows]), baseline="mean", out=tmp_path / "iterator")
    with pytest.raises(InvalidInput, match="no rows"):
        vs.survey(vs.trace(model, rows[:2]), iter([]), out=tmp_path / "none")


class Drawn(Sampler):
    """An order of one's own, drawn anew each time."""

    def __iter__(self):
        return iter(torch.randperm(100).tolist())

    def __len__(self):
        return 100


SAMPLERS = {
    "one's own": Drawn,
    "subset": lambda: SubsetRandomSampler(range(100)),
    "weighted": lambda: WeightedRandomSampler([1.0] * 100, 100),
    "distributed": lambda: DistributedSampler(range(100), num_replicas=2, rank=0, shuffle=True),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_loader_that_draws_is_refused_whatever_its_sampler(model, rows, labels, tmp_path, sampler):
    before = torch.get_rng_state()
    with pytest.raises(InvalidInput, match="this DataLoader shuffles"):
        vs.survey(model, DataLoader(TensorDataset(rows, labels), sampler=SAMPLERS[sampler]()), out=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_row_is_left_out(done, model, rows, labels, tmp_path):
    with pytest.raises(InvalidInput, match="leaves out its last rows"):
        vs.survey(model, DataLoader(TensorDataset(rows, labels), batch_size=7, drop_last=True), out=tmp_path / "a")
    whole = DataLoader(TensorDataset(rows, labels), batch_size=10, drop_last=True)
    assert_same_survey(vs.survey(model, whole, out=tmp_path / "b", options=small()), done)
    gaps = [(rows[:30], labels[:30]), (rows[:0], labels[:0]), (rows[30:], labels[30:])]
    assert_same_survey(vs.survey(model, gaps, out=tmp_path / "c", options=small()), done)


@pytest.mark.usefixtures("as_a_user")
def test_folders_that_cannot_be_written_to(model, rows, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="is a file; name a folder"):
        vs.survey(model, rows, out=tmp_path / "file")
    with pytest.raises(InvalidInput, match=r"cannot be written to \(Not a directory"):
        vs.survey(model, rows, out=tmp_path / "file" / "below")
    with pytest.raises(InvalidInput, match="out= is empty"):
        vs.survey(model, rows, out="")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "rows-000000000000.safetensors").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="stands where rows of this survey belong"):
        vs.survey(model, rows, out=tmp_path / "s", options=small())
    with pytest.raises(WrongType, match=r"one value for each row, and .* came for one"):
        vs.survey(model, rows, columns={"place": rows[:, :2]}, out=tmp_path / "columns")


# ---- files --------------------------------------------------------------------------------------------------------------------------


def copied(done, folder):
    """The files of a survey elsewhere."""
    for path in done.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_damaged_or_foreign_file_is_told(done, tmp_path):
    whole = copied(done, tmp_path)
    shard = whole / done.shards[2].file
    content = shard.read_bytes()
    for wrong in (
        content[: len(content) // 2],
        content[:-200] + bytes([255 - content[-200]]) + content[-199:],
        b"",
        content.replace(b"label", b"lebal", 1),
    ):
        shard.write_bytes(wrong)
        with pytest.raises(ForeignFile):
            vs.Survey.load(whole)[35]
    shard.write_bytes((whole / done.shards[1].file).read_bytes())
    with pytest.raises(ForeignFile):
        vs.Survey.load(whole)[35]
    shard.unlink()
    with pytest.raises(ForeignFile, match="missing; call vesalius"):
        vs.Survey.load(whole).column("label")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": 99'),
        lambda text: text.replace("rows-000000000016", "../../etc/rows-000000000016"),
        lambda text: text.replace('"start": 32', '"start": 33'),
        lambda text: text.replace('"rows": 16', '"rows": "16"'),
        lambda text: text.replace('"kind": "survey"', '"kind": "model"'),
        lambda text: text.replace('"shards": [', '"shards": {').replace("]", "}"),
        lambda text: text.replace('"rows": 16', '"rows": 1000000000000000000', 1).replace('"start": 16', '"start": 1000000000000000000'),
        lambda text: "\x00" * 50,
    ],
)
def test_a_wrong_manifest_is_told(done, tmp_path, wrong):
    (tmp_path / "survey.json").write_text(wrong((done.folder / "survey.json").read_text()))
    with pytest.raises(ForeignFile):
        vs.Survey.load(tmp_path)


def test_a_folder_without_a_survey(tmp_path):
    with pytest.raises(FileNotFoundError, match="no survey in"):
        vs.Survey.load(tmp_path)


def test_it_prints(done):
    assert repr(done).startswith("Survey: integrated gradients of 100 rows in 7 shards") and done.method == "integrated_gradients"
