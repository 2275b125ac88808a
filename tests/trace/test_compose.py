"""A network continued by a function of its output."""

import pytest
import torch

import vesalius as vs
from tests.test_first_calls import ROWS, module
from vesalius.core.errors import VesaliusError


@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_revealcancel", "integrated_gradients", "shapley_value"])
def test_a_function_of_the_output_is_explained_in_full(method):
    """A log-probability is no linear function of the logits: it becomes part of the graph, and the values add up to its change."""
    network, x = vs.trace(module(), ROWS), torch.tensor(ROWS).float()
    found = vs.attribute(network, x, method, target=lambda out: out.log_softmax(1)[:, 0])
    torch.testing.assert_close(found.total, network(x).log_softmax(1)[:, 0].detach())
    assert float(found.gap.abs().max()) < 1e-5


def test_what_is_computed_without_gradients_is_followed_too():
    def detached(out):
        with torch.no_grad():
            known = out.log_softmax(1)
        return known[:, 0] + 0 * out[:, 0]

    found = vs.attribute(module(), ROWS, "deeplift_rescale", target=detached)
    plain = vs.attribute(module(), ROWS, "deeplift_rescale", target=lambda out: out.log_softmax(1)[:, 0])
    torch.testing.assert_close(found.values, plain.values)


def test_a_function_that_its_graph_does_not_follow_is_refused():
    def detached(out):
        return out.log_softmax(1).data[:, 0] + 0 * out[:, 0]

    for method in ("deeplift_rescale", "gradient_x_input"):
        with pytest.raises(VesaliusError, match="not linear in the output, and the graph of the network cannot be continued"):
            vs.attribute(module(), ROWS, method, target=detached)
