"""GPT-2 and Llama from config against hooks: ablation of every head, attribution patching and EAP as the papers write them."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import vesalius as vs
from tests.reference import circuits as twin
from vesalius import circuits

LAYERS, HEADS, WIDTH, VOCABULARY, LENGTH = 2, 4, 16, 30, 7
TARGET = (-1, 3)


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "n_positions": 16, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "initializer_range": 0.3}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval().double()
    draws = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # 0 in a new model, where they would hide what becomes of them
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
    x, other = (torch.randint(0, VOCABULARY, (1, LENGTH), generator=draws) for _ in range(2))
    return model, vs.trace(model, x, output="logits"), x, other


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=2, max_position_embeddings=32, initializer_range=0.3)).eval().double()
    draws = torch.Generator().manual_seed(1)
    x, other = (torch.randint(0, VOCABULARY, (1, LENGTH), generator=draws) for _ in range(2))
    return model, vs.trace(model, x, output="logits"), x, other


@pytest.mark.slow
@pytest.mark.parametrize("absent", ["zero", "mean", "patch"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_every_head_is_ablated_as_hooks_do(name, absent, request):
    model, net, x, other = request.getfixturevalue(name)
    draws = torch.Generator().manual_seed(2)
    background = torch.randint(0, VOCABULARY, (5, LENGTH), generator=draws)
    baseline = {"zero": None, "mean": vs.Mean(background), "patch": other}[absent]
    found = vs.attribute(net, x, "occlusion", players=vs.Players.heads(net), target=TARGET, baseline=baseline)[0]
    gathered = twin.gathered(model, {"zero": x, "mean": background, "patch": other}[absent])
    for layer in range(LAYERS):
        stand_in = torch.zeros_like(gathered[layer][:1]) if absent == "zero" else gathered[layer].mean(0, keepdim=True)
        for head in range(HEADS):
            expected = twin.logit(model, x, TARGET) - twin.ablated_together(model, x, TARGET, HEADS, {layer: (head, stand_in)})
            assert float(found.values[layer, head]) == pytest.approx(float(expected), abs=1e-5)


def test_pairs_of_heads_are_ablated_together(gpt2):
    """A head of layer 0 and one of layer 1: what layer 1 gathers is computed anew."""
    model, net, x, other = gpt2
    game = vs.Game.on(net, x, vs.Players.heads(net), target=TARGET, baseline=other)
    gathered = twin.gathered(model, other)
    present = torch.ones(1, LAYERS * HEADS, dtype=torch.bool)
    present[0, [1, HEADS + 2]] = False
    changes = {0: (1, gathered[0]), 1: (2, gathered[1])}
    assert float(game(present)) == pytest.approx(float(twin.ablated_together(model, x, TARGET, HEADS, changes)), abs=1e-9)


def test_attribution_patching_is_that_of_the_formula(gpt2):
    model, net, x, other = gpt2
    found = circuits.attribution_patching(net, x, other, target=TARGET)[0]
    expected = twin.attribution_patching(model, x, other, TARGET, HEADS)
    torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=1e-8)


def test_eap_is_that_of_the_formula(gpt2):
    model, net, x, other = gpt2
    expected = twin.eap(model, x, other, TARGET, HEADS, [1.0])
    found = circuits.edge_attribution_patching(net, x, other, target=TARGET)[0]
    assert set(found.players.names) == set(expected)
    for name, value in zip(found.players.names, found.values.tolist(), strict=True):
        assert value == pytest.approx(expected[name], rel=1e-4, abs=1e-8)


def test_eap_ig_is_that_of_the_formula(gpt2):
    model, net, x, other = gpt2
    expected = twin.eap(model, x, other, TARGET, HEADS, [1 / 3, 2 / 3, 1.0])
    found = circuits.eap_ig(net, x, other, target=TARGET, steps=3)[0]
    for name, value in zip(found.players.names, found.values.tolist(), strict=True):
        assert value == pytest.approx(expected[name], rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_edges_add_up_from_one_prompt_to_the_other(name, request):
    _, net, x, other = request.getfixturevalue(name)
    edges = vs.Players.edges(net)
    game = vs.Game.on(net, x, edges, target=TARGET, baseline=other)
    ends = game(torch.tensor([[False], [True]]).expand(2, edges.n))
    torch.testing.assert_close(ends, torch.stack([net(other)[0, -1, 3], net(x)[0, -1, 3]]).detach(), rtol=1e-9, atol=1e-12)
    assert abs(float(circuits.eap_ig(net, x, other, target=TARGET, path="edges").relative_gap[0])) < 1e-6


def test_one_edge_is_patched_as_hooks_do(gpt2):
    """L0H1 -> L1H2.k, and the MLP of layer 0 -> logits."""
    model, net, x, other = gpt2
    edges = vs.Players.edges(net)
    game = vs.Game.on(net, x, edges, target=TARGET, baseline=other)
    for name, expected in twin.patched_edges(model, x, other, TARGET, HEADS).items():
        present = torch.ones(1, edges.n, dtype=torch.bool)
        present[0, edges.names.index(name)] = False
        assert float(game(present)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_direct_logits_add_up_under_a_norm(name, request):
    model, net, x, _ = request.getfixturevalue(name)
    found = circuits.direct_logit_attribution(net, x, target=TARGET)[0]
    assert abs(float(found.gap)) < (1e-9 if name == "gpt2" else 1e-6)  # norms of this Llama compute in single precision
    assert float(found.total) == pytest.approx(float(twin.logit(model, x, TARGET)), abs=1e-9)
    if name == "gpt2":
        torch.testing.assert_close(found.values, twin.direct_logits(model, x, TARGET, HEADS), rtol=1e-6, atol=1e-9)


def test_the_last_of_the_logit_lens_is_the_output(llama):
    model, net, x, _ = llama
    lens = circuits.logit_lens(net, x)
    torch.testing.assert_close(list(lens.values())[-1], net(x))
    inside = model.model(x, output_hidden_states=True).hidden_states
    torch.testing.assert_close(lens["L0.mlp"], model.lm_head(model.model.norm(inside[1])))
