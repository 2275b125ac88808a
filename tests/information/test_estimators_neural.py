"""Critics: a batched run is many single ones, bounds are bounds, truths, vectors, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.reference import mine as slow
from tests.reference.known_mutual_information import CHANNELS
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.information.estimators import Neural, pairwise
from vesalius.information.estimators.bounds import BOUNDS
from vesalius.information.estimators.critics import CriticPairs, Critics, CriticTraining

QUICK = {"steps": 60, "shifts": 4}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def as_modules(critics, at):
    """One of the critics as modules, whose first bias is the weight of the constant 1."""
    own, shared, second, bias, output = (weight[at].detach() for weight in critics.weights)
    network = slow.build_critic(shared.shape[1] + own.shape[1] - 1, critics.weights[2].shape[2:0:-1])
    weights = [torch.cat([shared, own[:, :-1]], 1), own[:, -1], second, bias[:, 0], output, torch.zeros(1)]
    for parameter, weight in zip(network.parameters(), weights, strict=True):
        parameter.data = weight.clone()
    network[4].bias.requires_grad_(False)
    return network


@pytest.mark.parametrize("shared", [0, 5])
def test_a_batched_run_trains_each_critic_as_if_it_were_alone(shared):
    """Against modules, an optimiser and a loop per critic: the same scores after 40 steps."""
    x, y = torch.randn(max(shared, 3), 300, generator=rng()), torch.randn(6, 300, generator=rng(1))
    asked = CriticPairs(x, y, None if shared else torch.arange(6) % 3, torch.arange(6))
    rows, critics = asked.rows(slice(0, 6)), Critics.initialize(asked, (8, 4), rng(2))
    batches = torch.randint(300, (40, 32), generator=rng(3))
    trained = critics.part(slice(0, 6))
    CriticTraining(steps=40, batch=32, rate=1e-2).run(trained, rows, BOUNDS["mine"], batches)
    for at in (0, 5):
        network = as_modules(critics, at)
        x, y = torch.cat([rows.shared, rows.own[at, :-2]]).T, rows.own[at, -2:-1].T
        slow.train(network, x, y, batches, 1e-2, shuffle=lambda step, size: torch.arange(size).roll(1 + step % (size - 1)))
        expected = network(torch.cat([x, y], 1))[:, 0]
        torch.testing.assert_close(trained(rows)[at].detach(), expected.detach(), atol=5e-3, rtol=0)  # float32, and 40 steps of Adam
    with torch.no_grad():
        assert float((trained(rows) - critics(rows)).abs().max()) > 0.1


def test_blocks_and_stacks_of_any_size_give_the_same(monkeypatch):
    X, Y = torch.randn(200, 4, generator=rng()), torch.randn(200, 3, generator=rng(1))
    whole = pairwise(X, Y, estimator=Neural(**QUICK), generator=rng())
    monkeypatch.setattr("vesalius.information.estimators.neural.CRITICS_AT_ONCE", 5)
    monkeypatch.setattr("vesalius.information.estimators.critics.BLOCK", 7)
    parts = pairwise(X, Y, estimator=Neural(**QUICK), generator=rng())
    torch.testing.assert_close(parts.values, whole.values, atol=1e-4, rtol=0)
    torch.testing.assert_close(parts.stderr, whole.stderr, atol=1e-4, rtol=0)


def perfect(rho, rows, shifts):
    """Scores of a critic that knows the log density ratio of a Gaussian pair: joint and apart, as one critic of the stack."""
    x = torch.randn(rows, dtype=torch.float64, generator=rng(4))
    y = rho * x + (1 - rho**2) ** 0.5 * torch.randn(rows, dtype=torch.float64, generator=rng(5))

    def ratio(y):
        return -0.5 * np.log(1 - rho**2) - (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))

    return ratio(y)[None], torch.stack([ratio(y.roll(by)) for by in range(1, shifts + 1)])[None]


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_are_tight_for_the_perfect_critic(name):
    """And the scatter of their terms is their error: 0.51 nats within three standard errors. NWJ wants the ratio plus 1."""
    joint, apart = perfect(0.8, 20_000, 60)
    local = BOUNDS[name].local(joint + (name == "nwj"), apart + (name == "nwj"))
    error = float(local.mean()) + 0.5 * np.log(1 - 0.64)
    assert abs(error) < 3 * float(local.std()) / 20_000**0.5 + (0.02 if name == "infonce" else 0)


def test_bounds_follow_their_formulas():
    joint, apart = torch.randn(2, 5, generator=rng()).double(), torch.randn(2, 3, 5, generator=rng(1)).double()
    mean = apart.exp().mean((1, 2))
    expected = {
        "mine": joint.mean(1) - mean.log(),
        "nwj": joint.mean(1) - mean / np.e,
        "infonce": (joint - ((joint.exp() + apart.exp().sum(1)) / 4).log()).mean(1),
        "smile": joint.mean(1) - apart.clamp(-5, 5).exp().mean((1, 2)).log(),
    }
    for name, bound in BOUNDS.items():
        torch.testing.assert_close(bound.local(joint, apart).mean(1), expected[name])
    clipped = torch.full((1, 1, 5), 9.0)
    assert float(BOUNDS["smile"].local(torch.zeros(1, 5), clipped).mean()) == pytest.approx(-5)


def test_the_gradient_of_mine_divides_by_the_moving_mean():
    apart = torch.randn(1, 1, 4, generator=rng(), requires_grad=True)
    BOUNDS["mine"].loss(torch.zeros(1, 4), apart, torch.tensor([3.0])).backward()
    torch.testing.assert_close(apart.grad, apart.detach().exp() / 4 / 3)


@pytest.mark.parametrize("bound", BOUNDS)
def test_every_bound_learns_and_is_near_zero_for_independent_units(bound):
    """1000 held-out rows: a tenth of the steps of the benchmark, which holds MINE to 0.08."""
    x, y = (torch.from_numpy(side)[:, None] for side in CHANNELS["gaussian 0.9"].draw(2000, np.random.default_rng(1)))
    apart = torch.randn(2000, 1, generator=rng(9), dtype=torch.float64)
    options = {"steps": 100, "batch": 64} if bound == "infonce" else {"steps": 400}
    found = pairwise(x, torch.cat([y, apart], 1), estimator=Neural(bound=bound, **options), generator=rng(2))
    assert float(found.values[0, 0]) == pytest.approx(0.83, abs=0.15)
    assert abs(float(found.values[0, 1])) < 0.03
    assert float(found.p[0, 0]) < 1e-12 < 0.01 < float(found.p[0, 1])
    assert 0.01 < float(found.stderr[0, 0]) < 0.06 and found.estimator == bound and "lower bound" in found.stderr_note


@pytest.mark.slow
def test_mine_meets_a_truth_within_a_few_hundredths():
    draws = [CHANNELS[name].draw(4000, np.random.default_rng(3)) for name in ("gaussian 0.75", "rectified 0.9", "gaussian 0.97")]
    X, Y = (torch.from_numpy(np.stack(side, 1)) for side in zip(*draws, strict=True))
    found = pairwise(X, Y, estimator=Neural(shifts=8), generator=rng()).values.diagonal()
    truths = torch.tensor([CHANNELS[name].truth for name in ("gaussian 0.75", "rectified 0.9", "gaussian 0.97")])
    assert float((found - truths).abs().max()) < 0.08


def test_seeds_are_averaged_and_widen_the_error_by_their_scatter():
    X, Y = torch.randn(200, 1, generator=rng()), torch.randn(200, 1, generator=rng(1))
    both = pairwise(X, Y + X, estimator=Neural(seeds=2, **QUICK), generator=rng(5))
    source = rng(5)
    singles = [pairwise(X, Y + X, estimator=Neural(**QUICK), generator=source) for _ in range(2)]
    values = torch.stack([one.values for one in singles])
    torch.testing.assert_close(both.values, values.mean(0))
    within = torch.stack([one.stderr for one in singles]).square().mean(0)
    torch.testing.assert_close(both.stderr, (within + values.var(0) / 2).sqrt())


def test_relevance_of_a_vector_adds_what_its_units_share_with_another():
    """Of the sum of four normals, each single one knows 0.14 nats, and all four with noise of the same size 0.8."""
    X = torch.randn(2000, 4, generator=rng())
    noise = torch.randn(2000, 2, generator=rng(1))
    Y = torch.stack([X.sum(1) + noise[:, 0], noise[:, 1]], 1)
    X = torch.cat([X, torch.ones(2000, 1)], 1)
    found = Neural(steps=600).relevance(X, Y, generator=rng(2))
    assert found.values.shape == (1, 2)
    assert float(found.values[0, 0]) == pytest.approx(0.5 * np.log(5), abs=0.12)
    assert float(found.values[0, 1]) < 0.03
    assert float(found.p[0, 0]) < 1e-6 and float(found.p[0, 1]) > 0.01


def test_relevance_of_independent_units_is_rarely_significant():
    """40 units at level 0.05."""
    X, Y = torch.randn(400, 3, generator=rng(3)), torch.randn(400, 40, generator=rng(4))
    found = Neural(steps=50).relevance(X, Y, generator=rng(5))
    assert int((found.p < 0.05).sum()) <= 6


def test_constant_units_and_vectors():
    X, Y = torch.ones(100, 2), torch.cat([torch.randn(100, 1, generator=rng()), torch.zeros(100, 1)], 1)
    vector = Neural(**QUICK).relevance(X, Y, generator=rng())
    assert (vector.values.tolist(), vector.p.tolist()) == ([[0.0, 0.0]], [[1.0, 1.0]])
    assert (vector.dead_x.tolist(), vector.dead_y.tolist()) == ([True], [False, True])


def test_options_are_checked():
    with pytest.raises(UnknownName, match="did you mean 'mine'"):
        Neural(bound="MINE")
    for name in ("steps", "batch", "shifts", "seeds"):
        with pytest.raises(InvalidInput, match=f"{name} is a whole number of at least ., not 0"):
            Neural(**{name: 0})


def test_the_twin_is_built_of_modules():
    """So that it does not share the code under test."""
    assert isinstance(slow.build_critic(2, (3, 4)), nn.Sequential)
