"""Reliability where it is known: features that share some sources and not others."""

import sys

import pytest
import torch

from tests.reference import complexity as slow
from vesalius.complexity.cross_fit import FeaturePair, cross_fits
from vesalius.complexity.reliability import Matching, Reliability, match_features
from vesalius.complexity.strength import strengths
from vesalius.core.errors import InvalidInput

DOUBLE = torch.float64
ROWS = 2000


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def basis(channels=6):
    return torch.linalg.qr(draw(channels, channels, seed=77))[0]


def shared_and_private(rows=ROWS, own=1.0):
    """Two components in orthogonal subspaces, of sources that all networks see and of its own sources; two other networks."""
    common, private = draw(rows, 2), own * draw(rows, 4, seed=1)
    parts = torch.stack([common @ basis()[:2], private @ basis()[2:]])
    others = [torch.cat([common, draw(rows, 3, seed=seed)], 1) @ torch.linalg.qr(draw(5, 5, seed=seed + 1))[0] + 4 for seed in (20, 30)]
    return parts, others


def test_what_is_shared_is_reliable_and_what_is_not_is_not():
    parts, others = shared_and_private()
    found = match_features(parts, torch.zeros(ROWS, 6, dtype=DOUBLE), others)
    assert found.rank == 2
    torch.testing.assert_close(found.projection, basis()[:2].T @ basis()[:2], atol=0.05, rtol=0)
    assert found.values[0] > 0.999 and found.values[1] < 0.005
    share = float(strengths(parts)[0] / strengths(parts).sum())
    assert found.explained.tolist() == pytest.approx([share, share], abs=0.02)
    assert (found.component_r2[:, 0] > 0.99).all() and (found.component_r2[:, 1] < 0.005).all()


def test_a_strong_direction_of_which_little_is_known_is_left_out_and_a_weak_known_one_is_kept():
    common = draw(ROWS, 2)
    strong = 10 * (common[:, :1] * 0.3 + draw(ROWS, 1, seed=1))  # R^2 of 0.08, yet more explained variance than the other has in all
    feature = torch.cat([strong, common[:, 1:]], 1)
    found = match_features(feature[None], torch.zeros_like(feature), [common])
    torch.testing.assert_close(found.projection, torch.diag(torch.tensor([0.0, 1.0], dtype=DOUBLE)), atol=0.05, rtol=0)
    assert match_features(feature[None], torch.zeros_like(feature), [common], matching=Matching(threshold=0.02)).rank == 2


def test_networks_that_share_nothing_and_networks_that_are_the_same():
    feature = draw(300, 4)
    nothing = match_features(feature[None], torch.zeros_like(feature), [draw(300, 4, seed=1)])
    assert (
        nothing.rank == 0
        and nothing.explained.tolist() == [0]
        and nothing.values.tolist() == [0]
        and nothing.component_r2.tolist() == [[0]]
    )
    same = match_features(feature[None], torch.zeros_like(feature), [feature @ draw(4, 4, seed=2)], matching=Matching(ridge=1e-9))
    assert same.rank == 4 and same.explained[0] > 0.999999 and float(same.values) == pytest.approx(1)
    torch.testing.assert_close(same.projection, torch.eye(4, dtype=DOUBLE))


@pytest.mark.parametrize("seed", range(8))
def test_the_part_is_additive_and_never_larger(seed):
    parts, rest, others = draw(3, 60, 5, seed=seed), 0.3 * draw(60, 5, seed=seed + 90), [draw(60, 4, seed=seed + 50)]
    others[0][:, :3] += (parts.sum(0) + rest)[:, :3]
    found = match_features(parts, rest, others, matching=Matching(threshold=0.1))
    pieces = torch.stack([found.part(part) for part in parts])
    torch.testing.assert_close(pieces.sum(0), found.part(parts.sum(0) + rest) - found.part(rest))
    assert 0 < found.rank < 5 and (strengths(pieces) <= strengths(parts)).all()
    torch.testing.assert_close(found.values, strengths(pieces) / strengths(parts))
    torch.testing.assert_close(found.projection @ found.projection, found.projection)
    torch.testing.assert_close(found.projection, found.projection.T)


def drawn(rows, seed):
    """Two components, of which the other network knows the first and some of the second."""
    source = torch.Generator().manual_seed(seed)
    shared, own, mix, noise = (torch.randn(rows, 3, dtype=DOUBLE, generator=source) for _ in range(4))
    parts = torch.stack([shared @ draw(3, 6, seed=1), torch.tanh(own) @ draw(3, 6, seed=2) + (shared * mix) @ draw(3, 6, seed=3)])
    return parts, 0.1 * torch.cat([mix, noise], 1), [torch.cat([shared, own[:, :2] + 0.5 * noise[:, :2]], 1)]


@pytest.mark.parametrize("rows", [60, 400])
def test_the_errors_hold_the_subspace_of_many_rows(rows):
    """Not only that of the rows at hand: what is asked is how reliable a component is."""
    truth = match_features(*drawn(50_000, 0))
    found = [match_features(*drawn(rows, seed)) for seed in range(1, 41)]
    score = torch.stack([(one.values - truth.values) / one.stderr for one in found])
    assert (score.abs() <= 1.96).double().mean() >= 0.88
    assert score.square().mean() >= 0.3


def test_leaving_a_group_out_is_as_if_its_rows_were_never_there():
    parts, rest, others = drawn(60, 0)
    pair = FeaturePair(others[0][:, None], torch.stack([parts.sum(0) + rest, *parts])[:, :, None])
    halves = [half.chunk(3) for half in torch.randperm(60, generator=torch.Generator().manual_seed(0)).chunk(2)]
    found = cross_fits(pair, halves, 0.01)
    without = cross_fits(pair, [halves[0], [halves[1][0], halves[1][2]]], 0.01)
    for name in ("total", "missed", "share"):
        torch.testing.assert_close(getattr(found, name)[5], getattr(without, name)[0])


def test_numbers_are_the_definition():
    parts, others = shared_and_private(40, own=0.5)
    rest = 0.1 * draw(40, 6, seed=5)
    found = match_features(parts, rest, others, matching=Matching(ridge=0.1))
    halves = torch.randperm(40, generator=torch.Generator().manual_seed(0)).chunk(2)
    feature = parts.sum(0) + rest
    expected = [slow.held_out_r2(other, feature, halves, 0.1) for other in others]
    assert found.explained.tolist() == pytest.approx(expected)
    for place, other in enumerate(others):
        assert found.component_r2[place].tolist() == pytest.approx([max(0, slow.held_out_r2(other, part, halves, 0.1)) for part in parts])
    kept = torch.linalg.eigh(found.projection)[1][:, 6 - found.rank :]  # along what is kept, R^2 is above the threshold, over the networks
    for direction in kept.T:
        r2 = [slow.held_out_r2(other, (feature @ direction)[:, None], halves, 0.1) for other in others]
        assert sum(r2) / 2 > 0.5


def test_no_other_projection_keeps_more_of_what_is_known():
    """By brute force in two dimensions: explained less half the variance is largest for the projection found, among lines at all angles."""
    parts, others = shared_and_private()
    feature = (parts.sum(0) @ draw(6, 2, seed=8)) * torch.tensor([1.0, 3.0], dtype=DOUBLE)
    found = match_features(feature[None], torch.zeros_like(feature), others[:1])
    halves = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0)).chunk(2)

    def worth(line):
        column = (feature @ line)[:, None]
        return (slow.held_out_r2(others[0], column, halves, 1e-3) - 0.5) * float(strengths(column[None]))

    assert found.rank == 1
    angles = torch.linspace(0, torch.pi, 19, dtype=DOUBLE)[:-1]
    lines = torch.stack([angles.cos(), angles.sin()], 1)
    best = torch.linalg.eigh(found.projection)[1][:, -1]
    subset = [worth(line) for line in lines[::3]]
    assert worth(best) > max(subset)


def test_maps_of_other_grids_and_sequences():
    common = draw(200, 2, 4, 4)
    mine = torch.cat([common, draw(200, 1, 4, 4, seed=1)], 1)
    empty = torch.zeros_like(mine)
    same_grid = match_features(mine[None], empty, [common.flip(1)])
    assert same_grid.rank == 2 and float(same_grid.explained) == pytest.approx(2 / 3, abs=0.02)
    finer = common.flip(1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(match_features(mine[None], empty, [finer]).explained, same_grid.explained)
    sequence = match_features(mine.flatten(2).mT[None], empty.flatten(2).mT, [common.flip(1).flatten(2).mT], matching=Matching(axis=-1))
    torch.testing.assert_close(sequence.explained, same_grid.explained)
    torch.testing.assert_close(sequence.part(mine.flatten(2).mT).mT, same_grid.part(mine).flatten(2))
    pooled = match_features(mine.mean((2, 3))[None], empty.mean((2, 3)), [common])
    assert float(pooled.explained) == pytest.approx(2 / 3, abs=0.1)


def test_a_component_that_does_not_vary_has_no_reliability():
    parts, others = shared_and_private(200)
    found = match_features(torch.cat([parts, torch.ones(1, 200, 6, dtype=DOUBLE)]), torch.zeros(200, 6, dtype=DOUBLE), others)
    assert found.values.isnan().tolist() == [False, False, True] and found.component_r2.isnan()[:, 2].all()


def test_rows_in_pieces_give_the_same(monkeypatch):
    parts, others = shared_and_private(100)
    rest = torch.zeros(100, 6, dtype=DOUBLE)
    whole = match_features(parts, rest, others)
    monkeypatch.setattr(sys.modules["vesalius.complexity.cross_fit"], "CHUNK_ROWS", 7)
    torch.testing.assert_close(match_features(parts, rest, others).projection, whole.projection)


def test_single_precision():
    parts, others = shared_and_private(300)
    single = match_features(parts.float(), torch.zeros(300, 6), [other.float() for other in others])
    double = match_features(parts, torch.zeros(300, 6, dtype=DOUBLE), others)
    assert isinstance(single, Reliability)
    torch.testing.assert_close(single.values, double.values, atol=1e-4, rtol=0)


P, Z = draw(1, 10, 3), torch.zeros(10, 3, dtype=DOUBLE)
MAP = draw(1, 10, 3, 2, 2)
REFUSED = [
    (lambda: match_features(P, Z, []), "at least one other network"),
    (lambda: match_features(P[:, :3], Z[:3], [Z[:3]]), "at least 4"),
    (lambda: match_features(P, Z, [draw(9, 3)]), "9 rows where this one has 10"),
    (lambda: match_features(MAP, 0 * MAP[0], [draw(10, 3)]), "average the map"),
    (lambda: match_features(MAP, 0 * MAP[0], [draw(10, 3, 4)]), "no positions in common"),
    (lambda: match_features(0 * P, Z, [draw(10, 3)]), "does not vary"),
    (lambda: match_features(P / 0, Z, [draw(10, 3)]), "NaN or infinite"),
    (lambda: match_features(P, Z, [draw(10, 3) / 0]), "NaN or infinite"),
    (lambda: match_features(P, Z, [draw(10, 3)], matching=Matching(axis=2)), "axis from 1 to 1"),
    (lambda: Matching(threshold=1), "threshold is a number of at least 0 and below 1"),
    (lambda: Matching(ridge=0), "ridge is a number above 0"),
]


@pytest.mark.parametrize(("ask", "message"), REFUSED, ids=[message for _, message in REFUSED])
@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_compared_is_refused(ask, message):
    with pytest.raises(InvalidInput, match=message):
        ask()
