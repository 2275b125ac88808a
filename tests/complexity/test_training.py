"""Training: options that are refused, parts of the rows, one step, stopping, and what is left untouched."""

import pytest
import torch

from vesalius.complexity.features import CachedRows
from vesalius.complexity.networks import RowShapes, Trunk, fit_standardisation
from vesalius.complexity.readout import fit_readout
from vesalius.complexity.training import EarlyStopping, MultiExitTrunk, RowSplits, Training, train_exits
from vesalius.complexity.training_plan import with_batch
from vesalius.core.errors import InvalidInput, UnknownName

SHAPE = RowShapes(x=(4,), f=(3,))


def row_splits(how, rows=200, noise=False):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=generator)
    f = torch.randn(rows, 3, generator=generator) if noise else torch.relu(x @ torch.randn(4, 3, generator=generator))
    return RowSplits.split(CachedRows(x=x, f=f, mapped=False), SHAPE, with_batch(how, len(x)), torch.device("cpu"))


def build_exits(rows, orders=(1, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    trunk = Trunk(SHAPE, 16, orders[-1], generator=generator)
    fit_standardisation(trunk, [x for x, _ in rows.batches(rows.train)])
    bare = trunk.prefix(0)
    linear, _ = fit_readout(bare, lambda: rows.batches(rows.train), lambda: rows.batches(rows.select), 1e-3)
    return MultiExitTrunk(trunk, orders, linear, 2.0), linear, generator


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"mode": "sharde"}, UnknownName, "did you mean 'shared'"),
        ({"seeds": 0}, InvalidInput, "seeds is a whole number of at least 1"),
        ({"epochs": 0}, InvalidInput, "epochs is a whole number of at least 1"),
        ({"width": 0}, InvalidInput, "width is a whole number of at least 1"),
        ({"held_out": 0.0}, InvalidInput, "held_out is a number above 0 and of at most 0.8"),
        ({"held_out": 0.9}, InvalidInput, "held_out is a number above 0 and of at most 0.8"),
        ({"ridge": 0.0}, InvalidInput, "above 0"),
        ({"rates": (1e-3, 0.0)}, InvalidInput, "above 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Training(**options)


def test_parts_share_no_row_and_do_not_depend_on_the_run():
    rows = row_splits(Training(held_out=0.3))
    assert [len(part) for part in (rows.train, rows.select, rows.held)] == [140, 30, 30]
    assert torch.cat([rows.train, rows.select, rows.held]).sort().values.tolist() == list(range(200))
    assert torch.equal(rows.held, row_splits(Training(held_out=0.3, seeds=4)).held)
    assert not torch.equal(rows.held, row_splits(Training(held_out=0.3, seed=1)).held)


def test_too_few_rows_are_counted():
    with pytest.raises(InvalidInput, match=r"60 rows .* leave 48 to train, 6 to choose by"):
        row_splits(Training(held_out=0.2), rows=60)


def test_exits_start_as_the_linear_net():
    rows = row_splits(Training())
    found, linear, _ = build_exits(rows)
    x, _ = rows.at(rows.select)
    found.eval()
    for prediction in found(x):
        torch.testing.assert_close(prediction * found.unit, linear(x))


def test_the_loss_is_the_errors_of_exits_that_are_not_done():
    rows = row_splits(Training())
    found, _, _ = build_exits(rows)
    with torch.no_grad():
        for weight in found.weights:
            weight.normal_(generator=torch.Generator().manual_seed(1))
    found.eval()
    x, f = rows.at(rows.select)
    errors = [(prediction - f).square().mean() for prediction in found(x)]
    torch.testing.assert_close(found.loss(x, f, [True, True]), errors[0] + errors[1])
    torch.testing.assert_close(found.loss(x, f, [False, True]), errors[1])


def test_training_lowers_the_error_of_every_exit():
    how = Training(epochs=30, batch=32)
    rows = row_splits(how, rows=1000)
    found, linear, generator = build_exits(rows)
    trunks = train_exits(found, rows, how, generator, lambda done: None)
    assert {order: trunk.blocks for order, trunk in trunks.items()} == {1: 1, 2: 2}
    parts = (lambda: rows.batches(rows.train)), (lambda: rows.batches(rows.select))
    before = fit_readout(linear.trunk, *parts, 1e-3)[1].sum()
    assert all(fit_readout(trunk, *parts, 1e-3)[1].sum() < before / 4 for trunk in trunks.values())


def test_it_stops_when_no_exit_gets_better():
    how = Training(epochs=100, batch=32, patience=2)
    rows, told = row_splits(how, noise=True), []
    found, _, generator = build_exits(rows)
    train_exits(found, rows, how, generator, told.append)
    assert told == list(range(1, len(told) + 1))
    assert len(told) < 60


def test_an_exit_that_is_done_keeps_its_best_state():
    how = Training()
    rows = row_splits(how)
    found, _, _ = build_exits(rows)
    watch = EarlyStopping(found, patience=1)
    assert watch.update(rows)
    best = watch.kept[1].maps[0].weight.clone()
    with torch.no_grad():
        found.weights[0].add_(5)
        found.trunk.maps[0].weight.add_(5)
    watch.update(rows)
    assert torch.equal(watch.kept[1].maps[0].weight, best)
    assert not watch.active()[0]


def test_a_run_that_diverges_says_so():
    how = Training(epochs=2, batch=32, rates=(1e30, 1e30))
    rows = row_splits(how)
    found, _, generator = build_exits(rows)
    with torch.no_grad():
        found.skip.fill_(float("nan"))
    with pytest.raises(InvalidInput, match=r"diverged.*lower rates"):
        train_exits(found, rows, how, generator, lambda done: None)
