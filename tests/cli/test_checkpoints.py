"""Parameters from checkpoints of every wrapper: the module gets its own, whatever their names begin with, or the file is refused."""

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn

from vesalius.cli.checkpoints import load_weights
from vesalius.core.errors import ForeignFile, InvalidInput


class Wrapper(nn.Module):
    """What training code puts around a network, with a loss and a metric beside it."""

    def __init__(self, name, inner):
        super().__init__()
        self.add_module(name, inner)
        self.criterion = nn.BCEWithLogitsLoss(pos_weight=torch.ones(2, dtype=torch.float32))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 2)))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float32))
    return made


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def same(model, truth):
    return all(torch.equal(tensor, truth.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.fixture
def saved(tmp_path):
    def write(held):
        torch.save(held, tmp_path / "c.ckpt")
        return tmp_path / "c.ckpt"

    return write


PREFIXES = ["module.", "model.", "net.", "network.", "backbone.", "_orig_mod.", "module._orig_mod.", "model.module.", "a.b.c."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model", "module", "net"])
def test_a_prefix_is_found_in_the_file(prefix, key, saved, capsys):
    truth, model = network(1), network(2)
    state = prefixed(prefix, truth.state_dict())
    load_weights(model, saved(state if key is None else {key: state, "epoch": 3, "optimizer": {"lr": 0.1}}))
    assert same(model, truth) and capsys.readouterr().err == ""


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_found_in_the_module(prefix, saved):
    truth = network(1)
    outer = network(2)
    model = outer
    for part in reversed(prefix.split(".")[:-1]):
        model = nn.ModuleDict({part: model})
    load_weights(model, saved(truth.state_dict()))
    assert same(outer, truth)


def test_wrappers_of_torch_may_stand_anywhere(saved):
    truth, model = network(1), network(2)
    state = {name.replace("2.0.", "2._orig_mod.0."): tensor for name, tensor in truth.state_dict().items()}
    load_weights(model, saved(prefixed("model.", state)))
    assert same(model, truth)


def test_what_lightning_keeps_beside_the_network_is_left_out_and_told(saved, capsys):
    truth, model = network(1), network(2)
    held = {
        "state_dict": Wrapper("net", truth).state_dict(),
        "pytorch-lightning_version": "2.4.0",
        "hyper_parameters": {"lr": 0.1, "sizes": [3, 4]},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
    }
    load_weights(model, saved(held))
    told = capsys.readouterr().err
    assert same(model, truth)
    assert "net.* are the model's parameters" in told and "2 others are left out: seen, criterion.pos_weight" in told


def test_two_networks_in_one_file_are_told_apart_by_their_shapes_or_refused(saved):
    truth, model = network(1), network(2)
    other = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 2)))
    load_weights(model, saved(prefixed("teacher.", other.state_dict()) | prefixed("student.", truth.state_dict())))
    assert same(model, truth)
    twice = saved(prefixed("ema.", network(3).state_dict()) | prefixed("model.", truth.state_dict()))
    with pytest.raises(InvalidInput, match=r"2 times \(ema\.\*, model\.\*\); save the one that is meant"):
        load_weights(model, twice)


def test_more_than_the_module_at_its_own_place_is_refused(saved):
    state = prefixed("model.", network(1).state_dict() | {"3.weight": torch.zeros(2, 2)})
    with pytest.raises(InvalidInput, match=r"1 not in the model: 3\.weight"):
        load_weights(network(2), saved(state))
    with pytest.raises(InvalidInput, match=r"1 of another shape: 0\.weight \[4, 5\] for \[4, 3\]"):
        load_weights(network(2), saved(prefixed("model.", network(1).state_dict() | {"0.weight": torch.zeros(4, 5)})))


def test_objects_beside_the_parameters_are_read_only_where_the_file_is_trusted(saved):
    truth, model = network(1), network(2)
    path = saved({"state_dict": prefixed("model.", truth.state_dict()), "hyper_parameters": argparse.Namespace(folder=Path("x"))})
    with pytest.raises(ForeignFile, match=r"something else than names and tensors.*--trust"):
        load_weights(model, path)
    load_weights(model, path, trust=True)
    assert same(model, truth)


def test_a_whole_module_in_a_trusted_file_gives_its_parameters(saved):
    truth, model = network(1), network(2)
    load_weights(model, saved({"epoch": 1, "model": truth}), trust=True)
    assert same(model, truth)
