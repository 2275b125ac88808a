"""The same sample, the same numbers: alone or in a batch, whatever else is in it, on any processor and with any number of threads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.methods import METHODS, ShapleyValue, SmoothGrad

CLOSE = {"rtol": 1e-5, "atol": 0.0}


class Kinked(nn.Module):
    """A small network of ReLUs and a maximum over two channels at each of ``columns`` positions."""

    def __init__(self, columns):
        super().__init__()
        self.first, self.last = nn.Linear(columns, 12), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(self.first(torch.maximum(x[..., 0], 0.3 * x[..., 1])).relu())


class Smooth(nn.Module):
    """A small network of tanh."""

    def __init__(self, columns):
        super().__init__()
        self.first, self.last = nn.Linear(2 * columns, 12), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).tanh())


class Pictures(nn.Module):
    """A convolution with pooling, for methods that look at channels of an image."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 4, 3), nn.Linear(36, 3)

    def forward(self, x):
        return self.last(torch.max_pool2d(self.conv(x).relu(), 2).flatten(1))


def made(kind, *arguments):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return kind(*arguments)


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(4))


CASES = {
    "kinked": (made(Kinked, 7), draw(3, 7, 2)),
    "smooth": (made(Smooth, 7), draw(3, 7, 2)),
    "pictures": (made(Pictures), draw(3, 1, 8, 8)),
}
METHOD_CASES = [
    *[(case, name, {}) for case in CASES for name in METHODS if case == "pictures" or METHODS[name].name not in ("grad_cam",)],
    *[
        ("pictures", "shapley_value", {"estimator": name, "budget": 150, "players": vs.Players.patches(CASES["pictures"][1][0], 2)})
        for name in ("permutation", "kernel", "surrogate", "adaptive")
    ],
]


def close(mine, theirs):
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize(("case", "name", "options"), METHOD_CASES)
def test_a_sample_has_the_same_values_alone_in_a_batch_and_in_another_order(case, name, options):
    model, x = CASES[case]
    if name in ("lrp_alpha_beta", "deep_taylor") and case == "smooth":
        pass
    background = draw(4, *x.shape[1:]) if name in ("expected_gradients", "prediction_difference") else None
    ask = {"baseline": background, "options": options} if background is not None else {"options": options}
    whole, turned = (vs.attribute(model, rows, name, **ask) for rows in (x, x.flip(0)))
    close(turned.values.flip(0), whole.values)
    for i in range(len(x)):
        alone = vs.attribute(model, x[i], name, **ask)
        close(alone.values, whole[i].values)
        assert alone.provenance["target"] == whole[i].provenance["target"]
        if alone.stderr is not None:
            torch.testing.assert_close(alone.stderr, whole[i].stderr, rtol=1e-3, atol=1e-6)
