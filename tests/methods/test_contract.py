"""What every registered method must do, and what each must keep of what it claims."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.methods import METHODS, Method, ShapleyValue, register
from vesalius.methods.base import resolve

CLAIMS = {"complete", "dummy", "symmetric", "linear", "sensitive"}


class Sum(nn.Module):
    """Two networks added, the first column of the input ignored, the last two treated alike."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        features = torch.stack([x[:, 1], x[:, 2], x[:, 3] + x[:, 4]], 1)
        return sum(part(features) for part in self.parts)


def smooth(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def traced(*parts):
    return vs.trace(Sum(parts), torch.zeros(1, 5, dtype=torch.float64))


def samples():
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x[:, 4] = x[:, 3]
    return x


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return resolve(request.param)


def test_claims_are_words_we_know(method):
    assert method.claims <= CLAIMS
    assert method.name in METHODS


def test_shapes_dtype_and_ends(method):
    network, x = traced(smooth(0)), samples()
    found = vs.attribute(network, x, method, target=1)
    assert found.values.shape == (4, 5)
    assert found.values.dtype == torch.float64
    torch.testing.assert_close(found.total, network(x)[:, 1])
    torch.testing.assert_close(found.base, network(torch.zeros_like(x))[:, 1])
    assert (found.evaluations > 0).all()
    assert found.provenance["method"] == method.name


def test_completeness_where_claimed(method):
    found = vs.attribute(traced(smooth(0)), samples(), method, target=1)
    if "complete" in method.claims:
        assert (found.relative_gap <= 1e-2).all()
    else:
        assert (found.relative_gap > 1e-2).any(), "a method that adds up should claim it"


def test_a_column_without_effect_gets_nothing(method):
    assert "dummy" in method.claims
    assert vs.attribute(traced(smooth(0)), samples(), method, target=0).values[:, 0].abs().max() < 1e-12


def test_equal_columns_get_equal_values(method):
    values = vs.attribute(traced(smooth(0)), samples(), method, target=0).values
    torch.testing.assert_close(values[:, 3], values[:, 4])


def test_linearity_in_the_network(method):
    both = vs.attribute(traced(smooth(0), smooth(1)), samples(), method, target=0).values
    apart = sum(vs.attribute(traced(smooth(seed)), samples(), method, target=0).values for seed in (0, 1))
    torch.testing.assert_close(both, apart, rtol=2e-2, atol=2e-2 * float(both.abs().max()))


def test_a_single_sample_has_no_batch_axis(method):
    network, x = traced(smooth(0)), samples()
    alone, batch = vs.attribute(network, x[1], method, target=0), vs.attribute(network, x, method, target=0)
    assert alone.values.shape == (5,)
    torch.testing.assert_close(alone.values, batch[1].values)


def test_targets_of_every_kind(method):
    network, x = traced(smooth(0)), samples()
    predicted = network(x).argmax(1)
    default = vs.attribute(network, x, method)
    tensor = vs.attribute(network, x, method, target=predicted)
    assert torch.equal(default.values, tensor.values)
    one = vs.attribute(network, x[2], method, target=int(predicted[2]))
    torch.testing.assert_close(one.values, tensor.values[2])
    negative, last = (vs.attribute(network, x, method, target=target).values for target in (-1, (1,)))
    assert torch.equal(negative, last)


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda x: x.index_fill(0, torch.tensor([2]), float("nan")), {}, InvalidInput, "NaN or infinity, first in sample 2"),
        (lambda x: x * float("inf"), {}, InvalidInput, "NaN or infinity"),
        (lambda x: x[:0], {}, InvalidInput, "holds no samples"),
        (lambda x: x[:, :4], {}, InvalidInput, r"traced for \[batch, 5\]"),
        (lambda x: x.float(), {}, WrongType, "traced with torch.float64"),
        (lambda x: x.long(), {}, WrongType, "int64"),
        (lambda x: x.numpy(), {}, WrongType, "not ndarray"),
        (lambda x: x, {"target": 7}, InvalidInput, r"target 7 is out of range.*\[2\]"),
        (lambda x: x, {"target": torch.tensor([0, 1])}, InvalidInput, "one class for each of 4 samples"),
        (lambda x: x, {"target": torch.tensor([0, 1, 2, 0])}, InvalidInput, "there are 2 classes"),
        (lambda x: x, {"target": torch.zeros(4)}, WrongType, "a tensor of classes is of integers"),
        (lambda x: x, {"target": (0, 1)}, InvalidInput, "does not name one number"),
        (lambda x: x, {"target": ("parts.9", 1)}, UnknownName, "parts.0"),
        (lambda x: x, {"target": ("parts.0.0", 99)}, InvalidInput, "has 6 units"),
        (lambda x: x, {"at": "part.0"}, UnknownName, "parts.0"),
        (lambda x: x, {"baseline": torch.zeros(3, dtype=torch.float64)}, InvalidInput, r"baseline of shape \[3\] does not fit"),
        (lambda x: x, {"baseline": torch.zeros(5)}, WrongType, "baseline of 'x' is torch.float32"),
        (lambda x: x, {"baseline": float("nan")}, InvalidInput, "must be finite"),
        (lambda x: x, {"baseline": "zero"}, WrongType, "a baseline is a number"),
    ],
)
def test_bad_input_is_named(as_a_user, method, change, options, error, message):
    with pytest.raises(error, match=message):
        vs.attribute(traced(smooth(0)), change(samples()), method, **options)


def test_unknown_methods_and_networks(as_a_user):
    with pytest.raises(UnknownName, match=r"did you mean .integrated_gradients"):
        vs.attribute(traced(smooth(0)), samples(), "integrated_gradient")
    with pytest.raises(WrongType, match=r"vesalius\.trace"):
        vs.attribute(smooth(0), samples())
    with pytest.raises(WrongType, match="a method is a name"):
        vs.attribute(traced(smooth(0)), samples(), 3)
    with pytest.raises(InvalidInput, match="already"):
        register(ShapleyValue)


def test_a_constant_output_is_no_trouble(method):
    network = vs.trace(lambda x: x.sum(1) * 0 + 3, torch.zeros(1, 4))
    found = vs.attribute(network, torch.ones(2, 4), method)
    assert found.values.abs().max() == 0
    assert found.gap.abs().max() == 0
    assert isinstance(method, Method)
