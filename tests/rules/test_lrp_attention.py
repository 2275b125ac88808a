"""Attention, softmax, products and residual sums under LRP, against the detach-trick transformer and by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.reference import attention
from tests.reference.attention import Rules, Sequence, ViT
from tests.rules.layer_rule_networks import EXACT, random, settled
from vesalius.methods import LRPEpsilon

MODELS = {
    "vit": (ViT, {}, (2, 3, 8, 8)),
    "sequence": (Sequence, {"shape": (5, 8)}, (2, 5, 8)),
    "causal": (Sequence, {"shape": (5, 8), "causal": True}, (2, 5, 8)),
    "as many heads as samples and steps": (Sequence, {"shape": (4, 8), "heads": 4, "depth": 1}, (4, 4, 8)),
}
SETTINGS = {
    "AttnLRP": (LRPEpsilon(epsilon=0), Rules()),
    "CP-LRP": (LRPEpsilon(epsilon=0, gated=True), Rules(gate=True)),
    "with epsilon": (LRPEpsilon(epsilon=0.25), Rules(eps=0.25)),
    "CP-LRP with epsilon": (LRPEpsilon(epsilon=0.25, gated=True), Rules(gate=True, eps=0.25)),
}


class Function(nn.Module):
    """A function of the inputs, as class 1 of two."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        value = self.function(*inputs).flatten(1).sum(1)
        return torch.stack([0 * value, value], 1)


def relevance(function, *xs, **options):
    method = LRPEpsilon(**{"epsilon": 0.0, **options})
    return vs.attribute(vs.trace(Function(function), *xs), xs if len(xs) > 1 else xs[0], method, target=1)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", MODELS)
def test_transformers_match_the_detach_trick(name, setting):
    make, options, shape = MODELS[name]
    model, x = attention.build(make, **options), random(*shape)
    method, rules = SETTINGS[setting]
    found = vs.attribute(vs.trace(model, x), x, method, target=1)
    torch.testing.assert_close(found.values, attention.relevance(model, x, 1, rules), **EXACT)
    assert found.unaccounted.abs().max() < 1e-10


def written_out(q, k, v, mask):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return (scores + mask).softmax(-1) @ v


def fused(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def with_truth_values(q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask == 0)


def by_einsum(q, k, v, mask):
    weights = (torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5 + mask).softmax(-1)
    return torch.einsum("bhqk,bhkd->bhqd", weights, v)


def merged(q, k, v, mask):
    flat = [part.reshape(-1, *part.shape[2:]) for part in (q, k, v)]
    scores = torch.baddbmm(mask, flat[0], flat[1].transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), flat[2]).reshape(v.shape)


WAYS = {"fused": fused, "a mask of truth values": with_truth_values, "einsum": by_einsum, "batch and heads merged": merged}


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_every_spelling_of_attention_is_the_same(way, gated):
    """Of three inputs, with a mask that hides the future."""
    q, k, v = (random(2, 3, 4, 5, seed=seed) for seed in (1, 2, 3))
    mask = torch.zeros(4, 4).double().masked_fill(torch.ones(4, 4).triu(1).bool(), -torch.inf)
    readout = random(4, 5, seed=4)
    one, other = (
        relevance(lambda q, k, v, how=how: how(q, k, v, mask) * readout, q, k, v, gated=gated) for how in (written_out, WAYS[way])
    )
    torch.testing.assert_close(one.values, other.values, **EXACT)
    torch.testing.assert_close(one.absorbed, other.absorbed, **EXACT)
    assert other.unaccounted.abs().max() < 1e-12
    assert other.values[:, : q[0].numel()].abs().max() == 0 if gated else other.values[:, : q[0].numel()].abs().max() > 0.01


def test_fewer_keys_than_queries_have_heads():
    q, k, v = random(2, 4, 3, 5, seed=5), random(2, 2, 3, 5, seed=6), random(2, 2, 3, 5, seed=7)
    grouped = relevance(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), q, k, v)
    repeated = relevance(lambda q, k, v: fused(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), None), q, k, v)
    torch.testing.assert_close(grouped.values, repeated.values, **EXACT)
    assert grouped.unaccounted.abs().max() < 1e-12


def test_a_softmax_keeps_what_its_linear_term_does_not_explain():
    x, w = random(3, 5, seed=8), random(5, seed=9)
    found = relevance(lambda x: x.softmax(1) * w, x)
    s = x.softmax(1)
    c = s * (w - (s * w).sum(1, keepdim=True))
    torch.testing.assert_close(found.values, x * c, **EXACT)
    torch.testing.assert_close(found.absorbed["softmax"], (s * w).sum(1) - (x * c).sum(1), **EXACT)


def test_a_masked_logit_gets_nothing_and_breaks_nothing():
    x, w = random(3, 5, seed=10), random(5, seed=9)
    hidden = torch.tensor([False, True, False, False, True])
    found = relevance(lambda x: x.masked_fill(hidden, -torch.inf).softmax(1) * w, x)
    assert found.values.isfinite().all()
    assert found.values[:, hidden].abs().max() == 0
    short = relevance(lambda x: x.softmax(1) * w[~hidden], x[:, ~hidden])
    torch.testing.assert_close(found.values[:, ~hidden], short.values, **EXACT)


# ---- products and sums


def test_a_product_is_halved_or_goes_to_what_is_gated():
    a, b = random(2, 4, seed=11), random(2, 4, seed=12)
    product = (a * b).detach()
    halves = relevance(lambda a, b: a * b, a, b).values
    torch.testing.assert_close(halves, torch.cat([product, product], 1) / 2, **EXACT)
    gate = torch.sigmoid(b)
    for how, parts in ((False, [a * gate / 2, a * (gate - 0.5) / 2]), (True, [a * gate, 0 * a])):
        found = relevance(lambda a, b: a * torch.sigmoid(b), a, b, gated=how)
        torch.testing.assert_close(found.values, torch.cat(parts, 1), **EXACT)
        assert found.unaccounted.abs().max() < 1e-12
    moved = relevance(lambda a, b: (2 * torch.sigmoid(b)).reshape(-1, 2, 2) * a.reshape(-1, 2, 2), a, b, gated=True)
    torch.testing.assert_close(moved.values, torch.cat([2 * a * gate, 0 * a], 1), **EXACT)


def test_a_product_of_two_gates_is_halved():
    a, b = random(2, 4, seed=13), random(2, 4, seed=14)
    both = [relevance(lambda a, b: torch.sigmoid(a) * torch.sigmoid(b), a, b, gated=gated).values for gated in (False, True)]
    torch.testing.assert_close(*both, **EXACT)


def test_a_square_keeps_its_whole_relevance():
    x = random(2, 4, seed=15)
    for function in (lambda x: x * x, lambda x: x**2, torch.square):
        torch.testing.assert_close(relevance(function, x).values, x * x, **EXACT)


def test_a_quotient_is_its_numerators():
    a, b = random(2, 4, seed=16), random(2, 4, seed=17).abs() + 1
    network, method = vs.trace(Function(lambda a, b: a / b), a, b), LRPEpsilon(epsilon=0.0)
    found = vs.attribute(network, (a, b), method, target=1, baseline=vs.Constant(1.0))  # by default what it is compared with is 0 / 0
    torch.testing.assert_close(found.values, torch.cat([a / b, 0 * a], 1), **EXACT)


def test_what_is_added_to_a_product_of_values_is_a_term_of_its_own():
    """As torch's fused ops have it: R of the product is halved, that of the term stays, and a constant term keeps it."""
    a, b, t, fixed = random(2, 3, 4, seed=24), random(2, 4, 3, seed=25), random(2, 3, 3, seed=26), random(3, 3, seed=27)
    halves = a * b.sum(2)[:, None], b * a.sum(1)[:, :, None]
    found = relevance(lambda a, b, t: torch.baddbmm(t, a, b, alpha=2, beta=0.5), a, b, t)
    torch.testing.assert_close(found.values, torch.cat([part.flatten(1) for part in (*halves, 0.5 * t)], 1), **EXACT)
    found = relevance(lambda a, b: torch.baddbmm(fixed.expand(a.shape[0], 3, 3), a, b, alpha=2, beta=0.5), a, b)
    torch.testing.assert_close(found.values, torch.cat([part.flatten(1) for part in halves], 1), **EXACT)
    torch.testing.assert_close(found.absorbed["bias"], 0.5 * fixed.sum().expand(2), **EXACT)
    found = relevance(lambda t: torch.baddbmm(t, fixed.expand(t.shape[0], 3, 3), fixed.expand(t.shape[0], 3, 3)), t)
    torch.testing.assert_close(found.values, t, **EXACT)
    torch.testing.assert_close(found.absorbed["bias"], (fixed @ fixed).sum().expand(2), **EXACT)
    found = relevance(lambda t: F.linear(fixed, t[:, 0]).T, t)
    torch.testing.assert_close(found.values, F.pad(t[:, :1] * fixed.sum(0), (0, 0, 0, 2)), **EXACT)


def test_a_residual_sum_gives_each_branch_its_value_times_the_multiplier():
    """Even where the branches cancel: the sum is 0, and R = +-a c."""
    x, w = random(2, 4, seed=18), random(4, seed=19)
    found = relevance(lambda x: (x + (-x + 1.5)) * w, x)
    assert found.values.abs().max() < 1e-15
    branch = settled(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), seed=20)
    for function in (lambda x: (x + branch(x)) * w, lambda x: branch(x + branch(x) - 0.3 * x) * w):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
        torch.testing.assert_close(relevance(function, x).values, (leaf * gradient).detach(), **EXACT)


def test_functions_pass_relevance_as_it_is():
    """R_z = R_y - s(0) c, whatever the function, also where z is 0."""
    x, w = random(2, 5, seed=21), random(5, seed=22)
    x[0, 0] = 0
    for s in (torch.tanh, F.gelu, F.silu, F.softplus, torch.sigmoid, torch.exp, torch.cos):
        found = relevance(lambda x, s=s: s(x) * w, x)
        rest = s(torch.zeros(()).double())
        torch.testing.assert_close(found.values, (s(x) - rest) * w, **EXACT)
        torch.testing.assert_close(found.absorbed.get("bias", torch.zeros(2).double()), (rest * w).sum().expand(2), **EXACT)


def test_the_winner_takes_all():
    x = random(2, 3, 4, seed=23)
    for function in (lambda x: x.amax(2), lambda x: x.max(dim=2).values, lambda x: F.max_pool1d(x, 4)):
        found = relevance(function, x).values
        won = x == x.amax(2, keepdim=True)
        torch.testing.assert_close(found, torch.where(won, x, 0.0), **EXACT)
