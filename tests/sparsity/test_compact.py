"""What is chosen, what is measured, and that every form computes what the masked model does."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput, NotTraceable
from vesalius.sparsity import sparsify
from vesalius.sparsity.compact import TOLERANCE, compact
from vesalius.sparsity.compression.timing import NOISE, Times, choose_form, measure_times

X = torch.randn(200, 24, generator=torch.Generator().manual_seed(0))


class Ticking:
    """A clock that shows what is set, so that no test waits for time."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def steady():
    """Every look at the clock is a second later: all forms take as long."""
    clock = Ticking()

    def look():
        clock.now += 1
        return clock.now

    return look


@pytest.fixture(scope="module")
def pruned():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    return sparsify(model, X, sparsity=0.93)


@pytest.fixture(scope="module")
def small(pruned):
    return compact(pruned.network, dense=pruned.dense, rows=X, batches=(1, 8), clock=steady())


def test_the_clock_divides_turns_by_calls():
    clock = Ticking()

    def slow():
        clock.now += 3e-4

    def fast():
        clock.now += 1e-4

    times = measure_times({"slow": slow, "fast": fast}, clock, rounds=5)
    assert times.seconds("slow") == pytest.approx(3e-4)
    assert times.ratio("fast", "slow") == pytest.approx(1 / 3)
    assert len(times.rounds["fast"]) == 5


def test_one_disturbed_round_moves_neither_median_nor_least():
    times = Times({"a": (1.0, 1.0, 90.0), "b": (2.0, 80.0, 2.0)})
    assert (times.seconds("a"), times.seconds("b"), times.ratio("b", "a")) == (1.0, 2.0, 2.0)


PARAMETERS = {"permanent": 100, "smaller": 50, "csr": 20}


def choose(**ratios):
    """The choice where the reference takes 1 second at both batch sizes."""
    times = {batch: Times({"dense": (1.0,)} | {name: (pair[at],) for name, pair in ratios.items()}) for at, batch in enumerate((1, 256))}
    return choose_form(times, {name: PARAMETERS[name] for name in ratios}, "dense")


def test_the_fastest_over_batch_sizes_is_taken_unless_it_is_slower_than_dense_at_one():
    assert choose(permanent=(1, 1), smaller=(0.9, 0.8), csr=(0.8, 0.5)) == "csr"
    assert choose(permanent=(1, 1), smaller=(0.9, 0.8), csr=(1 + 2 * NOISE, 0.1)) == "smaller"
    assert choose(permanent=(1, 1), smaller=(1 + NOISE / 2, 0.8)) == "smaller"
    assert choose(permanent=(1.2, 1.2), smaller=(1.3, 1.3)) == "permanent"


def test_of_equally_fast_forms_the_one_with_fewest_parameters_is_taken():
    assert choose(permanent=(0.99, 1), smaller=(1, 1), csr=(1, 1 + 2 * NOISE)) == "smaller"
    assert choose(permanent=(1.2, 1.2), smaller=(1.22, 1.21)) == "smaller"
    assert choose(permanent=(0.8, 0.8), smaller=(1, 1)) == "permanent"


def test_a_form_is_slower_only_if_it_is_so_in_most_rounds():
    """A least time that comes of one lucky round of the other says nothing."""
    times = Times({"dense": (0.9, 1.0, 1.0, 1.0), "smaller": (1.0, 1.0, 1.0, 1.0), "csr": (1.1, 1.1, 1.1, 1.0)})
    assert not times.is_slower("smaller", "dense") and times.is_slower("csr", "dense")


def test_it_never_calls_something_the_fastest_that_is_not(small):
    rows = {row.form: row for row in small.table}

    def told(**ratios):
        table = tuple(replace(rows[name], ratio={1: one, 8: one}) for name, one in ratios.items())
        return replace(small, table=table, chosen="smaller").verdict

    assert told(dense=1.0, smaller=0.8, permanent=0.9) == "is the fastest here"
    assert told(dense=1.0, smaller=0.8 * (1 + NOISE / 2), permanent=0.8) == "is as fast as 'permanent' within noise"
    assert told(dense=1.0, smaller=1.1, permanent=1.2) == "is the choice, though 'dense' was faster here"


def test_every_form_computes_what_the_masked_model_does(pruned, small):
    forms = {row.form: row for row in small.table}
    assert list(forms) == ["dense", "masked", "permanent", "smaller", "picked", "csr", "block"]
    assert forms["dense"].difference > 100 * TOLERANCE, "the yardstick is another function"
    assert max(row.difference for name, row in forms.items() if name != "dense") < TOLERANCE
    with torch.no_grad():
        torch.testing.assert_close(small.model(X), pruned.model(X), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(small.smallest(X[:3]), pruned.model(X[:3]), rtol=1e-5, atol=1e-5)


def test_the_table_counts(pruned, small):
    rows = {row.form: row for row in small.table}
    sizes, kept = 24 * 40 + 40 * 16 + 16 * 4, pruned.kept
    biases = 40 + 16 + 4
    assert rows["dense"].parameters == rows["masked"].parameters == rows["permanent"].parameters == sizes + biases
    assert rows["dense"].flop == rows["permanent"].flop == 2 * sizes
    assert kept <= rows["masked"].nonzeros <= kept + biases
    assert rows["masked"].memory == rows["dense"].memory + 4 * sizes
    assert rows["dense"].file == rows["dense"].memory == 4 * (sizes + biases)
    left = [len(layer.weight) for layer in small.smallest if isinstance(layer, nn.Linear)]
    assert rows["smaller"].flop == 2 * (24 * left[0] + left[0] * left[1] + left[1] * left[2])
    assert (
        rows["csr"].nonzeros
        <= rows["csr"].parameters
        < rows["picked"].parameters
        < rows["smaller"].parameters
        < rows["permanent"].parameters
    )
    assert rows["csr"].flop < rows["picked"].flop < rows["smaller"].flop
    assert sum(len(units) for units in small.removed.values()) == 40 - left[0] + 16 - left[1] > 0
    assert rows["smaller"].file < rows["dense"].file / 4
    assert list(rows["smaller"].seconds) == [1, 8]


def test_it_reads_as_a_table(small):
    text = repr(small)
    for word in ("permanent", "smaller", "csr", "x dense", "units removed: 0 ", "left alone: 4: its units are the network's output"):
        assert word in text
    assert f"* {small.chosen}" in text
    assert small.row("smaller").form == "smaller"
    with pytest.raises(InvalidInput, match="'quick' was not measured"):
        small.row("quick")


class Written(nn.Module):
    """Writes the size of a reshape down, or asks for sizes where it should not."""

    def __init__(self, strict=False):
        super().__init__()
        self.conv, self.head, self.last, self.strict = nn.Conv2d(1, 4, 3), nn.Linear(4 * 16, 10), nn.Linear(10, 3), strict

    def forward(self, x):
        h = self.head(torch.relu(self.conv(x)).view(-1, 64))
        if self.strict and h.shape[1] != 10:
            raise RuntimeError("ten, please")
        return self.last(torch.relu(h))


@pytest.mark.parametrize("strict", [False, True])
def test_models_with_sizes_written_down_become_their_graph_with_the_reason(strict):
    torch.manual_seed(0)
    model = Written(strict).eval()
    with torch.no_grad():
        model.conv.weight[1], model.head.weight[:, 16:32] = 0, 0
        model.last.weight[:, [2, 5]] = 0
    x = torch.randn(4, 1, 6, 6)
    found = compact(vs.trace(model, x), rows=x, batches=(2,), clock=steady())
    assert list(found.removed) == ["conv", "head"]
    assert "smaller, in the model's own code" in found.left_out
    said = "".join(found.left_out.values())
    assert "does not run" in said
    with torch.no_grad():
        torch.testing.assert_close(found.smallest(x), model(x))


def test_a_convolution_and_a_half_precision_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 3)).eval()
    with torch.no_grad():
        model[3].weight[:, 50:75] = 0
    found = compact(vs.trace(model, torch.randn(2, 1, 5, 5)), batches=(2,), clock=steady())
    assert {name: units.tolist() for name, units in found.removed.items()} == {"0": [2]}
    assert found.row("smaller").flop == 2 * (5 * 9 * 25 + 125 * 3)
    half = copy.deepcopy(model).to(torch.bfloat16)
    found = compact(vs.trace(half, torch.randn(2, 1, 5, 5).bfloat16()), batches=(2,), clock=steady())
    assert found.smallest[0].weight.shape == (5, 1, 3, 3)


def test_the_masked_model_and_the_dense_one_are_left_as_they_are(pruned):
    before = {name: tensor.clone() for name, tensor in (*pruned.model.state_dict().items(), *pruned.dense.parameters.items())}
    pruned.model.train()
    compact(pruned.network, dense=pruned.dense, rows=X, batches=(2,), clock=steady())
    assert pruned.model.training
    pruned.model.eval()
    after = dict((*pruned.model.state_dict().items(), *pruned.dense.parameters.items()))
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_what_cannot_be_is_refused(pruned, tmp_path, as_a_user):
    with pytest.raises(InvalidInput, match=r"batch sizes to measure, 1 or more each, not \[0\]"):
        compact(pruned.network, batches=(0,))
    with pytest.raises(InvalidInput, match="input 'input' has shape"):
        compact(pruned.network, rows=X[:, :3])
    with pytest.raises(NotTraceable):
        compact(vs.trace(lambda x: x * 2, X[:2]))
    loaded = vs.Network.load(pruned.dense.save(tmp_path / "net"))
    with pytest.raises(InvalidInput, match="loaded from a file"):
        compact(loaded)
    tokens = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(InvalidInput, match="give rows="):
        compact(vs.trace(tokens, torch.zeros(2, 3, dtype=torch.long)))


def test_a_pruned_result_offers_it(pruned):
    found = pruned.compact(X, batches=(1,))
    assert found.table[0].form == "dense"
    assert found.chosen in {row.form for row in found.table}
    assert all(row.seconds[1] > 0 for row in found.table)
