"""The result: measures by loops, components that add up, files, and what is shown."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.complexity.small_network import rows, small_complexity
from tests.reference import ridge as slow
from vesalius.complexity import Complexity, Training, complexity, estimate_cost
from vesalius.complexity.held_out import group_moments
from vesalius.core.errors import ForeignFile, InvalidInput, UnknownName

X = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
HOW = Training(epochs=4, batch=64, held_out=0.4, width=12)


def model(seed):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


@pytest.fixture(scope="module")
def network():
    return vs.trace(model(0), X[:2])


@pytest.fixture(scope="module")
def found(network):
    return complexity(network, X, at="3", orders=(0, 1, 3), training=HOW)


def test_parts_and_rest_are_the_feature(network, found):
    for seed in (0, 1):
        parts = found.components(X, seed=seed)
        feature = network.read(X, "2")["2"]
        assert parts.parts.shape == (3, 300, 4)
        torch.testing.assert_close(parts.parts.sum(0) + parts.rest, feature, rtol=0, atol=1e-6)
        torch.testing.assert_close(parts.cumulative[-1] + parts.rest, feature, rtol=0, atol=1e-6)
        torch.testing.assert_close(parts.cumulative[0], parts.parts[0])


def test_measures_are_those_of_the_slow_twin(network, found):
    feature = torch.randn(9, 4, generator=torch.Generator().manual_seed(1)) + 30
    nets = [net for row in found.nets for net in row]
    batches = [(X[:5], feature[:5].unsqueeze(1)), (X[5:9], feature[5:].unsqueeze(1))]
    result = Complexity(
        at="2",
        orders=found.orders,
        nets=found.nets,
        kept=found.kept,
        moments=group_moments(nets, lambda: batches),
        shape=found.shape,
        source=found.source,
    )
    for s, row in enumerate(found.nets):
        expected = slow.measures([net(X[:9]).flatten(1).double().tolist() for net in row], feature.double().tolist())
        for name, numbers in zip(("rho", "gain", "r2"), expected, strict=True):
            assert getattr(result, name)[s].tolist() == pytest.approx(numbers, abs=1e-7)
    torch.testing.assert_close(result.residual, 1 - result.r2[:, -1])


def test_what_comes_again_is_the_covariance_of_two_seeds():
    found, x = small_complexity(), rows()
    parts = [found.components(x, seed=seed).parts.double().flatten(2) for seed in (0, 1)]
    assert not torch.equal(*parts), "seeds differ"
    feature = found.components(x)
    whole = feature.parts.sum(0) + feature.rest
    every = group_moments([net for row in found.nets for net in row], lambda: [(x, found.shape.rows(whole))])
    result = replace(found, moments=every)
    one, two = (part - part.mean(1, keepdim=True) for part in parts)
    scale = (whole.double() - whole.double().mean(0)).square().mean(0).sum()
    torch.testing.assert_close(result.reproducible, (one * two).mean(1).sum(1) / scale, rtol=1e-4, atol=1e-6)
    # as the specification has it: mean significance less half the variance of the difference
    apart = (one - two).square().mean(1).sum(1) / scale / 2
    torch.testing.assert_close(result.reproducible, result.rho.mean(0) - apart, rtol=1e-4, atol=1e-6)


def test_gains_add_up_to_what_is_explained(found):
    torch.testing.assert_close(found.gain.sum(1) + found.residual, torch.ones(2, dtype=torch.float64))


def test_one_seed_reproduces_nothing(network):
    one = complexity(network, X, at="3", orders=(0,), training=Training(seeds=1, held_out=0.4))
    assert one.reproducible.isnan().all()
    assert one.rho.shape == (1, 1)


def test_strength_as_variance_or_deviation(found):
    torch.testing.assert_close(found.significance("std").square(), found.significance())
    with pytest.raises(UnknownName, match="did you mean 'std'"):
        found.significance("sdt")


def test_a_file_holds_everything_but_the_network(network, found, tmp_path):
    path = found.save(tmp_path / "found.safetensors")
    alone, bound = Complexity.load(path), Complexity.load(path, network=network)
    assert torch.equal(alone.moments, found.moments)
    assert (alone.orders, alone.at, alone.provenance) == (found.orders, found.at, dict(found.provenance))
    assert repr(alone) == repr(found)
    torch.testing.assert_close(bound.components(X, seed=1).parts, found.components(X, seed=1).parts, rtol=0, atol=1e-6)
    with pytest.raises(InvalidInput, match="without its network"):
        alone.components(X)


def test_a_file_about_another_network_is_refused(found, network, tmp_path):
    path = found.save(tmp_path / "found")
    with pytest.raises(InvalidInput, match="digest"):
        Complexity.load(path, network=vs.trace(model(1), X[:2]))
    network.save(tmp_path / "network")
    with pytest.raises(ForeignFile, match="holds a 'network'"):
        Complexity.load(tmp_path / "network")


def test_it_reads_as_a_table(found):
    lines = found.summary().splitlines()
    assert lines[0] == "Complexity of 2/linear: 2 seeds, 60 of 300 rows held out"
    assert [line.split()[0] for line in lines[2:]] == ["0", "1", "2..3", "rest"]
    rho = found.table()["rho"]
    assert f"{rho.values[0]:.4f} ± {rho.stderr[0]:.4f}" in lines[2]


def test_a_run_that_is_not_there(found):
    with pytest.raises(InvalidInput, match="2 seeds, from 0; not 2"):
        found.components(X, seed=2)


def test_where_it_comes_from(found, network):
    facts = found.provenance
    assert facts["digest"] == network.digest()
    assert facts["rows"] == {"all": 300, "train": 180, "select": 60, "held": 60}
    assert facts["options"]["epochs"] == 4
    assert facts["cost"]["flop"] > 0


def test_cost_counts_every_multiplication(network):
    one = estimate_cost(network, 100, at="3", orders=(0, 2), training=Training(width=10, seeds=1, epochs=1, held_out=0.2))
    blocks, skip, leaving = 5 * 10 + 10 * 10, 5 * 4, 10 * 4
    assert one.flop == 6 * 80 * (blocks + skip + leaving)
    modes = ("shared", "separate", "paper")
    both = {
        mode: estimate_cost(network, 100, at="3", orders=(0, 1, 2), training=Training(width=10, epochs=20, mode=mode)).flop
        for mode in modes
    }
    again = estimate_cost(network, 100, at="3", orders=(0, 1), training=Training(width=10, epochs=20)).flop
    assert both["separate"] < both["paper"] and again < both["shared"] < both["separate"] + again, "with a control of order 1"
    assert estimate_cost(network, 100, at="3", orders=(0,)).flop == 0
