"""Statistics in parts equal those of all rows, in any order and split, and those of NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vesalius as vs
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.scale import CohortMeans, MapCovariance, MeanAbsolute, QuantileSketch, Statistic, TokenMeans
from vesalius.scale.summary import LargestGap

KINDS = {
    "mean absolute": MeanAbsolute,
    "means": CohortMeans,
    "means by label": lambda: CohortMeans("label"),
    "sizes by label": lambda: CohortMeans("label", absolute=True),
    "covariance": MapCovariance,
    "quantiles": QuantileSketch,
    "gap": LargestGap,
}


def allocation(values, labels):
    facts = {"samples": {"label": list(labels)}}
    return vs.Allocation.from_array(torch.from_numpy(values), base=0.0, total=1.0, provenance=facts)


def draw(seed, rows, scale=1.0, shift=0.0):
    random = np.random.default_rng(seed)
    return random.standard_normal((rows, 3)) * scale + shift, random.integers(0, 3, rows).tolist()


def numbers(found):
    """All numbers of a result, in a fixed order."""
    if isinstance(found, dict):
        return np.concatenate([numbers(found[name]) for name in sorted(found)])
    if isinstance(found, QuantileSketch):
        return np.concatenate([found.quantile(share) for share in (0, 0.1, 0.5, 0.9, 1)])
    if hasattr(found, "stderr"):
        return np.concatenate([found.mean, found.stderr, found.deviation, [found.count]])
    return np.ravel(np.array(found, float))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), seed=st.integers(0, 1000), shift=st.sampled_from([0.0, 1e4, -3.0]), scale=st.sampled_from([1e-6, 1.0, 1e5]))
@settings(max_examples=12)
def test_merged_parts_equal_one_pass_in_any_order_and_split(kind, data, seed, shift, scale):
    values, labels = draw(seed, 40, scale, shift * scale)
    whole = KINDS[kind]()
    whole.add(allocation(values, labels))
    cuts = sorted(data.draw(st.sets(st.integers(1, 39), min_size=1, max_size=8)))
    parts = []
    for start, end in zip([0, *cuts], [*cuts, 40], strict=True):
        part = KINDS[kind]()
        part.add(allocation(values[start:end], labels[start:end]))
        parts.append(part)
    order = data.draw(st.permutations(range(len(parts))))
    while len(order) > 1:  # as a tree: two of them become one
        place = data.draw(st.integers(0, len(order) - 2))
        parts[order[place]].merge(parts[order[place + 1]])
        order = [*order[: place + 1], *order[place + 2 :]]
    merged, once = numbers(parts[order[0]].result()), numbers(whole.result())
    size = np.abs(once).max()
    np.testing.assert_allclose(merged, once, rtol=1e-10, atol=1e-10 * size)
    assert isinstance(whole, Statistic)


def test_an_empty_part_changes_nothing():
    values, labels = draw(0, 10)
    for make in KINDS.values():
        whole, empty = make(), make()
        whole.add(allocation(values, labels))
        before = numbers(whole.result())
        whole.merge(empty)
        np.testing.assert_array_equal(numbers(whole.result()), before)
        empty.merge(whole)
        np.testing.assert_allclose(numbers(empty.result()), before, rtol=1e-12)


def test_they_are_what_numpy_says():
    values, labels = draw(3, 200)
    batch = allocation(values, labels)
    sizes, signed, covariance = MeanAbsolute(), CohortMeans("label"), MapCovariance()
    for statistic in (sizes, signed, covariance):
        statistic.add(batch[:70])
        statistic.add(batch[70:])
    found = sizes.result()
    np.testing.assert_allclose(found.mean, np.abs(values).mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.stderr, np.abs(values).std(0, ddof=1) / 200**0.5, rtol=1e-12)
    for label, own in signed.result().items():
        np.testing.assert_allclose(own.mean, values[np.array(labels) == label].mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance.result(), np.cov(values.T), rtol=1e-11)


@given(seed=st.integers(0, 100), accuracy=st.sampled_from([0.001, 0.01, 0.1]))
@settings(max_examples=15)
def test_quantiles_are_as_accurate_as_they_say(seed, accuracy):
    values, labels = draw(seed, 301, 10.0)
    values[:, 1] = np.exp(values[:, 1] * 3)
    values[::7, 2] = 0
    sketch = QuantileSketch(accuracy)
    sketch.add(allocation(values, labels))
    for share in (0, 0.05, 0.5, 0.77, 1):
        exact = np.sort(values, 0)[int(np.floor(share * 300))]
        assert (np.abs(sketch.quantile(share) - exact) <= accuracy * np.abs(exact) * (1 + 1e-9)).all()


def test_a_sketch_does_not_grow_with_the_rows():
    sizes = []
    for rows in (20_000, 80_000):
        sketch = QuantileSketch()
        sketch.add(allocation(*draw(0, rows)))
        sizes.append(len(sketch.codes))
    assert sizes[1] < 1.5 * sizes[0] < 0.3 * 20_000


def test_means_of_tokens():
    ids = torch.tensor([[3, 5, 3], [5, 5, 9]])
    values = torch.tensor([[1.0, -2, 3], [4, 0, -7]])
    batch = vs.Allocation.from_array(values, data=ids)
    whole, other = TokenMeans(), TokenMeans()
    whole.add(batch[:1])
    other.add(batch[1:])
    whole.merge(other)
    found = whole.result()
    told = {token: (one.size, one.mean, one.count, one.rows) for token, one in found.items()}
    assert told == {9: (7.0, -7.0, 1, 1), 3: (2.0, 2.0, 2, 1), 5: (2.0, pytest.approx(2 / 3), 3, 2)} and list(found) == [9, 3, 5]
    sums, counts = np.array([-2.0, 4.0]), np.array([1, 2])
    left = sums - 2 / 3 * counts
    assert found[5].stderr == pytest.approx((left @ left * 2 / 1) ** 0.5 / 3) and np.isnan(found[9].stderr)
    with pytest.raises(InvalidInput, match="whole numbers"):
        TokenMeans().add(vs.Allocation.from_array(values))


@pytest.mark.slow
def test_intervals_of_tokens_hold_the_truth_though_places_of_a_text_go_together():
    """A value is that of its text and of its place; a text has one to six places of the token, all of mean 0.3."""
    inside = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        sums = TokenMeans()
        for _ in range(60):
            places = random.integers(1, 7)
            values = 0.3 + random.standard_normal() + 0.2 * random.standard_normal(places)
            sums.add(vs.Allocation.from_array(torch.from_numpy(values)[None], data=torch.ones(1, places, dtype=torch.long)))
        found = sums.result()[1]
        inside += abs(found.mean - 0.3) < 1.96 * found.stderr
    assert 178 <= inside <= 198


def test_what_no_statistic_can_be_of_is_refused():
    values, labels = draw(0, 4)
    with pytest.raises(UnknownName, match="column 'labell'; did you mean 'label'"):
        CohortMeans("labell").add(allocation(values, labels))
    with pytest.raises(InvalidInput, match="one accuracy"):
        QuantileSketch(0.01).merge(QuantileSketch(0.02))
    values[0, 0] = np.nan
    with pytest.raises(InvalidInput, match="NaN"):
        QuantileSketch().add(allocation(values, labels))
    with pytest.raises(InvalidInput, match="group the players"):
        MapCovariance().add(allocation(np.zeros((1, 5000)), [0]))
    with pytest.raises(InvalidInput, match="accuracy"):
        QuantileSketch(0.7)
