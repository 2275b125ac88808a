"""Occlusion and Shapley values against loops, on real networks and on an opaque one."""

from itertools import permutations

import pytest
import torch

import vesalius as vs
from tests.zoo import SPECIMENS, specimen
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.games.absence import Marginal
from vesalius.methods import Occlusion, ShapleyValue


def opened(name, batch=2):
    found = specimen(name)
    args, kwargs = found.example(batch)
    network = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    return network, {**dict(zip([value.name for value in network.inputs], args, strict=False)), **kwargs}


def shapley_by_orders(function, x, baseline):
    """Mean marginal contribution over all orders of arrival, columns one by one."""
    total = torch.zeros(len(x), dtype=torch.float64)
    orders = list(permutations(range(len(x))))
    for order in orders:
        seen = baseline.clone()
        before = function(seen)
        for player in order:
            seen[player] = x[player]
            after = function(seen)
            total[player] += after - before
            before = after
    return total / len(orders)


def test_shapley_values_of_a_network_match_all_orders():
    network = vs.trace(
        torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double(), torch.zeros(1, 5).double()
    )
    x = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = vs.attribute(network, x, "shapley_value", target=1, baseline=0.25)
    for row in range(2):
        expected = shapley_by_orders(lambda seen: network(seen[None])[0, 1].item(), x[row], torch.full((5,), 0.25, dtype=torch.float64))
        torch.testing.assert_close(found.values[row], expected, rtol=1e-10, atol=1e-10)


def test_occlusion_is_the_loss_of_one_patch():
    network, x = opened("cnn")
    (images,) = x.values()
    players = vs.Players.patches(images[0], 4)
    found = vs.attribute(network, images, Occlusion(players=players), target=1)
    for patch in range(players.n):
        covered = images.clone()
        covered[:, :, players.index[0] == patch] = 0
        expected = network(images)[:, 1] - network(covered)[:, 1]
        torch.testing.assert_close(found.flat[:, patch], expected, rtol=1e-4, atol=1e-5)
    assert found.evaluations.tolist() == [players.n + 2] * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [found.name for found in SPECIMENS])
def test_shapley_values_add_up_on_the_whole_zoo(name):
    network, x = opened(name)
    found = vs.attribute(network, x, ShapleyValue(budget=150, estimator="kernel" if name == "two_input" else "auto"), target=0)
    scale = torch.maximum((found.total - found.base).abs(), found.flat.abs().sum(1))
    assert (found.gap.abs() <= 1e-5 * scale).all()
    assert (found.evaluations <= 150).all()


def test_an_opaque_model_has_all_four_methods_and_names_the_branch():
    found = specimen("branching")
    args, _ = found.example(3)
    network = vs.trace(found.build().eval(), *args)
    assert network.opaque
    for method in ("gradient_x_input", "integrated_gradients", "occlusion", "shapley_value"):
        allocation = vs.attribute(network, args[0], method, target=0)
        assert allocation.values.isfinite().all()
        torch.testing.assert_close(allocation.total, network(args[0])[:, 0])


def test_a_marginal_absence_averages_over_its_background():
    network = vs.trace(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)), torch.zeros(1, 3))
    generator = torch.Generator().manual_seed(0)
    x, background = torch.randn(3, generator=generator), torch.randn(6, 3, generator=generator)
    found = vs.attribute(network, x, "shapley_value", baseline=Marginal(background=background))
    each = torch.stack([vs.attribute(network, x, "shapley_value", baseline=row).values for row in background])
    torch.testing.assert_close(found.values, each.mean(0), rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_numbers():
    network, x = opened("cnn")
    draw = [vs.attribute(network, x, ShapleyValue(budget=200, estimator="permutation", seed=seed), target=0).values for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


def test_what_cannot_be_asked():
    network, x = opened("cnn")
    with pytest.raises(UnknownName, match="estimator"):
        vs.attribute(network, x, ShapleyValue(estimator="kernal"), target=0)
    with pytest.raises(InvalidInput, match="divide a tensor of shape"):
        vs.attribute(network, x, Occlusion(players=vs.Players.features(torch.zeros(3, 5, 5))), target=0)
