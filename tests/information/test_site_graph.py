"""Sites are joined where the network has a way between them with no other site on it: by hand, on networks of every structure."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.zoo.catalogue import specimen
from vesalius.information import MeasurementOptions
from vesalius.information.site_graph import joined_sites
from vesalius.information.units import find_layer_units

torch.manual_seed(0)


class Wired(nn.Module):
    """Three layers, and how they are put together."""

    def __init__(self, wire):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.wide, self.wire = nn.Linear(8, 2), wire

    def forward(self, *inputs):
        return self.wire(self, *inputs)


def names_joined(model, *inputs, layers=None, steps=None, **options):
    network = vs.trace(model.eval(), *inputs, **options)
    sites = find_layer_units(network, layers, "post_activation", steps)
    found = " ".join(f"{sites[first].name}>{sites[second].name}" for first, second in joined_sites(network.axes, sites).pairs)
    return found.replace("input_0", "x").replace("input_1", "z")


X, Z = torch.randn(2, 4), torch.randn(2, 4)


@pytest.mark.parametrize(
    ("wire", "inputs", "expected"),
    [
        (lambda m, x: m.c(torch.relu(m.b(torch.relu(m.a(x))))), (X,), "x>a a>b b>output"),
        (lambda m, x: m.c((h := torch.relu(m.a(x))) + m.b(h)), (X,), "x>a a>b a>add b>add add>output"),
        (lambda m, x: m.c(torch.relu((h := m.a(x)) - m.b(torch.tanh(h)))), (X,), "x>a a>b a>relu b>relu relu>output"),
        (lambda m, x, z: m.wide(torch.cat([m.a(x), m.b(z)], 1)), (X, Z), "x>a z>b a>output b>output"),
        (lambda m, x: m.wide(torch.cat([m.a(x), m.b(m.a(x))], 1)), (X,), "x>a/linear x>a/linear_1 a/linear_1>b a/linear>output b>output"),
        (lambda m, x: m.a(torch.tanh(m.a(torch.tanh(m.a(x))))), (X,), "x>a/linear a/linear>a/linear_1 a/linear_1>output"),
        (lambda m, x: m.b(m.a(x)) * torch.sigmoid(m.c(x)), (X,), "x>a a>b x>c b>output c>output"),
        (lambda m, x: x + m.b(torch.relu(m.a(x))), (X,), "x>a a>b x>output b>output"),
        (lambda m, x: m.c((h := m.a(x)) + m.b(h) + x), (X,), "x>a a>b x>add_1 a>add_1 b>add_1 add_1>output"),
    ],
    ids=["chain", "skip", "difference", "two inputs", "tied branches", "tied steps", "gate", "skip of the input", "sum of three"],
)
def test_sites_are_joined_as_by_hand(wire, inputs, expected):
    assert set(names_joined(Wired(wire), *inputs).split()) == set(expected.split())


def test_layers_that_are_left_out_are_passed():
    block = Wired(lambda m, x: m.c((h := torch.relu(m.a(x))) + m.b(h)))
    assert names_joined(block, X, layers=["input", "b", "output"]) == "x>b x>output b>output"
    assert names_joined(block, X, layers=["a", "output"]) == "a>output"
    assert names_joined(block, X, layers=["input", "add", "output"]) == "x>add add>output"


def test_an_input_that_is_read_past_all_sites_is_known():
    wired = Wired(lambda m, x: m.c((h := torch.relu(m.a(x))) + m.b(torch.cat([h[:, :2], x[:, :2]], 1))))
    network = vs.trace(wired, X)
    sites = find_layer_units(network, ["a", "b", "output"], "post_activation")
    found = joined_sites(network.axes, sites)
    assert [sites[place].name for place in found.unseen] == ["b"], "a reads the input alone"
    assert not joined_sites(network.axes, find_layer_units(network, None, "post_activation")).unseen


def test_a_unet_has_its_concatenations():
    chosen = specimen("unet")
    found = names_joined(chosen.build(), *chosen.example(2)[0]).split()
    assert "down2.double_conv.3>dec2.double_conv.0" in found and "up2>dec2.double_conv.0" in found
    assert "down1.double_conv.3>dec1.double_conv.0" in found and "bottom.0>up2" in found


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_has_its_residual_stream(norm_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.t, self.out = nn.Embedding(20, 8), nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 3)

        def forward(self, ids):
            return self.out(self.t(self.embed(ids)).mean(1))

    t = "t.layers.0"
    expected = {f"embed/embedding>{t}.self_attn/attention", f"embed/embedding>{t}/add", f"{t}.self_attn/attention>{t}/add"}
    expected |= {f"{t}/add>{t}.linear1", f"{t}/add>{t}/add_1", f"{t}.linear1>{t}/add_1", f"{t}/add_1>output"}
    assert set(names_joined(Encoder(), torch.randint(0, 20, (2, 5))).split()) == expected


class Recurrent(nn.Module):
    def __init__(self, kind, read, **options):
        super().__init__()
        self.r, self.read = kind(3, 6, batch_first=True, **options), read
        self.o = nn.Linear(12 if options.get("bidirectional") else 6, 2)

    def forward(self, x):
        return self.o(self.read(self.r(x)))


SEQUENCE = torch.randn(2, 5, 3)


def test_steps_of_a_recurrent_layer_follow_each_other():
    last = Recurrent(nn.GRU, lambda out: out[0][:, -1])
    assert names_joined(last, SEQUENCE) == "x>r r>output"
    assert set(names_joined(last, SEQUENCE, steps=[0, 2, 4]).split()) == {
        "x>r[0]",
        "x>r[2]",
        "x>r[4]",
        "r[0]>r[2]",
        "r[2]>r[4]",
        "r[4]>output",
    }
    early = set(names_joined(last, SEQUENCE, steps=[0, 2]).split())
    assert "r[2]>output" in early and "r[0]>output" not in early and "x>output" in early, "steps 3 and 4 read the input past them"


def test_a_network_that_reads_all_steps_is_joined_with_each():
    every = Recurrent(nn.GRU, lambda out: out[0].mean(1))
    found = set(names_joined(every, SEQUENCE, steps=[0, 2]).split())
    assert {"r[0]>output", "r[2]>output", "r[0]>r[2]"} <= found


def test_the_cell_state_of_an_lstm_goes_past_its_steps():
    last = Recurrent(nn.LSTM, lambda out: out[0][:, -1])
    found = set(names_joined(last, SEQUENCE, steps=[0, 2, 4]).split())
    assert {"r[0]>r[2]", "r[0]>r[4]", "r[2]>r[4]"} <= found and "r[4]>output" in found and "r[2]>output" not in found


def test_a_loop_of_cells_is_joined_step_by_step():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.o = nn.GRUCell(3, 6), nn.Linear(6, 2)

        def forward(self, x):
            h = x.new_zeros(len(x), 6)
            for step in range(x.shape[1]):
                h = self.cell(x[:, step], h)
            return self.o(h)

    assert names_joined(Loop(), SEQUENCE) == "x>cell cell>output"
    found = names_joined(Loop(), SEQUENCE, steps=[0, 1, 4]).split()
    assert set(found) == {"x>cell[0]", "x>cell[1]", "x>cell[4]", "cell[0]>cell[1]", "cell[1]>cell[4]", "cell[4]>output"}


class SignGate(nn.Module):
    """What the second input says is the sign of what the first says: alone, it says nothing of the output."""

    def __init__(self, packed):
        super().__init__()
        self.value, self.gate, self.both, self.out = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(6, 6), nn.Linear(3, 2, bias=False)
        self.packed = packed
        with torch.no_grad():
            for part in (self.value, self.gate, self.both):
                part.bias.zero_()
                part.weight.copy_(torch.eye(len(part.weight)))

    def forward(self, a, b):
        if self.packed:
            value, gate = self.both(torch.cat([a, b], 1)).chunk(2, 1)
        else:
            value, gate = self.value(a), self.gate(b)
        return self.out(value * torch.tanh(20 * gate))


@pytest.mark.parametrize("packed", [False, True])
def test_a_gate_that_says_nothing_alone_is_not_prunable(packed):
    torch.manual_seed(0)
    a, b = torch.randn(2, 1000, 3)
    graph = vs.information_flow(SignGate(packed), (a, b), measuring=MeasurementOptions(estimator="binned"))
    gates = (["both"], "both", slice(3, 6)) if packed else (["value", "gate"], "gate", slice(0, 3))
    assert list(graph.provenance["factors"]) == gates[0]
    assert int(graph.between(gates[1], "output").kept[gates[2]].sum()) <= 1
    assert graph.prunable() == {} and replace(graph, provenance={}).prunable() != {}


def test_a_sum_and_an_activation_written_by_hand_are_no_gates():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.out = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = self.one(x)
            return self.out(h * torch.sigmoid(h) + self.other(x))

    network = vs.trace(Plain(), torch.randn(2, 3))
    assert joined_sites(network.axes, find_layer_units(network, None, "post_activation")).factors == []
