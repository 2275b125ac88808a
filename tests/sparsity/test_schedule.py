"""Schedules of sparsities, from their formula."""

import pytest
import torch
from torch import nn

from vesalius.core.errors import InvalidInput
from vesalius.sparsity import cubic_schedule, sparsify_gradually


def test_a_schedule_is_its_formula():
    assert cubic_schedule(0.8, 2) == pytest.approx([0.7, 0.8])
    assert cubic_schedule(0.9, 3, start=0.5) == pytest.approx([0.9 - 0.4 * 8 / 27, 0.9 - 0.4 / 27, 0.9])


@pytest.mark.usefixtures("as_a_user")
def test_amounts_that_are_no_schedule():
    with pytest.raises(InvalidInput, match="final"):
        cubic_schedule(1.0, 3)
    with pytest.raises(InvalidInput, match="start"):
        cubic_schedule(0.5, 3, start=0.6)
    for steps in ([0.5, 0.3], []):
        with pytest.raises(InvalidInput, match="one or more that rise"):
            sparsify_gradually(nn.Sequential(nn.Linear(4, 3)), torch.rand(20, 4), sparsity=steps)
