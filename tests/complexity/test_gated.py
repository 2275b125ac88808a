"""The gated network: its terms sum to it, are its paths, and find a linear relation linear."""

import pytest
import torch

from tests.reference import complexity as slow
from vesalius.complexity.gated import GatedNetwork, Gating, train_gated
from vesalius.core.errors import InvalidInput


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def untrained_network(x, channels, layers=3):
    net = GatedNetwork(x, channels, Gating(layers=layers), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        net.logits.copy_(torch.linspace(-1, 2, layers - 1))
    return net


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("event", [(7,), (7, 9), (7, 5, 6), (3, 3, 3, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_the_terms_sum_to_the_output(layers, event, dtype, tolerance):
    x = draw(11, *event, dtype=dtype)
    net = untrained_network(x, 4, layers)
    terms = net.terms(x)
    assert len(terms) == layers and terms.dtype == dtype
    torch.testing.assert_close(terms.sum(0), net(x), atol=tolerance * float(net(x).detach().abs().max()), rtol=0)
    assert all(term.abs().max() > 1e-3 for term in terms)


def test_terms_are_sums_over_paths():
    x = draw(6, 5)
    net = untrained_network(x, 3, 4)
    terms = net.terms(x)
    for row in range(6):
        expected, output = slow.gated_paths([weight.detach() for weight in net.weights], net.strengths.tolist(), x[row])
        torch.testing.assert_close(terms[:, row], torch.stack(expected))
        torch.testing.assert_close(net(x)[row], output)


def test_the_scale_of_a_row_does_not_matter():
    x = draw(5, 4, 6, 6)
    net = untrained_network(x, 3)
    torch.testing.assert_close(net(x), net(10 * x))


def test_a_row_without_variation_is_left_as_it_is():
    x = torch.ones(3, 4, 5, 5)
    assert untrained_network(x, 2)(x).isfinite().all()


HOW = Gating(epochs=100, rates=(3e-2, 1e-3), batch=64)


def rows(seed):
    """Vectors of unit deviation, which the division leaves alone."""
    x = draw(800, 8, seed=seed)
    return x / x.std(1, correction=0, keepdim=True)


@pytest.mark.slow
def test_a_linear_relation_needs_no_gates_and_a_bend_does():
    weight, inner = draw(8, 4, seed=5), draw(8, 8, seed=6)
    told = {}
    for name, made in {"linear": lambda x: x @ weight, "bent": lambda x: (x @ inner).relu() @ weight}.items():
        net = train_gated(rows(1), made(rows(1)), gating=HOW)
        told[name] = net.split(rows(2), made(rows(2)))
        torch.testing.assert_close(told[name].parts.sum(0) + told[name].rest, made(rows(2)))
    assert told["linear"].missed < 1e-3 and told["linear"].shares[1:].max() < 5e-3 and abs(float(told["linear"].shares[0]) - 1) < 0.01
    assert told["bent"].missed < 0.5 and told["bent"].shares[1:].min() > 0.05


def test_training_is_reproducible_and_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    short = Gating(epochs=2)
    one, two = (train_gated(rows(1), rows(3), gating=short).terms(rows(2)) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(before, torch.random.get_rng_state())
    other = train_gated(rows(1), rows(3), gating=Gating(epochs=2, seed=1)).terms(rows(2))
    assert (one - other).abs().max() > 1e-3


REFUSED = [
    (lambda: train_gated(draw(5, 4), draw(4, 4)), "same rows"),
    (lambda: train_gated(draw(5, 4, 6, 6), draw(5, 4, 3, 3)), "one grid first"),
    (lambda: train_gated(draw(0, 4), draw(0, 4)), "same rows"),
    (lambda: train_gated(draw(5, 4) / 0, draw(5, 4)), "NaN or infinite"),
    (lambda: untrained_network(draw(5, 4), 3).split(draw(5, 3), draw(5, 3)), "turns 4 channels into 3"),
    (lambda: train_gated(draw(2, 2, 2, 2, 2, 2), draw(2, 2, 2, 2, 2, 2)), "up to 3 axes"),
    (lambda: Gating(kernel=2), "kernel is odd"),
    (lambda: Gating(layers=0), "layers"),
    (lambda: Gating(penalty=-1), "penalty"),
    (lambda: Gating(rates=(0, 1)), "each number of rates is a number above 0"),
]


@pytest.mark.parametrize(("ask", "message"), REFUSED, ids=[message for _, message in REFUSED])
@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_rebuilt_is_refused(ask, message):
    with pytest.raises(InvalidInput, match=message):
        ask()
