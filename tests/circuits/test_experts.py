"""Experts as players: an absent one is given nothing, as a hook on its weight would do it."""

import pytest
import torch
from torch import nn
from transformers import MixtralConfig, MixtralForSequenceClassification

import vesalius as vs
from vesalius.core.errors import InvalidInput


class Mixture(nn.Module):
    """Experts of which the best few, or all, are added up by their weights."""

    def __init__(self, best=None, experts=4, width=6):
        super().__init__()
        self.best, self.router, self.out = best, nn.Linear(width, experts), nn.Linear(width, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, width)) for _ in range(experts))

    def forward(self, x, kept=None):
        weights = self.router(x).softmax(-1)
        each = torch.stack([expert(x) for expert in self.experts], -2)  # [batch, positions, experts, width]
        if self.best is None:
            weights = weights if kept is None else weights * kept
            return self.out((weights.unsqueeze(-1) * each).sum(-2).mean(1))
        top, chosen = weights.topk(self.best, -1)
        top = top / top.sum(-1, keepdim=True)
        top = top if kept is None else top * kept[chosen]
        picked = each.gather(-2, chosen.unsqueeze(-1).expand(*chosen.shape, each.shape[-1]))
        return self.out((top.unsqueeze(-1) * picked).sum(-2).mean(1))


@pytest.mark.parametrize("best", [None, 2])
def test_absent_experts_are_given_nothing(best):
    torch.manual_seed(0)
    model, x = Mixture(best).eval().double(), torch.randn(2, 5, 6, dtype=torch.float64)
    net = vs.trace(model, x)
    experts = vs.Players.experts(net)
    assert experts.names == ("L0E0", "L0E1", "L0E2", "L0E3")
    masks = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    masks[0] = False
    for row in range(2):
        found = vs.Game.on(net, x[row : row + 1], experts, target=1)(masks)
        expected = torch.stack([model(x[row : row + 1], mask.double())[0, 1] for mask in masks]).detach()
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_experts_of_a_mixtral():
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8}
    routing = {"num_key_value_heads": 1, "num_local_experts": 3, "num_experts_per_tok": 2, "num_labels": 5, "pad_token_id": 0}
    model = MixtralForSequenceClassification(MixtralConfig(**sizes, **routing, max_position_embeddings=16, initializer_range=0.3)).eval()
    ids = torch.randint(3, 40, (2, 5), generator=torch.Generator().manual_seed(1))
    net = vs.trace(model, ids[:1], output="logits")
    experts = vs.Players.experts(net)
    assert experts.shape == (2, 3) and vs.Players.experts(net, layers=1).names == ("L1E0", "L1E1", "L1E2")
    with pytest.raises(InvalidInput, match="inside experts, whose weights are picked for each token"):
        vs.Players.neurons(net)
    found = vs.attribute(net, ids, "shapley_value", players=experts, target=1)
    assert (found.gap.abs() < 1e-5).all() and found.values.abs().max() > 1e-3
    without = nn.Parameter(model.model.layers[1].mlp.experts.down_proj.detach().clone())
    without.data[1] = 0
    own, model.model.layers[1].mlp.experts.down_proj = model.model.layers[1].mlp.experts.down_proj, without
    with torch.no_grad():
        ablated = model(input_ids=ids).logits[:, 1]
    model.model.layers[1].mlp.experts.down_proj = own
    lost = vs.attribute(net, ids, "occlusion", players=experts, target=1)
    torch.testing.assert_close(lost.values[:, 1, 1], net(ids)[:, 1].detach() - ablated, rtol=1e-4, atol=1e-6)
    with pytest.raises(InvalidInput, match="leave baseline= out"):
        vs.attribute(net, ids, "occlusion", players=experts, target=1, baseline=1.0)
    last = vs.Players.experts(net, layers=1)  # behind those of layer 0 another router jumps, which no gradient sees
    assert abs(float(vs.attribute(net, ids[:1], "integrated_gradients", players=last, target=1).gap[0])) < 1e-5
