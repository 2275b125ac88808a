"""Values by neighbours: the twin, both ways of counting, atoms, truths, and standard errors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import digamma

from tests.reference import mutual_information as slow
from tests.reference.known_mutual_information import CHANNELS
from vesalius.core.errors import InvalidInput
from vesalius.information.estimators import KSG, ksg_kdtree, ksg_numba
from vesalius.information.estimators.mixed_variables import MixedVariables

PSI = np.concatenate([[-np.inf], digamma(np.arange(1, 2001))])


def points(rows, seed=0):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.standard_normal(rows))
    return x, 0.7 * x + rng.standard_normal(rows)


def compiled_ksg(x, y, k):
    local = np.empty(len(x))
    ceiling = ksg_numba.ksg1_terms(x, y, np.argsort(y), np.ones(len(x), bool), (k, PSI), local)
    return local, ceiling


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("rows", [13, 50, 301])
def test_continuous_terms_are_those_of_all_distances(rows, k):
    x, y = points(rows)
    (one, ceiling), (other, same) = compiled_ksg(x, y, k), ksg_kdtree.ksg1_terms(x, y, k, PSI)
    np.testing.assert_allclose(one, slow.ksg(x, y, k), atol=1e-12)
    np.testing.assert_allclose(other, slow.ksg(x, y, k), atol=1e-12)
    assert ceiling == same


def test_the_neighbour_itself_is_not_counted_by_rounding():
    """On a grid all distances are the same up to rounding, which is where counting by x +- eps goes wrong."""
    x = np.arange(200) * 0.1
    y = np.random.default_rng(0).permutation(x)
    np.testing.assert_allclose(compiled_ksg(x, y, 3)[0], slow.ksg(x, y, 3), atol=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_mixed_terms_are_those_of_all_distances(k):
    x, y = points(200)
    labels = np.digitize(y, [-1, 0, 0.1, 2.2])
    local = np.empty(200)
    ksg_numba.ross_terms(x, labels, 5, np.ones(200, bool), (k, PSI), local)
    np.testing.assert_allclose(local, slow.ross(x, labels, k), atol=1e-12)
    np.testing.assert_allclose(ksg_kdtree.ross_terms(x, labels, k, PSI), slow.ross(x, labels, k), atol=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("shape", ["rectified", "clipped and continuous", "label and rectified", "labels"])
def test_pairs_with_atoms_follow_the_chain_rule(shape, compiled):
    rng = np.random.default_rng(4)
    x = rng.standard_normal(400)
    y = x + rng.standard_normal(400)
    if shape == "rectified":
        x, y, atoms = np.maximum(x, 0), np.maximum(y - 0.5, 0), ([0.0], [0.0])
    elif shape == "clipped and continuous":
        x, atoms = np.clip(x, -1, 1), ([-1.0, 1.0], [])
    else:
        y = np.round(y).clip(-1, 1)
        x = np.maximum(x, 0) if shape != "labels" else np.round(x).clip(-1, 1)
        atoms = [0.0] if shape != "labels" else [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]
    columns = [torch.from_numpy(side)[:, None] for side in (x, y)]
    found = KSG(compiled=compiled).estimate(*columns, generator=torch.Generator().manual_seed(0))
    scores = [MixedVariables.of(column, None).score[0] for column in columns]
    codes = [np.where(np.isin(side, known), side, 7 + score) for side, known, score in zip((x, y), atoms, scores, strict=True)]
    assert float(found.values) == pytest.approx(slow.mixed_information(*codes, *atoms, 3), abs=1e-10)


def test_both_ways_of_counting_agree_on_many_pairs():
    rng = np.random.default_rng(1)
    z = rng.standard_normal((600, 1))
    X = torch.from_numpy(np.maximum(z + rng.standard_normal((600, 4)), 0))
    Y = torch.from_numpy(np.concatenate([z + rng.standard_normal((600, 2)), np.round(z)], 1))
    one, other = (KSG(compiled=way).estimate(X, Y, generator=torch.Generator().manual_seed(0)) for way in (True, False))
    torch.testing.assert_close(one.values, other.values, atol=2e-4, rtol=0)  # scores on a grid have equal distances, up to rounding
    torch.testing.assert_close(one.stderr, other.stderr, atol=2e-4, rtol=0)


def test_ties_that_are_no_atoms_do_not_invent_information():
    """Two independent units rounded to a thousandth: ties are broken independently on both sides."""
    rng = np.random.default_rng(2)
    sides = [torch.from_numpy(np.round(rng.standard_normal((1000, 20)), 1 if wide else 3)) for wide in (False, True)]
    found = KSG().estimate(*sides, generator=torch.Generator().manual_seed(0))
    assert abs(float(found.values.mean())) < 5e-3


def test_a_strictly_rising_map_changes_nothing_but_rounding():
    x, y = (torch.from_numpy(side)[:, None] for side in CHANNELS["gaussian 0.75"].draw(500, np.random.default_rng(0)))
    plain, mapped = KSG().estimate(x, y), KSG().estimate(x.exp(), y**3)
    assert float(plain.values) == pytest.approx(float(mapped.values), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian 0.75", "rectified 0.9", "noisy label", "copied label"])
def test_intervals_cover_and_are_not_wide(name):
    """60 seeds; benchmarks/mutual_information.py has more of both. A standard error off by a factor of 1.5 fails."""
    rng = np.random.default_rng(11)
    sides = [np.stack(side, 1) for side in zip(*(CHANNELS[name].draw(1000, rng) for _ in range(60)), strict=True)]
    found = [KSG().estimate(*(torch.from_numpy(side[:, [i]]) for side in sides)) for i in range(60)]
    z = torch.tensor([(float(one.values) - CHANNELS[name].truth) / float(one.stderr) for one in found])
    assert float((z.abs() <= 1.96).double().mean()) >= 0.88
    assert 0.7 < float(z.std()) < 1.25


def test_the_error_is_widened_by_what_terms_share():
    """By sqrt(1.44) for continuous pairs, sqrt(1.15) for a label with a continuous unit, and not for labels; then there is the bias."""
    x, y = (torch.from_numpy(side)[:, None] for side in CHANNELS["noisy label"].draw(400, np.random.default_rng(0)))
    z = torch.randn(400, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for left, right, share, biased in ((y, z, 1.44, 1.0), (x.double() // 4, y, 1.15, 0.5), (x.double() // 4, x.double() // 5, 1.0, 0.0)):
        sides = [MixedVariables.of(side, torch.Generator().manual_seed(0)) for side in (left, right)]
        local, _ = ksg_kdtree.pair_terms(*[side.arrays for side in sides], np.zeros(2, int), 3, PSI)
        found = KSG().estimate(left, right, generator=torch.Generator().manual_seed(0))
        value = float(found.values)
        bias = biased * 0.015 * np.sqrt(10) * np.clip(value / 0.3, 0, 1) * max(value, 1)
        assert float(found.stderr) == pytest.approx(np.hypot(np.sqrt(share) * local.std() / 20, bias), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian 0.9", "rectified 0.8", "noisy label", "independent, rectified"])
def test_some_rows_stand_for_all_within_their_error(name):
    """40 draws of 2000 rows, neighbours looked up at 300: the mean is that of all rows, and the scatter about it is what the error adds."""
    rng = np.random.default_rng(7)
    sides = [torch.from_numpy(np.stack(side, 1)) for side in zip(*(CHANNELS[name].draw(2000, rng) for _ in range(40)), strict=True)]
    everywhere, some = (
        [KSG(queries=count).estimate(*(side[:, [i]] for side in sides), generator=torch.Generator().manual_seed(i)) for i in range(40)]
        for count in (None, 300)
    )
    apart = torch.tensor([float(one.values - other.values) for one, other in zip(some, everywhere, strict=True)])
    added = torch.tensor([float(one.stderr.square() - other.stderr.square()) for one, other in zip(some, everywhere, strict=True)])
    assert abs(float(apart.mean())) < 3 * float(apart.std()) / 40**0.5 + 1e-9
    assert 0.6 < float(apart.std()) / float(added.mean()) ** 0.5 < 1.4


def test_units_that_determine_each_other_are_flagged_and_dependent_ones_are_not():
    x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    noise = torch.randn(1000, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    same = [x, x.relu(), (x - 1).relu(), x.clamp(-0.3, 0.3), torch.where(x > 0.5, x, noise), -x.exp()]
    for compiled in (True, False):
        found = KSG(compiled=compiled).estimate(x, torch.cat(same, 1), generator=torch.Generator().manual_seed(0))
        assert bool(found.unreliable.all()) and "infinite" in found.why_unreliable(0, 1)
        others = torch.cat([x + 0.2 * noise, (x + 0.3 * noise).relu(), noise, (x > 0).double()], 1)
        sound = KSG(compiled=compiled).estimate(x, others, generator=torch.Generator().manual_seed(0))
        assert not bool(sound.unreliable.any()) and sound.why_unreliable(0, 0) == ""


def test_options_that_cannot_be_met_are_refused(monkeypatch):
    with pytest.raises(InvalidInput, match="k is a whole number of at least 1, not 0"):
        KSG(k=0)
    monkeypatch.setattr("vesalius.information.estimators.ksg.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="numba is not installed"):
        KSG(compiled=True)
    x = torch.arange(50.0)[:, None]
    assert KSG().estimate(x, x).unreliable.tolist() == [[True]]  # by trees


def test_numba_is_not_imported_before_it_is_used():
    script = "import sys, vesalius.information.estimators; print({'numba', 'sklearn', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_ties_that_are_no_atom_are_broken_at_random():
    rows = torch.arange(300).div(4, rounding_mode="floor").double()[:, None]
    first, second = (MixedVariables.of(rows, torch.Generator().manual_seed(seed)).order[0] for seed in (0, 1))
    assert (first != second).any() and ((first // 4) == (second // 4)).all(), "other rows, in the order of their values"
