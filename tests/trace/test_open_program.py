"""Parts of an open graph as callables: at any length they compute what the graph of that length does."""

import pytest
import torch
from torch import nn

import vesalius as vs


class Tagger(nn.Module):
    """Attention written out, with a causal mask that is made of the length, and rows that are flattened on the way."""

    def __init__(self):
        super().__init__()
        self.word, self.place = nn.Embedding(11, 8), nn.Embedding(32, 8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 5)

    def forward(self, ids):
        x = self.word(ids) + self.place(torch.arange(ids.shape[1]))
        q, k, v = self.qkv(x).chunk(3, -1)
        later = torch.ones(ids.shape[1], ids.shape[1]).triu(1).bool()
        mixed = (q @ k.transpose(1, 2)).masked_fill(later, -torch.inf).softmax(-1) @ v
        flat = torch.tanh(mixed + x).reshape(-1, 8)
        return self.out(flat).reshape(ids.shape[0], ids.shape[1], 5)


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(0)
    model = Tagger().eval()
    return model, vs.trace(model, torch.randint(11, (2, 6)))


@pytest.mark.parametrize("length", [2, 6, 9, 17])
@pytest.mark.parametrize("at", ["word", "qkv"])
def test_a_part_is_that_of_the_graph_at_the_length(tagger, at, length):
    _, network = tagger
    ids = torch.randint(11, (3, length), generator=torch.Generator().manual_seed(length))
    here = network.at_lengths_of(ids)
    split = here.split(at)
    given = (*split.at, *split.context)
    values = here.program(["ids"], given)(ids)
    for ours, wanted in zip(here.function(["ids"], given)(ids), values, strict=True):
        torch.testing.assert_close(ours, wanted)
    head = here.function(given, [here.model_graph.output])
    torch.testing.assert_close(head(*values)[0], here.program(given, [here.model_graph.output])(*values)[0])
    torch.testing.assert_close(head(*values)[0], network(ids))


def test_one_part_serves_all_lengths(tagger):
    _, network = tagger
    parts = [network.at_lengths_of(torch.zeros(1, length, dtype=torch.long)).function(["ids"], ["word/embedding"]) for length in (4, 6, 12)]
    assert len(set(map(id, parts))) == 1


def test_a_part_that_no_length_can_be_read_off_is_that_of_one_length(tagger):
    _, network = tagger
    whole = network.model_graph.any_length
    flat = next(name for name, value in network.values.items() if value.op in ("reshape", "view") and value.module == "")
    assert whole.program(network.model_graph.tensors, [flat], [network.model_graph.output]) is None
    ids = torch.randint(11, (2, 6), generator=torch.Generator().manual_seed(0))
    value = network.program(["ids"], [flat])(ids)
    torch.testing.assert_close(network.function([flat], ["out/linear"])(*value)[0], network.read(ids, "out")["out"])


def test_gradients_at_another_length_are_those_of_a_trace_there(tagger):
    model, network = tagger
    ids = torch.randint(11, (2, 13), generator=torch.Generator().manual_seed(1))
    apart = vs.trace(model, ids)
    for method in ("gradient_x_input", "integrated_gradients", "lrp_epsilon"):
        ours, wanted = (vs.attribute(one, ids, method, at="word", target=(-1, 3)).values for one in (network, apart))
        torch.testing.assert_close(ours, wanted)
