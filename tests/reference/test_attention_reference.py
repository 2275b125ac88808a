"""The two-point steps and the transformer's LRP against autograd, against torch's own operations, and against what they add up to."""

import math

import pytest
import torch
from torch.nn import functional as F

from tests.reference import attention, dense_rules, two_point
from tests.reference.attention import Rules, Sequence, ViT
from tests.reference.black_box import integrated_gradients, shapley_value

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


WEIGHT = random(6, seed=1)
ROWS = {
    "softmax": (lambda z: z.softmax(0), two_point.softmax),
    "log_softmax": (lambda z: z.log_softmax(0), two_point.log_softmax),
    "logsumexp": (lambda z: z.logsumexp(0), two_point.logsumexp),
    "layer_norm": (lambda z: F.layer_norm(z, (6,), WEIGHT, eps=1e-3), lambda x, b, m: two_point.layer_norm(x, b, m, WEIGHT, 1e-3)),
    "rms_norm": (lambda z: F.rms_norm(z, (6,), WEIGHT, 1e-3), lambda x, b, m: two_point.rms_norm(x, b, m, WEIGHT, 1e-3)),
    "square": (lambda z: z * z, two_point.square),
    "max": (lambda z: z.max(), lambda x, b, m: two_point.max_multipliers(x, b, m)),
    "group_norm": (
        lambda z: F.group_norm(z.view(1, 3, 2).repeat(1, 2, 1), 2, WEIGHT).flatten(),
        lambda x, b, m: sum(
            two_point.group_norm([t.view(3, 2).repeat(2, 1) for t in (x, b)], m.view(6, 2), 2, WEIGHT).view(2, 6),
        ),
    ),
}
PAIRS = {
    "product": (lambda u, v: u * v, two_point.product),
    "division": (lambda u, v: u / v, two_point.division),
    "matmul": (torch.matmul, two_point.matmul),
}


@pytest.mark.parametrize("baseline", ["random", "zero"])
@pytest.mark.parametrize("name", ROWS)
def test_rows_add_up(name, baseline):
    function, rule = ROWS[name]
    x, b = random(6, seed=2), random(6, seed=3) if baseline == "random" else torch.zeros(6, dtype=torch.float64)
    m = random(*function(x).shape, seed=4)
    torch.testing.assert_close((rule(x, b, m) * (x - b)).sum(), (m * (function(x) - function(b))).sum(), **EXACT)


@pytest.mark.parametrize("name", ROWS)
def test_rows_become_gradients_where_the_ends_meet(name):
    function, rule = ROWS[name]
    x = random(6, seed=5).requires_grad_()
    m = random(*function(x).shape, seed=6)
    (expected,) = torch.autograd.grad((function(x) * m).sum(), x)
    near = x.detach() + 1e-6 * random(6, seed=7)
    torch.testing.assert_close(rule(x.detach(), near, m), expected, rtol=1e-4, atol=1e-5)


def shared(name, ends, m):
    """What a pair's rule gives to each factor as a whole, and their Shapley values."""
    function, rule = PAIRS[name]
    parts = [float((found * (pair[0] - pair[1])).sum()) for found, pair in zip(rule(*ends, m), ends, strict=True)]

    def game(row):
        chosen = [pair[0] if there else pair[1] for there, pair in zip(row[0], ends, strict=True)]
        return (m * function(*chosen)).sum()[None, None]

    return parts, shapley_value(game, torch.ones(2).double(), torch.zeros(2).double()).tolist()


def pairs(name):
    ends = [[random(3, 3, seed=seed) for seed in pair] for pair in ((8, 9), (10, 11))]
    return ends if name == "matmul" else [[end.flatten() for end in pair] for pair in ends]


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_add_up(name):
    parts, shapley = shared(name, pairs(name), random(*pairs(name)[0][0].shape, seed=12))
    assert sum(parts) == pytest.approx(sum(shapley), rel=1e-10)


@pytest.mark.parametrize("name", ["product", "matmul"])
def test_a_product_is_shared_as_shapley_does(name):
    parts, shapley = shared(name, pairs(name), random(*pairs(name)[0][0].shape, seed=12))
    assert parts == pytest.approx(shapley)


def test_so_is_a_quotient_whose_denominator_changes_its_sign_and_only_that():
    a, c = pairs("division")
    changes = c[0] * c[1] < 0
    assert 0 < changes.sum() < len(changes)
    for which, alike in ((changes, True), (~changes, False)):
        ends = [[end[which] for end in pair] for pair in (a, c)]
        parts, shapley = shared("division", ends, random(int(which.sum()), seed=12))
        assert (parts == pytest.approx(shapley)) is alike


def test_any_other_quotient_is_integrated_along_the_line():
    ends = torch.tensor([[1.5, 0.5], [-2.0, 3.0]]).double()  # rows: at x, at b; columns: a, c
    expected = integrated_gradients(lambda row: row[:, :1] / row[:, 1:], *ends)
    found = torch.tensor(two_point.quotient(*[tuple(column.tolist()) for column in ends.T]), dtype=torch.float64) * (ends[0] - ends[1])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert two_point.quotient((0.0, 0.0), (2.0, 1.0))[0] == pytest.approx(math.log(2), rel=1e-12)


def test_logarithmic_means_are_what_their_name_says():
    assert two_point.logarithmic_mean(5.0, 2.0) == pytest.approx(3 / math.log(2.5), rel=1e-12)
    assert two_point.logarithmic_mean(2.0, 2.0) == pytest.approx(2, rel=1e-12)
    assert two_point.logarithmic_mean(0.0, 2.0) == 0


def test_a_masked_logit_gets_nothing():
    x, b = torch.tensor([1.0, -torch.inf, 2.0]).double(), torch.tensor([0.0, -torch.inf, 0.0]).double()
    found = two_point.softmax(x, b, random(3))
    assert found[1] == 0
    short = two_point.softmax(x[[0, 2]], b[[0, 2]], random(3)[[0, 2]])
    torch.testing.assert_close(found[[0, 2]], short, **EXACT)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_adds_up(masked):
    ends = [[random(4, 3, seed=seed + i) for i in range(3)] for seed in (20, 30)]
    mask = torch.ones(4, 4, dtype=torch.bool).tril() if masked else None
    m = random(4, 3, seed=40)
    found = two_point.attention(ends, m, mask=mask)
    total = sum((part * (x - b)).sum() for part, x, b in zip(found, *ends, strict=True))
    outputs = [F.scaled_dot_product_attention(*(t[None] for t in end), attn_mask=mask)[0] for end in ends]
    torch.testing.assert_close(total, (m * (outputs[0] - outputs[1])).sum(), **EXACT)


def test_among_equals_the_maximum_chooses_no_place():
    """At a constant baseline every place has the maximum; only the winner at x is heard."""
    x, b = torch.tensor([1.0, 3.0, 2.0]).double(), torch.zeros(3).double()
    assert two_point.max_multipliers(x, b, 1.0).tolist() == [0, 1, 0]
    assert two_point.max_multipliers(b, x, 1.0).tolist() == [0, 1, 0]
    assert two_point.max_multipliers(torch.tensor([5.0, 0.0]).double(), torch.tensor([1.0, 3.0]).double(), 1.0).tolist() == pytest.approx(
        [5 / 7, 2 / 7]
    )


def test_shapley_of_a_maximum():
    """max(x1, x2) from 0: the smaller is shared, the rest is the larger's."""
    assert dense_rules.max_shapley([1, 3], [0, 0]) == [0.5, 2.5]
    assert dense_rules.max_shapley([1, 3, 3], [0, 0, 4]) == pytest.approx([0, 0, -1])
    assert sum(dense_rules.max_shapley([1, -2, 5, 0.5], [2, 3, -1, 0])) == pytest.approx(5 - 3)


MODELS = {
    "vit": (ViT, {}, (2, 3, 8, 8)),
    "sequence": (Sequence, {"shape": (5, 8)}, (2, 5, 8)),
    "causal": (Sequence, {"shape": (5, 8), "causal": True}, (2, 5, 8)),
}
RULES = [Rules(), Rules(gate=True), Rules(eps=0.25)]


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_the_changed_transformer_computes_the_same(name, rules):
    make, options, shape = MODELS[name]
    model, x = attention.build(make, **options), random(*shape)
    torch.testing.assert_close(attention.forward(model, x, rules), model(x), **EXACT)


def test_the_rules_are_three_different_ones_and_samples_do_not_mix():
    model, x = attention.build(ViT), random(2, 3, 8, 8)
    maps = [attention.relevance(model, x, 1, rules) for rules in RULES]
    assert min(float((one - other).abs().max()) for one, other in ((maps[0], maps[1]), (maps[0], maps[2]), (maps[1], maps[2]))) > 1e-3
    torch.testing.assert_close(attention.relevance(model, x[1:], 1)[0], maps[0][1], **EXACT)


def test_cp_lrp_keeps_the_sum_where_nothing_else_is_added():
    """With no biases, class token and positions to absorb any, all of the output reaches the input."""
    model, x = attention.build(Sequence, shape=(4, 8), depth=2), random(1, 4, 8)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or name in {"token", "position"}:
            parameter.zero_()
    found = attention.relevance(model, x, 2, Rules(gate=True))
    torch.testing.assert_close(found.sum(), model(x)[0, 2], **EXACT)


def test_half_of_a_product_keeps_the_sum_and_softmax_keeps_its_taylor_rule():
    a, b = random(3, 4, seed=50).requires_grad_(), random(4, 2, seed=51).requires_grad_()
    m = random(3, 2, seed=52)
    of_a, of_b = torch.autograd.grad((Rules().uniform(a, b) * m).sum(), (a, b))
    assert (of_a * a).sum().item() == pytest.approx((of_b * b).sum().item()) == pytest.approx((m * (a @ b)).sum().item() / 2)
    z = random(5, seed=53).requires_grad_()
    r = random(5, seed=54)
    (slope,) = torch.autograd.grad((z.softmax(0) * (r / z.softmax(0)).detach()).sum(), z)
    torch.testing.assert_close(z * slope, z * (r - z.softmax(0) * r.sum()), **EXACT)
