"""Graph classifiers with a planted motif: of five nodes three form a triangle, and only what they carry counts."""

import pytest
import torch
from torch import nn

import vesalius as vs

NODES, FEATURES = 8, 3
RING = [(i, (i + 1) % NODES) for i in range(NODES)]
MOTIF = [(1, 3), (1, 4), (3, 4)]
EDGES = torch.tensor([pair for a, b in RING + MOTIF for pair in ((a, b), (b, a))]).T
IN_MOTIF = {(a, b) for a, b in MOTIF}


def _send(h, weight, reduce):
    """Messages along the edges, reduced at where they arrive: [batch, nodes, features]."""
    messages = h[:, EDGES[0]] * weight[..., None]
    where = EDGES[1][None, :, None].expand(messages.shape)
    return torch.zeros_like(h).scatter_reduce(1, where, messages, reduce, include_self=False)


def _gcn(h, weight):
    degree = torch.bincount(EDGES[1], minlength=NODES).to(h.dtype)
    return _send(h, weight / (degree[EDGES[0]] * degree[EDGES[1]]).sqrt(), "sum")


def _gat(h, weight):
    """Attention over the neighbours, as a softmax by scattering with its largest score taken off."""
    score = nn.functional.leaky_relu(h[:, EDGES[0]].sum(-1) + h[:, EDGES[1]].sum(-1), 0.2) / 32
    where = EDGES[1].expand(score.shape)
    top = score.new_zeros(len(h), NODES).scatter_reduce(1, where, score.detach(), "amax", include_self=False)
    share = (score - top.gather(1, where)).exp()
    total = share.new_zeros(len(h), NODES).scatter_add(1, where, share)
    return _send(h, weight * share / total.gather(1, where), "sum")


LAYERS = {
    "gcn": _gcn,
    "gat": _gat,
    "gin": lambda h, weight: h + _send(h, weight, "sum"),
    "sage": lambda h, weight: h / 2 + _send(h, weight, "mean"),
    "largest": lambda h, weight: _send(h, weight, "amax"),
}


class Classifier(nn.Module):
    """One layer of messages, read at the nodes of the motif, where only its edges carry anything."""

    def __init__(self, layer):
        super().__init__()
        self.layer = LAYERS[layer]
        torch.manual_seed(0)
        self.mix = nn.Linear(FEATURES, 6)
        self.out = nn.Linear(6, 2)
        self.register_buffer("inside", torch.tensor([float((min(a, b), max(a, b)) in IN_MOTIF) for a, b in EDGES.T.tolist()]))

    def forward(self, x, weight):
        h = torch.tanh(self.mix(self.layer(x * 2, weight * self.inside)))
        return self.out(h[:, [1, 3, 4]].mean(1))


@pytest.fixture(scope="module", params=LAYERS)
def graph(request):
    model = Classifier(request.param).double().eval()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, NODES, FEATURES, generator=generator, dtype=torch.float64)
    weight = torch.rand(2, EDGES.shape[1], generator=generator, dtype=torch.float64) + 0.5
    return request.param, vs.trace(model, x, weight), x, weight


@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_revealcancel", "integrated_gradients"])
def test_the_motif_has_all_and_everything_adds_up(graph, method):
    layer, network, x, weight = graph
    found = vs.attribute(network, (x, weight), method, target=1)
    assert (found.gap.abs() < 1e-10).all()
    of_nodes = vs.Players.nodes(x[0]).gather([found.values[:, : x[0].numel()].reshape(x.shape)])
    of_edges = vs.Players.edges(weight[0], EDGES).gather([found.values[:, x[0].numel() :]])
    nodes = sorted({node for edge in MOTIF for node in edge})
    others = [node for node in range(NODES) if node not in nodes]
    if layer != "gat":  # whom a node listens to depends on all its neighbours
        assert of_nodes[:, others].abs().max() < 1e-12
    names = vs.Players.edges(weight[0], EDGES).names
    inside = torch.tensor([tuple(map(int, name.split("-"))) in IN_MOTIF for name in names])
    assert of_edges[:, ~inside].abs().sum() <= 0.1 * of_edges.abs().sum()
    share = of_nodes[:, nodes].abs().sum() / of_nodes.abs().sum()
    assert share >= 0.9


def test_edges_are_players_of_a_game(graph):
    _, network, x, weight = graph
    players = vs.Players.edges(weight[0], EDGES)
    found = vs.attribute(network, (x, weight), "shapley_value", target=1, at="weight", players=players)
    inside = torch.tensor([tuple(map(int, name.split("-"))) in IN_MOTIF for name in players.names])
    assert found.values[:, ~inside].abs().max() < 1e-9
    assert (found.gap.abs() < 1e-9).all()
