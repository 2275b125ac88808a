"""The specimens are what the catalogue says: deterministic, alive in every parameter, exportable or not."""

from __future__ import annotations

import pytest
import torch

from tests.zoo import SPECIMENS, Specimen, specimen

each = pytest.mark.parametrize("one", SPECIMENS, ids=lambda s: s.name)


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


def test_the_branching_specimen_takes_either_branch():
    model = specimen("branching").build()
    x = torch.ones(2, 8)
    assert torch.equal(model(x), model.warm(x))
    assert torch.equal(model(-x), model.cold(-x))


def test_names_are_unique_and_an_unknown_one_lists_them():
    assert len({one.name for one in SPECIMENS}) == len(SPECIMENS)
    with pytest.raises(KeyError, match=r"no specimen 'resnet21'; there are .*resnet20"):
        specimen("resnet21")
