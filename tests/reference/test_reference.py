"""The twins against known answers, against each other, and against what they promise: that shares add up."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.reference import black_box, convolution, dense_rules
from tests.reference.analytic import CASES, CLOSED_FORM_LEAK, GRAD_CAM, KAPPA_WEIGHTS, Case, cubic
from tests.reference.dense_rules import Layer, Options

SIX_DECIMALS = {"rtol": 0, "atol": 6e-7}
EXACT = {"rtol": 1e-10, "atol": 1e-10}
ROWS = [(case, row) for case in CASES for row in case.expected]
IDS = [f"{case.name}-{row}" for case, row in ROWS]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(table):
    return [torch.tensor(row, dtype=torch.float64) for row in table]


def black_box_row(case: Case, row: str):
    f, x, b = case.model, case.x[0], case.baseline[0]
    table = {
        "gradient_x_input": lambda: black_box.gradient_x_input(f, x, b),
        "gradient_x_input_at_baseline": lambda: black_box.gradient_x_input(f, x, b, at_baseline=True),
        "raw_gradient_x_input": lambda: black_box.gradient_x_input(f, x, 0 * b),
        "occlusion": lambda: black_box.occlusion(f, x, b),
        "prediction_difference": lambda: black_box.prediction_difference(f, x, case.replacements),
        "integrated_gradients": lambda: black_box.integrated_gradients(f, x, b),
        "expected_gradients": lambda: black_box.expected_gradients(f, x, rows(case.background)),
        "shapley_value": lambda: black_box.shapley_value(f, x, b),
        "smooth_grad": lambda: black_box.smooth_grad(f, x, b, **case.options["smooth_grad"]),
        "integrated_gradients_over_channels": lambda: black_box.integrated_gradients(f, x, b).sum(0).flatten(),
        "gradient_x_input_over_channels": lambda: black_box.gradient_x_input(f, x, b).sum(0).flatten(),
        "grad_cam": lambda: black_box.grad_cam(f, case.x)[0].flatten(),
        "grad_cam_weights": lambda: black_box.grad_cam(f, case.x)[1],
    }
    if row.startswith("occlusion_patch"):
        return black_box.occlusion_patch(f, x, b, case.patches[row])
    return table[row]() if row in table else None


def layer_row(case: Case, row: str):
    layers = [Layer(*parts) for parts in case.layers]
    x, b = case.x[0], case.baseline[0]
    hidden = len(layers) - (layers[-1].sigma is None)
    if row == "deep_shap_rescale":
        return dense_rules.deep_shap(layers, x, rows(case.background), 0)
    rules = {"deeplift_rescale": "rescale", "deeplift_revealcancel": "reveal_cancel", "deep_shap_exact": "deep_shap_exact"}
    if row in rules:
        return dense_rules.two_point(layers, (x, b), 0, rules[row])
    rule = {"lrp_0": "epsilon", "lrp_epsilon": "epsilon", "lrp_alpha_beta": "alpha_beta", "deep_taylor": "z_plus"}[row]
    return dense_rules.lrp(layers, x, 0, [rule] * hidden + ["epsilon"] * (len(layers) - hidden), Options(**case.options.get(row, {})))


@pytest.mark.parametrize(("case", "row"), ROWS, ids=IDS)
def test_every_row_of_the_tables(case, row):
    found = black_box_row(case, row)
    found = layer_row(case, row) if found is None else found
    torch.testing.assert_close(found, torch.tensor(case.expected[row], dtype=torch.float64), **SIX_DECIMALS)


@pytest.mark.parametrize("case", [case for case in CASES if case.dividends], ids=lambda case: case.name)
def test_dividends_of_the_tables(case):
    assert black_box.effects(case.model, case.x[0], case.baseline[0]) == pytest.approx(case.dividends)


def test_grad_cam_of_a_pooled_quadratic_counts_twice():
    assert black_box.value(GRAD_CAM.model, GRAD_CAM.x[0]) == 8
    assert sum(GRAD_CAM.expected["grad_cam"]) == 16


def test_weights_of_one_effect():
    """P4's only effect of degrees (1, 2, 1), 3 x1 x2^2 x3, attributed alone."""
    x, b = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)

    def effect(point):
        return 3 * point[:, :1] * point[:, 1:2] ** 2 * point[:, 2:]

    found = {
        "integrated_gradients": black_box.integrated_gradients(effect, x, b),
        "gradient_x_input": black_box.gradient_x_input(effect, x, b),
        "occlusion": black_box.occlusion(effect, x, b),
        "smooth_grad": black_box.smooth_grad(effect, x, b, 0.5),
    }
    for name, weights in KAPPA_WEIGHTS.items():
        torch.testing.assert_close(found[name] / 36, torch.tensor(weights, dtype=torch.float64), **SIX_DECIMALS)


def test_effects_and_closed_form_leak_of_u1():
    case = next(case for case in CASES if case.name == "U1")
    z = case.layers[0][0][0]
    positive, negative = float(cubic(z.clamp(min=0).sum())), float(cubic(z.clamp(max=0).sum()))
    mixed = float(cubic(z.sum())) - positive - negative
    assert case.effects == {"positive": positive, "negative": negative, "mixed": mixed}
    whole = abs(positive) + abs(negative) + abs(mixed)
    assert CLOSED_FORM_LEAK["deep_taylor"] == pytest.approx(abs(negative) / whole, abs=1e-6)
    assert CLOSED_FORM_LEAK["lrp_alpha_beta"] == pytest.approx((2 * abs(negative) + abs(positive)) / (3 * whole), abs=1e-6)


# ---- dense and convolutional stacks


def mlp(sigma, bias=True):
    shapes = [(5, 4), (4, 5), (3, 4)]
    made = [Layer(random(*shape, seed=i), random(shape[0], seed=9 + i) * bias, sigma) for i, shape in enumerate(shapes)]
    return [*made[:-1], Layer(made[-1].weight, made[-1].bias)]


def convolutional(last=nn.Tanh):
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(2, 1, 2, 2), nn.ReLU()),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3), last(), nn.Linear(3, 2)),
    )
    model[1].running_mean.uniform_(-1, 1)
    model[1].running_var.uniform_(0.5, 2)
    model[1].weight.data = torch.tensor([1.5, -0.7])
    return model.double().eval()


def change(layers, x, b):
    return float(dense_rules.activations(layers, x)[-1][1] - dense_rules.activations(layers, b)[-1][1])


@pytest.mark.parametrize("rule", dense_rules.SLOPES)
@pytest.mark.parametrize("sigma", [F.relu, torch.tanh, F.gelu, torch.sigmoid])
def test_two_point_rules_add_up_on_dense_nets(rule, sigma):
    x, b, layers = random(4, seed=20), random(4, seed=21), mlp(sigma)
    assert float(dense_rules.two_point(layers, (x, b), 1, rule).sum()) == pytest.approx(change(layers, x, b), rel=1e-9)


@pytest.mark.parametrize("exact_pools", [False, True])
@pytest.mark.parametrize("rule", dense_rules.SLOPES)
def test_two_point_rules_add_up_on_convolutional_nets(rule, exact_pools):
    layers = convolution.stack(convolutional(), (1, 4, 4))
    x, b = random(16, seed=22), random(16, seed=23)
    assert float(dense_rules.two_point(layers, (x, b), 1, rule, exact_pools).sum()) == pytest.approx(change(layers, x, b), rel=1e-9)


@pytest.mark.parametrize("folded", [True, False])
def test_stacks_compute_what_their_module_computes(folded):
    model, x = convolutional(), random(16, seed=24)
    layers = convolution.stack(model, (1, 4, 4), fold_norms=folded)
    assert len(layers) == 6 + (not folded)
    torch.testing.assert_close(dense_rules.activations(layers, x)[-1], model(x.reshape(1, 1, 4, 4))[0], **EXACT)


def test_a_convolution_is_its_matrix_and_padding_is_not_linked():
    module = nn.Conv2d(2, 3, 3, stride=2, padding=1).double()
    module.weight.data[0] = 0
    layer = convolution.layer(module, (2, 5, 5))
    x = random(1, 2, 5, 5)
    torch.testing.assert_close(layer(x.flatten()), module(x).flatten(), **EXACT)
    assert layer.linked.sum(1).min() == 2 * 4 and layer.linked.sum(1).max() == 2 * 9


def test_a_batch_norm_of_either_sign_folds_away_under_rescale():
    x, b, model = random(16, seed=25), random(16, seed=26), convolutional()
    maps = [dense_rules.two_point(convolution.stack(model, (1, 4, 4), fold_norms=f), (x, b), 0, "rescale") for f in (True, False)]
    torch.testing.assert_close(*maps, **EXACT)


@pytest.mark.parametrize("rule", dense_rules.SLOPES)
def test_an_input_that_does_not_change_gets_the_limit(rule):
    layers, x, b = mlp(torch.tanh), random(4, seed=27), random(4, seed=28)
    still, nearly = x.clone(), x.clone()
    still[2], nearly[2] = b[2], b[2] + 1e-6
    inside = [dense_rules.SLOPES[rule](layers[0], end, b)[:, 2] for end in (still, nearly)]
    if rule == "reveal_cancel":  # which jumps at 0: the other side's limit counts as much
        nearly[2] = b[2] - 1e-6
        inside[1] = (inside[1] + dense_rules.SLOPES[rule](layers[0], nearly, b)[:, 2]) / 2
    torch.testing.assert_close(*inside, rtol=1e-4, atol=1e-5)


def test_shapley_of_one_unit_is_the_shapley_value_of_its_game():
    layer, x, b = mlp(F.relu)[0], random(4, seed=29), random(4, seed=30)
    found = dense_rules.shapley_slopes(layer, x, b)[3] * (x - b)
    expected = black_box.shapley_value(lambda rows: layer(rows[0])[3][None, None], x, b)
    torch.testing.assert_close(found, expected, **EXACT)


def test_revealcancel_is_shapley_of_its_two_sides():
    layer, x, b = mlp(torch.tanh)[0], random(4, seed=31), random(4, seed=32)
    parts = layer.weight[0] * (x - b)
    found = dense_rules.reveal_cancel_slopes(layer, x, b)[0] * (x - b)
    z0, sides = layer.sums(b)[0], torch.stack([parts.clamp(min=0).sum(), parts.clamp(max=0).sum()])
    up, down = black_box.shapley_value(lambda s: torch.tanh(z0 + s.sum(1, keepdim=True)), sides, torch.zeros(2).double())
    torch.testing.assert_close(found, torch.where(parts > 0, parts / sides[0] * up, parts / sides[1] * down), **EXACT)


BY_HAND = {
    "epsilon": [48 / 6.5, -18 / 6.5, 0],
    "alpha_beta": [2 * 48 / 9, -6, 0],
    "z_plus": [48 / 9, 0, 0],
    "gamma": [60 / 8.25, -18 / 8.25, 0],
    "z_box": [60 / 9, -6 / 9, 0],
    "w_square": [4.8, 1.2, 0],
    "flat": [3, 3, 0],
}


@pytest.mark.parametrize("rule", BY_HAND)
def test_every_lrp_rule_by_hand(rule):
    """One linear neuron, 2 * 4 - 1 * 3 + 0 * 5 + 1 = 6, whose third weight does not exist."""
    weight, linked = torch.tensor([[2.0, -1.0, 0.0]]).double(), torch.tensor([[True, True, False]])
    layer = Layer(weight, torch.ones(1).double(), None, linked)
    options = Options(eps=0.5, low=-1.0, high=2.0)
    found = dense_rules.lrp([layer], torch.tensor([4.0, 3.0, 5.0]).double(), 0, rule, options)
    torch.testing.assert_close(found, torch.tensor(BY_HAND[rule]).double(), rtol=1e-6, atol=1e-6)


def test_what_a_sigmoid_is_at_0_is_absorbed():
    layer, x = Layer(random(1, 4), torch.zeros(1).double(), torch.sigmoid), random(4, seed=37)
    torch.testing.assert_close(dense_rules.lrp([layer], x, 0, "epsilon").sum(), layer(x)[0] - 0.5, **EXACT)


def test_lrp_of_a_relu_net_without_eps_is_gradient_x_input():
    layers, x = mlp(F.relu), random(4, seed=33)
    expected = black_box.gradient_x_input(lambda point: dense_rules.activations(layers, point[0])[-1][1][None], x, 0 * x)
    torch.testing.assert_close(dense_rules.lrp(layers, x, 1, "epsilon"), expected, **EXACT)


def test_so_it_is_through_convolutions_pools_and_norms():
    model, x = convolutional(last=nn.ReLU), random(16, seed=36)
    expected = black_box.gradient_x_input(lambda point: model(point.reshape(1, 1, 4, 4))[:, 1:], x, 0 * x)
    for folded in (True, False):
        torch.testing.assert_close(dense_rules.lrp(convolution.stack(model, (1, 4, 4), folded), x, 1, "epsilon"), expected, **EXACT)


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "z_plus", "alpha_beta", "z_box", "w_square", "flat"])
def test_lrp_keeps_the_sum_without_biases(rule):
    """Neurons have inputs of both signs here, for otherwise alpha-beta keeps alpha or -beta of one instead of 1."""
    layers, x = mlp(F.relu, bias=False), random(4, seed=34)
    found = dense_rules.lrp(layers, x, 1, [rule, "epsilon", "epsilon"], Options(low=-3.0, high=3.0))
    torch.testing.assert_close(found.sum(), dense_rules.activations(layers, x)[-1][1], **EXACT)


def test_lrp_rules_meet_at_their_limits():
    layers, x = mlp(F.relu), random(4, seed=35)
    gammas = [dense_rules.lrp(layers, x, 0, "gamma", Options(gamma=g)) for g in (0.0, 1e12)]
    torch.testing.assert_close(gammas[0], dense_rules.lrp(layers, x, 0, "epsilon"), **EXACT)
    active = [*layers[:2], Layer(layers[2].weight.abs(), layers[2].bias.abs())]
    limit = dense_rules.lrp(active, x, 0, "gamma", Options(gamma=1e12))
    torch.testing.assert_close(limit, dense_rules.lrp(active, x, 0, "alpha_beta", Options(alpha=1, beta=0)), rtol=1e-6, atol=1e-6)
    box = Options(low=0.0, high=0.0)
    free = [Layer(layer.weight, 0 * layer.bias, layer.sigma) for layer in layers]
    torch.testing.assert_close(dense_rules.lrp(free, x, 0, "z_box", box), dense_rules.lrp(free, x, 0, "epsilon"), **EXACT)
