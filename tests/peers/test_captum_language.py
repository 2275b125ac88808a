"""Values on prompt tokens beside captum's language attribution, and inseq's integrated gradients by their formula."""

import pytest
import torch

import vesalius as vs
from benchmarks.language import captum_ablation, captum_gradients, model, text, tokenizer
from vesalius.language import PerToken, Probability
from vesalius.methods import IntegratedGradients

PROMPT, ANSWER = text(6, 1), text(3, 2)


@pytest.fixture(scope="module")
def given():
    return model(layers=2), tokenizer()


@pytest.mark.slow
def test_occlusion_is_captums_feature_ablation_without_its_cache(given):
    found = vs.attribute(given[0], PROMPT, "occlusion", tokenizer=given[1], target=PerToken(ANSWER), baseline="pad")
    torch.testing.assert_close(found.values, captum_ablation(*given, PROMPT, ANSWER, at_once=False), rtol=0, atol=1e-4)


def test_integrated_gradients_are_captums_at_the_embedding(given):
    exact = IntegratedGradients(tol=1e-6)
    found = vs.attribute(given[0], PROMPT, exact, tokenizer=given[1], target=PerToken(ANSWER), baseline="pad")
    torch.testing.assert_close(found.values, captum_gradients(*given, PROMPT, ANSWER, 64), rtol=0, atol=1e-4)


def test_integrated_gradients_of_a_probability_are_those_inseq_computes(given):
    """inseq: captum's integrated gradients of the next token's probability, at the embedding from the embedding of padding, summed."""
    net, tokens = given
    ids = torch.tensor([tokens(PROMPT)["input_ids"]])
    x, zero = net.transformer.wte(ids), net.transformer.wte(torch.zeros_like(ids))
    nodes = (torch.arange(400, dtype=torch.float32) + 0.5) / 400
    slopes = torch.zeros_like(x)
    for part in nodes.split(50):
        points = (zero + part[:, None, None] * (x - zero)).requires_grad_()
        net(inputs_embeds=points).logits[:, -1].softmax(-1)[:, 7].sum().backward()
        slopes += points.grad.sum(0) / 400
    found = vs.attribute(net, PROMPT, IntegratedGradients(tol=1e-6), tokenizer=tokens, target=Probability("w7"), baseline="pad")
    torch.testing.assert_close(found.values, ((x - zero) * slopes).sum(-1)[0], rtol=0, atol=1e-4)
