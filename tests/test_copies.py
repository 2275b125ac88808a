"""Every noun can be copied and pickled, and is the same afterwards."""

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import vesalius as vs
from tests import nouns
from tests.nouns import NOUNS, assert_alike

WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("noun", NOUNS)
def test_a_copy_is_the_same(noun, way):
    before = NOUNS[noun]()
    assert_alike(WAYS[way](before), before, noun)


def test_two_that_differ_are_told_apart():
    with pytest.raises(AssertionError):
        assert_alike(vs.attribute(nouns.network(), nouns.rows()[:4]), vs.attribute(nouns.network(), nouns.rows()[1:5]))
    other = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with pytest.raises(AssertionError):
        assert_alike(vs.trace(other, nouns.rows()[:2]), nouns.network())


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copied_network_is_tied_to_the_copied_model_and_to_no_other(way):
    x = nouns.rows()[:3]
    network = vs.trace(copy.deepcopy(nouns.model()), x)
    before = network(x)
    copied = WAYS[way](network)
    with torch.no_grad():
        copied.call.model[0].weight.mul_(2)
        copied.call.model[1].running_mean.add_(1)
    torch.testing.assert_close(copied(x), copied.call.model(x))
    assert not torch.equal(copied(x), before) and torch.equal(network(x), before)
    assert copied.digest() != network.digest()


def test_what_a_network_keeps_to_be_faster_stays_behind():
    network = vs.trace(copy.deepcopy(nouns.model()), nouns.rows()[:2])
    network.cast(torch.float64), network.digest(), network.layers, network(nouns.rows()[:2])
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert not copied._programs and not copied._casts and not copied._digests and "layers" not in vars(copied)


@pytest.mark.parametrize("way", WAYS)
def test_a_game_asks_for_the_same_target_at_the_same_place_with_the_same_baseline(way):
    asked = {"target": lambda output: output[:, 0] - output[:, 1], "baseline": vs.Mean(nouns.rows()), "at": "0"}
    if way == "pickle":
        asked["target"] = 2
    network = nouns.network()
    hidden = network.read(nouns.rows()[:1], "0")["0"][0]
    game = vs.Game.on(network, nouns.rows()[0], vs.Players.features(hidden), **asked)
    masks = torch.eye(8, dtype=torch.bool)
    assert torch.equal(WAYS[way](game)(masks), game(masks))


def test_a_function_that_does_not_pickle_is_named_and_cloudpickle_takes_it():
    game = vs.Game.of(lambda masks: masks.double().sum(1), 3)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(game)
    everybody = torch.ones(1, 3, dtype=torch.bool)
    assert pickle.loads(cloudpickle.dumps(game))(everybody).tolist() == [3.0]


def test_a_model_under_masks_is_copied_as_it_comes_and_masked_afterwards():
    thin = vs.sparsify(nouns.network(), nouns.rows(), sparsity=0.5)
    copied, file = copy.deepcopy(thin.model), io.BytesIO()
    torch.save(thin.model, file)
    file.seek(0)
    x = nouns.rows()[:4]
    for model in (copied, torch.load(file, weights_only=False)):
        assert torch.equal(model(x), thin.model(x))
        with torch.no_grad():
            model[0].weight_orig.add_(1)
        mask = thin.masks["0"]
        assert bool((model(x) != thin.model(x)).any()) and bool((model[0].weight[~mask] == 0).all()), "the mask is live"
    averaged = torch.optim.swa_utils.AveragedModel(thin.model)
    assert torch.equal(averaged(x), thin.model(x))


def test_a_model_under_masks_needs_only_torch_when_it_is_read():
    file = io.BytesIO()
    torch.save(nouns.thin().model, file)
    assert b"vesalius" not in file.getvalue()


def test_masks_can_be_made_permanent_in_a_copy():
    thin = vs.sparsify(nouns.network(), nouns.rows(), sparsity=0.5)
    copied = copy.deepcopy(copy.deepcopy(thin.model))
    for name in ("0", "3"):
        prune.remove(copied[int(name)], "weight")
        assert torch.equal(copied[int(name)].weight == 0, thin.model[int(name)].weight == 0)
    assert prune.is_pruned(thin.model) and not prune.is_pruned(copied)
    torch.testing.assert_close(copied(nouns.rows()), thin.model(nouns.rows()))


def test_a_pruned_network_is_copied_in_the_middle_of_training():
    thin = vs.sparsify(nouns.network(), nouns.rows(), sparsity=0.5)
    thin.model(nouns.rows()[:4]).sum().backward()
    gradients = [parameter.grad for parameter in thin.model.parameters() if parameter.grad is not None]
    assert gradients and thin.model[0].weight.grad_fn is not None
    assert_alike(copy.deepcopy(thin), thin, "Sparsified")
    best = copy.deepcopy(thin.model)
    with torch.no_grad():
        best[0].weight_orig.zero_()
    assert bool(thin.model[0].weight_orig.any()) and not torch.equal(best(nouns.rows()), thin.model(nouns.rows()))


def test_a_network_of_a_model_that_computes_its_weights_is_copied():
    """Weight norm, as masks, leaves a product on its module."""
    model = nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 2))
    network = vs.trace(model, nouns.rows()[:2])
    model(nouns.rows()[:2]).sum().backward()
    assert_alike(copy.deepcopy(network), network, "Network")


@pytest.mark.slow
def test_another_process_reads_what_was_pickled(tmp_path):
    network, file = nouns.network(), tmp_path / "network.pickle"
    file.write_bytes(pickle.dumps(network))
    script = (
        "import pickle, sys, torch; network = pickle.load(open(sys.argv[1], 'rb'));"
        "print(network.digest(), float(network(torch.ones(2, 6)).sum()))"
    )
    home = str(Path(vs.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True, env={"PYTHONPATH": home})
    digest, total = done.stdout.split()
    assert digest == network.digest() and float(total) == pytest.approx(float(network(torch.ones(2, 6)).sum()), rel=1e-5)
