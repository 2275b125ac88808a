"""Histograms of units: every row once, zeros counted, constants and other sizes."""

import numpy as np
import pytest
import torch

from vesalius.core.errors import InvalidInput
from vesalius.information.histograms import BINS, Histograms
from vesalius.information.layers import FlowLayer


def test_histograms_are_those_of_numpy():
    rows = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).clamp_min(-0.5).double()
    found = Histograms.of(rows)
    for unit in range(3):
        np.testing.assert_array_equal(found.counts[unit], np.histogram(rows[:, unit], bins=BINS)[0])
    assert torch.equal(found.low, rows.amin(0)) and torch.equal(found.high, rows.amax(0))


def test_zeros_are_counted_and_constants_are_in_one_bin():
    found = Histograms.of(torch.tensor([[0.0, 7.0], [0.0, 7.0], [3.0, 7.0], [4.0, 7.0]]))
    assert found.zero.tolist() == [0.5, 0] and found.counts[1, 0] == 4 and found.counts.sum(1).tolist() == [4, 4]


def test_a_layer_refuses_histograms_of_other_units():
    with pytest.raises(InvalidInput, match="has 3 units, and histograms of 2"):
        FlowLayer.of("h", 3, spread=Histograms.of(torch.rand(5, 2)))
