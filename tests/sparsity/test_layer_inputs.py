"""One pass over the data gives every layer what a pass for that layer alone gives, and runs every op once."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.zoo.catalogue import specimen
from vesalius.sparsity import Pruning, sparsify
from vesalius.sparsity.links import links_of, read_link_inputs
from vesalius.sparsity.pruning import layer_inputs
from vesalius.sparsity.pruning.layer_inputs import LayerInputs
from vesalius.sparsity.pruning.masked_copy import copy_network
from vesalius.sparsity.scores import SCORES, Score

NAMES = ["two_input", "tied_autoencoder", "unet", "resnet", "mobilenet_v3", "conv1d", "encoder", "bert"]


def traced(name):
    found = specimen(name)
    args, kwargs = found.example(6)
    net = vs.trace(found.build().eval(), *args, kwargs=kwargs, output=found.output)
    return net, net.bind([*args, *kwargs.values()])


@pytest.mark.slow
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_a_pass_of_their_own(name, held, monkeypatch):
    net, samples = traced(name)
    if not held:
        monkeypatch.setattr(layer_inputs, "MAX_HELD_BYTES", 0)
    inputs = LayerInputs(net, samples, rows=40, seed=3)
    for name, one in links_of(net).items():
        expected = read_link_inputs({name: one}, samples, rows=40, seed=3)[name]
        torch.testing.assert_close(inputs.read(one), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["unet", "resnet", "encoder"])
def test_layers_see_the_weights_as_they_are_when_the_pass_comes_to_them(name):
    net, samples = traced(name)
    copied = copy_network(net)
    inputs = LayerInputs(copied, samples, rows=40, seed=3)
    for name, one in links_of(copied).items():
        rows = inputs.read(one)
        torch.testing.assert_close(rows, read_link_inputs({name: one}, samples, rows=40, seed=3)[name], rtol=1e-5, atol=1e-6)
        if len(one.layers) == 1 and not one.tied:
            copied.parameters[one.layer.weight].mul_(0.5)


@pytest.mark.parametrize("mode", ["refit", "paper"])
def test_every_layer_is_run_as_often_at_any_depth(mode, monkeypatch):
    ran = []
    whole = vs.Network.program

    def counted(self, inputs, outputs):
        program = whole(self, inputs, outputs)
        ran.append(sum(node.op == "call_function" and "linear" in str(node.target) for node in program.graph.nodes))
        return program

    monkeypatch.setattr(vs.Network, "program", counted)

    def linear_layers_run(depth):
        torch.manual_seed(0)
        model = nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(6, 6), nn.ReLU()))).eval()
        net = vs.trace(model, torch.randn(2, 6))
        ran.clear()
        sparsify(net, torch.randn(40, 6), sparsity=0.5, mode=mode, pruning=Pruning(rounds=1))
        return sum(ran) / depth

    assert linear_layers_run(12) <= linear_layers_run(4) * 1.3


def test_a_score_without_data_reads_none():
    assert {name for name, score in SCORES.items() if not score.data} == {"magnitude", "random", "taylor"}
    seen = []

    def blind(evidence):
        seen.append(len(evidence.rows))
        return evidence.weight.abs()

    model, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval(), torch.randn(300, 6)
    how = Pruning(score=Score(function=blind, data=False), compensate=False)
    sparsify(model, x, sparsity=0.5, mode="paper", pruning=how)
    assert seen == [0, 0]
    sparsify(model, x, sparsity=0.5, mode="paper", pruning=Pruning(score=Score(function=blind, data=False)))
    assert seen[2:] == [256, 256]  # for the biases alone
