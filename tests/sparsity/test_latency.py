"""Units removed until a network is as fast as it is asked to be."""

import pytest
import torch
from torch import nn

from vesalius.core.errors import InvalidInput
from vesalius.sparsity import Pruning, remove_units
from vesalius.sparsity.compression.timing import Times
from vesalius.sparsity.pruning import latency
from vesalius.sparsity.pruning.latency import flops_for_latency

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))


def mlp():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)).eval()


def size(call):
    return sum(one.numel() for one in call.model.parameters())


@pytest.fixture
def times_by_size(monkeypatch):
    """A clock on which a model takes as long as it is large; batch sizes that were timed are noted."""
    seen = []

    def measure(runs, clock, *, rounds):
        seen.append(len(next(iter(runs.values())).args[0][0]))
        return Times({name: (float(size(run.func.__self__)),) * rounds for name, run in runs.items()})

    monkeypatch.setattr(latency, "measure_times", measure)
    return seen


def test_the_fewest_operations_go_with_which_the_time_is_reached(times_by_size):
    model = mlp()
    result = remove_units(model, X, latency={16: 0.5}, pruning=Pruning(rounds=1))
    left = sum(one.numel() for one in result.compact(X, batches=(1,)).smallest.parameters()) / sum(
        one.numel() for one in model.parameters()
    )
    assert 0.4 < left <= 0.5
    assert result.provenance["latency"] == {"batch": 16, "asked": 0.5, "measured": pytest.approx(left)}
    assert set(times_by_size) == {16}


def test_the_model_that_is_timed_is_really_smaller_and_really_run():
    """A wide network, with the clock of this machine: what is claimed is only that it was measured."""
    model = nn.Sequential(nn.Linear(8, 600), nn.ReLU(), nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 3)).eval()
    result = remove_units(model, X, latency={64: 0.3}, pruning=Pruning(rounds=1))
    assert 0 < result.provenance["latency"]["measured"] < 1
    assert result.provenance["units"]["0"][0] < 600


def test_the_share_is_found_by_halving():
    assert flops_for_latency(lambda flops: 1 - 0.8 * flops, 0.4, 1) == pytest.approx(0.5, abs=0.02)


@pytest.mark.usefixtures("as_a_user")
def test_a_time_that_cannot_be_reached_is_refused():
    with pytest.raises(
        InvalidInput, match=r"asks for 50% of the time of a batch of 4, and without 95% of the operations 90% of it is left"
    ):
        flops_for_latency(lambda flops: 0.9, 0.5, 4)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("amount", "words"), [(1.0, "latency"), ({0: 0.5}, "batch size"), ({1: 0.5, 64: 0.5}, "one batch size"), ({}, "one batch size")]
)
def test_amounts_out_of_range(amount, words):
    with pytest.raises(InvalidInput, match=words):
        remove_units(mlp(), X, latency=amount)
    with pytest.raises(InvalidInput, match="each say how many units go"):
        remove_units(mlp(), X, latency=amount, flops=0.5)
