"""Every specimen of the zoo, traced: what comes out, what can be read and cut, and that the model is left as it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import vesalius
from tests.zoo import SPECIMENS, Specimen, cifar_test_images, resnet20, specimen
from vesalius.core.errors import InvalidInput, NotTraceable, UnknownName
from vesalius.trace import Network, from_exported
from vesalius.trace.opset import FAMILIES

EXPORTABLE = [one for one in SPECIMENS if one.exportable]
EXACT = {"rtol": 1e-10, "atol": 1e-10}


@dataclass(frozen=True)
class Traced:
    """A specimen, its model, the network traced from it at batch 1, and the model's state from before."""

    one: Specimen
    model: nn.Module
    net: Network
    before: dict[str, Any]
    dtype: torch.dtype

    def batch(self, size: int) -> tuple[Tensor, ...]:
        """Inputs in the network's order, other ones for every size."""
        args, kwargs = self.one.example(size, self.dtype, seed=size)
        return (*args, *kwargs.values())

    def expected(self, size: int) -> Tensor:
        """What a fresh copy of the model says in eval mode."""
        args, kwargs = self.one.example(size, self.dtype, seed=size)
        with torch.no_grad():
            return self.one.scores(self.one.build().to(self.dtype).eval()(*args, **kwargs))


@pytest.fixture(scope="module", params=EXPORTABLE, ids=lambda one: one.name)
def single(request: pytest.FixtureRequest) -> Traced:
    """In float32, traced from a model in train mode but for its first child."""
    model = request.param.build().train()
    next(model.children()).eval()
    return open_up(request.param, model, torch.float32)


@pytest.fixture(scope="module", params=EXPORTABLE, ids=lambda one: one.name)
def double(request: pytest.FixtureRequest) -> Traced:
    """In float64, traced from a model in eval mode."""
    return open_up(request.param, request.param.build().double().eval(), torch.float64)


def open_up(one: Specimen, model: nn.Module, dtype: torch.dtype) -> Traced:
    before = state(model)
    args, kwargs = one.example(1, dtype)
    return Traced(one, model, vesalius.trace(model, *args, kwargs=kwargs, output=one.output), before, dtype)


def state(model: nn.Module) -> dict[str, Any]:
    """All there is to a model: every attribute of every module (containers one level deep) and a copy of every tensor."""
    facts: dict[str, Any] = {}
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            parts = list(value.items()) if isinstance(value, dict) else list(value) if isinstance(value, (list, set)) else value
            facts[f"{path}:{key}"] = parts
    for path, tensor in [*model.named_parameters(), *model.named_buffers()]:
        facts[path] = (tensor.detach().clone(), tensor.dtype, tensor.requires_grad, tensor.grad, tensor._version, tensor.data_ptr())
    return facts


def changed(before: Any, after: Any) -> bool:
    """Whether two states differ: tensors by their bits, everything else by identity or equality of plain values."""
    if isinstance(before, Tensor):
        return before is not after and not (isinstance(after, Tensor) and before.dtype == after.dtype and torch.equal(before, after))
    if isinstance(before, (list, tuple)):
        return type(before) is not type(after) or len(before) != len(after) or any(map(changed, before, after))
    return before is not after and not (isinstance(before, (str, int, float, torch.dtype)) and before == after)


def calls_of(model: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> dict[str, list[list[Tensor]]]:
    """What forward hooks see: per module path, per call, the tensors of its result; empty containers compute nothing and are left out."""
    seen: dict[str, list[list[Tensor]]] = {}

    def hook(path: str) -> Any:
        def note(module: nn.Module, inputs: Any, result: Any) -> None:
            seen.setdefault(path, []).append([leaf.detach().clone() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)])

        return note

    for path, module in model.named_modules():
        if path and not (isinstance(module, nn.Sequential) and len(module) == 0):
            module.register_forward_hook(hook(path))
    model(*args, **kwargs)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 8])
def test_output_in_float32_traced_from_train_mode(single: Traced, size: int):
    torch.testing.assert_close(single.net(*single.batch(size)), single.expected(size), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 8])
def test_output_in_float64(double: Traced, size: int):
    torch.testing.assert_close(double.net(*double.batch(size)), double.expected(size), **EXACT)


@pytest.mark.slow
def test_inputs_by_keyword_and_as_a_mapping(double: Traced):
    args, kwargs = double.one.example(3, double.dtype, seed=3)
    names = [value.name for value in double.net.inputs]
    as_words = dict(zip(names, double.batch(3), strict=True))
    for given in (double.net(*args, **kwargs), double.net(**as_words), double.net.run(double.net.bind(as_words))):
        torch.testing.assert_close(given, double.expected(3), **EXACT)


def test_input_gradient_is_the_models(double: Traced):
    """Of the model's embedding, where the inputs are integers."""
    model = double.one.build().double().eval()
    args, kwargs = double.one.example(3, double.dtype, seed=3)
    if double.one.integer_at is None:
        wanted = [tensor.clone().requires_grad_() for tensor in args]
        result = model(*wanted, **kwargs)
        found = [tensor.clone().requires_grad_() for tensor in args]
        scores = double.net(*found, **kwargs)
    else:
        kept: list[Tensor] = []
        model.get_submodule(double.one.integer_at).register_forward_hook(lambda m, i, result: kept.append(result) or result.retain_grad())
        result, wanted = model(*args, **kwargs), kept
        cut = double.net.split(double.one.integer_at)
        embedded, *context = cut.front(*double.batch(3))
        found = [embedded.detach().requires_grad_()]
        scores = cut.head(*found, *context)
    weights = torch.linspace(1, 2, double.one.classes, dtype=torch.float64)
    (double.one.scores(result) * weights).sum().backward()
    (scores * weights).sum().backward()
    for ours, theirs in zip(found, wanted, strict=True):
        assert theirs.grad.abs().max() > 1e-6
        torch.testing.assert_close(ours.grad, theirs.grad, **EXACT)
    assert all(parameter.grad is None for parameter in double.model.parameters())


@pytest.mark.slow
def test_the_model_is_untouched(single: Traced):
    """After tracing, calling, reading and cutting: the same objects, the same bits, the same training flags, no hooks."""
    net = single.net
    net(*single.batch(3))
    net.read(single.batch(3), list(net.values))
    cut = net.split(net.model_graph.output)
    cut.head(*cut.front(*single.batch(3)))
    now = state(single.model)
    assert now.keys() == single.before.keys()
    assert [key for key in now if changed(single.before[key], now[key])] == []
    assert single.model.training
    assert not next(single.model.children()).training


def test_tracing_in_eval_mode_leaves_the_model_untouched(double: Traced):
    now = state(double.model)
    assert now.keys() == double.before.keys()
    assert [key for key in now if changed(double.before[key], now[key])] == []


def test_every_value_has_a_name_and_is_what_it_says(double: Traced):
    values = double.net.values
    assert all(name and name == value.name for name, value in values.items())
    assert [values[value.name] for value in double.net.inputs] == list(double.net.inputs) == list(values.values())[: len(double.net.inputs)]
    assert all(value.batch_axis == 0 for value in double.net.inputs)
    assert values[double.net.model_graph.output].shape == (None, double.one.classes)
    assert {value.family for value in values.values()} <= {"input", *FAMILIES}
    read = double.net.read(double.batch(3), list(values))
    assert list(read) == list(values)
    for name, found in read.items():
        value = values[name]
        assert str(found.dtype) == f"torch.{value.dtype}"
        assert len(found.shape) == len(value.shape)
        assert all(side in (None, real) for side, real in zip(value.shape, found.shape, strict=True))
        assert value.batch_axis is None or found.shape[value.batch_axis] == 3


def test_values_know_their_module_and_line(double: Traced):
    modules = {path for path, _ in double.one.build().named_modules()}
    for value in double.net.values.values():
        assert value.module in modules
        assert value.name.startswith(f"{value.module}/") or not value.module
        if value.op != "input":
            assert value.line.split(":")[0].endswith(".py") and int(value.line.split(":")[1]) > 0


@pytest.mark.slow
def test_reading_a_module_gives_what_its_hook_sees(double: Traced):
    """A module called once gives its result; one called several times asks which."""
    args, kwargs = double.one.example(3, double.dtype, seed=3)
    x = double.batch(3)
    compared = 0
    for path, calls in calls_of(double.one.build().double().eval(), args, kwargs).items():
        if len(calls) > 1:
            with pytest.raises(InvalidInput, match=f"module '{path}' has {len(calls)} outputs"):
                double.net.resolve(path)
            names = [name for name, value in double.net.values.items() if value.module == path]
        else:
            names = [path]
        for name, tensors in zip(names, calls, strict=True):
            found = double.net.read(x, name)[name]
            assert any(t.shape == found.shape and torch.allclose(t, found, **EXACT) for t in tensors), (path, double.net.resolve(name))
            compared += 1
    assert compared >= len(list(double.model.children()))


@pytest.mark.slow
def test_cut_at_any_value(double: Traced):
    """head(front(x)) is the model; a head fed with repeated rows gives repeated rows."""
    net, x = double.net, double.batch(2)
    expected = double.expected(2)
    names = list(net.values)
    for name in names[:: max(1, len(names) // 16)] + names[-1:]:
        cut = net.split(name)
        assert cut.at == (name,)
        passed = cut.front(*x)
        assert len(passed) == 1 + len(cut.context)
        torch.testing.assert_close(cut.head(*passed), expected, **EXACT)
        if net.values[name].batch_axis is None or not net.values[name].is_floating:  # row numbers are integers, and do not repeat
            continue
        axes = [net.values[each].batch_axis for each in (name, *cut.context)]
        longer = [tensor.repeat_interleave(3, axis) for tensor, axis in zip(passed, axes, strict=True)]
        torch.testing.assert_close(cut.head(*longer), expected.repeat_interleave(3, 0), **EXACT)


def test_cut_at_two_values_and_at_the_inputs(double: Traced):
    net, x = double.net, double.batch(2)
    names = [name for name, value in net.values.items() if value.batch_axis == 0]
    for at in (names[1:3], [value.name for value in net.inputs]):
        cut = net.split(at)
        assert cut.at == tuple(at)
        torch.testing.assert_close(cut.head(*cut.front(*x)), double.expected(2), **EXACT)
    assert cut.context == ()


def test_layers_are_the_modules_with_a_weight(double: Traced):
    net = double.net
    found = {layer.weight for layer in net.layers.values()}
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)
    modules = {path: m for path, m in double.model.named_modules() if isinstance(m, kinds) or type(m).__name__ == "Conv1D"}
    assert {f"{path}.weight" for path in modules} <= found
    for name, layer in net.layers.items():
        weight = net.parameters[layer.weight]
        owner = modules.get(layer.weight.rpartition(".")[0])
        assert layer.name == name
        assert layer.shape == net.link_shape(name) == tuple(weight.shape)
        assert layer.units == net.values[layer.value].shape[layer.unit_axis]
        assert layer.unit_axis != net.values[layer.value].batch_axis
        assert net.unit_index(name).flatten().tolist() == list(range(layer.units))
        if owner is not None and f"{layer.weight}" != "encoder.weight":  # two layers share that one
            assert name == layer.weight.removesuffix(".weight")
            assert weight.data_ptr() == owner.weight.data_ptr()
            bias = getattr(owner, "bias", None)
            assert bias is None if layer.bias == "" else net.parameters[layer.bias].data_ptr() == bias.data_ptr()
            assert layer.groups == getattr(owner, "groups", 1)


def test_axes_of_a_layer_link_its_units(double: Traced):
    """Changing the weight of one unit changes that unit's value and no other."""
    net, x = double.net, double.batch(2)
    for name, layer in net.layers.items():
        run = net.program([layer.source, layer.weight], [layer.value])
        source, weight = net.read(x, layer.source)[layer.source], net.parameters[layer.weight]
        before, unit = run(source, weight)[0], layer.units - 1
        other = weight.clone()
        other.select(layer.out_axis, unit).add_(1)
        difference = (run(source, other)[0] - before).movedim(layer.unit_axis, 0).flatten(1).abs().amax(1)
        assert difference.argmax() == unit, name
        assert (difference > 0).sum() == 1, name


@pytest.mark.slow
def test_save_and_load(double: Traced, tmp_path):
    path = double.net.save(tmp_path / "net.safetensors")
    loaded = Network.load(path)
    assert repr(loaded) == repr(double.net)
    assert loaded.digest() == double.net.digest()
    assert list(loaded.values.items()) == list(double.net.values.items())
    assert loaded.layers == double.net.layers
    assert torch.equal(loaded(*double.batch(3)), double.net(*double.batch(3)))
    cut = loaded.split(list(loaded.values)[len(loaded.values) // 2])
    torch.testing.assert_close(cut.head(*cut.front(*double.batch(3))), double.expected(3), **EXACT)


def test_memory_of_a_sample_is_at_least_its_largest_value(double: Traced):
    def size(value: Any) -> int:
        count = 8 if "64" in value.dtype else 1
        for side in value.event:
            count *= side or 1
        return count

    assert double.net.sample_bytes >= max(size(value) for value in double.net.values.values() if value.batch_axis is not None)


def test_repr_counts(double: Traced):
    net = double.net
    assert f"{len(net.values)} values, {len(net.layers)} layers" in repr(net)
    assert repr(net).startswith(f"Network({type(double.model).__name__}: {net.inputs[0].name} [batch, ")


@pytest.fixture
def branching() -> Iterator[tuple[nn.Module, Network]]:
    one = specimen("branching")
    model = one.build().train()
    yield model, vesalius.trace(model, *one.example(1)[0])


def test_the_opaque_specimen_names_the_line_of_the_branch(branching):
    _, net = branching
    source, first = inspect.getsourcelines(specimen("branching").build().forward)
    line = first + next(place for place, text in enumerate(source) if "if x.sum()" in text)
    assert net.opaque
    asked = (
        lambda: net.values,
        lambda: net.layers,
        lambda: net.layer("warm"),
        lambda: net.read(torch.ones(1, 8), "warm"),
        lambda: net.split("warm"),
        lambda: net.save("never"),
        lambda: net.resolve("warm"),
        lambda: net.program(["x"], ["warm"]),
        lambda: net.graph("LRP"),
    )
    for ask in asked:
        with pytest.raises(NotTraceable, match=rf"dense\.py:{line}, in forward: 'if x\.sum\(\) > 0:'.*torch\.where"):
            ask()
    assert f"dense.py:{line}" in repr(net)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_opaque_specimen_still_computes(branching, size: int):
    model, net = branching
    args, _ = specimen("branching").example(size, seed=size)
    for x in (args[0].abs(), -args[0].abs()):
        torch.testing.assert_close(net(x), model(x).detach())
    assert model.training


def test_a_name_unknown_to_a_specimen_offers_near_ones(double: Traced):
    name = next(name for name in reversed(double.net.values) if "/" in name)
    with pytest.raises(UnknownName, match=rf"'{name}x'; did you mean '{name}'"):
        double.net.read(double.batch(1), name + "x")


@pytest.mark.parametrize("name", ["two_input", "resnet", "lstm"])
def test_a_program_exported_elsewhere_opens_too(name: str):
    one = specimen(name)
    model = one.build().double().eval()
    args, _ = one.example(2, torch.float64)
    program = torch.export.export(model, args, dynamic_shapes=tuple({0: torch.export.Dim.AUTO} for _ in args), strict=False)
    net = from_exported(program)
    args, _ = one.example(5, torch.float64, seed=5)
    torch.testing.assert_close(net(*args), model(*args).detach(), **EXACT)
    assert set(net.layers) == set(vesalius.trace(model, *args).layers)


@pytest.mark.slow
def test_resnet20_classifies_cifar_through_its_graph(data_dir: Path):
    images, labels = cifar_test_images(data_dir)
    model = resnet20(data_dir)
    net = vesalius.trace(model, images[:1])
    scores = torch.cat([net(part) for part in images.split(250)])
    assert (scores.argmax(1) == labels).float().mean() >= 0.91
    torch.testing.assert_close(scores[:50], model(images[:50]).detach(), rtol=1e-4, atol=1e-4)
