"""The specimens are what the catalogue says: deterministic, alive in every parameter, exportable or not."""

from __future__ import annotations

import pytest
import torch

from tests.zoo import SPECIMENS, TWINS, Specimen, Twins, specimen

each = pytest.mark.parametrize("one", SPECIMENS, ids=lambda s: s.name)
each_pair = pytest.mark.parametrize("pair", TWINS, ids=lambda p: p.name)


@each
def test_build_is_deterministic_and_leaves_the_random_state_alone(one: Specimen):
    state = torch.get_rng_state()
    first, second = one.build().state_dict(), one.build().state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


@each
def test_no_parameter_or_statistic_is_constant(one: Specimen):
    floating = {key: value for key, value in one.build().state_dict().items() if value.is_floating_point()}
    assert [key for key, value in floating.items() if value.unique().numel() == 1] == []


@each
def test_scores_have_the_declared_width_depend_on_the_input_and_agree_in_float64(one: Specimen):
    scores = {}
    for dtype in (torch.float32, torch.float64):
        args, kwargs = one.example(16, dtype)
        with torch.no_grad():
            scores[dtype] = one.scores(one.build().to(dtype).eval()(*args, **kwargs))
        assert scores[dtype].shape == (16, one.classes)
        assert scores[dtype].dtype == dtype
    assert scores[torch.float64].std(0).median() > 0.05
    torch.testing.assert_close(scores[torch.float32].double(), scores[torch.float64], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("one", [one for one in SPECIMENS if one.exportable], ids=lambda s: s.name)
def test_every_parameter_reaches_the_scores(one: Specimen):
    """A bias nobody reads would let a lost bias go unseen. A key's bias has no effect: softmax ignores a constant."""
    model = one.build().double().eval()
    args, kwargs = one.example(16, torch.float64)
    scores = one.scores(model(*args, **kwargs))
    (scores * torch.linspace(1, 2, one.classes)).sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-9]
    assert dead == [name for name, _ in model.named_parameters() if name.endswith(("key.bias", "k_proj.bias"))]


@pytest.mark.parametrize("one", [one for one in SPECIMENS if one.integer_at is None], ids=lambda s: s.name)
def test_scores_and_gradients_are_finite_at_zero(one: Specimen):
    """Zero is the usual baseline."""
    args, _ = one.example(2)
    zeros = [torch.zeros_like(tensor, requires_grad=True) for tensor in args]
    scores = one.scores(one.build().eval()(*zeros))
    gradients = torch.autograd.grad((scores * torch.linspace(1, 2, one.classes)).sum(), zeros)
    assert scores.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_branching_specimen_takes_either_branch():
    model = specimen("branching").build()
    x = torch.ones(2, 8)
    assert torch.equal(model(x), model.warm(x))
    assert torch.equal(model(-x), model.cold(-x))


def test_names_are_unique_and_an_unknown_one_lists_them():
    assert len({one.name for one in SPECIMENS}) == len(SPECIMENS)
    with pytest.raises(KeyError, match=r"no specimen 'resnet21'; there are .*resnet20"):
        specimen("resnet21")


@each_pair
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_twins_give_the_same_bits(pair: Twins, dtype: torch.dtype):
    x = pair.inputs(16, dtype, torch.Generator().manual_seed(0))
    with torch.no_grad():
        functional, modules = (build().to(dtype).eval()(x) for build in (pair.functional, pair.modules))
    assert functional.shape == (16, 5)
    assert functional.dtype == dtype
    assert functional.std(0).median() > 0.05
    assert torch.equal(functional, modules)


@each_pair
def test_twins_have_the_same_weights_in_the_same_order(pair: Twins):
    functional, modules = (list(build().state_dict().values()) for build in (pair.functional, pair.modules))
    assert len(functional) == len(modules)
    assert all(torch.equal(one, other) for one, other in zip(functional, modules, strict=True))


@each_pair
def test_the_module_twin_calls_every_module_once_and_computes_nothing_outside(pair: Twins):
    """Libraries that hook modules see all of it."""
    model, calls = pair.modules().eval(), []
    leaves = [module for module in model.modules() if not list(module.children())]
    for leaf in leaves:
        leaf.register_forward_hook(lambda module, inputs, result: calls.append(module))
    model(pair.inputs(2, torch.float32, torch.Generator().manual_seed(0)))
    assert sorted(map(id, calls)) == sorted(map(id, leaves))
