"""Order statistics and values put back, against plain Python and integrals along the line."""

import itertools

import pytest
import torch
import torch.nn.functional as F

import vesalius as vs
from tests.reference.places import share_of_places
from tests.rules.op_cases import routed
from tests.rules.single_op import EXACT, Op, multipliers, random, readout
from vesalius.core.errors import NoRule, NotTraceable
from vesalius.rules.selection import pairs_of_network


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 8])
def test_the_network_sorts_every_order(count):
    """Zeros and ones are enough (Knuth1998, theorem Z)."""
    for bits in itertools.product([0, 1], repeat=count):
        numbers = list(bits)
        for low, step in pairs_of_network(count):
            assert len({*low, *(i + step for i in low)}) == 2 * len(low)
            for i in low:
                numbers[i], numbers[i + step] = sorted((numbers[i], numbers[i + step]))
        assert numbers == sorted(bits)


def mean_gradient(function, x, b, m, steps=4000):
    """Midpoints of many small steps."""
    total = torch.zeros_like(x)
    for place in range(steps):
        point = torch.lerp(b, x, (place + 0.5) / steps).requires_grad_()
        total += torch.autograd.grad((function(point) * m).sum(), point)[0]
    return total / steps


@pytest.mark.parametrize("name", ["sort", "cummax", "topk"])
def test_of_two_numbers_each_has_the_time_that_it_held_its_rank(name):
    x, b = random(6, 2, seed=1), random(6, 2, seed=2)
    function = {"sort": lambda z: z.sort(1).values, "cummax": lambda z: z.cummax(1).values, "topk": lambda z: z.topk(1, 1).values}[name]
    m = readout(function, (x,))
    (found,) = multipliers(function, (x,), (b,), m)
    torch.testing.assert_close(found, mean_gradient(function, x, b, m), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["sort", "topk", "median"])
def test_an_order_that_stays_is_a_permutation(name):
    """Nothing overtakes: each rank has the change of the number that holds it, which is also the integral along the line."""
    b = torch.tensor([[3.0, 1, 4, 2, 5]]).double()
    x = 2 * b + 1
    function = {"sort": lambda z: z.sort(1).values, "topk": lambda z: z.topk(2, 1).values, "median": lambda z: z.median(1).values}[name]
    m = readout(function, (x,))
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad((function(leaf) * m).sum(), leaf)
    (found,) = multipliers(function, (x,), (b,), m)
    torch.testing.assert_close(found, expected, **EXACT)


def test_a_number_that_stays_and_decides_nothing_gets_nothing():
    b, x = torch.tensor([[1.0, 2, 3, 9]]).double(), torch.tensor([[2.5, 2, 3.5, 9]]).double()
    (found,) = multipliers(lambda z: z.topk(2, 1).values, (x,), (b,))
    shares = found * (x - b)
    assert shares[0, [0, 1, 3]].abs().max() < 1e-12
    assert shares[0, 2].abs() > 0.1


def unpool(z):
    values, places = F.max_pool1d(z, 2, return_indices=True)
    return F.max_unpool1d(values * 2, places, 2)


def test_where_the_winners_stay_unpooling_moves_values():
    b = torch.tensor([[[1.0, 3, 5, 2]]]).double()
    x = b + torch.tensor([[[0.5, 1, 2, 0.5]]]).double()
    (found,) = multipliers(unpool, (x,), (b,), torch.tensor([[1.0, 2, 3, 4]]).double())
    torch.testing.assert_close(found, torch.tensor([[[0.0, 4, 6, 0]]]).double(), **EXACT)


def test_another_winner_is_owed_to_the_difference():
    """Of a window (1, 0) that becomes (1, 2), read out with weights 1 and 10: from 2 to 40, all by the second number."""
    b, x = torch.tensor([[[1.0, 0]]]).double(), torch.tensor([[[1.0, 2]]]).double()
    (found,) = multipliers(unpool, (x,), (b,), torch.tensor([[1.0, 10]]).double())
    torch.testing.assert_close(found * (x - b), torch.tensor([[[0.0, 38]]]).double(), **EXACT)


TWO_TOP = {
    "gather": lambda z: z.flip(1).gather(1, z.topk(2, 1).indices),
    "scatter": lambda z: torch.zeros_like(z).scatter(1, z.topk(2, 1).indices, z[:, :2]),
    "argsort": lambda z: (z**3).gather(1, z.argsort(1, descending=True)[:, :2]),
}


@pytest.mark.parametrize("use", TWO_TOP)
def test_places_against_a_twin_that_shares_out_one_comparison_at_a_time(use):
    x, b = random(7, 5, seed=1), random(7, 5, seed=2)
    m = readout(TWO_TOP[use], (x,))
    (found,) = multipliers(TWO_TOP[use], (x,), (b,), m)
    for mine, ends in zip(found * (x - b), zip(x, b, strict=True), strict=True):
        expected = share_of_places(use, *(end.tolist() for end in ends), m.tolist())
        torch.testing.assert_close(mine, torch.tensor(expected, dtype=torch.float64), **EXACT)


def test_equal_numbers_that_move_alike_have_equal_shares():
    """Two of four overtake the others, side by side: what they bring, and what the others lose, is halved."""
    b, x = torch.tensor([[1.0, 0, 0, 1]]).double(), torch.tensor([[1.0, 2, 2, 1]]).double()
    weights = torch.tensor([[5.0, 7, 7, 5]]).double()
    (found,) = multipliers(lambda z: (weights.expand_as(z).gather(1, z.topk(2, 1).indices)).sum(1, keepdim=True), (x,), (b,))
    shares = found * (x - b)
    torch.testing.assert_close(shares[0, 1], shares[0, 2], **EXACT)
    assert shares[0, [0, 3]].abs().max() == 0


def test_integrated_gradients_see_the_jumps_of_a_router_and_add_up():
    x = random(4, 8, seed=3)
    network = vs.trace(Op(routed, readout(routed, (x,))), x)
    found = vs.attribute(network, x, "integrated_gradients")
    assert found.provenance["rule"] == "secants"
    assert (found.gap.abs() <= 1e-10).all()


def test_too_many_numbers_are_refused_with_the_limit():
    x = random(1, 1025, seed=1)
    network = vs.trace(Op(TWO_TOP["gather"], readout(TWO_TOP["gather"], (x,))), x)
    with pytest.raises(NoRule, match=r"among 1025 numbers \(up to 1024 are compared\)"):
        vs.attribute(network, x, "deeplift_rescale")


@pytest.mark.parametrize(
    ("use", "function"),
    {
        "two values to one place": lambda z: torch.zeros_like(z).scatter(1, z.topk(2, 1).indices // 5, z[:, :2]),
        "places and another value": lambda z: z.argmax(1).to(z.dtype) * 0 + (z.argmax(1) + z[:, 0]),
    }.items(),
)
def test_what_has_no_rule_is_refused(use, function):
    x = random(2, 5, seed=1)
    network = vs.trace(Op(function, readout(function, (x,))), x)
    with pytest.raises((NoRule, NotTraceable)):
        vs.attribute(network, x, "deeplift_rescale")
