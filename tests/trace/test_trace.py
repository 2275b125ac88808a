"""Opening a model: what it needs to be told, what it says when told wrong, and that model and process stay as they were."""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from types import SimpleNamespace

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

import vesalius
from tests.zoo import specimen
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.trace import from_exported


class Tail(nn.Module):
    """A linear layer and whatever a test puts after it."""

    def __init__(self, tail) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.tail = tail

    def forward(self, x: Tensor):
        return self.tail(self.fc(x))


# ---- what is meant ------------------------------------------------------------------------------------------------------------------


def test_an_output_is_chosen_by_name_place_or_being_the_only_tensor():
    x = torch.randn(2, 4)
    results = {
        "pair": (lambda h: (h, 2 * h), 1, 2),
        "dict": (lambda h: {"logits": h, "hidden": 3 * h}, "hidden", 3),
        "attributes": (lambda h: (h, 2 * h, None), 0, 1),
        "only": (lambda h: [None, h], None, 1),
    }
    for tail, output, factor in results.values():
        model = Tail(tail)
        net = vesalius.trace(model, x, output=output)
        assert not net.opaque
        torch.testing.assert_close(net(x), factor * model.fc(x).detach())


def test_an_unclear_or_unknown_output_is_refused():
    x = torch.randn(2, 4)
    with pytest.raises(
        InvalidInput, match=r"several tensors; choose one with vesalius\.trace\(model, x, output=\.\.\.\), out of 'logits', 'hidden'"
    ):
        vesalius.trace(Tail(lambda h: {"logits": h, "hidden": h}), x)
    with pytest.raises(UnknownName, match=r"no output 'logit'; did you mean 'logits'"):
        vesalius.trace(Tail(lambda h: {"logits": h, "hidden": h}), x, output="logit")
    with pytest.raises(UnknownName, match=r"no output 2; known: '0', '1'"):
        vesalius.trace(Tail(lambda h: (h, h)), x, output=2)
    with pytest.raises(WrongType, match="output 1 is a NoneType, not a tensor"):
        vesalius.trace(Tail(lambda h: (h, None)), x, output=1)
    with pytest.raises(WrongType, match="no tensor to explain"):
        vesalius.trace(Tail(lambda h: SimpleNamespace()), x)


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (lambda h: h.sum(), r"output has shape \(\) for a batch of 2; expected one row per sample"),
        (lambda h: h[:1], r"output has shape \(1, 3\) for a batch of 2"),
        (lambda h: h.argmax(1), r"output is torch.int64; expected real numbers such as logits"),
    ],
    ids=["scalar", "one row", "integers"],
)
def test_an_output_that_is_no_score_per_sample_is_refused(tail, message):
    with pytest.raises(InvalidInput, match=message):
        vesalius.trace(Tail(tail), torch.randn(2, 4))


def test_a_wrong_example_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # our own word on types, not that of the tests' check
    two = specimen("two_input")
    image, row = two.example(2)[0]
    with pytest.raises(WrongType, match=r"expected a torch.nn.Module"):
        vesalius.trace(image, row)
    with pytest.raises(InvalidInput, match=r"an example input is needed: vesalius.trace\(model, x\)"):
        vesalius.trace(two.build())
    with pytest.raises(InvalidInput, match=r"input 'image' has shape \(0, 3, 8, 8\); expected \[batch, ...\] with at least one sample"):
        vesalius.trace(two.build(), image[:0], row[:0])
    with pytest.raises(InvalidInput, match=r"same batch size in their first axis; found image 2, row 1"):
        vesalius.trace(two.build(), image, row[:1])


def test_tensors_inside_containers_are_refused_with_a_word_on_containers():
    class Dictionary(nn.Module):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return batch["x"] * 2

    with pytest.raises(InvalidInput, match="dict"):
        vesalius.trace(Dictionary(), {"x": torch.ones(1, 4)})


def test_arguments_that_are_no_tensors_keep_their_value():
    class Options(Tail):
        def forward(self, x: Tensor, scale: float, *, twice: bool = False, bias: Tensor | None = None) -> Tensor:
            h = super().forward(x) * scale
            return (2 * h if twice else h) + (0 if bias is None else bias)

    model, x = Options(torch.tanh), torch.randn(3, 4)
    net = vesalius.trace(model, x[:1], 3.0, kwargs={"twice": True, "bias": torch.ones(1, 3)})
    bias = torch.randn(3, 3)
    assert [value.name for value in net.inputs] == ["x", "bias"]
    torch.testing.assert_close(net(x, bias=bias), model(x, 3.0, twice=True, bias=bias).detach())


def test_a_callable_is_opaque_and_its_module_is_left_alone():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4)
    net = vesalius.trace(lambda x: model(x).softmax(-1), x)
    assert net.opaque
    assert "plain callable" in net.reason
    assert torch.equal(net(x), model(x).softmax(-1))


@pytest.mark.parametrize("wrap", [lambda model: torch.compile(model, backend="eager"), nn.DataParallel])
def test_a_wrapped_model_is_traced_as_what_it_wraps(wrap):
    model, x = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).eval(), torch.randn(3, 4)
    net = vesalius.trace(wrap(model), x)
    assert not net.opaque
    torch.testing.assert_close(net(x), model(x))


def test_a_scripted_model_is_traced_in_eval_mode():
    model, x = torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.Dropout())), torch.randn(2, 4)
    net = vesalius.trace(model.train(), x)
    assert not net.opaque
    torch.testing.assert_close(net(x), model.eval()(x))


def test_a_model_whose_output_shares_no_batch_is_opaque_and_says_where():
    """Only the first axis of the output may be the batch, and it must follow it."""
    net = vesalius.trace(Tail(lambda h: h.reshape(-1).reshape(2, 3)), torch.randn(2, 4))
    assert net.opaque
    assert "does not follow the batch size" in net.reason
    assert "test_trace.py" in net.reason


def test_a_random_model_is_opaque():
    net = vesalius.trace(Tail(lambda h: h + torch.randn_like(h)), torch.randn(2, 4))
    assert net.opaque
    assert "random" in net.reason


@pytest.mark.parametrize("inside", [torch.no_grad, torch.inference_mode], ids=lambda mode: mode.__name__)
def test_tracing_where_gradients_are_off_gives_a_network_with_gradients(inside):
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Tanh()), torch.randn(2, 4)
    with inside():
        net = vesalius.trace(model, torch.randn(1, 4))
    x.requires_grad_()
    net(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept(dtype: torch.dtype):
    model, x = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)).to(dtype), torch.randn(3, 4).to(dtype)
    net = vesalius.trace(model, x[:1])
    assert net(x).dtype == dtype
    torch.testing.assert_close(net(x), model(x).detach())


# ---- the model and the process, as they were --------------------------------------------------------------------------------------


def test_a_network_follows_weights_changed_in_place():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval(), torch.randn(2, 4)
    net = vesalius.trace(model, x)
    digest = net.digest()
    assert digest == vesalius.trace(model, x).digest()
    with torch.no_grad():
        model[0].weight.mul_(2)
        model[1].running_mean.add_(1)
    assert net.digest() != digest
    torch.testing.assert_close(net(x), model(x).detach())


def test_training_flags_survive_an_error_in_forward():
    def fail(h: Tensor) -> Tensor:
        raise RuntimeError("boom")

    model = Tail(fail).train()
    model.fc.eval()
    with pytest.raises(InvalidInput, match="boom"):
        vesalius.trace(model, torch.ones(1, 4))
    assert model.training
    assert not model.fc.training


def test_buffers_that_forward_counts_in_are_as_before():
    class Counts(Tail):
        def __init__(self) -> None:
            super().__init__(torch.tanh)
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x)

    model, x = Counts(), torch.randn(2, 4)
    net = vesalius.trace(model, x)
    assert model.calls == 0
    torch.testing.assert_close(net(x), torch.tanh(model.fc(x)).detach())


def test_what_forward_keeps_on_the_module_is_as_before():
    class Keeps(Tail):
        def forward(self, x: Tensor) -> Tensor:
            self.last = super().forward(x)
            return self.last * 2

    model, x = Keeps(torch.tanh), torch.randn(2, 4)
    kept = model(x) / 2
    attribute = model.last
    vesalius.trace(model, torch.randn(1, 4))
    assert model.last is attribute
    assert torch.equal(model.last, kept)


def test_tracing_leaves_the_process_as_it_was(capfd):
    model, x = nn.Linear(4, 3), torch.randn(1, 4)
    names = ("torch.export", "torch.fx.experimental.symbolic_shapes", "torch._dynamo")

    def facts():
        levels = [logging.getLogger(name).level for name in names]
        return levels, list(warnings.filters), torch.get_rng_state().tolist(), torch.is_grad_enabled(), sys.stdout, sys.stderr

    before = facts()
    vesalius.trace(model, x)
    vesalius.trace(specimen("branching").build(), torch.ones(1, 8))
    assert facts() == before
    assert capfd.readouterr() == ("", "")


def test_a_copy_of_a_network_stands_on_its_own():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4)
    twin = copy.deepcopy(vesalius.trace(model, x))
    expected = model(x).detach()
    with torch.no_grad():
        model[0].weight.zero_()
    torch.testing.assert_close(twin(x), expected)
    torch.testing.assert_close(twin.read(x, "0")["0"].relu(), expected)


def test_a_program_for_one_batch_size_is_refused():
    program = torch.export.export(nn.Linear(4, 3), (torch.ones(2, 4),))
    with pytest.raises(InvalidInput, match=r"does not follow the batch size.*Export it with a dynamic batch size"):
        from_exported(program)


class Straight(torch.autograd.Function):
    """Rounds, but lets the gradient through: the usual trick to train quantised networks."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, slope):
        return slope


class Rounded(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(Straight.apply(x))


class Blind(Rounded):
    def forward(self, x):
        with torch.no_grad():
            hidden = torch.tanh(x)
        return self.fc(hidden * x)


@pytest.mark.parametrize("kind", [Rounded, Blind])
def test_the_gradient_is_the_models_own(kind):
    """A graph that would lose the one of an autograd.Function is not taken; a part without gradients is cut off in it."""
    model, x = kind(), torch.tensor([[0.2, 1.4, -0.7]])
    network = vesalius.trace(model, x)
    leaf = x.clone().requires_grad_()
    model(leaf).sum().backward()
    found = vesalius.attribute(network, x, "gradient_x_input", target=0)
    whole = found.values + vesalius.attribute(network, x, "gradient_x_input", target=1).values
    torch.testing.assert_close(whole, leaf.grad * x)
    assert network.opaque == (kind is Rounded)
    assert "gradient" in network.reason or kind is Blind


@pytest.mark.parametrize("frozen", [False, True])
def test_torchs_own_transformer_layers_are_opened(frozen):
    """In eval mode and without gradients they take a fused path that has no derivative."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval().requires_grad_(not frozen)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    fast = torch.backends.mha.get_fastpath_enabled()
    network = vesalius.trace(model, x)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not network.opaque
    assert {"linear", "attention", "layer_norm"} <= {value.op for value in network.values.values()}
    with torch.no_grad():
        torch.testing.assert_close(network(x), model(x), rtol=1e-5, atol=1e-5)
