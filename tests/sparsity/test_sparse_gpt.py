"""SparseGPT against the definition of its steps, with an inverse of its own for every column."""

import pytest
import torch
from torch import nn

from tests.reference.pruning import optimal_brain_surgeon
from tests.rules.layer_rule_networks import random
from vesalius.core.errors import InvalidInput
from vesalius.sparsity import Pruning, sparsify, sparsify_gradually
from vesalius.sparsity.pruning import sparse_gpt as module
from vesalius.sparsity.pruning.sparse_gpt import DAMPING, sparse_gpt


def problem(units=5, fan_in=12):
    x = random(60, fan_in) @ random(fan_in, fan_in, seed=1)
    return random(units, fan_in, seed=2), x.T @ x / 60, x


@pytest.mark.parametrize("groups", [(), [(0, 4, 2), (4, 8, 2), (8, 12, 2)]])
def test_what_is_left_makes_up_for_every_column(groups):
    weight, square, _ = problem()
    found, mask = sparse_gpt(weight, square, kept=30, groups=groups)
    expected = optimal_brain_surgeon(weight, square, mask, DAMPING * float(square.diagonal().mean()))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert int(mask.sum()) == 30 and not found[~mask].any()


def test_blocks_keep_links_in_proportion(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    weight, square, _ = problem()
    mask = sparse_gpt(weight, square, kept=30)[1]
    assert [int(part.sum()) for part in mask.split(4, 1)] == [10, 10, 10]


def test_inputs_that_do_not_vary_together_leave_what_stays_as_it_was():
    weight, _, _ = problem()
    scale = torch.linspace(1, 5, 12, dtype=torch.float64)
    found, mask = sparse_gpt(weight, torch.diag(scale), kept=20)
    torch.testing.assert_close(found, weight * mask)
    worth = weight.square() * (scale + DAMPING * scale.mean())
    assert float((worth * mask).sum()) >= float(worth.flatten().topk(20).values.sum()) - 1e-9


def test_a_dead_input_is_cut_without_harm():
    weight, square, _ = problem()
    square[3], square[:, 3] = 0, 0
    found, _ = sparse_gpt(weight, square, kept=30)
    assert not found[:, 3].any() and bool(found.isfinite().all())


@pytest.mark.parametrize("scope", ["layer", "2:4"])
def test_networks_are_pruned_layer_by_layer(scope):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 6)).eval()
    x = torch.randn(80, 4, 6, 6) * torch.rand(4, 1, 1)

    def change(mode):
        thin = sparsify(model, x, sparsity=0.5, mode=mode, pruning=Pruning(scope=scope, **options.get(mode, {})))
        assert thin.sparsity == pytest.approx(0.5, abs=0.01)
        return float((thin.network(x) - model(x).detach()).square().mean())

    options = {"paper": {"score": "magnitude", "compensate": False}}
    assert change("sparse_gpt") < change("paper")
    assert change("alps") < change("paper")


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("mode", ["sparse_gpt", "alps"])
def test_what_these_modes_do_not_take(mode):
    model, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).eval(), torch.randn(40, 6)
    for options in ({"score": "wanda"}, {"scope": "row"}, {"scope": "4x1"}):
        with pytest.raises(InvalidInput, match="ranks the links of a layer by itself"):
            sparsify(model, x, sparsity=0.5, mode=mode, pruning=Pruning(**options))
    with pytest.raises(InvalidInput, match="prunes at once"):
        sparsify_gradually(model, x, sparsity=[0.3, 0.5], mode=mode)
