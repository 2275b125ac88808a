"""Gates of recurrent layers have links: what enters them times the weights is what PyTorch's cells compute."""

import copy

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.rules.layer_rule_networks import EXACT
from vesalius.sparsity import Pruning, link_importance, sparsify
from vesalius.sparsity.links import links_of

X = torch.randn(48, 7, 5, generator=torch.Generator().manual_seed(0))
KINDS = {
    "lstm": lambda: nn.LSTM(5, 6, batch_first=True),
    "two ways, two layers": lambda: nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True),
    "gru": lambda: nn.GRU(5, 6, num_layers=2, batch_first=True, bias=False),
    "rnn": lambda: nn.RNN(5, 6, batch_first=True),
    "rnn, relu": lambda: nn.RNN(5, 6, nonlinearity="relu", bidirectional=True, batch_first=True),
}


class Tagger(nn.Module):
    def __init__(self, read, width):
        super().__init__()
        self.read, self.out = read, nn.Linear(width, 3)

    def forward(self, x):
        return self.out(self.read(x)[0])


def build(kind):
    torch.manual_seed(0)
    read = KINDS[kind]()
    return Tagger(read, 6 * (1 + read.bidirectional)).eval()


def sequences(read, x):
    """What each weight is applied to, step by step, by cells of PyTorch."""
    cells = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}
    found = {}
    for layer in range(read.num_layers):
        outputs = []
        for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 1 + read.bidirectional]:
            extra = {"nonlinearity": read.nonlinearity} if isinstance(read, nn.RNN) else {}
            cell = cells[type(read)](x.shape[2], 6, bias=read.bias, dtype=x.dtype, **extra)
            for name, _ in list(cell.named_parameters()):
                getattr(cell, name).data = getattr(read, f"{name}{suffix}").data
            steps = range(x.shape[1])[:: -1 if "reverse" in suffix else 1]
            state, seen, out = None, torch.zeros(len(x), 6, dtype=x.dtype), torch.zeros(len(x), x.shape[1], 6, dtype=x.dtype)
            before = torch.zeros_like(out)
            for step in steps:
                before[:, step] = seen
                state = cell(x[:, step], state)
                seen = state[0] if isinstance(state, tuple) else state
                out[:, step] = seen
            found[f"read.weight_ih{suffix}"], found[f"read.weight_hh{suffix}"] = x, before
            outputs.append(out)
        x = torch.cat(outputs, 2)
    return found


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_what_each_weight_is_applied_to(kind):
    model, x = build(kind).double(), X[:4].double()
    net = vs.trace(model, x)
    found = links_of(net)
    for name, rows in sequences(model.read, x).items():
        given = found[name].rows(x).reshape(4, 7, -1)
        if name.endswith("reverse") and "_hh" in name:
            given = given.flip(1)
        torch.testing.assert_close(given, rows, **EXACT)
        assert found[name].weight.shape == net.parameters[name].shape
    assert list(found)[-1] == "out"


@pytest.mark.parametrize("kind", KINDS)
def test_networks_are_pruned_and_refitted(kind):
    model = build(kind)
    net = vs.trace(model, X[:2])

    def change(mode):
        options = {"score": "magnitude", "compensate": False} if mode == "paper" else {"rounds": 3}
        thin = sparsify(net, X, sparsity=0.5, mode=mode, pruning=Pruning(allocation="uniform", **options))
        torch.testing.assert_close(thin.model(X).detach(), thin.network(X), rtol=1e-4, atol=1e-5)
        assert not thin.coverage.left and thin.sparsity == pytest.approx(0.5, abs=0.02)
        torch.testing.assert_close(copy.deepcopy(thin.model)(X), thin.model(X))
        return float((thin.network(X) - model(X).detach()).square().mean())

    assert change("refit") < change("paper")


def test_steps_may_come_first():
    torch.manual_seed(0)
    model = Tagger(nn.LSTM(5, 6), 6).eval()

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner(x.transpose(0, 1)).transpose(0, 1)

    thin = sparsify(Turned().eval(), X, sparsity=0.5, pruning=Pruning(rounds=2))
    assert {"inner.read.weight_ih_l0", "inner.read.weight_hh_l0"} < set(thin.masks)


def test_links_are_scored_before_the_gates_and_it_is_told():
    net = vs.trace(build("lstm"), X[:2])
    with pytest.warns(UserWarning, match="followed by the gates of lstm"):
        found = link_importance(net, X, layers=["read.weight_ih_l0"])["read.weight_ih_l0"]
    assert found.values.shape == (24, 5) and found.error != found.error


def test_states_that_are_given_and_projections_are_left_alone():
    torch.manual_seed(0)
    thin = sparsify(Tagger(nn.LSTM(5, 6, proj_size=4, batch_first=True), 4).eval(), X, sparsity=0.5, pruning=Pruning(rounds=2))
    assert list(thin.masks) == ["out"] and thin.coverage.left["read.weight_ih_l0"] == (120, "gates of an LSTM")
