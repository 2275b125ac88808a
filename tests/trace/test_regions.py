"""Parts of a model in another precision, without gradients, mapped, scripted or random: each an ordinary graph, or a black box in words."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    """Two layers, and a function of them and of the input."""

    def __init__(self, function=None):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 4)
        self.function = function

    def forward(self, x):
        return self.b(torch.relu(self.a(x))) if self.function is None else self.function(self, x)


def without_gradients(model, x):
    with torch.no_grad():
        size = x.abs().amax(1, keepdim=True) + 1
    return model.b(torch.tanh(model.a(x / size)))


def nested(model, x):
    with torch.no_grad():
        gate = model.a.bias.softmax(0)
        with torch.enable_grad():
            kept = model.a(x) * 2
        cut = model.a(x)
    return model.b(torch.tanh(kept * gate + cut))


def frozen_encoder(model, x):
    with torch.set_grad_enabled(False):
        h = model.a(x)
    return model.b(torch.relu(h) + x[:, :1])


def lower_precision(model, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = model.a(x)
        with torch.autocast("cpu", enabled=False):
            gate = torch.softmax(model.a(x).float(), -1)
        h = torch.cat([h[:, :4], gate[:, 4:]], 1) * gate
    return model.b(h.float().relu())


REGIONS = {
    "data without gradients": without_gradients,
    "nested": nested,
    "frozen encoder": frozen_encoder,
    "categorical": lambda model, x: torch.distributions.Categorical(logits=model.b(model.a(x).relu())).probs,
    "mapped over rows": lambda model, x: torch.vmap(lambda row: model.b(torch.relu(model.a(row))))(x),
    "mapped over columns": lambda model, x: model.b(torch.vmap(torch.tanh, in_dims=1, out_dims=1)(model.a(x))),
    "mapped over weights": lambda model, x: torch.vmap(lambda w: torch.relu(model.a(x)) @ w, out_dims=1)(model.b.weight),
}


@pytest.mark.parametrize("name", REGIONS)
def test_the_graph_has_the_models_output_and_gradient(name):
    model = Two(REGIONS[name]).eval()
    network = vs.trace(model, X)
    assert not network.opaque, network.reason
    rows = torch.cat([X, -X])
    torch.testing.assert_close(network(rows), model(rows))
    slopes = []
    for run in (model, network):
        given = rows.clone().requires_grad_()
        slopes += torch.autograd.grad(run(given)[:, 1].sum(), given)
    torch.testing.assert_close(*slopes, atol=1e-6, rtol=1e-5)
    found = vs.attribute(network, X, "deeplift_revealcancel", target=1)
    torch.testing.assert_close(found.values.sum(1), found.total - found.base, atol=1e-5, rtol=1e-5)


def test_autocast_is_written_down_as_casts():
    model = Two(lower_precision).eval()
    network = vs.trace(model, X)
    assert not network.opaque, network.reason
    rows = torch.cat([X, -X])
    torch.testing.assert_close(network(rows), model(rows), atol=0, rtol=1e-6)
    assert any(value.dtype == "bfloat16" for value in network.values.values())


@pytest.mark.parametrize("whole", [True, False])
def test_compiled_modules_share_their_weights(whole):
    inner = torch.jit.trace(Two().eval(), X)
    model = inner if whole else nn.Sequential(inner, nn.Tanh())
    network = vs.trace(model, X)
    assert not network.opaque, network.reason
    with torch.no_grad():
        inner.b.bias += 1
    torch.testing.assert_close(network(X), model(X))


def seeded(model, x):
    state = torch.get_rng_state()
    torch.manual_seed(0)
    noise = torch.randn(8)
    torch.set_rng_state(state)
    return model.b(model.a(x) + noise)


def test_a_model_that_seeds_itself_has_no_graph_of_other_noise():
    model = Two(seeded).eval()
    network = vs.trace(model, X)
    torch.testing.assert_close(network(X), model(X))
    assert "random numbers" in network.reason
    found = vs.attribute(network, X, "integrated_gradients", target=1)
    torch.testing.assert_close(found.values.sum(1), found.total - found.base, atol=1e-5, rtol=1e-5)


def looped(model, x):
    loop = torch._higher_order_ops.while_loop
    return loop(lambda i, h: i < 3, lambda i, h: (i + 1, torch.tanh(h)), (torch.tensor(0), model.b(model.a(x).relu())))[1]


@pytest.mark.slow
def test_loops_that_are_ops_work_before_and_after():
    """torch compiles them when they are called, and would not again after a call under a mode."""
    model = Two(looped).eval()
    expected = model(X)
    network = vs.trace(model, X)
    assert network.opaque
    torch.testing.assert_close(network(X), expected)
    vs.attribute(network, X[:1], "shapley_value", target=1)
    torch.testing.assert_close(model(X), expected)


def guarded(choose):
    return lambda model, x: model.b(choose(model.a(x)))


UNDEFINED = {
    "logarithm": guarded(lambda h: torch.where(h > 0, torch.log(h), torch.zeros(()))),
    "root": guarded(lambda h: torch.where(h > 0, h.sqrt(), -h)),
    "quotient": guarded(lambda h: torch.where(h.relu() > 0, 1 / h.relu(), h)),
    "second branch": guarded(lambda h: torch.where(h <= 0, h.exp(), h.log())),
    "both": guarded(lambda h: torch.where(h > 0, h.log(), (-h).sqrt())),
}


@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_revealcancel", "deep_shap", "integrated_gradients"])
@pytest.mark.parametrize("name", UNDEFINED)
def test_a_branch_that_is_not_taken_need_not_be_a_number(name, method):
    model = Two(UNDEFINED[name]).double().eval()
    found = vs.attribute(model, X.double(), method, target=1)
    torch.testing.assert_close(found.total, model(X.double())[:, 1].detach())
    torch.testing.assert_close(found.values.sum(1), found.total - found.base, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift_rescale"])
def test_a_target_that_is_no_number_at_the_baseline_is_refused(method):
    model = Two(lambda model, x: model.b(torch.tanh(model.a(x / x.abs().amax(1, keepdim=True))))).eval()
    given = model if method == "deeplift_rescale" else model.forward
    with pytest.raises(InvalidInput, match="baseline"):
        vs.attribute(given, X, method, target=1)


class Packed(nn.Module):
    """A recurrent layer of sequences that are packed and padded again."""

    def __init__(self, kind, enforce_sorted, **options):
        super().__init__()
        self.layer, self.enforce_sorted = kind(6, 4, batch_first=True, **options), enforce_sorted

    def forward(self, x, lengths=None):
        lengths = torch.full((x.shape[0],), x.shape[1] - 1) if lengths is None else lengths
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=self.enforce_sorted)
        packed = packed._replace(data=packed.data.tanh())
        hidden, last = self.layer(packed)
        steps, _ = nn.utils.rnn.pad_packed_sequence(hidden, batch_first=True, total_length=x.shape[1])
        return steps.sum(1) + (last[0] if isinstance(last, tuple) else last)[0, :, :1]


@pytest.mark.parametrize(
    "layer",
    [(nn.LSTM, False, {"num_layers": 2, "bidirectional": True}), (nn.GRU, True, {}), (nn.RNN, False, {"bidirectional": True})],
    ids=lambda layer: layer[0].__name__,
)
def test_packed_sequences_of_equal_lengths(layer):
    kind, enforce_sorted, options = layer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = Packed(kind, enforce_sorted, **options).eval(), torch.randn(3, 4, 6)
    network = vs.trace(model, x)
    assert not network.opaque, network.reason
    for rows in (x, x[:1], torch.cat([x, -x])):
        torch.testing.assert_close(network(rows), model(rows))
    found = vs.attribute(network, x, "deeplift_rescale", target=1)
    torch.testing.assert_close(found.values.flatten(1).sum(1), found.total - found.base, atol=1e-5, rtol=1e-5)


def test_packed_sequences_of_given_lengths_are_a_black_box_in_words():
    model, x = Packed(nn.GRU, False).eval(), torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    network = vs.trace(model, x, torch.tensor([4, 3]))
    assert "not known to be equal" in network.reason
    torch.testing.assert_close(network(x, torch.tensor([2, 4])), model(x, torch.tensor([2, 4])))
