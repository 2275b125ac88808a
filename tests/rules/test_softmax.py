"""Softmax, its logarithm and attention against their twins, row by row."""

import pytest
import torch
import torch.nn.functional as F

from tests.reference import two_point
from tests.rules.single_op import EXACT, multipliers, random

SIZE = 5
MASK = torch.tensor([True, False, True, True, False])
ROWS = {
    "softmax": (lambda z: z.softmax(-1), two_point.softmax),
    "log_softmax": (lambda z: z.log_softmax(-1), two_point.log_softmax),
    "logsumexp": (lambda z: z.logsumexp(-1, keepdim=True), two_point.logsumexp),
}
CLOSER = {"random": 1.0, "near": 1e-4, "very near": 1e-9, "far": 300.0}


def rowwise(rule, x, b, m):
    return torch.stack([rule(x[i], b[i], m) for i in range(len(x))])


def masked(rule, x, b, m):
    """A twin for the logits that are seen; the others have none."""
    out = torch.zeros_like(x)
    out[:, MASK] = rowwise(rule, x[:, MASK], b[:, MASK], m[MASK] if len(m) > 1 else m)
    return out


@pytest.mark.parametrize("distance", CLOSER)
@pytest.mark.parametrize("name", ROWS)
def test_rows(name, distance):
    function, rule = ROWS[name]
    x = random(2, SIZE, seed=1) * max(1, CLOSER[distance] / 5)
    b = x + CLOSER[distance] * random(2, SIZE, seed=2)
    m = random(*function(x).shape[1:], seed=3)
    torch.testing.assert_close(multipliers(function, (x,), (b,), m)[0], rowwise(rule, x, b, m), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "logsumexp"])
def test_masked_logits_get_nothing(name):
    function, rule = ROWS[name]
    x, b = random(2, SIZE, seed=1), random(2, SIZE, seed=2)
    m = random(*function(x).shape[1:], seed=3)
    (found,) = multipliers(lambda z: function(z.masked_fill(~MASK, -torch.inf)), (x,), (b,), m)
    torch.testing.assert_close(found, masked(rule, x, b, m), **EXACT)


def test_a_row_of_nothing_but_masked_logits_passes_nothing_on():
    x, b, m = random(1, 2, SIZE, seed=1), random(1, 2, SIZE, seed=2), random(2, SIZE, seed=3)
    hidden = torch.tensor([[True], [False]])
    (found,) = multipliers(lambda z: z.masked_fill(hidden, -torch.inf).softmax(2).nan_to_num(), (x,), (b,), m)
    assert found[0, 0].abs().max() == 0
    torch.testing.assert_close(found[0, 1], two_point.softmax(x[0, 1], b[0, 1], m[1]), **EXACT)


@pytest.mark.parametrize("shift", [0.0, 5.0, 60.0, -700.0])
def test_a_shift_of_all_logits_changes_no_multiplier(shift):
    """What softmax does not see must not be seen in its map either; w, which the shift does reach, adds up to at most 1."""
    x, b, m = random(2, SIZE, seed=1), random(2, SIZE, seed=2), random(SIZE, seed=3)
    (found,) = multipliers(lambda z: z.softmax(1), (x,), (b + shift,), m)
    if abs(shift) < 100:  # beyond, the twin's exponentials underflow
        torch.testing.assert_close(found, rowwise(two_point.softmax, x, b + shift, m), **EXACT)
    at_rest = multipliers(lambda z: z.softmax(1), (x,), (b,), m)[0]
    given = [m * (p1 - p0) / (p1.log() - p0.log()) for p1, p0 in zip(x.softmax(1), b.softmax(1), strict=True)]
    assert all((part + w).abs().max() < 10 for part, w in zip(found - at_rest, given, strict=True))


@pytest.mark.parametrize("shift", [0.0, 5.0, 60.0, -700.0])
def test_a_shift_of_all_logits_changes_no_multiplier_of_softmax(shift):
    x, b, m = random(2, SIZE, seed=1), random(2, SIZE, seed=2), random(SIZE, seed=3)
    expected = rowwise(two_point.softmax, x, b, m)
    found = multipliers(lambda z: z.softmax(1), (x,), (b + shift,), m)[0]
    here = rowwise(two_point.softmax, x, b + shift, m) if abs(shift) < 100 else found
    torch.testing.assert_close(found, here, **EXACT)
    effects = [(part * (x - end)).norm() for part, end in ((expected, b), (found - found.mean(1, keepdim=True) * 0, b + shift))]
    assert effects[1] < (1 + abs(shift)) * 10 * effects[0]


# ---- attention


def written_out(q, k, v, mask=None, causal=False):
    """softmax(q k / sqrt(d)) v with ops that have rules of their own."""
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1), -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1) @ v


SEEN = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1]]).bool()
ADDED = random(4, 4, seed=9)
ATTENTIONS = {
    "plain": ({}, {}),
    "causal": ({"is_causal": True}, {"causal": True}),
    "boolean mask": ({"attn_mask": SEEN}, {"mask": SEEN}),
    "float mask": ({"attn_mask": ADDED}, {"mask": ADDED}),
    "scale": ({"scale": 3**-0.5}, {}),
}


def heads(seed, count=2):
    return tuple(random(2, count, 4, 3, seed=seed + i) for i in range(3))


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_is_what_it_is_when_written_out_and_its_twin(name):
    options, plain = ATTENTIONS[name]
    x, b, m = heads(10), heads(20), random(2, 4, 3, seed=30)
    whole = multipliers(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), x, b, m)
    parts = multipliers(lambda q, k, v: written_out(q, k, v, **plain), x, b, m)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, **EXACT)
    if name == "float mask":
        return  # the twin's masks are boolean
    seen = {"causal": torch.ones(4, 4, dtype=torch.bool).tril(), "boolean mask": SEEN}.get(name)
    ends = [tuple(part[1, 0] for part in end) for end in (x, b)]
    for one, other in zip(whole, two_point.attention(ends, m[0], mask=seen), strict=True):
        torch.testing.assert_close(one[1, 0], other, **EXACT)


def test_attention_of_grouped_queries():
    x, b, m = ((heads(s, 4)[0], *heads(s + 5)[1:]) for s in (10, 20)), None, random(4, 4, 3, seed=30)
    x, b = x

    def grouped(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    def repeated(q, k, v):
        return written_out(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))

    for one, other in zip(multipliers(grouped, x, b, m), multipliers(repeated, x, b, m), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_a_mask_that_the_input_makes():
    x, b, m = heads(10), heads(20), random(2, 4, 3, seed=30)
    bias = random(2, 1, 4, 4, seed=41), random(2, 1, 4, 4, seed=42)
    whole = multipliers(lambda q, k, v, c: F.scaled_dot_product_attention(q, k, v, attn_mask=c), (*x, bias[0]), (*b, bias[1]), m)
    parts = multipliers(lambda q, k, v, c: written_out(q, k, v, mask=c), (*x, bias[0]), (*b, bias[1]), m)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, **EXACT)
