"""Audits of a small network, exact and sampled."""

import pytest
import torch

import vesalius as vs
from vesalius.audit import Auditor

METHODS = ["integrated_gradients", "gradient_x_input", "occlusion", "occlusion_patch", "lrp_epsilon"]


@pytest.fixture(scope="session")
def network():
    torch.manual_seed(0)
    return vs.trace(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)), torch.ones(1, 1, 4, 4)
    )


@pytest.fixture(scope="session")
def sample():
    return torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def judged(network, sample):
    """Four patches, all coalitions."""
    return vs.audit(network, sample, vs.Players.patches(sample, 2), methods=METHODS, target=1)


@pytest.fixture(scope="session")
def drawn(network, sample):
    """Sixteen pixels, some coalitions."""
    auditor = Auditor(coalitions=128)
    return auditor.audit(network, sample, vs.Players.features(sample), methods=METHODS[:3], target=1)
