"""What is found in a survey: planted shortcuts, planted errors of labels, drift that was put there, rows that are alike by construction."""

import numpy as np
import pytest
import torch
from torch import nn

import vesalius as vs
from tests.scale.conftest import small
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.data import load
from vesalius.scale import (
    Dividends,
    beeswarm_cells,
    dependence,
    explanation_clusters,
    explanation_drift,
    find_shortcuts,
    likely_label_errors,
    nearest,
)


def from_values(values, folder, **given):
    """A survey of rows whose values are known."""
    rows = torch.as_tensor(values, dtype=torch.float32)
    network = nn.Linear(rows.shape[1], 2).eval()
    return vs.survey(
        vs.trace(network, rows[:2]),
        rows,
        lambda x: vs.Allocation.from_array(x.double(), data=x, base=0.0, total=1.0),
        out=folder,
        options=small(shard_rows=50),
        **given,
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """MNIST, of which the 3s have a bright corner patch in one of a hundred; a network trained on them, and its survey."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pictures = load("mnist")
        x, y = pictures.train_x[:4000].clone(), pictures.train_y[:4000]
        threes = (y == 3).nonzero().flatten()
        patched = threes[torch.linspace(0, len(threes) - 1, round(0.01 * len(threes))).long()]
        x[patched, :, 1:4, 1:4] = 1.0
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for _ in range(8):
            for batch in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
    wrong = torch.arange(0, len(y), 150)
    labels = y.clone()
    labels[wrong] = (labels[wrong] + 1) % 10
    found = vs.survey(model.eval(), (x, labels), "deeplift_rescale", out=tmp_path_factory.mktemp("planted"))
    return found, patched, wrong


@pytest.mark.slow
def test_the_planted_shortcut_is_found_and_ranked_first(planted):
    found, patched, _ = planted
    first, *others = find_shortcuts(found)
    assert first.cohort == 3 and set(first.rows.tolist()) >= set(patched.tolist()) and len(first.rows) <= 1.5 * len(patched)
    assert first.prevalence < 0.02 and all(first.score > 1.5 * other.score for other in others)
    assert len(others) <= 19 and [one.score for one in find_shortcuts(found, most=2)] == [first.score, others[0].score]
    corner = first.map.reshape(28, 28)[:5, :5].sum()
    assert corner > 0.8 * first.map.sum() and "class 3" in repr(first)


@pytest.mark.slow
def test_without_the_patched_rows_nothing_stands_out(planted, tmp_path):
    found, patched, _ = planted
    first, second, *_ = find_shortcuts(found)
    threes = [row for row in found.find(predicted=3).tolist() if row not in set(patched.tolist())]
    clean = from_values(found[threes].flat, tmp_path, columns={"class": [3] * len(threes)})
    groups = find_shortcuts(clean, by="class")
    assert all(group.score < 0.7 * first.score for group in groups) and second.score < 0.7 * first.score


def test_errors_of_labels_come_first(planted):
    found, _, wrong = planted
    suspected = likely_label_errors(found, k=3 * len(wrong)).tolist()
    assert len(set(suspected[: len(wrong)]) & set(wrong.tolist())) >= 0.6 * len(wrong), "where chance finds less than one"
    assert len(set(suspected) & set(wrong.tolist())) >= 0.85 * len(wrong)
    assert all(found.column("error")[row] for row in suspected)


def test_nearest_maps(tmp_path):
    random = np.random.default_rng(0)
    values = random.standard_normal((120, 6))
    values[60] = 3 * values[7] + 1e-3
    found = from_values(values, tmp_path)
    alike = nearest(found, 7, k=3)
    cosines = values @ values[7] / np.linalg.norm(values, axis=1) / np.linalg.norm(values[7])
    cosines[7] = -np.inf
    assert alike.rows.tolist() == np.argsort(-cosines)[:3].tolist() and alike.rows[0] == 60
    np.testing.assert_allclose(alike.similarity, np.sort(cosines)[::-1][:3], rtol=1e-6)
    assert nearest(found, found[7], k=1).rows.tolist() == [7]
    with pytest.raises(InvalidInput, match="same players"):
        nearest(found, vs.Allocation.from_array(torch.ones(5), players=vs.Players.plain(5)))


def test_clusters_are_those_that_were_put_there(tmp_path):
    random = np.random.default_rng(1)
    centres = np.eye(5)[:3] * [[1], [5], [0.2]]
    place = random.choice(3, 300, p=[0.6, 0.3, 0.1])
    found = from_values(centres[place] + 0.01 * random.standard_normal((300, 5)), tmp_path)
    made = explanation_clusters(found, 3)
    order = np.argsort(-np.bincount(place))
    assert made.sizes.tolist() == np.sort(np.bincount(place))[::-1].tolist()
    assert (order[made.of_row.numpy()] == place).all() and (place[made.prototypes.numpy()] == order).all()
    assert made.distance[made.untypical(1)] == made.distance.max() and made.distance[made.typical(1)] == made.distance.min()
    with pytest.raises(InvalidInput):
        explanation_clusters(found, 301)


def test_drift_finds_what_was_moved(tmp_path):
    random = np.random.default_rng(2)
    before, after = random.standard_normal((400, 4)), random.standard_normal((400, 4))
    after[:, 2] *= 2
    one, other = (from_values(values, tmp_path / str(place)) for place, values in enumerate((before, after)))
    drift = explanation_drift(one, other)
    assert drift.top(1)[0][0] == drift.names[2] and drift.p[2] < 1e-6 and (np.delete(drift.p, 2) > 0.01).all()
    np.testing.assert_allclose(drift.change, np.abs(after).mean(0) - np.abs(before).mean(0), rtol=1e-6)
    assert (explanation_drift(one, one).distance == 0).all() and drift.names[2] in repr(drift)


def test_beeswarm_counts_every_row_once(tmp_path):
    random = np.random.default_rng(3)
    values = random.standard_normal((230, 4)) * [1, 5, 0.1, 2]
    cells = beeswarm_cells(from_values(values, tmp_path), most=3)
    assert cells.counts.sum((1, 2)).tolist() == [230] * 3 and cells.names[0].endswith("1")
    for place, column in enumerate((1, 3, 0)):
        expected, _ = np.histogram(values[:, column], cells.edges)
        np.testing.assert_array_equal(cells.counts[place].sum(1), expected)
    middles = (cells.edges[1:] + cells.edges[:-1]) / 2
    means = [np.average(middles, weights=cells.counts[0, :, kind]) for kind in range(8)]
    assert (np.diff(means) > 0).all(), "here what a row holds is its value"


def test_a_value_that_many_rows_share_has_one_colour(tmp_path):
    values = np.repeat([[0.0], [1.0], [2.0], [5.0]], [30, 60, 60, 10], axis=0) * [[1.0, -2.0]]
    cells = beeswarm_cells(from_values(values, tmp_path))
    for place, column in enumerate(values[:, [int(name[-1]) for name in cells.names]].T):
        for value, count in zip(*np.unique(column, return_counts=True), strict=True):
            own = cells.counts[place, np.searchsorted(cells.edges, value) - 1]
            assert sorted(own.tolist())[-1] == own.sum() == count
        colours = [int(cells.counts[place, np.searchsorted(cells.edges, value) - 1].argmax()) for value in np.unique(column)]
        assert colours == sorted(colours) and colours[0] < colours[-1] and 0 in colours


@pytest.mark.slow
def test_dependence_finds_the_interaction(tmp_path):
    class Product(nn.Module):
        def forward(self, x):
            return x[:, 0] * x[:, 2] + x[:, 1] + 0.1 * x[:, 3]

    rows = torch.randn(160, 4, generator=torch.Generator().manual_seed(0))
    found = vs.survey(Product(), rows, "occlusion", out=tmp_path / "a", options=small(shard_rows=64))
    assert dependence(found, "feature 0").by == "feature 2" and dependence(found, "feature 2").by == "feature 0"
    shown = dependence(found, "feature 0", by="feature 1")
    assert shown.by == "feature 1" and shown.strength[2] > 3 * shown.strength[1] and len(shown.x) == shown.rows == 160
    with pytest.raises(UnknownName, match="did you mean"):
        dependence(found, "feature 9")
    bare = vs.survey(Product(), rows, "occlusion", out=tmp_path / "b", options=small(keep_inputs=False))
    with pytest.raises(InvalidInput, match="keep_inputs=True"):
        dependence(bare, "feature 0")
    assert beeswarm_cells(bare).counts.shape[2] == 1


def test_what_cannot_be_asked_is_refused(tmp_path, model, rows):
    pairs = vs.survey(model, rows[:20], Dividends(max_order=2), out=tmp_path / "pairs", target=1, options=small())
    with pytest.raises(InvalidInput, match="single players"):
        find_shortcuts(pairs)
    plain = vs.survey(model, rows[:20], "occlusion", out=tmp_path / "plain", options=small())
    with pytest.raises(UnknownName, match="margin"):
        likely_label_errors(plain)
    with pytest.raises(UnknownName):
        find_shortcuts(plain, by="label")
