"""Numbers that a model reads from its own tensors are known when it is exported; those of its inputs never are."""

import pytest
import torch

import vesalius as vs
from tests.trace.reading_models import AfterAnEscape, Checked, EarlyExit, OfBuffers, OfTheBatch, Pairs
from vesalius.core.errors import InvalidInput
from vesalius.trace.number_reads import read_numbers
from vesalius.trace.signature import bind_call

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [OfBuffers, Checked, Pairs])
def test_what_does_not_depend_on_the_inputs_is_known(kind):
    model = kind().eval()
    network = vs.trace(model, X)
    assert not network.opaque, network.reason
    for rows in (X, X[:1], torch.cat([X, X, -X])):
        torch.testing.assert_close(network(rows), model(rows))
    found = vs.attribute(network, X, "deeplift_rescale", target=1)
    torch.testing.assert_close(found.values.sum(1), found.total - found.base, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [EarlyExit, OfTheBatch])
def test_what_depends_on_them_makes_a_black_box(kind):
    model = kind().eval()
    network = vs.trace(model, X)
    torch.testing.assert_close(network(X), model(X))
    for rows in (X[:1], torch.cat([X, 200 * X])):
        torch.testing.assert_close(network(rows), model(rows))


def test_what_python_was_told_of_the_inputs_stays_unknown():
    call, tensors = bind_call(AfterAnEscape().eval(), (X,), {}, None)
    assert not any(read.known for read in read_numbers(call, tensors))


def test_a_check_still_holds_for_the_model():
    with pytest.raises(ValueError, match="not a number"):
        Checked().eval()(X * torch.nan)


class OfItsWeights(torch.nn.Module):
    """Three numbers of its own: a float, a whole number, a flag."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(6, 2)
        self.register_buffer("steps", torch.tensor(2))
        self.register_buffer("flag", torch.tensor(True))

    def forward(self, x):
        y = self.line(x) * float(self.line.weight.detach().norm())
        return torch.tanh((y + 1 if self.flag else y) * int(self.steps))


@pytest.mark.parametrize("change", [lambda m: m.line.weight.data.mul_(1.5), lambda m: m.steps.fill_(3), lambda m: m.flag.fill_(False)])
def test_a_model_that_reads_other_numbers_later_is_traced_again(change):
    model = OfItsWeights()
    network = vs.trace(model, X)
    vs.attribute(model, X, "gradient_x_input", target=0)  # its trace is remembered
    change(model)
    for ask in (network, lambda x: vs.attribute(network, x, "deeplift_rescale", target=0)):
        with pytest.raises(InvalidInput, match="trace it again"):
            ask(X)
    torch.testing.assert_close(vs.attribute(model, X, "deeplift_rescale", target=0).total, model(X)[:, 0])
    torch.testing.assert_close(vs.trace(model, X)(X), model(X))


def test_weights_that_change_no_number_may_change(tmp_path):
    model = OfItsWeights()
    network = vs.trace(model, X, cache=tmp_path)
    with torch.no_grad():
        model.line.bias.add_(1)
    torch.testing.assert_close(network(X), model(X))
    assert not list(tmp_path.iterdir()), "a file would not hold what was read"
