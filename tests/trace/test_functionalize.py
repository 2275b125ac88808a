"""Models that write in place, against themselves: every way two names can share memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vesalius
from vesalius.trace.opset import is_inplace


def relu_then_both(h: Tensor) -> Tensor:
    """Both names are the written tensor."""
    r = h.relu_()
    return h + r


def identity_kept(h: Tensor) -> Tensor:
    out = torch.sin(h)
    identity = out
    out += h
    return out * identity


def copy_kept(h: Tensor) -> Tensor:
    old = h.clone()
    h *= 2
    return old * h


def power(h: Tensor) -> Tensor:
    """Its twin without writing is another overload."""
    return h * h.square().add(1).pow_(-0.5)


def power_of_a_tensor(h: Tensor) -> Tensor:
    return (h.exp() * 2).pow_(h.sigmoid())


def other_twins(h: Tensor) -> Tensor:
    return h.clone().transpose_(0, 1).t() * h.sin().float_power_(2.0)


def view_before(h: Tensor) -> Tensor:
    """The view sees what is written afterwards."""
    v = h[:, :2]
    h.mul_(2)
    return v + h[:, 1:]


def view_written(h: Tensor) -> Tensor:
    """Writing to the view writes to what it views."""
    h.view(-1).add_(1)
    return torch.sin(h)


def view_read_before_the_write(h: Tensor) -> Tensor:
    """A value computed from the view before the write keeps the old one."""
    old = h[:, :1] * 3
    h.add_(1)
    return h * old


def view_of_a_view(h: Tensor) -> Tensor:
    v = h.unsqueeze(1)[:, 0]
    h.relu_()
    return v * 2


def one_column(h: Tensor) -> Tensor:
    h = h.clone()
    h[:, 1] = 0
    h[:, 2] *= 2
    return h


def masked(h: Tensor) -> Tensor:
    h.masked_fill_(h < 0, -1.0)
    return h


def same_memory_by_contiguous(h: Tensor) -> Tensor:
    d = h.contiguous()
    d += 1
    return h * d


def same_memory_by_dropout_in_eval(h: Tensor) -> Tensor:
    d = F.dropout(h, training=False)
    d += 1
    return h * d


def residual_onto_dropout(h: Tensor) -> Tensor:
    """As in most residual blocks."""
    out = F.dropout(torch.sin(h), training=False)
    out += h
    return out


def same_memory_by_to(h: Tensor) -> Tensor:
    d = h.to(h.dtype)
    d += 1
    return h * d


def other_memory_by_to(h: Tensor) -> Tensor:
    d = h.to(torch.float16 if h.dtype != torch.float16 else torch.float32).to(h.dtype)
    d += 1
    return h * d


def part_of_it(h: Tensor) -> Tensor:
    first, rest = h[:, :1], h[:, 1:]
    first.exp_()
    return h * rest[:, :1]


def twice_in_a_row(h: Tensor) -> Tensor:
    return h.add_(1).mul_(2).relu_() + h


def made_inside(h: Tensor) -> Tensor:
    w = torch.eye(3, dtype=h.dtype) * 2
    w[0] += 1
    return h @ w


def out_of_a_branch(h: Tensor) -> Tensor:
    left, right = torch.sin(h), torch.cos(h)
    left += right
    right -= left
    return left * right


WAYS = [
    relu_then_both,
    identity_kept,
    copy_kept,
    view_before,
    view_written,
    view_read_before_the_write,
    view_of_a_view,
    one_column,
    masked,
    same_memory_by_contiguous,
    same_memory_by_dropout_in_eval,
    residual_onto_dropout,
    same_memory_by_to,
    other_memory_by_to,
    part_of_it,
    twice_in_a_row,
    made_inside,
    out_of_a_branch,
    power,
    power_of_a_tensor,
    other_twins,
]


class Writes(nn.Module):
    def __init__(self, way) -> None:
        super().__init__()
        self.fc, self.way = nn.Linear(4, 3), way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self.fc(x))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_writing_in_place(way):
    """Output and gradient are the model's, and no op of the graph writes."""
    model = Writes(way).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    net = vesalius.trace(model, x[:1])
    assert not net.opaque, net.reason
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(net(ours), model(theirs))
    net(ours).sum().backward()
    model(theirs).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert [node for node in net.model_graph.graph.nodes if node.op == "call_function" and is_inplace(node.target)] == []


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_value_read_is_not_written_to_afterwards(way):
    """fc's value is what fc returned, however much the model writes over it later."""
    model = Writes(way).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    net = vesalius.trace(model, x[:1])
    assert not net.opaque, net.reason
    torch.testing.assert_close(net.read(x, "fc")["fc"], model.fc(x).detach())
