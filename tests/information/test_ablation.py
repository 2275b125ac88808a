"""Removing units and links: what is gone is gone, nothing is touched, and useless units cost nothing."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.trace.laid_out_networks import laid_out
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.data.synthetic import planted_net
from vesalius.information import AblationOptions, MeasurementOptions, ablation_curves, information_flow

FAST = MeasurementOptions(estimator="binned")


def rows(count, inputs, seed=0):
    return 2 * torch.rand(count, inputs, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.fixture(scope="module")
def planted():
    net = planted_net(4, 3, generator=torch.Generator().manual_seed(3))
    x = rows(1000, 4)
    network = vs.trace(net.model, x[:2])
    return net, network, x, information_flow(network, x, measuring=FAST)


def test_units_without_flow_cost_nothing(planted):
    net, network, x, graph = planted
    labels = network(x).argmax(1)
    found = ablation_curves(network, graph, x, labels, layer="0", removing=AblationOptions(steps=13, repeats=3))
    spare = len(net.silent)
    assert found.removed.tolist() == pytest.approx([step / 12 for step in range(13)])
    assert (found.accuracy["flow"][0, : spare + 1] == 1).all() and (found.accuracy["magnitude"][0, : spare + 1] == 1).all()
    assert found.accuracy["random"].shape == (3, 13) and set(found.areas) == {"flow", "magnitude", "random"}


@pytest.mark.parametrize("what", ["units", "links"])
def test_what_is_removed_is_removed_and_the_model_is_untouched(what, planted):
    net, network, x, graph = planted
    before = {name: tensor.clone() for name, tensor in net.model.state_dict().items()}
    labels = torch.arange(len(x)) % 3
    found = ablation_curves(network, graph, x, labels, layer="0", removing=AblationOptions(what=what, steps=6, repeats=2))
    with torch.no_grad():
        hidden = torch.relu(net.model[0].bias.expand(len(x), -1)) if what == "links" else torch.zeros(len(x), net.model[0].out_features)
        empty = net.model[2](hidden).argmax(1)
        full = net.model(x).argmax(1)
    for curve in found.accuracy.values():
        assert curve[0, 0] == pytest.approx(float((full == labels).double().mean()))
        assert curve[0, -1] == pytest.approx(float((empty == labels).double().mean()))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.model.state_dict().items())


def test_links_go_in_the_order_of_their_flow(planted):
    net, network, x, graph = planted
    labels = network(x).argmax(1)
    found = ablation_curves(network, graph, x, labels, layer="0", removing=AblationOptions(what="links", steps=5, repeats=1))
    weight = net.model[0].weight.detach().clone()
    order = graph.flows[0].flatten().argsort(stable=True)
    half = round(2 / 4 * len(order))
    for place in order[:half].tolist():
        weight[place % len(weight), place // len(weight)] = 0
    with torch.no_grad():
        kept = net.model[2](torch.relu(x @ weight.T + net.model[0].bias)).argmax(1)
    assert found.accuracy["flow"][0, 2] == pytest.approx(float((kept == labels).double().mean()))


def test_links_between_channels_are_kernels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 2))
    x = torch.randn(60, 1, 8, 8)
    network = vs.trace(model, x[:2])
    graph = information_flow(network, x, measuring=FAST)
    found = ablation_curves(
        network, graph, x, torch.zeros(60, dtype=torch.long), layer="2", removing=AblationOptions(what="links", steps=100, repeats=1)
    )
    assert len(found.removed) == 13, "3 x 4 kernels"
    with pytest.raises(InvalidInput, match=r"connects 1 with 3 units, and the graph has 64 by 3 edges"):
        ablation_curves(network, graph, x, torch.zeros(60, dtype=torch.long), layer="0", removing=AblationOptions(what="links"))


def test_the_sum_of_a_block_can_be_removed_and_links_into_a_branch():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.i, self.a, self.b, self.o = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, x):
            h = torch.relu(self.i(x))
            return self.o(torch.tanh(h + self.b(torch.relu(self.a(h)))))

    torch.manual_seed(0)
    model, x = Block(), rows(300, 4)
    network = vs.trace(model, x[:2])
    graph = information_flow(network, x, measuring=FAST)
    labels = network(x).argmax(1)
    found = ablation_curves(network, graph, x, labels, layer="tanh", removing=AblationOptions(steps=2, repeats=1))
    with torch.no_grad():
        empty = model.o(torch.zeros(300, 5)).argmax(1)
    assert found.accuracy["flow"][0].tolist() == pytest.approx([1, float((empty == labels).double().mean())])
    links = ablation_curves(network, graph, x, labels, layer="a", removing=AblationOptions(what="links", steps=3, repeats=1))
    assert links.accuracy["flow"].shape == (1, 3)


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_removed_is_named(planted):
    _, network, x, graph = planted
    labels = torch.zeros(len(x), dtype=torch.long)
    with pytest.raises(UnknownName, match="layer"):
        ablation_curves(network, graph, x, labels, layer="9")
    with pytest.raises(InvalidInput, match="an end of the network"):
        ablation_curves(network, graph, x, labels, layer="output")
    with pytest.raises(InvalidInput, match="need as many labels"):
        ablation_curves(network, graph, x, labels[:3], layer="0")
    with pytest.raises(UnknownName, match="units"):
        AblationOptions(what="layers")
    with pytest.raises(InvalidInput, match="steps is a whole number of at least 2"):
        AblationOptions(steps=1)


@pytest.mark.parametrize(("name", "layer"), [("swin", "fc"), ("flat", "fc"), ("steps first", "fc"), ("film", "conv")])
def test_removing_a_unit_in_any_layout_is_what_a_hook_removes(name, layer):
    """All units of a layer gone, one batch or several."""
    model, x = laid_out(name, 24)
    model, x = model.float(), x.float()
    network = vs.trace(model, x[:2])
    graph = information_flow(network, x, layers=[layer, "output"], measuring=replace(FAST, unit="pre_activation"))
    labels = torch.arange(24) % 4
    found = ablation_curves(network, graph, x, labels, layer=layer, removing=AblationOptions(steps=2, repeats=1))
    handle = model.get_submodule(layer).register_forward_hook(lambda _, __, output: torch.zeros_like(output))
    empty = model(x).argmax(1)
    handle.remove()
    assert found.accuracy["flow"][0].tolist() == pytest.approx(
        [float((model(x).argmax(1) == labels).double().mean()), float((empty == labels).double().mean())]
    )
