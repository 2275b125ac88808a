"""A batch norm of one sample has the gradient of any other, whatever the memory order in which it arrives."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.trace.batch_norm import RightBatchNorms, batch_norm

ORDERS = {
    "rows": lambda n: torch.randn(n, 8, 5, 5, dtype=torch.float64),
    "channels last": lambda n: torch.randn(n, 5, 5, 8, dtype=torch.float64).permute(0, 3, 1, 2),
    "tokens": lambda n: torch.randn(n, 25, 8, dtype=torch.float64).transpose(1, 2).view(n, 8, 5, 5),
    "columns": lambda n: torch.randn(n, 8, 5, 5, dtype=torch.float64).transpose(2, 3),
    "repeated": lambda n: torch.randn(n, 8, 1, 1, dtype=torch.float64).expand(n, 8, 5, 5),
}


@pytest.fixture
def norm():
    torch.manual_seed(0)
    made = nn.BatchNorm2d(8).double().eval()
    made.running_var.uniform_(0.5, 2)
    made.weight.data.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("arriving", ORDERS)
@pytest.mark.parametrize("given", ["rows", "channels last", "tokens", "columns"])
def test_the_gradient_is_the_scale(norm, given, arriving, batch):
    torch.manual_seed(1)
    x, grad = ORDERS[given](batch).requires_grad_(), ORDERS[arriving](batch)
    expected = grad * (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, -1, 1, 1)
    ours = batch_norm(x, norm.weight, norm.bias, norm.running_mean, norm.running_var, False, 0.1, norm.eps, False)
    with RightBatchNorms():
        theirs = norm(x)
    for made in (ours, theirs):
        torch.testing.assert_close(made, norm(x))
        torch.testing.assert_close(torch.autograd.grad(made, x, grad)[0], expected)


class Stem(nn.Module):
    """The start of a convolutional transformer."""

    def __init__(self, norm):
        super().__init__()
        self.norm, self.head = norm, nn.Linear(8, 3).double()

    def forward(self, x):
        return torch.tanh(self.head(self.norm(x).flatten(2).transpose(1, 2))).mean(1)


@pytest.mark.parametrize("method", ["deeplift_rescale", "integrated_gradients", "gradient_x_input", "lrp_epsilon", "grad_cam"])
def test_a_sample_alone_has_the_map_it_has_among_others(norm, method):
    torch.manual_seed(2)
    model, x = Stem(norm).eval(), torch.randn(1, 8, 5, 5, dtype=torch.float64)
    network = vs.trace(model, x)
    assert not network.opaque
    one, two = (vs.attribute(network, given, method, target=1, at="x") for given in (x, x[[0, 0]]))
    torch.testing.assert_close(one.values[0], two.values[0])
