"""How a model is meant to be called, and on what."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.test_first_calls import ROWS
from vesalius.core.errors import InvalidInput


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.encoder(x))


def test_rows_that_depend_on_each_other_are_one_sequence():
    """As PyTorch takes them; a batch they cannot be."""
    torch.manual_seed(0)
    model, x = Encoder().eval(), torch.randn(5, 4)
    one, batch = (vs.attribute(model, given, "occlusion", target=(2, 0)) for given in (x, x[None]))
    torch.testing.assert_close(one.total, model(x)[2, 0].detach())
    torch.testing.assert_close(one.values, batch.values[0])


class Either(nn.Module):
    """Rows on their own, or sequences."""

    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(4, 3, batch_first=True)

    def forward(self, x):
        return self.recurrent(x if x.ndim == 3 else x[:, None])[0][:, -1]


def test_rows_that_may_also_be_one_sequence_are_refused():
    with pytest.raises(InvalidInput, match="may be one sequence of 5 steps or a batch of 5 rows"):
        vs.attribute(Either(), torch.randn(5, 4), "occlusion", target=0)


def test_a_black_box_costs_a_call_a_batch():
    calls = []

    def count(x):
        calls.append(len(x))
        return x.sum(1)

    network = vs.trace(count, ROWS[:1])
    calls.clear()
    vs.attribute(network, ROWS[0], "shapley_value", baseline=ROWS[:20])
    assert len(calls) <= 50 and max(calls) >= 6
