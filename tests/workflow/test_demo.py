"""What the demo chooses to show; the demo itself is run in tests/cli/test_demo.py."""

import torch

from vesalius.data import load
from vesalius.workflow.demo import pick_rows


def test_wrong_decisions_are_the_surest_ones_and_right_ones_come_from_different_classes():
    digits = load("digits")
    output = 5 * torch.nn.functional.one_hot(digits.test_y, 10).float()
    output[7] = torch.eye(10)[(digits.test_y[7] + 1) % 10] * 9
    output[9] = torch.eye(10)[(digits.test_y[9] + 1) % 10] * 3
    output[11] = torch.eye(10)[(digits.test_y[11] + 1) % 10] * 6
    rows = pick_rows(output, digits)
    assert rows[-2:] == [7, 11] and len(set(digits.test_y[rows[:4]].tolist())) == 4
