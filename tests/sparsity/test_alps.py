"""ALPS: the largest links where inputs do not vary together, and masks that leave less error than the largest weights where they do."""

import pytest
import torch
from torch import nn

from tests.rules.layer_rule_networks import random
from vesalius.sparsity import Pruning, sparsify
from vesalius.sparsity.pruning import prune
from vesalius.sparsity.pruning.allocation import top_k_mask
from vesalius.sparsity.pruning.alps import alps
from vesalius.sparsity.pruning.refit import RegressionMoments, solve_ridge


def test_inputs_that_do_not_vary_together_leave_nearly_the_largest_contributions():
    """Alternating directions need not end at the best mask, which here is known."""
    weight, scale = random(4, 10, seed=2), torch.linspace(1, 9, 10, dtype=torch.float64)
    worth = weight.square() * scale
    found = alps(weight, torch.diag(scale), lambda sizes: top_k_mask(sizes, 15))
    assert float((worth * found).sum()) > 0.97 * float(worth.flatten().topk(15).values.sum())


def test_masks_leave_less_error_than_the_largest_weights():
    better = 0
    for seed in range(8):
        x = random(200, 16, seed=seed) @ random(16, 16, seed=100 + seed)
        weight = random(6, 16, seed=200 + seed)
        moments = RegressionMoments.of(x, x @ weight.T, bias=False)

        def error(mask, x=x, weight=weight, moments=moments):
            left = solve_ridge(moments, mask, weight, 1e-6)[0]
            return float((x @ (left - weight).T).square().sum())

        found = alps(weight, moments.square, lambda sizes: top_k_mask(sizes, 24))
        assert int(found.sum()) == 24
        better += error(found) < error(top_k_mask(weight.abs() * moments.square.diagonal().sqrt(), 24))
    assert better >= 7


def test_a_refit_chooses_better_links_of_a_convolution_than_rounds_by_a_score():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 12, 3), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.Flatten(), nn.Linear(32, 5)).eval()
    x = torch.randn(120, 6, 6, 6) + torch.randn(120, 1, 6, 6)
    held, learnt = x[::3], torch.cat([x[1::3], x[2::3]])

    def change(**options):
        thin = sparsify(model, learnt, sparsity=0.8, pruning=Pruning(layers=["0"], **options))
        assert thin.sparsity == pytest.approx(0.8, abs=0.01)
        return float((thin.network(held) - model(held).detach()).square().mean())

    assert change() < 0.95 * change(score="gate")


def test_links_of_linear_units_that_nothing_hears_of_go_first(monkeypatch):
    """Of two units with the same weights, the one whose activation is always 0 keeps no more than it must; rounds are left out of it."""
    monkeypatch.setattr(prune, "CLEARLY_LESS", 0.0)
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 3)).eval(), torch.randn(200, 10)
    with torch.no_grad():
        model[0].weight[2:] = model[0].weight[:2]
        model[0].bias.copy_(torch.tensor([3.0, 3.0, -9.0, -9.0]))
    mask = sparsify(model, x, sparsity={"0": 0.5}).masks["0"]
    assert bool(mask[:2].all())
    assert not mask[2:].any()


def test_links_are_chosen_about_the_mean_where_biases_are_refitted():
    """An input that hardly varies is worth nothing, however large its mean."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 6)).eval(), torch.randn(200, 8)
    x[:, 0] = 50 + 0.01 * x[:, 0]
    thin = sparsify(model, x, sparsity=0.5)
    assert not thin.masks["0"][:, 0].any()
    assert thin.provenance["choice"].startswith("alternating directions, or rounds")
    assert sparsify(model, x, sparsity=0.5, pruning=Pruning(score="gate", rounds=2)).provenance["choice"] == "score"
