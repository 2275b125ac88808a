"""Mixtures of experts whose router takes the best few, as transformers computes them."""

import pytest
import torch
from transformers import MixtralConfig, MixtralForSequenceClassification

import vesalius as vs


@pytest.fixture(scope="module")
def mixture():
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8}
    routing = {"num_key_value_heads": 1, "num_local_experts": 4, "num_experts_per_tok": 2, "num_labels": 5, "pad_token_id": 0}
    model = MixtralForSequenceClassification(MixtralConfig(**sizes, **routing, max_position_embeddings=16, initializer_range=0.4)).eval()
    ids = torch.randint(3, 40, (3, 5), generator=torch.Generator().manual_seed(1))
    chosen = model.config._experts_implementation
    network = vs.trace(model, kwargs={"input_ids": ids[:1]}, output="logits")
    assert model.config._experts_implementation == chosen  # the user's own settings stay
    return model, network, ids


@pytest.mark.slow
def test_is_traced_as_it_computes(mixture):
    model, network, ids = mixture
    assert not network.opaque
    with torch.no_grad():
        torch.testing.assert_close(network(ids), model(input_ids=ids).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_revealcancel", "deep_shap", "integrated_gradients"])
def test_adds_up_though_the_router_jumps(mixture, method):
    _, network, ids = mixture
    found = vs.attribute(network, ids, method, target=1, at="model.embed_tokens")
    assert (found.relative_gap <= 1e-5).all()


def test_values_that_cancel_add_up_to_their_sum(mixture):
    """A zero embedding under RMSNorm: values a hundred times their sum."""
    _, network, ids = mixture
    found = vs.attribute(network, ids, "deeplift_rescale", target=1, at="model.embed_tokens")
    assert found.values.abs().max() > 100 * (found.total - found.base).abs().max()
    assert (found.relative_gap <= 1e-5).all()
