"""Components through the rest of the network: the whole feature is the network, and what cannot be judged is refused."""

import sys
from dataclasses import replace

import pytest
import torch

import vesalius as vs
from tests.complexity.small_network import TRAINING, labelled_rows, model, network, rows, small_complexity
from tests.information.test_units import Residual
from vesalius.complexity import Training, complexity
from vesalius.complexity.component_effects import component_losses, labelled_components
from vesalius.core.errors import InvalidInput, WrongType


def test_all_components_and_the_rest_are_the_network():
    found, (x, y) = small_complexity(), labelled_rows()
    judged = component_losses(found, (x, y), labelled_rows(40, 2))
    loss = torch.nn.functional.cross_entropy(network()(x).double(), y, reduction="none")
    torch.testing.assert_close(judged.train[-1], loss, atol=1e-5, rtol=1e-5)
    assert judged.orders == (0, 1, 2) and judged.test is not None and judged.test.shape == (8, 40)
    fall = judged.effectiveness(None).values
    torch.testing.assert_close(fall.sum(), (judged.train[0] - judged.train[-1]).mean())


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.bfloat16, 2e-2)])
def test_networks_of_other_precisions_are_judged(dtype, close):
    net = vs.trace(model().to(dtype), rows(2).to(dtype))
    x, y = rows(60, 1).to(dtype), labelled_rows()[1]
    found = complexity(net, rows().to(dtype), at="second", orders=(0, 1), training=TRAINING)
    components = found.components(x)
    assert components.rest.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    loss = torch.nn.functional.cross_entropy(net(x).double(), y, reduction="none")
    torch.testing.assert_close(component_losses(found, (x, y)).train[-1], loss, atol=close, rtol=close)
    assert found.replace(1)(x).dtype == components.rest.dtype


def test_components_of_all_rows_are_those_of_each(monkeypatch):
    found, (x, y) = small_complexity(), labelled_rows()
    whole = labelled_components(found, (x, y), seed=1)
    monkeypatch.setattr(sys.modules["vesalius.complexity.component_effects"], "BATCH", 7)
    torch.testing.assert_close(labelled_components(found, (x, y), seed=1).parts, whole.parts)
    torch.testing.assert_close(whole.parts, found.components(x, seed=1).parts)


def test_a_feature_that_is_bypassed_has_no_effects():
    torch.manual_seed(0)
    net = vs.trace(Residual().eval(), torch.randn(2, 1, 5, 5))
    x = torch.randn(120, 1, 5, 5)
    found = complexity(net, x, at="norm", orders=(0,), training=Training(seeds=1))
    with pytest.raises(InvalidInput, match=r"is bypassed.*nearest later value"):
        component_losses(found, (x, torch.zeros(120).long()))


@pytest.mark.usefixtures("as_a_user")
def test_what_does_not_fit_is_refused(monkeypatch):
    found, (x, y) = small_complexity(), labelled_rows()
    with pytest.raises(InvalidInput, match="loaded without its network"):
        component_losses(replace(found, source=None), (x, y))
    with pytest.raises(InvalidInput, match="N targets"):
        component_losses(found, (x, y[:5]))
    with pytest.raises(WrongType, match="dtype"):
        component_losses(found, (rows(5) + 1j, y[:5]))
    monkeypatch.setattr(sys.modules["vesalius.complexity.component_effects"], "MAX_BYTES", 1000)
    with pytest.raises(InvalidInput, match="take fewer rows"):
        component_losses(found, (x, y))
