"""Matrices in einsums have links where one index is summed over and another one is new; other products are left alone, and named."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import EXACT, random
from vesalius.sparsity import Pruning, link_importance, sparsify
from vesalius.sparsity.links import links_of

LAYERS = {
    "bi,oi->bo": (3, 4),
    "bi,io->bo": (3, 4),
    "oi,bi->bo": (3, 4),
    "...i,oi->...o": (3, 5, 4),
    "bit,oi->bot": (3, 4, 5),
    "bti,oi->bot": (3, 5, 4),
    "b i t, i o -> b o t": (3, 4, 5),
}


class Product(nn.Module):
    def __init__(self, equation):
        super().__init__()
        terms = equation.replace(" ", "").split("->")[0].split(",")
        place = next(at for at, term in enumerate(terms) if set(term) == {"i", "o"})
        self.equation, self.first = equation, place == 0
        self.w = nn.Parameter(random(*({"i": 4, "o": 6}[letter] for letter in terms[place]), seed=1))

    def forward(self, x):
        return torch.relu(torch.einsum(self.equation, *((self.w, x) if self.first else (x, self.w))))


@pytest.mark.parametrize("equation", LAYERS)
def test_rows_are_what_the_matrix_is_applied_to(equation):
    x = random(*LAYERS[equation])
    net = vs.trace(Product(equation), x)
    one = links_of(net)["w"]
    (z,) = net.read(x, [one.layer.value]).values()
    made = one.rows(x) @ one.weight.T
    torch.testing.assert_close(made, z.movedim(one.layer.unit_axis, -1).reshape(-1, 6), **EXACT)
    assert one.activation.name == "relu" and one.weight.shape == (6, 4)
    assert torch.equal(one.to_weight_shape(one.weight), net.parameters["w"])


@pytest.mark.parametrize("equation", ["bi,oi->bo", "...i,oi->...o"])
def test_links_are_scored_and_pruned(equation):
    shape = LAYERS[equation]
    x = random(40, *shape[1:], seed=2)
    model = Product(equation)
    thin = sparsify(model, x, sparsity=0.5, pruning=Pruning(rounds=2))
    assert int(thin.masks["w"].sum()) == 12 and not thin.coverage.left
    torch.testing.assert_close(thin.model(x).detach(), thin.network(x))
    linear = nn.Sequential(nn.Linear(4, 6, bias=False).double(), nn.ReLU())
    linear[0].weight.data = model.w.data
    same = link_importance(linear, x)["0"].values
    torch.testing.assert_close(link_importance(model, x)["w"].values, same, **EXACT)


def test_other_products_are_left_alone():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.w, self.v = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))
            self.b = nn.Bilinear(4, 4, 2)

        def forward(self, x):
            h = self.a(x)
            h = h + torch.einsum("bi,bj,ij->bi", h, x, self.w) + torch.einsum("bi,ij->bi", h, self.v)
            return self.b(h, x)

    thin = sparsify(Mixed().eval(), torch.randn(40, 4), sparsity=0.5, pruning=Pruning(rounds=2))
    assert list(thin.masks) == ["a"]
    assert set(thin.coverage.left) == {"w", "v", "b.weight"}
    assert thin.coverage.left["b.weight"] == (32, "weights of a product of two inputs")
    assert thin.coverage.left["w"] == (16, "read by einsum")
