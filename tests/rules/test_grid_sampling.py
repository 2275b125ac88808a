"""Sampling at places that depend on the input, against a twin in plain loops and an integral along the line."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.rules.single_op import EXACT, TABLES, multipliers, random, readout

SIDE, OUT = 4, 3


def sample(values, grid):
    return F.grid_sample(values, grid, align_corners=True, padding_mode="border")


def ends(seed, reach=0.8):
    return random(2, 2, SIDE, SIDE, seed=seed), reach * torch.tanh(random(2, OUT, OUT, 2, seed=seed + 1))


def bilinear(image, x, y):
    """An image [H, W] of a dictionary of numbers at one place, by the four pixels around it."""
    x, y = ((float(place) + 1) / 2 * (SIDE - 1) for place in (x, y))
    column, row = min(int(x), SIDE - 2), min(int(y), SIDE - 2)
    u, v = x - column, y - row
    corners = ((0, 0, (1 - u) * (1 - v)), (0, 1, u * (1 - v)), (1, 0, (1 - u) * v), (1, 1, u * v))
    return [(row + down, column + right, weight) for down, right, weight in corners], sum(
        weight * float(image[row + down, column + right]) for down, right, weight in corners
    )


def twin(v1, g1, v0, g0, m):
    """Values get the mean weight of both ends, coordinates the mean of their effects before and after the other's, on the mean values."""
    of_values, of_grid = torch.zeros_like(v1), torch.zeros_like(g1)
    for i in range(OUT):
        for j in range(OUT):
            (x1, y1), (x0, y0) = g1[i, j], g0[i, j]
            for channel in range(len(v1)):
                mean, slope = (v1[channel] + v0[channel]) / 2, float(m[channel, i, j])
                for x, y in ((x1, y1), (x0, y0)):
                    for row, column, weight in bilinear(mean, x, y)[0]:
                        of_values[channel, row, column] += slope * weight / 2
                (_, both), (_, none) = bilinear(mean, x1, y1), bilinear(mean, x0, y0)
                (_, first), (_, second) = bilinear(mean, x1, y0), bilinear(mean, x0, y1)
                of_grid[i, j, 0] += slope * (both - second + first - none) / 2 / (x1 - x0)
                of_grid[i, j, 1] += slope * (both - first + second - none) / 2 / (y1 - y0)
    return of_values, of_grid


def test_values_and_grid_that_vary():
    xs, bs = ends(0), ends(10)
    m = readout(sample, xs)
    found = multipliers(sample, xs, bs, m)
    for row in range(2):
        of_values, of_grid = twin(xs[0][row], xs[1][row], bs[0][row], bs[1][row], m)
        torch.testing.assert_close(found[0][row], of_values, **EXACT)
        torch.testing.assert_close(found[1][row], of_grid, **EXACT)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_every_table_and_mode_adds_up(mode, table):
    multipliers(lambda v, g: F.grid_sample(v, g, mode=mode, align_corners=False), ends(0, 1.2), ends(10, 1.2), table=table)


def test_a_grid_alone_within_a_pixel_has_the_integral_along_the_line():
    """A product of two coordinates there, whose Shapley value the integral is."""
    image = random(1, 1, SIDE, SIDE, seed=3)

    def read(grid):
        return sample(image.expand(len(grid), -1, -1, -1), grid)

    b = -0.3 * torch.ones(2, 1, 1, 2).double()
    g = b + 0.5 * torch.rand(2, 1, 1, 2, generator=torch.Generator().manual_seed(0)).double()
    (found,) = multipliers(read, (g,), (b,), torch.ones(1, 1, 1).double())
    total = torch.zeros_like(g)
    for time in (torch.arange(400) + 0.5) / 400:
        leaf = torch.lerp(b, g, float(time)).requires_grad_()
        total += torch.autograd.grad(read(leaf).sum(), leaf)[0] / 400
    torch.testing.assert_close(found, total, rtol=1e-9, atol=1e-9)


def test_volumes_add_up():
    xs, bs = ((random(1, 1, 3, 3, 3, seed=s), random(1, 2, 2, 2, 3, seed=s + 1).tanh()) for s in (0, 5))
    multipliers(lambda v, g: F.grid_sample(v, g, align_corners=True), xs, bs)


class SpatialTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.locate, self.fc = nn.Linear(48, 6), nn.Linear(3, 2)

    def forward(self, x):
        theta = (torch.tensor([1.0, 0, 0, 0, 1, 0]).to(x) + 0.1 * self.locate(x.flatten(1))).view(-1, 2, 3)
        return self.fc(F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False).relu().mean((2, 3)))


def test_relevance_goes_to_the_values_and_all_of_it():
    torch.manual_seed(0)
    model, x = SpatialTransformer().double(), random(3, 3, 4, 4)
    found = vs.attribute(vs.trace(model, x), x, "lrp_epsilon", target=1)
    assert (found.unaccounted.abs() < 1e-9).all()
    assert found.values.abs().sum() > 0.01
