"""ALPS: the largest links where inputs do not vary together, and masks that leave less error than the largest weights where they do."""

import torch

from tests.rules.layer_rule_networks import random
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
