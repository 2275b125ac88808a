"""Information flow of models that return several tensors: each is an end of the graph."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput, UnknownName


class Heads(nn.Module):
    """Two heads, each of its own feature, behind one layer that holds both."""

    def __init__(self):
        super().__init__()
        self.trunk, self.left, self.right = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.trunk.weight.copy_(torch.eye(2))
            self.left.weight.copy_(torch.tensor([[1.0, 0.0]]))
            self.right.weight.copy_(torch.tensor([[0.0, 1.0]]))

    def forward(self, x):
        h = self.trunk(x)
        return {"left": self.left(h) + 0, "right": self.right(h.tanh())}


class Autoencoder(nn.Module):
    """A code that is an output, and that another output is computed from."""

    def __init__(self):
        super().__init__()
        self.encode, self.mean, self.scale, self.decode = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(3, 6)

    def forward(self, x):
        h = self.encode(x).relu()
        mean = self.mean(h)
        return self.decode(mean).reshape(-1, 2, 3), mean, self.scale(h), mean.square().mean()


def joined(graph):
    return [(graph.names[first], graph.names[second]) for first, second in graph.structure.pairs]


@pytest.mark.parametrize("batches", [False, True])
def test_each_head_is_an_end_of_the_graph(batches):
    x = torch.randn(800, 2, generator=torch.Generator().manual_seed(0))
    graph = vs.information_flow(Heads(), list(x.split(200)) if batches else x)
    assert graph.sinks == ("output[left]", "output[right]")
    for place, head in enumerate(graph.sinks):
        flow = graph.attribution(target=head)[:, 0]
        assert flow[place] > 0 and flow[1 - place] == 0


def test_an_output_that_another_reads_is_on_its_way():
    torch.manual_seed(0)
    graph = vs.information_flow(Autoencoder(), torch.randn(300, 6), names={"output[1]": ["a", "b", "c"]})
    assert joined(graph) == [("x", "encode"), ("encode", "output[1]"), ("output[1]", "output[0]"), ("encode", "output[2]")]
    assert [len(layer) for layer in graph.layers] == [6, 5, 3, 6, 3]
    assert graph.layers[2].units == ("a", "b", "c")


def test_outputs_may_be_named_among_layers():
    graph = vs.information_flow(Autoencoder(), torch.randn(300, 6), layers=["encode", "output[2]"])
    assert joined(graph) == [("encode", "output[2]")]


def test_labels_are_of_one_output():
    x = torch.randn(300, 2)
    with pytest.raises(InvalidInput, match=r"several: output\[left\], output\[right\]; choose one"):
        vs.information_flow(Heads(), x, labels=(x[:, 0] > 0).long())


def test_several_outputs_are_one_row_of_numbers():
    x, model = torch.randn(3, 6), Autoencoder()
    recon, mean, *_ = model(x)
    for output in (("1", "0"), ["1", "0"], (1, 0)):
        torch.testing.assert_close(vs.trace(model, x, output=output)(x), torch.cat([mean, recon.flatten(1)], 1))


def test_an_output_that_comes_twice_is_one_end():
    class Twice(nn.Linear):
        def forward(self, x):
            h = super().forward(x)
            return h, h, h.relu()

    graph = vs.information_flow(Twice(3, 4), torch.randn(300, 3))
    assert joined(graph) == [("x", "output[1]"), ("output[1]", "output[2]")]


@pytest.mark.parametrize("layers, both", [(1, False), (2, False), (2, True)])
def test_a_state_without_a_row_for_each_sample_is_no_output(layers, both):
    torch.manual_seed(0)
    model = nn.GRU(4, 3, layers, batch_first=True, bidirectional=both)
    graph = vs.information_flow(model, torch.randn(60, 5, 4))
    assert graph.names == ("input", "output") and len(graph.layers[1]) == 15 * (1 + both)


@pytest.mark.parametrize(
    "output, message",
    [((), "a list of no outputs"), (["1", "3"], r"output '3' has shape \[\]"), (["0", "nine"], "no output 'nine'")],
)
def test_outputs_that_do_not_go_side_by_side_are_refused(output, message):
    with pytest.raises((InvalidInput, UnknownName), match=message):
        vs.trace(Autoencoder(), torch.randn(3, 6), output=output)


def test_outputs_of_which_none_has_rows_of_numbers_are_refused():
    class Places(nn.Linear):
        def forward(self, x):
            h = super().forward(x)
            return h.argmax(1), h.mean()

    with pytest.raises(InvalidInput, match="choose one"):
        vs.information_flow(Places(3, 4), torch.randn(60, 3))
