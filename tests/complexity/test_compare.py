"""One feature in several networks: each as it is alone, differences with errors, and only what was asked for."""

import pytest
import torch
import torch.nn.functional as F

import vesalius as vs
from tests.complexity.small_network import TRAINING, labelled_rows, model, network, rows, small_complexity
from tests.trace.laid_out_networks import ConvNeXt, laid_out, same_weights
from vesalius.complexity import complexity
from vesalius.complexity.compare import compare
from vesalius.complexity.component_effects import component_losses, labelled_components
from vesalius.complexity.features import cut_at
from vesalius.complexity.profile import MEASURES
from vesalius.complexity.strength import weighted_significance
from vesalius.core.errors import InvalidInput, UnknownName, WrongType

NETWORKS = {"first": 0, "second": 1}


@pytest.fixture(scope="module")
def comparison():
    judged = {"train": labelled_rows(), "test": labelled_rows(40, 2), "others": [network(2), network(3)]}
    networks = {name: network(seed) for name, seed in NETWORKS.items()}
    return compare(networks, rows(), at="second", orders=(0, 1, 2), **judged, training=TRAINING)


@pytest.mark.slow
def test_each_network_is_as_it_is_alone(comparison):
    for name, seed in NETWORKS.items():
        alone = small_complexity(seed)
        torch.testing.assert_close(comparison.profiles[name].complexity.gain, alone.gain)
        judged = component_losses(alone, labelled_rows(), labelled_rows(40, 2))
        torch.testing.assert_close(comparison.profiles[name].measure("effectiveness").values, judged.effectiveness(None).values)
        torch.testing.assert_close(comparison.profiles[name].measure("overfitting").values, judged.overfitting.values)
    assert comparison.orders == (0, 1, 2)


def test_a_difference_has_the_errors_of_both(comparison):
    one, two = (comparison.profiles[name].measure("effectiveness") for name in NETWORKS)
    shift = comparison.shift("second", "effectiveness")
    torch.testing.assert_close(shift.values, two.values - one.values)
    torch.testing.assert_close(shift.stderr, (one.stderr**2 + two.stderr**2).sqrt())
    assert not comparison.shift("first", "strength").values.any()
    assert all(name in repr(comparison) for name in MEASURES)
    assert all(name in repr(comparison.profiles["first"]) for name in MEASURES)
    assert repr(small_complexity().profile()).count("\n") == 5, "strength alone"


def test_a_network_is_reliable_to_itself():
    found = small_complexity().profile(train=labelled_rows(200), others=[network()]).reliability
    assert float(found.explained[0]) > 0.999 and float(found.values[0]) > 0.999


def test_others_are_models_in_any_form_and_in_a_list(as_a_user):
    """One traced, one not; what is no list is said to be none."""
    x, found = rows(200), small_complexity()
    traced, plain = (found.reliability(x, others=[one]) for one in (network(1), model(1)))
    torch.testing.assert_close(traced.values, plain.values, equal_nan=True)  # of a component that is nothing there is no share
    for one in (network(1), model(1)):
        with pytest.raises(WrongType, match=r"others are networks in a list, not (Network|SmallNet); .*others=\[network\]"):
            found.reliability(x, others=one)


class Straight(ConvNeXt):
    """The block without the way round, so that the output is a function of its wide layer."""

    def forward(self, x):
        y = self.depth(self.stem(x))
        y = self.narrow(F.gelu(self.wide(self.norm(y.permute(0, 2, 3, 1) if self.last else y))))
        return self.head((y.permute(0, 3, 1, 2) if self.last else y).square().mean((2, 3)))


def test_networks_are_matched_along_their_channels_in_any_layout():
    """The same network with channels last: what it knows of the feature is all of it, whichever of the two is asked."""
    torch.manual_seed(0)
    first, x = Straight(last=False), laid_out("channels first", 120)[1]
    networks = [vs.trace(model.float(), x.float()) for model in (first, same_weights(first, Straight(last=True)))]
    for one, other in (networks, networks[::-1]):
        found = complexity(one, x.float(), at="wide", orders=(0, 1), training=TRAINING)
        judged = found.profile(train=(x.float(), torch.arange(120) % 4), others=[other]).reliability
        assert float(judged.explained[0]) > 0.99 and judged.projection.shape == (8, 8)


def test_strength_as_the_head_sees_it():
    found = small_complexity().profile(train=labelled_rows(), weighted=True)
    rows = labelled_components(small_complexity(), labelled_rows())
    expected = weighted_significance(rows.parts, rows.rest, cut_at(network(), "second").head)
    torch.testing.assert_close(found.weighted, expected)


def test_what_was_not_asked_for_is_not_there():
    bare = small_complexity().profile()
    assert [bare.measure(name) is not None for name in MEASURES] == [True, False, False, False]
    assert bare.weighted is None
    train_only = small_complexity().profile(train=labelled_rows())
    assert [train_only.measure(name) is not None for name in MEASURES] == [True, False, True, False]


def test_what_cannot_be_compared_is_refused(comparison):
    with pytest.raises(InvalidInput, match="at least two networks"):
        compare({"one": network()}, rows(), at="second")
    with pytest.raises(InvalidInput, match="give train="):
        small_complexity().profile(test=labelled_rows())
    with pytest.raises(UnknownName, match="strength"):
        comparison.profiles["first"].measure("strenth")
    with pytest.raises(UnknownName, match="second"):
        comparison.shift("secnd", "strength")
