"""One number per sample, in every form in which it may be asked for."""

import numpy as np
import pytest
import torch
from torch import nn

import vesalius as vs
from tests.test_first_calls import ROWS, module
from vesalius.core.errors import VesaliusError
from vesalius.trace.target import predicted_classes


@pytest.mark.parametrize(
    "target",
    [np.int64(1), [1] * 64, np.ones(64, int), (1,) * 64, torch.ones(64, dtype=torch.int32), lambda out: out[:, 1], "yes", ["yes"] * 64],
)
def test_a_target_in_every_form_is_the_same_target(as_a_user, target):
    network, x = vs.trace(module(), ROWS), torch.tensor(ROWS).float()
    found = vs.attribute(network, x, "deeplift_rescale", target=target, classes=["no", "yes"])
    expected = vs.attribute(network, x, "deeplift_rescale", target=1)
    torch.testing.assert_close(found.values, expected.values, rtol=0, atol=0)


def test_positions_may_differ_between_samples():
    class Steps(nn.Module):
        def forward(self, x):
            return x[:, :, None] * torch.arange(1.0, 5.0)

    network, x = vs.trace(Steps(), torch.zeros(1, 3)), torch.tensor(ROWS[:2]).float()
    for target in ((-1, torch.tensor([1, 3])), torch.tensor([[-1, 1], [-1, 3]]), [(-1, 1), (2, 3)], (-1, [1, 3])):
        found = vs.attribute(network, x, "occlusion", target=target)
        torch.testing.assert_close(found.total, x[:, 2] * torch.tensor([2.0, 4.0]))
    with pytest.raises(VesaliusError, match="2 positions for each of 2 samples"):
        vs.attribute(network, x, "occlusion", target=[1, 3])


def test_a_unit_may_be_taken_at_one_position():
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    network, x = vs.trace(model, torch.zeros(1, 1, 4, 4)), torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = vs.attribute(network, x, "deeplift_rescale", target=("0", 1, 0, 2))
    torch.testing.assert_close(found.total, model[0](x)[:, 1, 0, 2].detach())
    with pytest.raises(VesaliusError, match="2 units at positions of shape"):
        vs.attribute(network, x, "deeplift_rescale", target=("0", 1, 0, 3))


@pytest.mark.parametrize(
    "target",
    [lambda out: out[:, 0].clamp(-50, 50), lambda out: out[:, 0].relu(), lambda out: (out[:, 0] * 1e-3).tanh()],
    ids=["bounded far away", "one-signed", "nearly linear"],
)
def test_a_function_that_only_seems_linear_is_not_taken_for_it(target):
    network, x = vs.trace(module(), ROWS), 1000 * torch.tensor(ROWS).float()
    found = vs.attribute(network, x, "deeplift_rescale", target=target)
    torch.testing.assert_close(found.total, target(network(x)).detach())
    assert float(found.gap.abs().max()) < 1e-3 * float(found.total.abs().max())


def test_a_function_that_is_bent_at_the_baseline_only_is_not_linear():
    """The samples are far from the bound, and the baseline beyond it: between the two the function is not what it is at either."""
    network, x = vs.trace(module(), ROWS), torch.tensor(ROWS).float()
    found = vs.attribute(network, x, "deeplift_rescale", target=lambda out: out[:, 0].clamp(-10, 10), baseline=100.0)
    assert float(found.base.abs().max()) == 10
    assert float(found.gap.abs().max()) < 1e-4


def test_a_tie_is_decided_for_the_first_class_however_it_was_rounded():
    output = torch.tensor([[0.1, 2.0, 2.0], [0.1, 2.0, 2.0], [0.3, 0.1, 0.2]])
    output[0, 2] += 2e-7
    output[1, 1] += 2e-7
    assert predicted_classes(output).tolist() == [1, 1, 0]
    assert predicted_classes(output.double()).tolist() == [2, 1, 0], "in double precision that is no rounding"
    assert predicted_classes(torch.tensor([[1, 5, 5]])).tolist() == [1]


def test_two_equal_classes_give_one_answer_alone_and_in_a_batch():
    class Twins(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(20, 1)

        def forward(self, x):
            score = self.body(x)
            return torch.cat([score * 0, (x * self.body.weight).sum(1, keepdim=True) + self.body.bias, score], 1)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = Twins(), torch.rand(16, 20)
    nn.init.constant_(model.body.bias, 3.0)
    assert vs.attribute(model, x, "gradient_x_input").provenance["target"] == "class 1"
    assert {vs.attribute(model, row, "gradient_x_input").provenance["target"] for row in x} == {"class 1"}
