"""The paper's trained reliability: its trap (invertible maps find everything reliable), and its optimum where maps lose something."""

import pytest
import torch
from torch import nn

from vesalius.complexity.reliability import match_features
from vesalius.complexity.strength import variance
from vesalius.complexity.trained_reliability import ReliabilityTraining, return_maps, round_trip, trained_reliability
from vesalius.core.errors import InvalidInput

DOUBLE = torch.float64
LONG = ReliabilityTraining(loop_epochs=60, loop_rates=(3e-2, 1e-3))
SHORT = ReliabilityTraining(epochs=3, loop_epochs=2)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def round_trip_feature(phi, there, how=LONG):
    return round_trip(phi, there, return_maps(phi, there, how=how), how.loops[1])


def test_invertible_maps_find_everything_reliable_even_noise():
    """The trap: features that have nothing in common, so that the closed form says 0, are wholly reliable by trained maps."""
    phi = draw(256, 4)
    there = [torch.linalg.qr(draw(4, 4, seed=seed))[0] for seed in (1, 2)]
    assert float(variance(round_trip_feature(phi, there)) / variance(phi)) == pytest.approx(1, abs=0.01)
    unrelated = match_features(phi[None], torch.zeros_like(phi), [draw(256, 4, seed=9)])
    assert float(unrelated.values) == 0


def test_too_little_training_is_what_brings_it_below_one():
    phi = draw(256, 4)
    there = [torch.linalg.qr(draw(4, 4, seed=seed))[0] for seed in (1, 2)]
    assert float(variance(round_trip_feature(phi, there, ReliabilityTraining(loop_epochs=1))) / variance(phi)) < 0.9


def test_maps_that_lose_something_keep_what_all_of_them_keep():
    """Each map drops one channel and each way back restores the others: going round keeps the common two, and halves the rest."""
    phi = draw(256, 4)
    eye = torch.eye(4, dtype=DOUBLE)
    there = [eye[:, [0, 1, 2]], eye[:, [0, 1, 3]]]
    found = round_trip_feature(phi, there)
    shares = [float(variance(found[:, [c]]) / variance(phi[:, [c]])) for c in range(4)]
    assert shares[:2] == pytest.approx([1, 1], abs=0.02) and max(shares[2:]) < 0.05  # (1/2)**10 at the optimum


def nets(sizes=(1, 2)):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [
            nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *[nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)) for _ in range(n)])
            for n in sizes
        ]


def test_orders_of_a_small_net_from_the_same_inputs():
    x = draw(48, 2, 5, 5).float()
    features = [torch.tanh(x[:, :1] * draw(4, 1, 1, seed=seed).float()) for seed in (1, 2)]
    given = nets()
    before = [value.clone() for net in given for value in net.state_dict().values()]
    found = trained_reliability(
        given, x, features, how=ReliabilityTraining(epochs=40, loop_epochs=10, rates=(1e-2, 1e-3), loop_rates=(1e-2, 1e-3))
    )
    assert found.parts.shape == (2, 48, 4, 5, 5)
    assert all(torch.equal(old, new) for old, new in zip(before, (v for net in given for v in net.state_dict().values()), strict=True))
    missed = variance(features[0] - found.parts.sum(0)) / variance(features[0])
    assert float(missed) < 0.3
    ratio = found.ratio(torch.stack([features[0], torch.zeros_like(features[0])]))
    assert float(ratio[1]) == pytest.approx(float(variance(found.parts.sum(0)) / variance(features[0])))


def test_it_is_reproducible_and_leaves_the_random_state_alone():
    x = draw(20, 2, 4, 4).float()
    features = [draw(20, 4, 4, 4, seed=seed).float() for seed in (1, 2)]
    state = torch.random.get_rng_state()
    one, two = (trained_reliability(nets(), x, features, how=SHORT).parts for _ in range(2))
    assert torch.equal(one, two) and torch.equal(state, torch.random.get_rng_state())


X = draw(6, 2, 4, 4).float()
F = draw(6, 4, 4, 4).float()
REFUSED = [
    (lambda: trained_reliability(nets(), X, [F]), "features of two"),
    (lambda: trained_reliability([], X, [F, F]), "at least one network"),
    (lambda: trained_reliability(nets(), X, [F, F[:5]]), "6 rows on one grid"),
    (lambda: trained_reliability(nets(), X, [F, F[..., :3]]), "one grid"),
    (lambda: ReliabilityTraining(epochs=0), "at least 1"),
    (lambda: ReliabilityTraining(rates=(0, 1)), "each number of rates is a number above 0"),
]


@pytest.mark.parametrize(("ask", "message"), REFUSED, ids=[message for _, message in REFUSED])
@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_trained_is_refused(ask, message):
    with pytest.raises(InvalidInput, match=message):
        ask()
