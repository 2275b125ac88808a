"""Circuits whose weights are written by hand: every method on tokens, heads and edges against values that are known."""

import pytest
import torch

import vesalius as vs
from tests.circuits.hand_built import (
    COPY,
    COPY_OTHER,
    GREATER,
    GREATER_OTHER,
    INDUCTION,
    INDUCTION_OTHER,
    copy_with_distractor,
    greater_than,
    induction,
)
from vesalius import circuits

CHANGE = 5 / 6
"""The induction head finds nothing on the other prompt and looks at six places alike: a sixth of its weight is on the token 2."""
CASES = {
    "induction": (
        induction,
        INDUCTION,
        INDUCTION_OTHER,
        2,
        {"embed->L0H0.v": CHANGE, "L0H0->L1H0.k": CHANGE, "L1H0->logits": CHANGE},
        {"L0H0": CHANGE, "L1H0": CHANGE},
    ),
    "copy": (
        copy_with_distractor,
        COPY,
        COPY_OTHER,
        3,
        {"embed->L0H1.v": 2.0, "L0H1->L1H1.v": 1.0, "L0H1->logits": 1.0, "L1H1->logits": 1.0},
        {"L0H1": 2.0, "L1H1": 1.0},
    ),
    "greater": (
        greater_than,
        GREATER,
        GREATER_OTHER,
        3,
        {"embed->L0H0.v": 1.0, "L0H0->L0.mlp": 1.0, "L0.mlp->logits": 1.0},
        {"L0H0": 1.0},
    ),
}
"""Model, prompt, other prompt, target, what is lost without each edge that matters, and without each head."""


@pytest.fixture(scope="module", params=CASES)
def case(request):
    make, x, other, target, edges, heads = CASES[request.param]
    return vs.trace(make(), x), x, other, target, edges, heads


def by_name(allocation, floor=1e-6):
    values = allocation.values.flatten().tolist()
    return {name: value for name, value in zip(allocation.players.names, values, strict=True) if abs(value) > floor}


def close(found, expected, tolerance=1e-6):
    assert set(found) == set(expected)
    assert all(abs(found[name] - expected[name]) < tolerance for name in expected)


def test_heads_that_are_patched_lose_what_they_do(case):
    net, x, other, target, _, heads = case
    close(by_name(circuits.activation_patching(net, x, other, target=target)[0]), heads)
    back = circuits.activation_patching(net, x, other, target=target, direction="denoising")[0]
    assert float(back.total) == pytest.approx(float(net(x)[0, target]))
    close(by_name(vs.attribute(net, x, "occlusion", players=vs.Players.heads(net), target=target, baseline=other)[0]), heads)


def test_edges_that_are_patched_lose_what_they_do(case):
    net, x, other, target, edges, _ = case
    close(by_name(vs.attribute(net, x, "occlusion", players=vs.Players.edges(net), target=target, baseline=other)[0]), edges)


def test_eap_ig_finds_the_circuit_exactly(case):
    net, x, other, target, edges, _ = case
    for path in ("inputs", "edges"):
        scores = circuits.eap_ig(net, x, other, target=target, path=path)
        assert set(by_name(scores[0], 1e-9)) == set(edges)
        found = circuits.circuit_of(net, x, other, scores, keep=len(edges), target=target)
        assert {"->".join(edge) for edge in found.edges} == set(edges)
        assert set(found.connected) == set(found.edges)
        assert found.faithfulness == pytest.approx(1, abs=1e-6)
        assert found.completeness == pytest.approx(0, abs=1e-6)
    assert abs(float(circuits.eap_ig(net, x, other, target=target, path="edges").gap[0])) < 1e-6


def test_acdc_finds_the_circuit_exactly(case):
    net, x, other, target, edges, _ = case
    found = circuits.acdc(net, x, other, threshold=0.01, target=target)
    assert {"->".join(edge) for edge in found.edges} == set(edges)
    close({name: float(found.scores[found.names.index(name)]) for name in edges}, edges)


def test_fewer_edges_are_less_faithful(case):
    net, x, other, target, edges, _ = case
    scores = circuits.eap_ig(net, x, other, target=target, path="edges")
    curve = circuits.faithfulness_curve(net, x, other, scores, target=target, sizes=[len(edges) - 1, len(edges), scores.players.n])
    assert curve.smallest(0.999) == len(edges)
    assert curve.faithfulness[0] < 0.6
    assert curve.completeness[1] == pytest.approx(0, abs=1e-6)


def test_two_heads_of_the_induction_circuit_act_together_alone():
    """Neither does anything without the other: one dividend, shared out in halves."""
    net = vs.trace(induction(), INDUCTION)
    heads = vs.Players.heads(net)
    dividends = vs.interactions(net, INDUCTION, heads, target=2, baseline=INDUCTION_OTHER)
    found = {tuple(row.nonzero().flatten().tolist()): float(one) for row, one in zip(dividends.coalitions, dividends.values, strict=True)}
    assert found[0, 2] == pytest.approx(CHANGE, abs=1e-6)
    assert all(abs(value) < 1e-6 for pair, value in found.items() if pair != (0, 2))
    shapley = vs.attribute(net, INDUCTION, "shapley_value", players=heads, target=2, baseline=INDUCTION_OTHER)[0]
    torch.testing.assert_close(shapley.values, torch.tensor([[CHANGE / 2, 0], [CHANGE / 2, 0]], dtype=torch.float64))


def test_shapley_values_of_heads_that_copy():
    """Half of the answer is L0H1's alone, half needs both: 1 + 1/2 and 1/2."""
    net = vs.trace(copy_with_distractor(), COPY)
    found = vs.attribute(net, COPY, "shapley_value", players=vs.Players.heads(net), target=3, baseline=COPY_OTHER)[0]
    close(by_name(found), {"L0H1": 1.5, "L1H1": 0.5})
    straight = vs.attribute(net, COPY, "integrated_gradients", players=vs.Players.heads(net), target=3, baseline=COPY_OTHER)[0]
    close(by_name(straight), {"L0H1": 1.5, "L1H1": 0.5})


def test_gradients_of_edges_of_a_network_that_is_linear_between_the_prompts():
    """Where no score changes, patching one edge is exactly first order: EAP is occlusion, and IG shares a chain of k edges out in k-ths."""
    net = vs.trace(copy_with_distractor(), COPY)
    close(by_name(circuits.edge_attribution_patching(net, COPY, COPY_OTHER, target=3)[0]), CASES["copy"][4])
    third = {"embed->L0H1.v": 1 / 2 + 1 / 3, "L0H1->L1H1.v": 1 / 3, "L0H1->logits": 1 / 2, "L1H1->logits": 1 / 3}
    close(by_name(circuits.eap_ig(net, COPY, COPY_OTHER, target=3, path="edges")[0]), third)
    close(by_name(circuits.attribution_patching(net, COPY, COPY_OTHER, target=3)[0]), CASES["copy"][5])


@pytest.mark.parametrize("method", ["shapley_value", "occlusion"])
def test_tokens_of_the_induction_circuit(method):
    """The token that comes again and the one after it are patched: without the first (then 6) nothing is found, and a sixth is left;
    without the second (then 1) the answer is another."""
    net = vs.trace(induction(), INDUCTION)
    other = INDUCTION.clone()
    other[0, 1:3] = torch.tensor([6, 1])
    tokens = vs.Players.tokens(INDUCTION[0])
    found = vs.attribute(net, INDUCTION, method, players=tokens, target=2, baseline=other)[0].values.double()  # of ids: float32
    v = {(): 0.0, (1,): 0.0, (2,): 1 / 6, (1, 2): 1.0}
    if method == "occlusion":
        expected = [v[1, 2] - v[2,], v[1, 2] - v[1,]]
    else:
        expected = [(v[1,] - v[()] + v[1, 2] - v[2,]) / 2, (v[2,] - v[()] + v[1, 2] - v[1,]) / 2]
    torch.testing.assert_close(found, torch.tensor([0, *expected, 0, 0, 0], dtype=torch.float64), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_what_is_written_into_the_logit_directly():
    for make, x, target, expected in (
        (induction, INDUCTION, 2, {"L1H0": 1.0}),
        (copy_with_distractor, COPY, 3, {"L0H1": 1.0, "L1H1": 1.0}),
        (greater_than, GREATER, 3, {"L0.mlp": 1.0}),
    ):
        found = circuits.direct_logit_attribution(make(), x, target=target)[0]
        close(by_name(found), expected)
        assert abs(float(found.gap)) < 1e-9


def test_the_logit_lens_shows_where_the_answer_comes_up():
    lens = circuits.logit_lens(copy_with_distractor(), COPY)
    assert list(lens) == ["embed", "L0.attn", "L1.attn"]
    torch.testing.assert_close(torch.stack([one[0, 3] for one in lens.values()]), torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))


def test_several_prompts_are_paired_with_theirs():
    net = vs.trace(copy_with_distractor(), COPY)
    x, other = torch.cat([COPY, COPY_OTHER]), torch.cat([COPY_OTHER, COPY])
    found = circuits.eap_ig(net, x, other, target=[3, 5])
    for place, (own, its) in enumerate(((COPY, COPY_OTHER), (COPY_OTHER, COPY))):
        alone = circuits.eap_ig(net, own, its, target=[3, 5][place])
        torch.testing.assert_close(found.values[place], alone.values[0])
    heads = vs.Players.heads(net)
    both = vs.attribute(net, x, "shapley_value", players=heads, target=[3, 5], baseline=vs.Constant(other))
    close(by_name(both[1]), {"L0H1": 1.5, "L1H1": 0.5})


def test_direct_effects_leave_later_heads_as_they_are():
    net = vs.trace(copy_with_distractor(), COPY)
    heads = vs.Players.heads(net)
    found = vs.attribute(net, COPY, "occlusion", players=heads, target=3, baseline=COPY_OTHER, direct=True)[0]
    close(by_name(found), {"L0H1": 1.0, "L1H1": 1.0})
