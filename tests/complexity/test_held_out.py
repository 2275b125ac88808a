"""Errors of what is measured on held-out rows hold the truth, and time is no depth."""

import pytest
import torch
from torch import nn

from tests.complexity.test_disentangle import Deep, draw, trace_model
from vesalius.complexity import Training, complexity
from vesalius.complexity.held_out import explained, gains, group_moments, mean_with_stderr, reproducible, without_each
from vesalius.complexity.networks import RowShapes, Trunk
from vesalius.complexity.readout import Disentangler
from vesalius.complexity.training_plan import batch_rows, held_out_share


def scaled(by):
    """A net that predicts a multiple of what it sees."""
    return Disentangler(trunk=Trunk(RowShapes(x=(3,), f=(3,)), 1, 0).eval(), weight=by * torch.eye(3), bias=torch.zeros(1, 3))


def groups_of(seed, rows=60):
    x = draw(rows, 3, seed=seed)
    f = x + draw(rows, 3, seed=1000 + seed)
    nets = [scaled(0.5), scaled(1.0), scaled(0.4), scaled(0.9)]
    return group_moments(nets, lambda: [(x[:25], f[:25, None]), (x[25:], f[25:, None])])


def test_groups_are_those_of_the_rows_left_out():
    x, f = draw(75, 3), draw(75, 3, seed=1)
    found = group_moments([scaled(0.5)], lambda: [(x, f[:, None])])
    assert len(found) == 25
    rest = torch.cat([x[:6], x[9:]]), torch.cat([f[:6], f[9:]])
    missed, spread = (rest[1] - 0.5 * rest[0]).double(), (rest[1] - f.mean(0)).double()
    centred = missed - (f - 0.5 * x).mean(0).double()
    expected = 1 - centred.square().sum() / spread.square().sum()
    torch.testing.assert_close(explained(without_each(found), 1)[2, 0, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_errors_hold_what_many_rows_show():
    """Feature = x + noise: a net that says by*x explains 1 - ((1 - by)^2 + 1) / 2 of it."""
    truth = torch.tensor([1 - ((1 - by) ** 2 + 1) / 2 for by in (0.5, 1.0, 0.4, 0.9)]).double().view(2, 2).mean(0)
    inside = []
    for seed in range(150):
        value, error = mean_with_stderr(explained, groups_of(seed), 2)
        inside.append((value - truth).abs() < 1.96 * error)
    assert 0.9 < float(torch.stack(inside).double().mean(0)[1]) <= 1.0
    one = [mean_with_stderr(gains, groups_of(seed)[:, [0, 1, 4]][:, :, [0, 1, 4]], 1) for seed in range(150)]
    covered = torch.stack([(value - torch.tensor([0.375, 0.125]).double()).abs() < 1.96 * error for value, error in one]).double().mean(0)
    assert 0.88 < covered.min() <= covered.max() < 0.995
    both = mean_with_stderr(reproducible, groups_of(0), 2)
    assert both[0].shape == both[1].shape == (2,) and float(both[1].min()) > 0


def test_more_rows_leave_smaller_errors_and_seeds_add_theirs():
    few, many = (mean_with_stderr(explained, groups_of(0, rows), 1)[1] for rows in (50, 2000))
    assert bool((many < few / 3).all())
    alone = mean_with_stderr(explained, groups_of(0, 2000)[:, [0, 1, 4]][:, :, [0, 1, 4]], 1)[1]
    assert float(mean_with_stderr(explained, groups_of(0, 2000), 2)[1][0]) > 2 * float(alone[0]), "0.5 and 0.4 are seeds that disagree"


class Tents(nn.Module):
    """Folds of folds: too many kinks for a few units of one layer."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(2, 1)

    def forward(self, x):
        once = ((x.abs() - 1).abs() - 0.5).abs()
        return self.out(torch.cat([once, (once - 0.25).abs()], 1) - 0.3)


def test_time_is_no_depth_in_a_shared_trunk():
    """Where a deeper order is better, the one before is trained alone for as long again; the better of its nets counts."""
    x = 4 * torch.rand(1500, 1, generator=torch.Generator().manual_seed(0)) - 2
    network, how = trace_model(Tents, x), Training(epochs=30, batch=64, held_out=0.4, width=6, seeds=2)
    found, separate = (complexity(network, x, at="sub_3", orders=orders, training=how) for orders in ((0, 1, 2), (0, 1)))
    control, gain = found.time_matched_gain, found.gain
    assert control[:, :2].isnan().all() and control[:, 2].isfinite().any(), "order 2 was better at first"
    known = control[:, 2].isfinite()
    assert bool((gain[known, 2] <= control[known, 2].clamp_min(0) + 1e-6).all()), "what the control explains is not order 2's"
    assert float(found.r2[known, 1].max()) > float(separate.r2[known, 1].max()) + 0.005, "order 1 was trained twice as long"
    assert separate.time_matched_gain.isnan().all()


def test_the_width_is_chosen_on_rows_not_trained_on():
    x = draw(600, 6)
    network = trace_model(Deep, x)
    found = complexity(network, x, at="2", orders=(0, 1), training=Training(epochs=20, seeds=1))
    assert found.provenance["options"]["width"] in (64, 128, 256, 512) and "was no better on rows" in found.provenance["width"]
    assert found.provenance["options"]["batch"] == batch_rows(360) == 32 and held_out_share(600) == 0.4
    assert held_out_share(50_000) == 0.12 and batch_rows(50_000) == 256
    given = complexity(network, x, at="2", orders=(0, 1), training=Training(epochs=2, seeds=1, width=8))
    assert given.provenance["width"] == "given"
