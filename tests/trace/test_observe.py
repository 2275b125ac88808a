"""What a model does on an example: rows that mix, random outputs, missing derivatives, models that are black boxes and not errors."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vesalius
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.trace.export import export_graph
from vesalius.trace.mixing import differs_by_rounding
from vesalius.trace.observe import RANDOM, is_close, two_rows
from vesalius.trace.signature import bind_call


class Then(nn.Module):
    """A linear layer, then some function."""

    def __init__(self, function, inputs: int = 4) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.function = nn.Linear(inputs, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.a(x))


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

MIXING = {
    "softmax over the batch": lambda h: h.softmax(0),
    "mean of the batch": lambda h: h - h.mean(0),
    "normalised over the batch": lambda h: F.normalize(h, dim=0),
    "first row added": lambda h: h + h[:1],
    "running sum": lambda h: h.cumsum(0),
    "batch norm in training": lambda h: F.batch_norm(h, None, None, training=True),
    "attention over samples": lambda h: (h @ h.T).softmax(-1) @ h,
    "rank in the batch": lambda h: h * h.argsort(0).argsort(0),
}


@pytest.mark.parametrize("kind", MIXING)
@pytest.mark.parametrize("rows", [1, 3])
def test_rows_that_depend_on_each_other_are_refused(kind: str, rows: int):
    with pytest.raises(InvalidInput, match=r"rows of a batch depend on each other|Expected more than 1 value per channel"):
        vesalius.trace(Then(MIXING[kind]), X[:rows])


def test_the_refusal_says_where_rows_begin_to_mix():
    with pytest.raises(InvalidInput, match=r"at 'sub' \(test_observe.py:\d+\)"):
        vesalius.trace(Then(lambda h: torch.tanh(h - h.mean(0))), X)
    with pytest.raises(InvalidInput, match="in '1', a batch norm without running statistics"):
        vesalius.trace(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)), X)


def test_equal_rows_do_not_hide_that_they_mix():
    with pytest.raises(InvalidInput, match="depend on each other"):
        vesalius.trace(Then(lambda h: h - h.mean(0)), torch.zeros(4, 4))


@pytest.mark.parametrize("function", [lambda h: h.softmax(1), lambda h: h - h.mean(1, keepdim=True), lambda h: h.log(), torch.round])
def test_rows_that_stand_alone_are_taken(function):
    assert not vesalius.trace(Then(function), X[:1]).opaque


def test_a_pair_is_of_two_different_samples():
    pair = two_rows([torch.zeros(1, 3), torch.tensor([[1, 2, 3]])])
    assert [tensor.shape[0] for tensor in pair] == [2, 2]
    assert all(not torch.equal(tensor[0], tensor[1]) for tensor in pair)
    assert torch.equal(two_rows([X])[0], X[:2])


def test_a_black_box_that_mixes_rows_is_called_on_one_sample_at_a_time():
    def function(rows: Tensor) -> Tensor:
        return rows if rows.sum() > 0 else -rows

    rows = torch.tensor([[1.0, 1.0], [-3.0, -3.0]])
    net = vesalius.trace(function, rows)
    assert "one sample at a time" in net.reason
    torch.testing.assert_close(net(rows), torch.tensor([[1.0, 1.0], [3.0, 3.0]]))


NOISY = {
    "dropout": lambda h: F.dropout(h, 0.5),
    "torch": lambda h: h + torch.randn_like(h),
    "numpy": lambda h: h + float(np.random.randn()),
    "python": lambda h: h * random.gauss(1, 1),
}


@pytest.mark.parametrize("kind", NOISY)
def test_a_random_model_is_said_to_be_and_draws_nothing_from_the_user(kind: str):
    model = Then(NOISY[kind])
    states = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]
    net = vesalius.trace(model, X)
    assert net.opaque
    assert net.random
    assert net.reason == RANDOM
    found = vesalius.attribute(net, X, "occlusion", target=0)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[2] == np.random.get_state(legacy=False)["state"]["pos"]
    assert found.stderr is not None


def test_values_of_a_random_model_are_means_with_errors_that_hold():
    """Dropout without the factor for what is left: on average a linear model at half its weights."""
    model = Then(lambda h: h * torch.bernoulli(torch.full_like(h, 0.5)))
    found = vesalius.attribute(vesalius.trace(model, X), X, "occlusion", target=0, baseline=0.0)
    true = (0.5 * model.a.weight[0] * X).detach()
    inside = ((found.values - true).abs() <= 3 * found.stderr).float().mean()
    assert inside > 0.9


def test_two_attributions_of_a_random_model_are_the_same():
    net = vesalius.trace(Then(NOISY["dropout"]), X)
    one, other = (vesalius.attribute(net, X, "occlusion", target=0).values for _ in range(2))
    torch.testing.assert_close(one, other)


def test_other_verbs_refuse_a_random_model():
    with pytest.raises(InvalidInput, match="differs from call to call"):
        vesalius.interactions(Then(NOISY["dropout"]), X[0], target=0)


def test_noise_of_a_generator_of_the_models_own_is_seen():
    class Own(Then):
        def __init__(self) -> None:
            super().__init__(lambda h: h + torch.randn(h.shape, generator=self.generator))
            self.generator = torch.Generator()

    model = Own()
    state = model.generator.get_state()
    assert vesalius.trace(model, X).random
    assert torch.equal(model.generator.get_state(), state)


# ---- black boxes --------------------------------------------------------------------------------------------------------------------


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h: Tensor) -> Tensor:
        return h.sin()


def _write_over(h: Tensor) -> Tensor:
    h = h.relu()
    h[:, 0] = 0.0
    return h


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mix", torch.eye(4).to_sparse())
        self.a = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(torch.sparse.mm(self.mix, x.T).T)


class Remembers(Then):
    def get_extra_state(self) -> dict[str, str]:
        return {"made": "by hand"}

    def set_extra_state(self, state: dict[str, str]) -> None: ...


BLACK_BOXES = {
    "no derivative": lambda: Then(lambda h: torch.heaviside(h, torch.tensor(0.5))),
    "result written over": lambda: Then(_write_over),
    "function without backward": lambda: Then(NoBackward.apply),
    "sparse": Sparse,
    "sparse output": lambda: Then(lambda h: h.relu().to_sparse()),
    "complex": lambda: Then(lambda h: torch.fft.fft(h).abs()),
    "distribution": lambda: Then(lambda h: torch.distributions.Categorical(logits=h)),
    "mean of a distribution": lambda: Then(lambda h: torch.distributions.Normal(h, 1.0)),
    "extra state": lambda: Remembers(lambda h: h if float(h.sum()) < 1e9 else -h),
    "branch on data": lambda: Then(lambda h: h if float(h.sum()) < 1e9 else -h),
    "numpy": lambda: Then(lambda h: torch.from_numpy(np.tanh(h.detach().numpy()))),
    "list": lambda: Then(lambda h: torch.stack([torch.tensor(row.tolist()) for row in h])),
    "quantised": lambda: torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), {nn.Linear}),
}


def _score(model: nn.Module, row: Tensor) -> float:
    """The first output of one sample, by calling the model."""
    found = model(row[None])
    if isinstance(found, torch.distributions.Distribution):
        found = found.logits if hasattr(found, "logits") else found.mean
    return float((found.to_dense() if found.is_sparse else found)[0, 0])


@pytest.mark.parametrize("kind", BLACK_BOXES)
def test_what_cannot_be_traced_or_derived_is_evaluated(kind: str):
    model = BLACK_BOXES[kind]().eval()
    found = vesalius.attribute(model, X, "occlusion", target=0, baseline=0.0)
    for row, values in zip(X, found.values, strict=True):
        without = [_score(model, row * (torch.arange(4) != i)) for i in range(4)]
        true = torch.tensor([_score(model, row) - value for value in without])
        torch.testing.assert_close(values, true, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["no derivative", "numpy", "list"])
def test_gradients_that_do_not_exist_are_refused_in_words(kind: str):
    with pytest.raises(WrongType, match="no gradient reaches the input"):
        vesalius.attribute(BLACK_BOXES[kind](), X, "gradient_x_input", target=0)


def test_a_result_that_is_written_over_has_the_gradient_of_what_it_computes():
    """PyTorch itself cannot differentiate it; the graph can."""
    model = Then(_write_over)
    found = vesalius.attribute(model, X, "gradient_x_input", target=1)
    h = X @ model.a.weight.T + model.a.bias
    true = (h[:, 1:2] > 0) * model.a.weight[1] * X
    torch.testing.assert_close(found.values, true.detach())


def test_a_model_that_takes_one_sample_at_a_time_is_called_so():
    model = Then(lambda h: h.reshape(1, 3).tanh())
    net = vesalius.trace(model, X[:1])
    assert net.opaque
    torch.testing.assert_close(net(X), torch.cat([model(row[None]) for row in X]).detach())


def test_layers_that_are_made_in_the_first_call_are_asked_for():
    model = nn.Sequential(nn.LazyLinear(3), nn.ReLU())
    with pytest.raises(InvalidInput, match="call the model once"):
        vesalius.trace(model, X)
    assert isinstance(model[0], nn.LazyLinear)
    model(X)
    assert not vesalius.trace(model, X).opaque


def test_a_model_that_fails_says_so_once():
    with pytest.raises(InvalidInput, match=r"the model itself fails on inputs of shape \[3, 4\]: RuntimeError"):
        vesalius.trace(nn.Linear(5, 2), X)


def test_the_fast_path_of_transformer_layers_is_told_where_it_changes_the_output():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1).eval()

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, x: Tensor) -> Tensor:
            mask = torch.zeros(x.shape[:2], dtype=torch.bool)
            mask[:, -1] = True
            return self.encoder(x, src_key_padding_mask=mask).sum(1)

    model, x = Masked().eval(), torch.randn(2, 3, 4)
    net = vesalius.trace(model, x)
    with torch.no_grad():
        torch.testing.assert_close(net(x), model(x))
    if not is_close(net(x), model(x).detach()):
        assert "gradients" in net.reason


def double_for_one_row(h: torch.Tensor) -> torch.Tensor:
    """Another function of a sample alone: the graph of a batch does not tell."""
    return h * 2 if h.shape[0] == 1 else h


@pytest.mark.parametrize(
    ("function", "rounding"),
    [*((function, False) for function in MIXING.values()), (double_for_one_row, False), (lambda h: h.softmax(1), True), (torch.tanh, True)],
)
def test_it_is_rounding_where_the_graph_does_the_same_and_double_precision_sees_no_difference(function, rounding: bool):
    call, tensors = bind_call(Then(function), (X,), {}, None)
    assert differs_by_rounding(export_graph(call, tensors), call, tensors) == rounding
