"""Recurrent layers against the same layers unrolled with plain ops."""

import pytest
import torch
from torch import nn

from tests.rules.single_op import EXACT, TABLES, multipliers, random

FEATURES, HIDDEN, STEPS = 3, 2, 3


def lstm(x, state, gates):
    hidden, cell = state
    enter, keep, fresh, leave = gates(x, hidden).chunk(4, -1)
    cell = keep.sigmoid() * cell + enter.sigmoid() * fresh.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def projected_lstm(x, state, gates):
    visible, cell = lstm(x, state, gates)
    return nn.functional.linear(visible, gates.projection), cell


def gru(x, state, gates):
    (hidden,) = state
    reset, update, fresh = gates.inner(x).chunk(3, -1)
    reset_h, update_h, fresh_h = gates.outer(hidden).chunk(3, -1)
    update = (update + update_h).sigmoid()
    fresh = (fresh + (reset + reset_h).sigmoid() * fresh_h).tanh()
    return (fresh + update * (hidden - fresh),)


def rnn(function):
    return lambda x, state, gates: (function(gates(x, state[0])),)


class Gates:
    """The two linear maps of one direction of one layer."""

    def __init__(self, layer, suffix):
        bias = layer.bias
        self.projection = getattr(layer, f"weight_hr_{suffix}", None)
        self.w, self.u = (getattr(layer, f"weight_{part}_{suffix}") for part in ("ih", "hh"))
        self.b, self.c = (getattr(layer, f"bias_{part}_{suffix}") if bias else None for part in ("ih", "hh"))

    def inner(self, x):
        return nn.functional.linear(x, self.w, self.b)

    def outer(self, hidden):
        return nn.functional.linear(hidden, self.u, self.c)

    def __call__(self, x, hidden):
        return self.inner(x) + self.outer(hidden)


class Unrolled(nn.Module):
    """A recurrent layer of torch, step by step; batch first."""

    def __init__(self, layer, cell, states):
        super().__init__()
        self.layer, self.cell, self.states = layer, cell, states

    def forward(self, x):
        steps = list(x.unbind(1))
        for place in range(self.layer.num_layers):
            sides = [self.direction(steps, f"l{place}", False)]
            if self.layer.bidirectional:
                sides.append(self.direction(steps, f"l{place}_reverse", True))
            steps = [torch.cat(parts, -1) for parts in zip(*sides, strict=True)]
        return torch.stack(steps, 1)

    def direction(self, steps, suffix, backwards):
        gates, outputs = Gates(self.layer, suffix), []
        zeros = [torch.zeros_like(steps[0][:, :1]).expand(-1, size) for size in (self.layer.proj_size or HIDDEN, HIDDEN)]
        state = tuple(zeros[: self.states])
        for x in reversed(steps) if backwards else steps:
            state = self.cell(x, state, gates)
            outputs.append(state[0])
        return outputs[::-1] if backwards else outputs


class First(nn.Module):
    """What a recurrent layer puts out at every step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


LAYERS = {
    "lstm": (nn.LSTM, {}, lstm, 2),
    "lstm, two layers, two directions": (nn.LSTM, {"num_layers": 2, "bidirectional": True}, lstm, 2),
    "lstm, projected": (nn.LSTM, {"proj_size": 1, "num_layers": 2}, projected_lstm, 2),
    "lstm, projected, two directions, no bias": (nn.LSTM, {"proj_size": 1, "bidirectional": True, "bias": False}, projected_lstm, 2),
    "gru": (nn.GRU, {}, gru, 1),
    "gru, two directions, no bias": (nn.GRU, {"bidirectional": True, "bias": False}, gru, 1),
    "rnn": (nn.RNN, {}, rnn(torch.tanh), 1),
    "rnn with relu": (nn.RNN, {"nonlinearity": "relu", "num_layers": 2}, rnn(torch.relu), 1),
}


def built(name):
    kind, options, cell, states = LAYERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layer = kind(FEATURES, HIDDEN, batch_first=True, **options).double().eval()
    for parameter in layer.parameters():
        parameter.data *= 2
    return First(layer), Unrolled(layer, cell, states)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_a_recurrent_layer_is_what_it_is_unrolled(name):
    whole, unrolled = built(name)
    x, b = random(2, STEPS, FEATURES, seed=1), random(2, STEPS, FEATURES, seed=2)
    torch.testing.assert_close(whole(x), unrolled(x), **EXACT)
    m = random(*whole(x).shape[1:], seed=3).detach()
    for table in TABLES if name in ("lstm", "gru") else TABLES[:1]:
        found, expected = (multipliers(model, (x,), (b,), m, table)[0] for model in (whole, unrolled))
        torch.testing.assert_close(found, expected, **EXACT)


CELLS = {
    "lstm": (nn.LSTMCell, nn.LSTM, {}),
    "lstm, no bias": (nn.LSTMCell, nn.LSTM, {"bias": False}),
    "gru": (nn.GRUCell, nn.GRU, {}),
    "rnn": (nn.RNNCell, nn.RNN, {}),
    "rnn with relu": (nn.RNNCell, nn.RNN, {"nonlinearity": "relu"}),
}


class Steps(nn.Module):
    """A cell, step by step, from a first state of zeros."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        state, outputs = None, []
        for part in x.unbind(1):
            state = self.cell(part, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1)


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", CELLS)
def test_cells_step_by_step_are_the_layer(name, table):
    kind, whole, options = CELLS[name]
    layer, cell = whole(FEATURES, HIDDEN, batch_first=True, **options).double(), kind(FEATURES, HIDDEN, **options).double()
    for parameter, other in zip(cell.parameters(), layer.parameters(), strict=True):
        parameter.data = other.data
    x, b, m = random(2, STEPS, FEATURES, seed=1), random(2, STEPS, FEATURES, seed=2), random(STEPS, HIDDEN, seed=3)
    found, expected = (multipliers(model, (x,), (b,), m, table)[0] for model in (Steps(cell), First(layer)))
    if table == "components" and name.startswith("rnn"):
        return  # the first step has few players where it stands alone, which are enumerated; ``multipliers`` has checked the sums
    torch.testing.assert_close(found, expected, **EXACT)


def test_states_that_are_given_and_states_that_are_read():
    """The last states of an LSTM whose first ones are explained too, steps first."""
    layer = built("lstm")[0].layer
    layer = nn.LSTM(FEATURES, HIDDEN).double().eval()

    def ends(x, hidden, cell):
        _, (last, kept) = layer(x.transpose(0, 1), (hidden.transpose(0, 1), cell.transpose(0, 1)))
        return torch.cat([last, kept], -1).transpose(0, 1)

    class Ends(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, hidden, cell):
            return ends(x, hidden, cell)

    draws = [(random(2, STEPS, FEATURES, seed=s), random(2, 1, HIDDEN, seed=s + 1), random(2, 1, HIDDEN, seed=s + 2)) for s in (5, 15)]

    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, hidden, cell):
            state, gates = (hidden[:, 0], cell[:, 0]), Gates(self.layer, "l0")
            for part in x.unbind(1):
                state = lstm(part, state, gates)
            return torch.cat(state, -1)[:, None]

    m = random(1, 2 * HIDDEN, seed=3)
    for one, other in zip(*(multipliers(model, *draws, m) for model in (Ends(), Written())), strict=True):
        torch.testing.assert_close(one, other, **EXACT)
