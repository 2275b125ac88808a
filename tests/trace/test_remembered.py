"""A module is traced once, and never explained as it was before."""

import sys

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.test_first_calls import ROWS, module
from vesalius.core.errors import VesaliusError


def test_weights_are_the_live_ones():
    """Remembered, but never old: trained in place, replaced, or of another structure."""
    model, x = module(), torch.ones(2, 3)
    first = vs.attribute(model, x, "occlusion", target=0)
    with torch.no_grad():
        model[2].weight.mul_(2)
    torch.testing.assert_close(vs.attribute(model, x, "occlusion", target=0).total, model(x)[:, 0].detach())
    model[2].weight = nn.Parameter(torch.ones(2, 4))
    torch.testing.assert_close(vs.attribute(model, x, "occlusion", target=0).total, model(x)[:, 0].detach())
    model[1] = nn.Tanh()
    found = vs.attribute(model, x, "occlusion", target=0)
    torch.testing.assert_close(found.total, model(x)[:, 0].detach())
    assert found.provenance["digest"] != first.provenance["digest"]


class Capped(nn.Module):
    """Whose function hangs on attributes that are no tensors of its state."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.config = type("Config", (), {})()
        self.config.cap, self.act = 5.0, lambda x: x
        self.shift = torch.zeros(2)

    def forward(self, x):
        return self.act(self.fc(x) * 20 + self.shift).clamp(max=self.config.cap)


def change_config(model):
    model.config.cap = 1.0


def change_function(model):
    model.act = lambda x: x.clamp(min=-1)


def change_plain_tensor(model):
    model.shift = torch.full((2,), 1e-6)


def change_hooks(model):
    model.fc.register_forward_hook(lambda module, inputs, output: output.clamp(max=0.01))


@pytest.mark.parametrize("change", [change_config, change_function, change_plain_tensor, change_hooks])
def test_a_remembered_trace_is_of_the_model_as_it_is(change):
    """The first rows, on which a trace is checked, are far below every cap: only what the model holds tells that it has changed."""
    torch.manual_seed(0)
    model, x = Capped(), torch.cat([torch.zeros(2, 3), 9 * torch.eye(3), -9 * torch.eye(3)])
    vs.attribute(model, x, "occlusion", target=0)
    change(model)
    torch.testing.assert_close(vs.attribute(model, x, "occlusion", target=0).total, model(x)[:, 0].detach(), rtol=0, atol=1e-7)


def test_an_example_on_which_graph_and_model_differ_is_not_remembered_against_the_model(monkeypatch):
    """Rounding of absurd values may tell them apart; the next batch is another matter."""
    model = module()
    with monkeypatch.context() as once:
        once.setattr(sys.modules["vesalius.trace.trace"], "_graph_matches", lambda *args: False)
        with pytest.raises(VesaliusError, match="needs the graph"):
            vs.attribute(model, ROWS, "deeplift_rescale", target=0)
    assert float(vs.attribute(model, ROWS, "deeplift_rescale", target=0).gap.abs().max()) < 1e-5
