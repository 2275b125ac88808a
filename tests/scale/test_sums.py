"""Sums over rows: the verbs' own numbers, in any order and split, on shards and on rows that were taken up."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vesalius as vs
from tests.scale.conftest import small
from vesalius.complexity import Training
from vesalius.complexity.held_out import GROUPS, PredictionMoments, group_moments
from vesalius.complexity.readout import RidgeStatistics
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName
from vesalius.information import MeasurementOptions
from vesalius.scale import Audits, ComponentMoments, InformationFlow, LinkImportances, StoredStatistic
from vesalius.scale.aggregate import PLAN, PlanRows
from vesalius.scale.aggregates import READERS
from vesalius.scale.stream import RowBlock
from vesalius.scale.task import SurveyTask
from vesalius.sparsity import ImportanceOptions

METHODS = ["occlusion", "deeplift_rescale"]
KINDS = {
    "flow": lambda parts: InformationFlow(),
    "flow to labels": lambda parts: InformationFlow(labels=True),
    "links, exact": lambda parts: LinkImportances(),
    "links, Gaussian, without data": lambda parts: LinkImportances(estimator="gaussian", baseline="zero"),
    "links, squares": lambda parts: LinkImportances(estimator="rescale", weighing=ImportanceOptions(aggregate="rms")),
    "components": lambda parts: ComponentMoments(parts=parts),
}


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double().eval()


@pytest.fixture(scope="module")
def data():
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, (x[:, 0] > 0).long()


@pytest.fixture(scope="module")
def parts(net, data):
    return vs.complexity(net, data[0], at="2", orders=(0, 1), training=Training(epochs=2, width=6, seeds=1))


def numbers(found):
    """All numbers of a result, in a fixed order."""
    if isinstance(found, vs.FlowGraph):
        return torch.cat([torch.stack([one.information, one.p, one.stderr]).flatten() for one in found.edges])
    if isinstance(found, vs.Complexity):
        return torch.cat([found.moments.sum(0).flatten(), found.r2.flatten(), found.table()["r2"].stderr])
    if isinstance(found, vs.sparsity.LinkImportance):
        return torch.cat([one.values.double().flatten() for one in found.layers.values()])
    return torch.cat(
        [found.count.flatten().double(), found.mean.nan_to_num().flatten(), found.stderr.nan_to_num().flatten(), found.held.flatten()]
    )


def block(data, rows):
    x, y = data
    places = torch.as_tensor(rows)
    return RowBlock(start=int(places[0]), inputs=(x[places],), labels=tuple(y[places].tolist()), columns={})


@pytest.fixture(scope="module")
def settled(net, data, parts):
    """Each kind with its plan, and what reads rows."""
    network, found = vs.trace(net, data[0][:2]), {}
    for name, make in KINDS.items():
        kind = make(parts)
        plan = kind.plan(PlanRows(network=network, rows=block(data, range(200)), classes=(), names=()))
        found[name] = kind, plan, kind.reader(network, plan, SurveyTask(method=kind, batch_rows=16))
    return found


@pytest.mark.parametrize("name", KINDS)
@given(drawn=st.data())
@settings(max_examples=6)
def test_merged_parts_equal_one_pass_in_any_order_and_split(settled, data, name, drawn):
    kind, plan, read = settled[name]

    def sums(first, last):
        one = kind.empty(plan)
        one.add(read(block(data, range(first, last)))[0])
        return one.with_sums(one.to_tensors())  # as it comes back from a file

    whole = sums(0, 200)
    cuts = sorted(drawn.draw(st.sets(st.integers(1, 199), min_size=1, max_size=6)))
    pieces = [sums(*ends) for ends in zip([0, *cuts], [*cuts, 200], strict=True)]
    order = drawn.draw(st.permutations(pieces))
    merged = kind.empty(plan)
    for one in order:
        merged.merge(one)
    once = numbers(whole.result())
    torch.testing.assert_close(numbers(merged.result()), once, rtol=1e-10, atol=1e-10 * float(once.abs().max()))
    assert isinstance(merged, StoredStatistic)


def test_every_kind_of_sum_is_split_in_a_test(settled):
    assert {kind.name for kind, _, _ in settled.values()} | {"audit"} == set(READERS)


def test_audits_of_parts_are_those_of_all(net, data):
    kind = Audits(methods=METHODS)
    network = vs.trace(net, data[0][:2])
    plan = kind.plan(PlanRows(network=network, rows=None, classes=(), names=()))
    each, _ = kind.reader(network, plan, SurveyTask(method=kind, target=1))(block(data, range(6)))
    whole, left, right = (kind.empty(plan) for _ in range(3))
    whole.add(each)
    left.add(each[4:])
    right.add(each[:4])
    left.merge(right.with_sums(right.to_tensors()))
    torch.testing.assert_close(numbers(left.result()), numbers(whole.result()), rtol=1e-10, atol=1e-12)
    found = whole.result()
    errors = np.array([[one[name].error for name in METHODS] for one in each])
    place = found.measures.index("error")
    np.testing.assert_allclose(found.mean[:, place], errors.mean(0), rtol=1e-10)
    np.testing.assert_allclose(found.stderr[:, place], errors.std(0, ddof=1) / 6**0.5, rtol=1e-10, atol=1e-18)
    assert found.ranking()[0][0] == "deeplift_rescale" and "occlusion" in repr(found) and found.rows == 6


# ---- the verbs' own numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_flow_of_a_survey_is_that_of_the_verb(net, data, tmp_path):
    x, y = data
    for place, (labels, kind) in enumerate([(None, "information_flow"), (y, InformationFlow(labels=True))]):
        found = vs.survey(net, DataLoader(TensorDataset(x, y), batch_size=7), kind, out=tmp_path / str(place), options=small())
        direct = vs.information_flow(net, x, labels=labels, measuring=MeasurementOptions(estimator="binned"))
        torch.testing.assert_close(numbers(found.result()), numbers(direct), rtol=1e-9, atol=1e-12)
        assert found.result().names == direct.names and found.result().provenance["rows"] == 200
        assert found.column("label") == y.tolist()


def test_the_stability_of_a_sample_is_not_said_of_all_rows(net, data, tmp_path):
    whole = vs.survey(net, data[0], InformationFlow(), out=tmp_path / "whole", options=small()).result()
    part = vs.survey(net, data[0], InformationFlow(sample=64), out=tmp_path / "part", options=small()).result()
    assert "Few rows (200)" in repr(whole) and whole.provenance["few_rows"]["halves"] > 0
    assert part.provenance["settled_on"] == 64 and part.provenance["rows"] == 200
    assert "few_rows" not in part.provenance and "Few rows" not in repr(part)


@pytest.mark.parametrize("estimator", ["auto", "gaussian", "rescale"])
def test_links_of_a_survey_are_those_of_the_verb(net, data, tmp_path, estimator):
    """The background of 200 rows is all of them, so that nothing is sampled."""
    found = vs.survey(net, data[0], LinkImportances(estimator=estimator), out=tmp_path, options=small()).result()
    direct = vs.link_importance(net, data[0], estimator=estimator)
    torch.testing.assert_close(numbers(found), numbers(direct), rtol=1e-9, atol=1e-12)
    assert [one.estimator for one in found.layers.values()] == [one.estimator for one in direct.layers.values()]
    assert found["0"].rows == 200 and found.provenance["digest"] == direct.provenance["digest"]


def test_sampled_orders_of_a_survey_hold_what_is_exact(net, data, tmp_path):
    found = vs.survey(net, data[0], LinkImportances(estimator="permutation"), out=tmp_path, options=small()).result()["0"]
    exact = vs.link_importance(net, data[0], estimator="exact")["0"].values
    assert float(((found.values - exact).abs() / found.stderr.clamp_min(1e-12) < 4).double().mean()) > 0.9


def test_components_are_measured_on_all_rows(net, data, parts, tmp_path):
    fresh = torch.randn(300, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = vs.survey(net, fresh, parts, out=tmp_path, options=small()).result()
    seen, feature = parts.reading.read(fresh)
    nets = [one for row in parts.nets for one in row]
    whole = group_moments(nets, lambda: [(seen, parts.shape.rows(feature.float()))])
    torch.testing.assert_close(found.moments.sum(0), whole.sum(0), rtol=1e-9, atol=1e-12)
    assert len(found.moments) == GROUPS and found.provenance["rows"]["held"] == 300 and found.at == parts.at
    with pytest.raises(InvalidInput, match="components are of a network"):
        vs.survey(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double(), fresh, parts, out=tmp_path / "other")


def test_an_audit_of_every_row(net, data, tmp_path):
    found = vs.survey(net, (data[0][:5], data[1][:5]), Audits(methods=METHODS), target="true", out=tmp_path, options=small())
    direct = vs.audit(net, data[0][3], methods=METHODS, target=int(data[1][3]))
    assert found.column("occlusion error")[3] == pytest.approx(direct["occlusion"].error)
    assert found.result().rows == 5 and found.find(row=[1, 3]).tolist() == [1, 3]


def test_a_picture_network_and_words_for_labels(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)).eval()
        x = torch.rand(60, 1, 6, 6)
    words = ["cat" if row % 3 else "dog" for row in range(60)]
    flow = vs.survey(model, x, InformationFlow(labels=True), labels=words, classes=["dog", "cat"], out=tmp_path / "f", options=small())
    assert flow.result().names[-1] == "labels" and flow.result().layers[-1].units == ("dog", "cat")
    links = vs.survey(model, x, LinkImportances(weighing=ImportanceOptions(granularity="channel")), out=tmp_path / "l", options=small())
    assert links.result()["0"].values.shape == (3, 1, 1, 1) and links.result()["0"].rows == 60 * 16


# ---- taken up, refused ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def links_survey(net, data, tmp_path_factory):
    return vs.survey(net, data[0], "link_importance", out=tmp_path_factory.mktemp("links"), options=small())


def copied(done, folder):
    for path in done.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_what_was_stopped_is_taken_up(links_survey, net, data, tmp_path):
    folder = copied(links_survey, tmp_path)
    (folder / links_survey.shards[3].file).unlink()
    again = vs.survey(net, data[0], "link_importance", out=folder, options=small())
    assert [one.header for one in again.shards] == [one.header for one in links_survey.shards]
    assert torch.equal(numbers(again.result()), numbers(links_survey.result()))
    (folder / PLAN).unlink()
    with pytest.raises(ForeignFile, match=r"plan.safetensors is missing.*survey again"):
        again.result()
    renewed = vs.survey(net, data[0], "link_importance", out=folder, options=small())
    torch.testing.assert_close(numbers(renewed.result()), numbers(links_survey.result()))
    with pytest.raises(InvalidInput, match="another question"):
        vs.survey(net, data[0], LinkImportances(baseline="zero"), out=folder, options=small())
    with pytest.raises(InvalidInput, match="another question"):
        vs.survey(net, data[0], "occlusion", out=folder, options=small())


def test_damaged_sums_are_told(links_survey, tmp_path):
    folder = copied(links_survey, tmp_path)
    shard = folder / links_survey.shards[1].file
    content = shard.read_bytes()
    for wrong in (content[:200], (folder / links_survey.shards[2].file).read_bytes(), b""):
        shard.write_bytes(wrong)
        with pytest.raises(ForeignFile):
            vs.Survey.load(folder).result()
    shard.write_bytes(content)
    (folder / PLAN).write_bytes((folder / PLAN).read_bytes()[:-3])
    with pytest.raises(ForeignFile):
        vs.Survey.load(folder).result()


@pytest.mark.usefixtures("as_a_user")
def test_what_sums_do_not_have_is_refused(links_survey, net, data, parts, tmp_path):
    with pytest.raises(InvalidInput, match=r"holds sums over rows.*\.result\(\)"):
        links_survey[3]
    with pytest.raises(InvalidInput, match="holds sums over rows"):
        links_survey.summary()
    with pytest.raises(InvalidInput, match="an answer for each row"):
        vs.survey(net, data[0][:4], "gradient_x_input", out=tmp_path / "rows", options=small()).result()
    with pytest.raises(InvalidInput, match=r"no sum over rows; train them on a sample.*vesalius.survey\(model, data, parts"):
        vs.survey(net, data[0], "complexity", out=tmp_path / "c")
    with pytest.raises(InvalidInput, match="no sum over rows, so that shards"):
        InformationFlow(measuring=MeasurementOptions(estimator="neighbours"))
    with pytest.raises(UnknownName, match="estimator"):
        LinkImportances(estimator="kernel")
    with pytest.raises(InvalidInput, match="without target="):
        vs.survey(net, data[0], "information_flow", target=1, out=tmp_path / "t")
    with pytest.raises(InvalidInput, match="gone through only once"):
        vs.survey(net, iter([data[0]]), "link_importance", out=tmp_path / "i")
    with pytest.raises(InvalidInput, match=r"10 rows \(samples\) are too few"):
        vs.survey(net, data[0][:10], "information_flow", out=tmp_path / "few")
    with pytest.raises(InvalidInput, match="a class number of each row"):
        vs.survey(net, data[0], InformationFlow(labels=True), out=tmp_path / "n")


def test_a_drawn_sample_is_of_all_rows(net, data):
    from vesalius.scale.run import RowStream

    stream = RowStream(network=vs.trace(net, data[0][:2]), data=data, labels=None, columns={}, block_rows=16, expected=200)
    few = stream.sample(40)
    places = [int((data[0] == row).all(1).nonzero()) for row in few.inputs[0]]
    assert len(set(places)) == 40 and places == sorted(places) and max(places) > 150 and min(places) < 50
    assert few.labels == tuple(data[1][places].tolist()) and len(stream.sample(500)) == 200


# ---- statistics of the packages below ---------------------------------------------------------------------------------------------------


@given(cuts=st.sets(st.integers(1, 29), min_size=1, max_size=4), seed=st.integers(0, 50))
@settings(max_examples=10)
def test_ridge_sums_merge(cuts, seed):
    draws = torch.Generator().manual_seed(seed)
    read, target = (torch.randn(30, 2, width, generator=draws, dtype=torch.float64) + 3 for width in (4, 3))
    whole, merged = RidgeStatistics(), RidgeStatistics()
    whole.add(read, target)
    for first, last in reversed(list(zip([0, *sorted(cuts)], [*sorted(cuts), 30], strict=True))):
        one = RidgeStatistics()
        one.add(read[first:last], target[first:last])
        merged.merge(one)
    for mine, once in zip(merged.result(), whole.result(), strict=True):
        torch.testing.assert_close(mine, once, rtol=1e-10, atol=1e-10)


def test_moments_need_rows():
    with pytest.raises(InvalidInput, match="need rows"):
        PredictionMoments().result()
