"""Foreign maps: what can be rejected is, what a fair method gives is not, and the statement says which."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vesalius as vs
from tests.audit import slow_audit
from tests.audit.nets import columns, sample, tanh_net, traced
from vesalius.audit import Auditor, audit_map
from vesalius.audit.selectope import Selectope, additive_errors
from vesalius.core.errors import InvalidInput, TooManyPlayers
from vesalius.games.moebius import dividends, membership, shapley_values, values_from_dividends

SMALL = 6


def game(players, seed):
    return torch.randn(1 << players, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fair(effects, seed):
    """A map that some allocation with non-negative shares gives."""
    member = membership(len(effects).bit_length() - 1).double()
    share = torch.rand(member.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * member
    return effects @ (share / share.sum(1, keepdim=True).clamp_min(1e-12))


@pytest.mark.parametrize("seed", range(4))
def test_the_shortfall_against_sums_over_subsets(seed):
    values, map_ = game(4, seed), game(2, seed + 50)
    map_ = map_ * 3
    slow = slow_audit.selectope_shortfall(4, lambda T: float(values[sum(1 << i for i in T)]), map_.tolist())
    found = Selectope.of(values)
    assert found.violation(map_)[0] / found.size == pytest.approx(slow, abs=1e-12)


@given(seed=st.integers(0, 10_000), players=st.integers(1, 6))
def test_a_fair_map_is_inside(seed, players):
    found = Selectope.of(game(players, seed))
    map_ = fair(found.effects, seed)
    low, high = found.box()
    assert found.violation(map_)[0] <= 1e-12 * found.size and found.distance(map_) <= 1e-8 * found.size
    assert bool((low <= map_ + 1e-12).all()) and bool((map_ <= high + 1e-12).all())


@given(seed=st.integers(0, 10_000), players=st.integers(1, 6))
def test_the_most_a_player_can_get_leaves_the_others_the_least_they_can_get(seed, players):
    found = Selectope.of(game(players, seed))
    others = (1 << players) - 1 - (1 << torch.arange(players))
    torch.testing.assert_close(found.box()[1], found.total - found.least[others], rtol=1e-10, atol=1e-12)


@given(seed=st.integers(0, 10_000))
def test_the_distance_is_at_least_gap_and_violation_and_is_reached(seed):
    found = Selectope.of(game(4, seed))
    map_ = fair(found.effects, seed) + game(2, seed + 1)
    distance = found.distance(map_)
    gap = abs(float(map_.sum()) - found.total)
    assert distance >= max(found.violation(map_)[0], gap) - 1e-8 * found.size
    assert distance <= float((map_ - fair(found.effects, seed)).abs().sum()) + 1e-8 * found.size


def test_two_players_by_hand():
    """v = 3 for the first alone, effect of both -1: the first gets 2 to 3, the second -1 to 0."""
    found = Selectope.of(torch.tensor([0.0, 3.0, 0.0, 2.0]))
    low, high = found.box()
    assert (low.tolist(), high.tolist(), found.size) == ([2, -1], [3, 0], 4)
    assert found.violation(torch.tensor([2.5, -0.5]).double()) == (0, 0)
    short, worst = found.violation(torch.tensor([0.0, 2.0]).double())
    assert (short, worst) == (2, 1) and found.distance(torch.tensor([0.0, 2.0]).double()) == pytest.approx(4)


def test_the_best_additive_model_explains_an_additive_game():
    weights = torch.tensor([1.0, -2.0, 3.0]).double()
    values = membership(3).double() @ weights + 5
    assert additive_errors(values, weights) == pytest.approx((0, 0), abs=1e-12)
    assert additive_errors(values, 0 * weights)[0] == pytest.approx(1)
    assert additive_errors(torch.full((4,), 2.0).double(), torch.zeros(2).double()) == (0, 0)


# ---- on a network


@pytest.fixture(scope="module")
def case():
    network, x = traced(tanh_net(SMALL), SMALL), sample(SMALL)
    return network, x, vs.attribute(network, x, "shapley_value")


def test_the_shapley_map_passes_and_the_statement_does_not_overreach(case):
    network, x, known = case
    found = audit_map(known.values, network, x, columns(SMALL))
    assert not found.rejected and max(found.gap, found.violation, found.distance) < 1e-9
    assert found.statement.startswith("Not rejected") and "does not show that its method is fair" in found.statement
    assert found.coalition == () and found.least_additive_error <= found.additive_error
    assert "gap" in repr(found) and found.provenance["players"] == "6 features"


def test_a_uniform_map_adds_up_but_is_far_from_every_fair_one(case):
    network, x, known = case
    flat = np.full(SMALL, float(known.total - known.base) / SMALL)
    found = audit_map(flat, network, x, columns(SMALL))
    assert found.gap < 1e-9 and found.rejected and found.violation > 0.02
    assert found.distance >= found.violation and found.coalition and "less than their own effects" in found.statement


def test_a_permuted_map_adds_up_and_is_rejected(case):
    network, x, known = case
    found = audit_map(known.values.flip(0), network, x, columns(SMALL))
    assert found.gap < 1e-9 and found.rejected and found.violation > 0.02


def test_twice_the_map_does_not_add_up(case):
    network, x, known = case
    found = audit_map(2 * known.values, network, x, columns(SMALL))
    assert found.rejected and found.gap == pytest.approx(abs(float(known.total - known.base)) / found.effects)
    assert "it is not complete" in found.statement


def test_a_method_that_leaks_may_pass(case):
    """The power is one-sided: the map of a rule that breaks the principles, moved to the right total, lies within the selectope here."""
    network, x, _ = case
    broken = vs.attribute(network, x, "lrp_epsilon")
    moved = broken.values + broken.gap / SMALL
    assert not audit_map(moved, network, x, columns(SMALL)).rejected


def test_maps_of_elements_are_summed_into_players(case):
    network, x, known = case
    pairs = vs.Players.segments(torch.arange(SMALL) // 2)
    found = audit_map(known.values, network, x, pairs)
    torch.testing.assert_close(found.values, known.values.reshape(3, 2).sum(1))
    image = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = vs.trace(lambda x: x.flatten(1).sum(1), image[None])
    patches = vs.Players.patches(image, 2)
    for map_ in (image, image[None], image.sum(0), vs.attribute(network, image, "occlusion").group(patches).values):
        found = audit_map(map_, network, image, patches)
        torch.testing.assert_close(found.values, patches.gather([image[None]])[0])
        assert not found.rejected


def test_a_map_in_single_precision_is_not_blamed_for_rounding(case):
    network, x, known = case
    found = audit_map(known.values.float().numpy(), network, x, columns(SMALL))
    assert max(found.gap, found.distance) > 1e-10 and not found.rejected


def test_maps_that_do_not_fit(as_a_user, case):
    network, x, known = case
    with pytest.raises(InvalidInput, match=r"shape \[4\] fits neither"):
        audit_map(known.values[:4], network, x, columns(SMALL))
    with pytest.raises(InvalidInput, match="NaN"):
        audit_map(known.values * float("nan"), network, x, columns(SMALL))
    with pytest.raises(TooManyPlayers, match="coarser players"):
        Auditor(most_exact=4).audit_map(known.values, network, x, columns(SMALL))


def test_effects_are_those_of_the_network(case):
    network, x, known = case
    found = audit_map(known.values, network, x, columns(SMALL))
    values = vs.Game.on(network, x, columns(SMALL))(membership(SMALL))
    assert found.effects == pytest.approx(float(dividends(values)[1:].abs().sum()))
    torch.testing.assert_close(shapley_values(dividends(values)), known.values)
    torch.testing.assert_close(values_from_dividends(dividends(values)), values)
