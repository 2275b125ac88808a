"""Hidden states of recurrent layers: what is read by default, the last step, all steps, and steps by number."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.information.test_site_graph import SEQUENCE, Recurrent
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.information import MeasurementOptions, information_flow
from vesalius.information.hidden_states import find_recurrent_layers
from vesalius.information.units import find_layer_units, pool_units


def rows(network, site, x):
    return pool_units([site], [network.read(x, site.value)[site.value]], "mean")[0]


def sites(model, steps=None, layers=None):
    network = vs.trace(model.eval(), SEQUENCE)
    return network, find_layer_units(network, layers, "post_activation", steps)


KINDS = [nn.LSTM, nn.GRU, nn.RNN]


@pytest.mark.parametrize("kind", KINDS)
def test_by_default_the_state_that_the_network_reads_is_read(kind):
    model = Recurrent(kind, lambda out: out[0][:, -1])
    network, found = sites(model)
    assert [site.name for site in found] == ["x", "r", "output"] and found[1].units == 6
    torch.testing.assert_close(rows(network, found[1], SEQUENCE), model.r(SEQUENCE)[0][:, -1])


def test_the_last_state_and_all_states_are_read_where_the_network_reads_them():
    last = Recurrent(nn.GRU, lambda out: out[1][-1])
    network, found = sites(last)
    torch.testing.assert_close(rows(network, found[1], SEQUENCE), last.r(SEQUENCE)[0][:, -1])
    every = Recurrent(nn.GRU, lambda out: out[0].mean(1))
    network, found = sites(every)
    torch.testing.assert_close(rows(network, found[1], SEQUENCE), every.r(SEQUENCE)[0].mean(1))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_by_number_are_the_states_at_these_steps(kind):
    model = Recurrent(kind, lambda out: out[0].mean(1))
    network, found = sites(model, [0, -2])
    assert [site.name for site in found] == ["x", "r[0]", "r[3]", "output"]
    states = model.r(SEQUENCE)[0]
    for site, step in zip(found[1:3], (0, 3), strict=True):
        torch.testing.assert_close(rows(network, site, SEQUENCE), states[:, step])
    network, found = sites(model, "last")
    torch.testing.assert_close(rows(network, found[1], SEQUENCE), states[:, -1])
    network, found = sites(model, "pooled")
    torch.testing.assert_close(rows(network, found[1], SEQUENCE), states.mean(1))


def test_time_first_layers_are_read_by_sample():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.o = nn.LSTM(3, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.o(self.r(x.transpose(0, 1))[0][-1])

    model = TimeFirst()
    states = model.r(SEQUENCE.transpose(0, 1))[0]
    network, found = sites(model)
    torch.testing.assert_close(rows(network, found[1], SEQUENCE), states[-1])
    network, found = sites(model, [1])
    torch.testing.assert_close(rows(network, found[1], SEQUENCE), states[1])


def test_both_ends_of_a_layer_that_runs_both_ways_are_read():
    model = Recurrent(nn.LSTM, lambda out: torch.cat([out[1][0][-2], out[1][0][-1]], 1), bidirectional=True)
    network, found = sites(model)
    assert [site.units for site in found] == [15, 6, 6, 2]
    last = model.r(SEQUENCE)[1][0]
    torch.testing.assert_close(rows(network, found[1], SEQUENCE), last[-2])
    torch.testing.assert_close(rows(network, found[2], SEQUENCE), last[-1])


class Loop(nn.Module):
    def __init__(self, cell, steps):
        super().__init__()
        self.cell, self.steps, self.o = cell, steps, nn.Linear(6, 2)

    def forward(self, x):
        h = x.new_zeros(len(x), 6)
        state = (h, h) if isinstance(self.cell, nn.LSTMCell) else h
        for step in range(self.steps):
            state = self.cell(x[:, step % x.shape[1]], state)
        return self.o(state[0] if isinstance(state, tuple) else state)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_loop_of_cells_is_one_layer(cell):
    network, found = sites(Loop(cell(3, 6), 12))
    assert [site.name for site in found] == ["x", "cell", "output"]
    layer = find_recurrent_layers(network.axes)["cell"]
    assert len(layer.cells) == 12 and layer.remembers == (cell is nn.LSTMCell)
    assert [site.name for site in sites(Loop(cell(3, 6), 4), [0, 3])[1]] == ["x", "cell[0]", "cell[3]", "output"]


def test_layers_are_found_by_the_names_they_have_in_a_graph():
    model = Recurrent(nn.LSTM, lambda out: out[0].mean(1))
    assert [site.step for site in sites(model, layers=["r[1]", "r[2]", "output"])[1]] == [1, 2, None]
    assert sites(model, layers=["r", "output"])[1][0].name == "r"
    flow = information_flow(
        vs.trace(model, SEQUENCE), torch.randn(64, 5, 3), measuring=MeasurementOptions(steps=[0, 4], estimator="binned")
    )
    assert flow.names == ("x", "r[0]", "r[4]", "output") and flow.provenance["options"]["steps"] == (0, 4)


@pytest.mark.usefixtures("as_a_user")
def test_steps_that_there_are_not_are_refused():
    last = Recurrent(nn.GRU, lambda out: out[1][-1])
    with pytest.raises(InvalidInput, match="reads the last state of 'r' alone"):
        sites(last, [0])
    with pytest.raises(InvalidInput, match="'r' has steps 0 to 4, no step 5"):
        sites(Recurrent(nn.GRU, lambda out: out[0][:, -1]), [5])
    with pytest.raises(InvalidInput, match="runs both ways"):
        sites(Recurrent(nn.GRU, lambda out: out[0][:, -1], bidirectional=True), [0, 1])
    with pytest.raises(UnknownName, match="did you mean 'last'"):
        MeasurementOptions(steps="lasst")
    with pytest.raises(InvalidInput, match=r"each number of steps is a whole number, not 0\.5"):
        MeasurementOptions(steps=[0.5])
    with pytest.raises(WrongType):
        MeasurementOptions(steps=["a"])
