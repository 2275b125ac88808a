"""What is kept with a program holds no weight, no sample and no size of an earlier pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import vesalius as vs
from tests.zoo.attention import CausalGPT
from tests.zoo.specimen import grown
from vesalius.rules import network_relevance
from vesalius.rules.lrp_norms import NORM_RULES
from vesalius.rules.two_point_ops import Elementwise

EXACT = {"rtol": 1e-12, "atol": 1e-12}
METHODS = ("deeplift_rescale", "deeplift_revealcancel", "lrp_epsilon", "lrp_alpha_beta")


class Masked(nn.Module):
    """Attention under a mask that is made of the sizes of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.read = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.steps(x).tanh()
        length = torch.arange(x.shape[1])
        mask = (length[:, None] >= length).expand(x.shape[0], -1, -1)
        scores = (hidden @ hidden.mT).masked_fill(~mask, -1e9).softmax(-1)
        return self.read(scores @ hidden)[:, -1]


def rows(count: int) -> torch.Tensor:
    return torch.randn(count, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(count))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_second_call_sees_weights_rows_and_sizes_as_they_are_then(method: str):
    torch.manual_seed(0)
    model = Masked().double().eval()
    network = vs.trace(model, rows(2))
    vs.attribute(network, rows(3), method, target=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data.mul_(1.5)  # which no version counter tells
    for count in (1, 3, 1):
        found = vs.attribute(network, rows(count), method, target=1)
        torch.testing.assert_close(found.values, vs.attribute(vs.trace(model, rows(2)), rows(count), method, target=1).values, **EXACT)


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_alpha_beta"])
def test_norms_in_one_piece_are_those_of_their_parts(method: str, monkeypatch: pytest.MonkeyPatch):
    network = vs.trace(grown(CausalGPT, 22)().double().eval(), rows(2))
    found = vs.attribute(network, rows(3), method, target=1)
    whole = network_relevance.LRP
    ops = {name: rule for name, rule in whole.ops.items() if name not in NORM_RULES}
    monkeypatch.setattr(network_relevance, "LRP", replace(whole, ops=ops))
    parts = vs.attribute(network, rows(3), method, target=1)
    torch.testing.assert_close(found.values, parts.values, **EXACT)
    assert found.absorbed is not None and parts.absorbed is not None
    for account, amount in parts.absorbed.items():
        torch.testing.assert_close(found.absorbed[account], amount, **EXACT)


@pytest.mark.parametrize(
    "rule",
    [Elementwise(torch.tanh, name="tanh"), Elementwise(torch.sigmoid, name="sigmoid")]
    + [Elementwise(lambda z, n=n: z**n, name="pow", exponent=n) for n in (2, 3, 8)],
    ids=["tanh", "sigmoid", "square", "cube", "eighth"],
)
def test_secants_in_closed_form_are_mean_derivatives(rule: Elementwise):
    """Against Gauss-Legendre quadrature of the derivative between the ends, near and far and equal."""
    z1 = torch.tensor([0.3, 0.3, 0.3, -1.2, 2.0, 0.0, 3.0], dtype=torch.float64)
    z0 = z1 - torch.tensor([0.0, 1e-12, 1e-5, 0.7, 4.0, 0.0, -0.5], dtype=torch.float64)
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(60))
    points = (z0 + (z1 - z0) * (nodes[:, None] + 1) / 2).requires_grad_()
    slopes = torch.autograd.grad(rule.value(points).sum(), points)[0]
    torch.testing.assert_close(rule.slope(z1, z0), (weights[:, None] * slopes).sum(0) / 2, rtol=1e-11, atol=1e-12)
