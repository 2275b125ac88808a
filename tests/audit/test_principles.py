"""The numbers of an audit: against sums over subsets, against closed forms, and on maps whose faults are planted."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.audit import slow_audit
from tests.reference.analytic import CLOSED_FORM_LEAK, NEURONS
from vesalius.audit.principles import HELD_TOLERANCE, SampledPrincipleErrors, closed_form_leak, principle_errors, rounding_tolerance
from vesalius.games.moebius import dividends, membership, shapley_values, values_from_dividends

NAMES = ("miss", "over", "reverse", "leak", "completeness_error")


def random_game(players, seed, *outputs):
    return torch.randn(1 << players, *outputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def index(coalition):
    return sum(1 << i for i in coalition)


def fair_maps(values):
    """Every effect shared equally among its members, for every masked sample."""
    player = membership(int(math.log2(len(values)))).double()
    share = dividends(values)[:, None] * player / player.sum(1, keepdim=True).clamp_min(1)
    return values_from_dividends(share)


@pytest.mark.parametrize("seed", range(3))
def test_numbers_against_sums_over_subsets(seed):
    values, maps = random_game(4, seed), random_game(4, seed + 10, 4)
    found = principle_errors(values, maps)
    slow = slow_audit.audited(4, lambda T: float(values[index(T)]), lambda T: maps[index(T)].tolist())
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(slow[name], rel=1e-10), name


@given(seed=st.integers(0, 1000), players=st.integers(1, 6))
def test_the_completeness_error_is_the_sum_of_its_kinds(seed, players):
    found = principle_errors(random_game(players, seed), random_game(players, seed + 1, players))
    assert found.completeness_error == pytest.approx(found.miss + found.over + found.reverse, rel=1e-10)


@given(seed=st.integers(0, 1000))
def test_equal_shares_hold_all_principles(seed):
    values = random_game(5, seed)
    found = principle_errors(values, fair_maps(values))
    assert max(found.leak, found.completeness_error) < 1e-13
    torch.testing.assert_close(fair_maps(values)[-1], shapley_values(dividends(values)))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (0.75, {"miss": 0.25, "over": 0, "reverse": 0}),
        (1.5, {"miss": 0, "over": 0.5, "reverse": 0}),
        (-0.5, {"miss": 1, "over": 0, "reverse": 0.5}),
    ],
)
def test_too_little_too_much_and_the_wrong_way(factor, expected):
    values = random_game(4, 0)
    found = principle_errors(values, factor * fair_maps(values))
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found.leak < 1e-13


def test_effects_given_to_a_bystander_are_a_leak():
    """v = x0 x1, and its effect goes to player 2 by half."""
    values = membership(3)[:, :2].all(1).double()
    maps = torch.stack([0.25 * values, 0.25 * values, 0.5 * values], 1)
    found = principle_errors(values, maps)
    assert (found.leak, found.completeness_error) == (0.5, 0)


def test_what_is_given_to_nobody_present_leaks_too():
    maps = torch.zeros(4, 2, dtype=torch.float64)
    maps[:, 0] = 1
    assert principle_errors(random_game(2, 0), maps).leak == 1


def test_a_game_without_effects():
    values = torch.full((8,), 3.0, dtype=torch.float64)
    nothing = principle_errors(values, torch.zeros(8, 3, dtype=torch.float64))
    assert all(getattr(nothing, name) == 0 for name in NAMES)
    assert principle_errors(values, random_game(3, 0, 3)).completeness_error == math.inf


def test_one_neuron_leaks_as_its_closed_form_says():
    effects = next(case for case in NEURONS if case.name == "U1").effects
    leak = {
        "deep_taylor": closed_form_leak(**effects, alpha=1, beta=0),
        "lrp_alpha_beta": closed_form_leak(**effects, alpha=2, beta=1),
    }
    assert leak == pytest.approx(CLOSED_FORM_LEAK, abs=5e-7)


def test_the_sampled_numbers_by_hand():
    masks = torch.tensor([[True, False], [True, True]])
    short = SampledPrincipleErrors.of(torch.tensor([3.0, 5.0]).double(), torch.tensor([[1.0, 1.0], [4.0, -1.0]]).double(), masks, 1.0)
    even = torch.tensor([0.5, 0.5]).double()
    assert float(short.leak(even)) == pytest.approx(1 / 7)
    assert float(short.gap(even)) == pytest.approx((0 + 1) / (2 + 4))
    assert short.gap(torch.eye(2).double()).tolist() == pytest.approx([0, 0.25])


def test_single_precision_is_not_held_to_1e8():
    values = random_game(10, 0)
    assert rounding_tolerance(values, 2e-16) == HELD_TOLERANCE
    assert rounding_tolerance(values, 1e-7) > 100 * HELD_TOLERANCE
