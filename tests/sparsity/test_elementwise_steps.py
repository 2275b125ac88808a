"""Links are weighed for the function that is there, whatever it is made of: against enumeration by the twin, and all estimators alike."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import vesalius as vs
from tests.reference import link_importance as twin
from tests.rules.layer_rule_networks import EXACT, random
from vesalius.sparsity import ImportanceOptions, link_importance
from vesalius.sparsity.links import links_of

X = random(12, 4)
UNITS = 3
LEVEL = torch.tensor(0.3, dtype=torch.float64)


class Wired(nn.Module):
    """A layer, a function of its value, and a layer."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.function, self.last = nn.Linear(4, UNITS), function, nn.Linear(UNITS, 2)

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def prelu():
    module = nn.PReLU(UNITS)
    module.weight.data = torch.tensor([0.2, -0.5, 1.5])
    return module


def norm():
    module = nn.BatchNorm1d(UNITS)
    for tensor in (module.weight, module.running_mean, module.bias):
        tensor.data = torch.tensor([0.7, -1.2, 0.4])
    return module


FUNCTIONS = {
    "leaky_relu": nn.PReLU(),
    "prelu(h, c)": prelu(),
    "elu(h, 1.5)": nn.ELU(1.5),
    "hardtanh(h, 0, 6)": nn.ReLU6(),
    "hardswish": nn.Hardswish(),
    "mish": nn.Mish(),
    "selu": nn.SELU(),
    "hardsigmoid": nn.Hardsigmoid(),
    "log_sigmoid": nn.LogSigmoid(),
    "(h - tanh(h))": nn.Tanhshrink(),
    "(h / (abs(h) + 1))": nn.Softsign(),
    "threshold(h, 0.1, -0.5)": nn.Threshold(0.1, -0.5),
    "(h * sigmoid(h))": lambda h: h * torch.sigmoid(h),
    "(sigmoid((h * 1.7)) * h)": lambda h: torch.sigmoid(h * 1.7) * h,
    "(h * (h > 0))": lambda h: h * (h > 0),
    "clamp(h, -0.4, 0.8)": lambda h: h.clamp(-0.4, 0.8),
    "relu": lambda h: torch.relu(2 * h - 1),
    "maximum(h, 0.3)": lambda h: torch.maximum(h, LEVEL),
    "maximum(h, zeros_like(h))": lambda h: torch.maximum(h, torch.zeros_like(h)),
    "maximum(h, new_zeros(h, [1]))": lambda h: torch.maximum(h, h.new_zeros(1)),
    "(relu(h) ** 2)": lambda h: functional.relu(h) ** 2,
    "(h + relu(h))": lambda h: h + torch.relu(h),
    "where((h > 0), h, (h * 0.1))": lambda h: torch.where(h > 0, h, 0.1 * h),
    "relu(h)/6": lambda h: functional.relu(h) / 6,
    "norm of relu": nn.Sequential(nn.ReLU(), norm()),
    "relu of norm": nn.Sequential(norm(), nn.ReLU()),
    "3 - h": lambda h: 3 - h,
    "identity": nn.Dropout(),
}


def expected(model, baseline="data"):
    """Importance of the first layer's links, from the definition."""
    found = []
    for unit in range(UNITS):

        def output(z, unit=unit):
            sums = torch.zeros(1, UNITS, dtype=torch.float64)
            sums[0, unit] = z
            return model.function(sums)[0, unit]

        weight, bias = (part[unit : unit + 1].tolist() for part in (model.first.weight, model.first.bias))
        found += twin.importance(output, weight, bias, X.tolist(), baseline)
    return torch.tensor(found, dtype=torch.float64)


def build(function):
    model = Wired(function).double().eval()
    return model, vs.trace(model, X[:2])


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["data", "zero"])
@pytest.mark.parametrize("name", FUNCTIONS)
@torch.no_grad()
def test_links_of_every_function_against_enumeration(name, baseline):
    model, network = build(FUNCTIONS[name])
    found = link_importance(network, X, baseline=baseline, estimator="exact", layers=["first"])["first"]
    torch.testing.assert_close(found.values, expected(model, baseline), **EXACT)
    assert found.error == 0


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if " of " not in name and "/6" not in name and not name.startswith("3")])
def test_a_function_is_called_by_its_formula(name):
    found = links_of(build(FUNCTIONS[name])[1])["first"]
    assert (found.activation.name, found.after.unread) == (name, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prelu(h, c)", "hardtanh(h, 0, 6)", "(h * sigmoid(h))", "norm of relu", "mish", "(h * (h > 0))"])
@pytest.mark.parametrize("baseline", ["data", "zero"])
def test_estimators_agree(name, baseline):
    _, network = build(FUNCTIONS[name])
    rows = random(200, 4, seed=5)

    def weigh(estimator, **options):
        return link_importance(
            network, rows, baseline=baseline, estimator=estimator, layers=["first"], weighing=ImportanceOptions(**options)
        )

    exact = weigh("exact")["first"].values
    sampled = weigh("permutation", permutations=200)["first"].values
    assert float((sampled - exact).norm() / exact.norm()) < 0.02
    closed = weigh("gaussian", order="full")["first"]
    assert float((closed.values - exact).norm() / exact.norm()) < 0.05  # four links are not many
    assert closed.error == pytest.approx(float((closed.values - exact).norm() / exact.norm()), abs=0.03)


def test_a_layer_scale_and_a_cast_are_part_of_the_sum():
    gamma = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    found = links_of(build(lambda h: (gamma * h).to(torch.float64).neg())[1])["first"]
    assert found.activation.name == "identity"
    torch.testing.assert_close(found.after.scale, -gamma)


def test_a_maximum_over_positions_is_passed_by_where_the_function_behind_never_falls():
    def network(function):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.MaxPool1d(2), function, nn.Flatten(), nn.Linear(9, 2)).eval()
        return links_of(vs.trace(model, torch.randn(2, 2, 8)))["0"].after

    assert (network(nn.ReLU()).activation.name, network(nn.ReLU()).unread) == ("relu", "")
    assert (network(nn.Hardswish()).activation.name, network(nn.Hardswish()).unread) == ("identity", "max_pool1d")


def test_numbers_that_differ_from_place_to_place_are_no_part_of_a_unit():
    places = random(5, 1)
    model = nn.Sequential(nn.Linear(4, 3).double(), Placed(places))
    found = links_of(vs.trace(model, random(2, 5, 4)))["0"].after
    assert (found.activation.name, found.unread) == ("identity", "maximum")


class Placed(nn.Module):
    """At least another number at each step."""

    def __init__(self, places):
        super().__init__()
        self.register_buffer("places", places)

    def forward(self, h):
        return torch.maximum(h, self.places).flatten(1)


def test_elements_that_are_moved_between_two_branches_are_not_one_units():
    """A square table times its transpose has the table's shape, and mixes units."""
    found = links_of(vs.trace(Transposed().double(), random(2, 4, 4)))["fc"]
    assert found.activation.name == "identity"


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        h = self.fc(x)
        return (h * h.transpose(1, 2)).flatten(1)


def test_a_module_called_twice_with_unlike_functions_is_told():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return torch.tanh(self.fc(torch.relu(self.fc(x))))

    assert links_of(vs.trace(Twice().double(), X[:2]))["fc"].after.unread == "functions that differ from use to use"
