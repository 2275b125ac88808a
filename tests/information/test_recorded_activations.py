"""One pass over data in any of its forms gives the same units."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vesalius as vs
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.information import information_flow
from vesalius.information.options import MeasurementOptions
from vesalius.information.recorded_activations import MOST_BYTES, activation_bytes, record_activations, snap_atoms, snap_constant_units
from vesalius.information.units import find_layer_units

ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 4


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return vs.trace(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), ROWS[:2])


@pytest.fixture(scope="module")
def sites(network):
    return find_layer_units(network, None, "post_activation")


def expected(network):
    return [ROWS, network.read(ROWS, "1")["1"], network(ROWS)]


@pytest.mark.parametrize("form", ["tensor", "tuple", "mapping", "loader", "labelled", "mappings"])
def test_every_form_of_data_is_read(form, network, sites):
    name = network.inputs[0].name
    forms = {
        "tensor": (ROWS, LABELS),
        "tuple": ((ROWS,), LABELS),
        "mapping": ({name: ROWS}, LABELS),
        "loader": ([ROWS[:30], ROWS[30:]], None),
        "labelled": (DataLoader(TensorDataset(ROWS, LABELS), batch_size=7), "data"),
        "mappings": ([{name: ROWS[:9], "labels": LABELS[:9]}, {name: ROWS[9:], "labels": LABELS[9:]}], "data"),
    }
    data, labels = forms[form]
    found = record_activations(network, data, labels, sites, MeasurementOptions(batch=16))
    for got, want in zip(found.units, expected(network), strict=True):
        torch.testing.assert_close(got, want.detach())
    assert found.labels is None if labels is None else torch.equal(found.labels, LABELS)


def test_rows_are_read_up_to_a_number_and_told(network, sites):
    told = []
    found = record_activations(
        network, ROWS, LABELS, sites, MeasurementOptions(rows=20, batch=8, report=lambda done, of: told.append((done, of)))
    )
    assert len(found) == len(found.labels) == 20 and told == [(8, 20), (16, 20), (20, 20)]
    torch.testing.assert_close(found.units[0], ROWS[:20])


def test_memory_is_stated_and_refused(network, sites):
    assert activation_bytes(sites, 100) == 4 * 100 * 10
    wide = vs.trace(nn.Linear(4000, 4000), torch.zeros(1, 4000))
    with pytest.raises(InvalidInput, match=f"at most {MOST_BYTES >> 30} are allowed"):
        record_activations(wide, iter([]), None, find_layer_units(wide, None, "post_activation"), MeasurementOptions(rows=1_000_000))


@pytest.mark.parametrize(
    ("data", "labels", "error", "message"),
    [
        (3, None, WrongType, "not int"),
        ([], None, InvalidInput, "no rows"),
        (ROWS, LABELS[:5], InvalidInput, "5 labels for 40 rows"),
        (ROWS, "data", InvalidInput, "inputs alone"),
        ([ROWS], LABELS, InvalidInput, "labels='data'"),
        ([ROWS], "data", InvalidInput, "holds none"),
        (ROWS, LABELS.to(torch.complex64), WrongType, "whole numbers"),
        (ROWS, LABELS * float("nan"), InvalidInput, "NaN or infinite"),
        (ROWS, LABELS - 1, InvalidInput, "from 0 up; found -1"),
        (ROWS[:, :2], None, InvalidInput, "shape"),
        (ROWS * float("nan"), None, InvalidInput, "NaN"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_bad_data_is_named(network, sites, data, labels, error, message):
    with pytest.raises(error, match=message):
        record_activations(network, data, labels, sites, MeasurementOptions())


def test_a_unit_that_only_rounding_moves_is_constant():
    """A constant, computed in a last batch of another size, and a unit that really moves, however little beside its mean."""
    constant, moving = torch.full((40,), 0.3), 0.3 + 1e-5 * torch.arange(40)
    constant[30:] = torch.nextafter(constant[30:], torch.ones(10))
    found = snap_constant_units(torch.stack([constant, moving, torch.zeros(40)], 1))
    assert found[:, 0].unique().tolist() == [float(constant[0])]
    assert torch.equal(found[:, 1], moving) and not found[:, 2].any()


def test_values_that_many_rows_share_but_for_rounding_are_one():
    """Of a unit that takes few values all, rare ones too; of one with an atom the atom; of one that varies none, however close they lie."""
    few = torch.tensor([0.2, 0.7, 1.1, 2.0]).repeat(16)
    few[:3] = 3.0
    atom = torch.cat([torch.full((24,), 0.5), 0.6 + 0.01 * torch.arange(40)])
    dense = 1 + 5e-7 * torch.arange(64)
    exact = torch.stack([few, atom, dense], 1)
    rounded = exact * torch.where(torch.arange(64)[:, None] % 3 == 1, 1 + 2e-7, 1)
    found = snap_atoms(rounded)
    assert [len(column.unique()) for column in found.T[:2]] == [5, 41]
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=0)
    assert torch.equal(found[:, 2], rounded[:, 2]) and torch.equal(found[24:, 1], rounded[24:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("width", [8, 33])
def test_the_flow_of_inputs_that_take_few_values_does_not_depend_on_the_batch(width):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        data = (torch.randn(700, 5) > 0.4).float()
    graphs = [information_flow(model, data, measuring=MeasurementOptions(batch=size)) for size in (7, 96, 700)]
    for graph in graphs[1:]:
        for mine, theirs in zip(graph.flows, graphs[0].flows, strict=True):
            torch.testing.assert_close(mine, theirs)
