"""How a model is meant to be called, and on what."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.test_first_calls import ROWS
from vesalius.core.errors import VesaliusError


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.encoder(x))


def test_rows_that_may_be_one_sequence_are_asked_about():
    torch.manual_seed(0)
    model, x = Encoder().eval(), torch.randn(5, 4)
    with pytest.raises(VesaliusError, match=r"one sequence of 5 steps or a batch of 5 rows.*give x\[None\]"):
        vs.attribute(model, x, "occlusion", target=0)
    found = vs.attribute(model, x[None], "occlusion", target=(2, 0))
    torch.testing.assert_close(found.total, model(x[None])[:, 2, 0].detach())


def test_a_black_box_costs_a_call_a_batch():
    calls = []

    def count(x):
        calls.append(len(x))
        return x.sum(1)

    network = vs.trace(count, ROWS[:1])
    calls.clear()
    vs.attribute(network, ROWS[0], "shapley_value", baseline=ROWS[:20])
    assert len(calls) <= 50 and max(calls) >= 6
