"""Faithfulness by intervention, on games small enough to do by hand."""

import math

import pytest
import torch

from vesalius import Game
from vesalius.audit.faithfulness import Faithfulness, Interventions, agreement
from vesalius.audit.stratified_sampling import all_coalitions


def interventions(value, players):
    design = all_coalitions(players)
    game = Game.of(value, players)
    return Interventions(game, design.masks, game(design.masks), design.weights, float(game(design.masks)[-1]))


def additive(masks):
    return masks.double() @ torch.tensor([4.0, 2.0, -1.0, 1.0]).double()


def test_the_true_map_of_an_additive_game():
    found = interventions(additive, 4).judge(torch.tensor([4.0, 2.0, -1.0, 1.0]).double())
    # arrivals 0, 4, 6, 7, 6; departures 6, 2, 0, -1, 0
    assert found.insertion == pytest.approx((0 / 2 + 4 + 6 + 7 + 6 / 2) / 4)
    assert found.deletion == pytest.approx((6 / 2 + 2 + 0 - 1 + 0 / 2) / 4)
    assert found.infidelity == pytest.approx(0, abs=1e-12) and found.sensitivity_n == pytest.approx(1)


def test_wrong_maps_are_worse():
    bench = interventions(additive, 4)
    right, wrong = bench.judge(torch.tensor([4.0, 2, -1, 1]).double()), bench.judge(torch.tensor([-1.0, 1, 4, 2]).double())
    assert wrong.insertion < right.insertion and wrong.deletion > right.deletion
    assert wrong.infidelity > 0.5 and wrong.sensitivity_n < 0
    assert bench.judge(torch.zeros(4).double()).infidelity == pytest.approx(1)


def test_infidelity_by_hand():
    """x0 and x1: losing either loses all, so that (1/2, 1/2) is off by 1/2 for one player, by 0 for both."""
    found = interventions(lambda masks: masks.all(1).double(), 2).judge(torch.tensor([0.5, 0.5]).double())
    assert found.infidelity == pytest.approx((1 / 3 * 0.25) / (1 / 3 * 1 + 1 / 3 * 1))


def test_a_map_that_does_not_vary_has_no_correlation():
    assert math.isnan(interventions(additive, 4).judge(torch.ones(4).double()).sensitivity_n)
    flat = interventions(lambda masks: torch.ones(len(masks)), 3)
    assert flat.judge(torch.zeros(3).double()).infidelity == 0 and flat.judge(torch.ones(3).double()).infidelity == math.inf


def judged(quality):
    return Faithfulness(insertion=quality, deletion=-quality, infidelity=1 - quality, sensitivity_n=quality)


def test_agreement_is_one_where_the_smaller_error_is_the_more_faithful():
    found = agreement([0.1, 0.2, 0.3, 0.4, 0.5], [judged(quality) for quality in (5, 4, 3, 2, 1)])
    assert found.methods == 5 and found.rho == pytest.approx({name: 1.0 for name in found.rho}) and len(found.rho) == 4
    turned = agreement([0.5, 0.4, 0.3, 0.2, 0.1], [judged(quality) for quality in (5, 4, 3, 2, 1)])
    assert turned.rho["deletion"] == pytest.approx(-1)


def test_too_few_methods_or_no_difference():
    assert all(math.isnan(rho) for rho in agreement([0.1, 0.2], [judged(1), judged(2)]).rho.values())
    assert all(math.isnan(rho) for rho in agreement([0.1] * 5, [judged(q) for q in range(5)]).rho.values())


def test_methods_that_differ_by_rounding_tie():
    each = [judged(quality) for quality in (5, 1, 4, 2, 3)]
    rounded = [agreement([error, 1e-16 - error, 0.2, 0.3, 0.4], each).rho["insertion"] for error in (0.0, 1e-16)]
    assert rounded[0] == rounded[1]
