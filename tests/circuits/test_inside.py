"""Heads, neurons, layers, values of the stream and edges of networks as people write them; and the words where there are none."""

import pytest
import torch
import transformers as tf
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName, WrongType

SMALL = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
PLACES = {"max_position_embeddings": 16}


class ByEinsum(nn.Module):
    """Attention as einsum, heads after positions."""

    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        q, k, v = (part(x).unflatten(-1, (self.heads, -1)) for part in (self.q, self.k, self.v))
        weights = (torch.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5).softmax(-1)
        return self.o(torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2))


class ByProducts(ByEinsum):
    """Attention as products of [batch * heads, positions, features], softmax and all."""

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part(x).view(batch, length, self.heads, -1).transpose(1, 2).reshape(batch * self.heads, length, -1)
            for part in (self.q, self.k, self.v)
        )
        found = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
        return self.o(found.view(batch, self.heads, length, -1).transpose(1, 2).reshape(batch, length, width))


class Stack(nn.Module):
    """Tokens, a residual attention, a residual MLP, twice."""

    def __init__(self, attention):
        super().__init__()
        self.embed, self.out = nn.Embedding(40, 16), nn.Linear(16, 5)
        self.attentions = nn.ModuleList(attention() for _ in range(2))
        self.mlps = nn.ModuleList(nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16)) for _ in range(2))

    def forward(self, ids):
        x = self.embed(ids)
        for attention, mlp in zip(self.attentions, self.mlps, strict=True):
            x = x + attention(x)
            x = x + mlp(x)
        return self.out(x)[:, -1]


class Encoder(nn.Module):
    """PyTorch's own, positions first."""

    def __init__(self, norm_first):
        super().__init__()
        self.embed, self.out = nn.Embedding(40, 16), nn.Linear(16, 5)
        layer = nn.TransformerEncoderLayer(16, 2, 24, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids):
        return self.out(self.encoder(self.embed(ids).transpose(0, 1)).mean(0))


def opt():
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "ffn_dim": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    }
    return tf.OPTForCausalLM(tf.OPTConfig(**sizes, **PLACES))


NETWORKS = {
    "gpt2, eager": lambda: tf.GPT2LMHeadModel(
        tf.GPT2Config(
            vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, attn_implementation="eager"
        )
    ),
    "llama, groups": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**SMALL, **PLACES, num_key_value_heads=1)),
    "bert": lambda: tf.BertForSequenceClassification(tf.BertConfig(**SMALL, **PLACES)),
    "neox, parallel": lambda: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**SMALL, **PLACES)),
    "gemma2, norms after": lambda: tf.Gemma2ForCausalLM(tf.Gemma2Config(**SMALL, **PLACES, num_key_value_heads=1, head_dim=8)),
    "mixtral": lambda: tf.MixtralForCausalLM(tf.MixtralConfig(**SMALL, **PLACES, num_key_value_heads=1, num_local_experts=4)),
    "opt, flat rows": opt,
    "einsum": lambda: Stack(ByEinsum),
    "bmm": lambda: Stack(ByProducts),
    "encoder, norm first": lambda: Encoder(True),
    "encoder, norm last": lambda: Encoder(False),
}


@pytest.fixture(scope="module", params=NETWORKS)
def traced(request):
    torch.manual_seed(0)
    model = NETWORKS[request.param]().eval()
    draws = torch.Generator().manual_seed(0)
    x, other = (torch.randint(3, 40, (1, 6), generator=draws) for _ in range(2))
    output = {} if isinstance(model, (Stack, Encoder)) else {"output": "logits"}
    net = vs.trace(model, x, **output)
    return request.param, net, x, other


def target_of(net):
    return (-1, 3) if len(net.values[net.model_graph.output].shape) == 3 else 1


def score(net, x):
    found = net(x)[0]
    return float((found[-1, 3] if found.ndim == 2 else found[1]).detach())


@pytest.mark.slow
def test_heads_of_all_layers_are_found(traced):
    _, net, x, _ = traced
    heads = vs.Players.heads(net)
    assert heads.shape == (2, 2) and heads.names == ("L0H0", "L0H1", "L1H0", "L1H1")
    assert vs.Players.heads(net, layers=1).names == ("L1H0", "L1H1")
    module = net.values[heads.sites[0]].module
    assert vs.Players.heads(net, layers=module).names == ("L0H0", "L0H1")
    found = vs.attribute(net, x, "shapley_value", players=heads, target=target_of(net))[0]
    assert abs(float(found.gap)) < 1e-5 * max(1.0, abs(float(found.total)))


@pytest.mark.slow
def test_no_edge_is_the_other_prompt_and_all_edges_are_this_one(traced):
    """What readers see is rebuilt from what is present: of nothing, the network is that of the other prompt."""
    _, net, x, other = traced
    edges = vs.Players.edges(net)
    assert len(set(edges.names)) == edges.n
    assert any(edge.endswith("->logits") for edge in edges.names)
    game = vs.Game.on(net, x, edges, target=target_of(net), baseline=other)
    none, every = game(torch.tensor([[False], [True]]).expand(2, edges.n)).tolist()
    assert every == pytest.approx(score(net, x), abs=1e-6, rel=1e-5)
    assert none == pytest.approx(score(net, other), abs=1e-6, rel=1e-5)


def test_values_of_the_stream_carry_everything(traced):
    _, net, x, other = traced
    stream = vs.Players.residual(net)
    game = vs.Game.on(net, x, stream, target=target_of(net), baseline=other)
    assert float(game(torch.zeros(1, stream.n, dtype=torch.bool))) == pytest.approx(score(net, other), abs=1e-6, rel=1e-5)
    table = vs.Players.residual(net, positions=True)
    assert table.n == stream.n * 6 or table.shape[0] == stream.n


def test_neurons_and_layers(traced):
    name, net, x, _ = traced
    layers = vs.Players.layers(net)
    assert {"L0.attn", "L0.mlp", "L1.attn", "L1.mlp"} <= set(layers.names)
    if name == "mixtral":
        with pytest.raises(InvalidInput, match="inside experts"):
            vs.Players.neurons(net)
        return
    neurons = vs.Players.neurons(net)
    assert neurons.names[0] == "L0N0" and neurons.n >= 48
    found = vs.attribute(net, x, "integrated_gradients", players=layers, target=target_of(net))[0]
    assert abs(float(found.gap)) < 1e-4 * max(1.0, abs(float(found.total)))


def test_where_there_are_none():
    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    net = vs.trace(plain, torch.randn(2, 4))
    for ask, words in (
        (vs.Players.heads, "no attention heads: neither scaled_dot_product_attention, nor a softmax"),
        (vs.Players.edges, "no residual stream: no value to which something is added"),
        (vs.Players.residual, "no residual stream"),
        (vs.Players.experts, "no experts"),
    ):
        with pytest.raises(InvalidInput, match=words):
            ask(net)
    assert vs.Players.layers(net).names == ("0", "2")
    assert vs.Players.neurons(net).n == 6
    with pytest.raises(InvalidInput, match="no neurons"):
        vs.Players.neurons(vs.trace(nn.Linear(4, 3), torch.randn(2, 4)))
    with pytest.raises(WrongType, match="traced network, not of a Tensor"):
        vs.Players.heads(torch.zeros(3))
    with pytest.raises(NotTraceable):
        vs.Players.heads(vs.trace(lambda rows: rows.sum(1), torch.randn(2, 4)))
    with pytest.raises(WrongType):
        vs.Players.edges(torch.zeros(3))


def test_what_is_refused():
    torch.manual_seed(0)
    net, x = vs.trace(Stack(ByEinsum).eval(), torch.tensor([[3, 4, 5, 6]])), torch.tensor([[3, 4, 5, 6]])
    heads, edges = vs.Players.heads(net), vs.Players.edges(net)
    with pytest.raises(UnknownName, match="layer"):
        vs.Players.heads(net, layers=7)
    with pytest.raises(WrongType, match="numbers or paths"):
        vs.Players.heads(net, layers=[True])
    with pytest.raises(InvalidInput, match="leave at="):
        vs.attribute(net, x, "occlusion", players=heads, target=1, at="embed")
    with pytest.raises(InvalidInput, match="passes relevance back along the graph"):
        vs.attribute(net, x, "lrp_epsilon", players=heads, target=1)
    with pytest.raises(InvalidInput, match="leave direct=True out"):
        vs.attribute(net, x, "occlusion", players=edges, target=1, direct=True)
    with pytest.raises(InvalidInput, match="stand-ins came"):
        vs.attribute(net, x, "occlusion", players=edges, target=1, baseline=torch.tensor([[3, 4, 5, 7], [4, 4, 4, 4]]))
    with pytest.raises(InvalidInput, match="edges have no attribution maps"):
        vs.audit(net, x, edges, target=1)
    wider = Stack(ByEinsum).eval()
    wider.mlps = wider.mlps[:1]
    wider.attentions = wider.attentions[:1]
    with pytest.raises(InvalidInput, match="of another network"):
        vs.attribute(vs.trace(wider, x), x, "occlusion", players=edges, target=1)


def test_heads_are_audited_and_saved(tmp_path):
    torch.manual_seed(0)
    net, x = vs.trace(Stack(ByEinsum).eval(), torch.tensor([[3, 4, 5, 6]])), torch.tensor([[3, 4, 5, 6]])
    heads = vs.Players.heads(net)
    audit = vs.audit(net, x, heads, target=1, methods=["shapley_value", "occlusion"])
    assert set(audit.records) == {"shapley_value", "occlusion"}
    found = vs.attribute(net, x, "shapley_value", players=heads, target=1)
    again = vs.Allocation.load(found.save(tmp_path / "heads"))
    assert again.players.sites == heads.sites and again.players.names == heads.names


def test_an_image_of_the_shape_of_a_value_is_still_an_image():
    """One channel, as many as the hidden ones are broadcast from: the baseline is another image, not a value of each layer."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return x + torch.relu(self.conv(x))

    torch.manual_seed(0)
    model = nn.Sequential(Block(), Block(), nn.Flatten(), nn.Linear(16, 2)).eval()
    x, other = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    net = vs.trace(model, x)
    edges = vs.Players.edges(net)
    game = vs.Game.on(net, x, edges, target=1, baseline=other)
    assert float(game(torch.zeros(1, edges.n, dtype=torch.bool))) == pytest.approx(float(net(other)[0, 1]), abs=1e-6)
