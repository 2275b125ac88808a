"""What every registered method must do, and what each must keep of what it claims."""

from functools import cache

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName, WrongType
from vesalius.methods import METHODS, Method, ShapleyValue, register
from vesalius.methods.base import resolve_method

CLAIMS = {"complete", "dummy", "symmetric", "linear", "sensitive", "accounted", "graph"}


class Sum(nn.Module):
    """Two networks added, the first column of the input ignored, the last two treated alike."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        features = torch.stack([x[:, 1], x[:, 2], x[:, 3] + x[:, 4]], 1)
        return sum(part(features) for part in self.parts)


class Channels(nn.Module):
    """A network of columns that are positions with two channels each, for methods that look at such."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x[..., 0] + 2 * x[..., 1])


class Constant(nn.Module):
    """3, whatever comes in."""

    def forward(self, x):
        return x.flatten(1).sum(1) * 0 + 3


def smooth(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()


def samples():
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x[:, 4] = x[:, 3]
    return x


@cache
def opened(channels, *seeds):
    model = Sum([smooth(seed) for seed in seeds])
    return vs.trace(Channels(model) if channels else model, torch.zeros(1, 5, *[2] * channels).double())


class Stage:
    """Networks and samples that a method can be tried on: columns, with two channels each for methods that need positions."""

    def __init__(self, method):
        self.method = method
        self.channels = method.name == "grad_cam"

    @property
    def x(self):
        return torch.stack([samples() / 3, samples() / 3], -1) if self.channels else samples()

    def network(self, *seeds):
        return opened(self.channels, *seeds)

    def attribute(self, *seeds, x=None, **options):
        network = self.network(*seeds or (0,))
        return vs.attribute(network, self.x if x is None else x, self.method, at="x", **options)


@pytest.fixture(params=sorted(METHODS))
def method(request):
    return resolve_method(request.param)


@pytest.fixture
def stage(method):
    return Stage(method)


def test_claims_are_words_we_know(method):
    assert method.claims <= CLAIMS
    assert method.name in METHODS
    assert not {"complete", "accounted"} <= method.claims


def test_shapes_dtype_and_ends(stage):
    found, network, x = stage.attribute(target=1), stage.network(0), stage.x
    assert found.values.shape == (4, 5)
    assert found.values.dtype == torch.float64
    torch.testing.assert_close(found.total, network(x)[:, 1])
    torch.testing.assert_close(found.base, network(torch.zeros_like(x))[:, 1])
    assert (found.evaluations > 0).all()
    assert found.provenance["method"] == stage.method.name


def test_completeness_where_claimed(stage):
    found = stage.attribute(target=1)
    if "complete" in stage.method.claims:
        assert (found.gap.abs() <= 1e-10 * (found.total - found.base).abs()).all()
    else:
        assert (found.relative_gap > 1e-2).any(), "a method that adds up should claim it"


def test_an_account_where_claimed(stage):
    found = stage.attribute(target=1)
    assert bool(found.absorbed) == ("accounted" in stage.method.claims)
    if found.absorbed:
        assert (found.unaccounted.abs() <= 1e-10 * found.total.abs()).all()


def test_a_column_without_effect_gets_nothing(stage):
    most = stage.attribute(target=0).values[:, 0].abs().max()
    assert (most < 1e-12) == ("dummy" in stage.method.claims), "a method claims what it keeps, and keeps what it claims"


def test_equal_columns_get_equal_values(stage):
    values = stage.attribute(target=0).values
    if "symmetric" in stage.method.claims:
        torch.testing.assert_close(values[:, 3], values[:, 4])


def test_linearity_in_the_network(stage):
    """Adaptive methods know their map to 1%, each part of the sum for itself."""
    both = stage.attribute(0, 1, target=0)
    apart = sum(stage.attribute(seed, target=0).values for seed in (0, 1))
    if "linear" in stage.method.claims:
        exact = {"rtol": 1e-9, "atol": 1e-12} if both.converged is None else {"rtol": 2e-2, "atol": 2e-2 * float(both.values.abs().max())}
        torch.testing.assert_close(both.values, apart, **exact)


def test_a_graph_where_claimed(method):
    x = torch.ones(2, 5, 2)
    opaque = vs.trace(lambda x: x.sum((1, 2)), x)
    if "graph" in method.claims:
        with pytest.raises(NotTraceable, match="needs the graph"):
            vs.attribute(opaque, x, method)
    else:
        assert vs.attribute(opaque, x, method).values.isfinite().all()


def test_a_single_sample_has_no_batch_axis(stage):
    alone, batch = stage.attribute(x=stage.x[1], target=0), stage.attribute(target=0)
    assert alone.values.shape == (5,)
    torch.testing.assert_close(alone.values, batch[1].values)


def test_targets_of_every_kind(stage):
    predicted = stage.network(0)(stage.x).argmax(1)
    default, tensor = stage.attribute(), stage.attribute(target=predicted)
    assert torch.equal(default.values, tensor.values)
    one = stage.attribute(x=stage.x[2], target=int(predicted[2]))
    torch.testing.assert_close(one.values, tensor.values[2])
    negative, last = (stage.attribute(target=target).values for target in (-1, (1,)))
    assert torch.equal(negative, last)
    mixed, first = (stage.attribute(target=target).values for target in (torch.tensor([0, 1, 1, 0]), 0))
    torch.testing.assert_close(mixed, torch.stack([first[0], last[1], last[2], first[3]]))
    assert (first - last).abs().max() > 1e-3


def test_the_same_question_has_the_same_answer_to_the_bit(stage):
    assert torch.equal(stage.attribute(target=1).values, stage.attribute(target=1).values)


@pytest.mark.slow
def test_a_half_precision_network_is_explained_in_single(stage):
    model = Sum([smooth(0)])
    half = (Channels(model) if stage.channels else model).to(torch.bfloat16)
    x = stage.x.to(torch.bfloat16)
    found = vs.attribute(vs.trace(half, x), x, stage.method, at="x", target=1)
    expected = vs.attribute(vs.trace(half.float(), x.float()), x.float(), stage.method, at="x", target=1)
    assert found.values.dtype == torch.float32
    torch.testing.assert_close(found.values, expected.values)
    if "complete" in stage.method.claims:
        assert (found.gap.abs() <= 1e-5 * ((found.total - found.base).abs() + found.total.abs() / 10)).all()


def test_nothing_is_left_on_the_model(stage):
    model = Sum([smooth(0)]).train()
    network = vs.trace(Channels(model) if stage.channels else model, torch.zeros_like(stage.x[:1]))
    before = {name: (set(vars(module)), len(module._forward_hooks), len(module._backward_hooks)) for name, module in model.named_modules()}
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    vs.attribute(network, stage.x, stage.method, at="x", target=1)
    assert before == {
        n: (set(vars(module)), len(module._forward_hooks), len(module._backward_hooks)) for n, module in model.named_modules()
    }
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda x: x.index_fill(0, torch.tensor([2]), float("nan")), {}, InvalidInput, "NaN or infinity, first in sample 2"),
        (lambda x: x * float("inf"), {}, InvalidInput, "NaN or infinity"),
        (lambda x: x[:0], {}, InvalidInput, "holds no samples"),
        (lambda x: x[:, :4], {}, InvalidInput, r"traced for \[batch, 5\]"),
        (lambda x: x + 1j, {}, WrongType, "complex128"),
        (lambda x: {"words": "red"}, {}, WrongType, "expected a tensor, a NumPy array, a DataFrame"),
        (lambda x: object(), {}, WrongType, "expected a tensor, a NumPy array, a DataFrame"),
        (lambda x: x, {"target": 7}, InvalidInput, r"target 7 is out of range.*\[2\]"),
        (lambda x: x, {"target": torch.tensor([0, 1])}, InvalidInput, "one class for each of 4 samples"),
        (lambda x: x, {"target": torch.tensor([0, 1, 2, 0])}, InvalidInput, "there are 2 classes"),
        (lambda x: x, {"target": torch.zeros(4)}, WrongType, "a tensor of classes is of integers"),
        (lambda x: x, {"target": (0, 1)}, InvalidInput, "does not name one number"),
        (lambda x: x, {"target": ("parts.9", 1)}, UnknownName, "parts.0"),
        (lambda x: x, {"target": ("parts.0.0", 99)}, InvalidInput, "has 6 units"),
        (lambda x: x, {"at": "part.0"}, UnknownName, "parts.0"),
        (lambda x: x, {"baseline": torch.zeros(3, dtype=torch.float64)}, InvalidInput, r"baseline of shape \[3\] does not fit"),
        (lambda x: x, {"baseline": float("nan")}, InvalidInput, "must be finite"),
        (lambda x: x, {"baseline": "zeros"}, UnknownName, "did you mean 'zero'"),
        (lambda x: x, {"baseline": object()}, WrongType, "a baseline is a number"),
    ],
)
def test_bad_input_is_named(as_a_user, method, change, options, error, message):
    with pytest.raises(error, match=message):
        vs.attribute(opened(False, 0), change(samples()), method, **options)


def test_unknown_methods_and_networks(as_a_user):
    with pytest.raises(UnknownName, match=r"did you mean .integrated_gradients"):
        vs.attribute(opened(False, 0), samples(), "integrated_gradient")
    with pytest.raises(WrongType, match=r"a torch\.nn\.Module, a function or an estimator"):
        vs.attribute("model", samples())
    with pytest.raises(WrongType, match="a method is a name"):
        vs.attribute(opened(False, 0), samples(), 3)
    with pytest.raises(InvalidInput, match="already"):
        register(ShapleyValue)


def test_a_constant_output_is_no_trouble(stage):
    network = vs.trace(Constant(), torch.zeros_like(stage.x[:1]))
    found = vs.attribute(network, stage.x, stage.method, at="x")
    assert found.values.abs().max() == 0
    assert found.gap.abs().max() == 0
    assert isinstance(stage.method, Method)
