"""Gradient times input against plain autograd, sample by sample, and against a peer."""

import pytest
import torch
from captum.attr import InputXGradient

import vesalius as vs
from tests.zoo import SPECIMENS, specimen

FLOATING = [found.name for found in SPECIMENS if found.integer_at is None]


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOATING)
def test_matches_autograd_on_the_users_own_model(name):
    found = specimen(name)
    model = found.build().eval()
    args, kwargs = found.example(2)
    network = vs.trace(model, *args, kwargs=kwargs, output=found.output)
    values = vs.attribute(network, args, "gradient_x_input", target=1).values
    for row in range(2):
        leaves = [arg[row : row + 1].clone().requires_grad_() for arg in args]
        found.scores(model(*leaves, **kwargs))[0, 1].backward()  # alone, since a branch may be taken by the whole batch
        expected = torch.cat([(leaf.grad * leaf).detach().flatten() for leaf in leaves])
        torch.testing.assert_close(values[row].flatten(), expected, rtol=1e-4, atol=1e-6)


def test_matches_captum_at_a_zero_baseline_and_measures_from_any_other():
    found = specimen("cnn")
    model = found.build().eval()
    (images,), _ = found.example(3)
    network = vs.trace(model, images)
    expected = InputXGradient(model).attribute(images.clone().requires_grad_(), target=2)
    torch.testing.assert_close(vs.attribute(network, images, "gradient_x_input", target=2).values, expected.detach())
    shifted = vs.attribute(network, images, "gradient_x_input", target=2, baseline=vs.Constant(images)).values
    assert shifted.abs().max() == 0


def test_a_linear_network_adds_up():
    network = vs.trace(torch.nn.Linear(5, 2), torch.zeros(1, 5))
    found = vs.attribute(network, torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), "gradient_x_input", baseline=0.3)
    assert found.gap.abs().max() < 1e-6
