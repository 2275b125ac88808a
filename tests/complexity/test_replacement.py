"""Networks on some of their components: everything is the network itself, a prefix is its prediction, a subset its sum."""

import pytest
import torch

from tests.complexity.small_network import labelled_rows, network, rows, small_complexity
from vesalius.complexity.features import cut_at
from vesalius.core.errors import InvalidInput


def test_all_orders_and_the_rest_are_the_network():
    x = rows(20, 3)
    torch.testing.assert_close(small_complexity().replace(2, rest=True)(x), network()(x), atol=1e-5, rtol=1e-5)


def test_an_order_is_everything_up_to_it_and_a_subset_is_itself():
    x, found = rows(20, 3), small_complexity()
    parts, head = found.components(x, seed=1).parts, cut_at(network(), "second").head
    torch.testing.assert_close(found.replace(1, seed=1)(x), head(parts[0] + parts[1]))
    torch.testing.assert_close(found.replace([2, 0], seed=1)(x), head(parts[0] + parts[2]))
    assert found.replace(1).orders == (0, 1) and "by orders 0, 1" in str(found.replace(1))


def test_its_accuracy_is_that_of_the_subset_in_the_table():
    found, (x, y) = small_complexity(), labelled_rows()
    judged = found.profile((x, y)).coalitions
    rest = found.replace([1], rest=True)(x)
    assert float((rest.argmax(1) == y).double().mean()) == pytest.approx(float(judged.accuracy[2]))


def test_what_is_not_there_is_refused():
    with pytest.raises(InvalidInput, match="no component has order 7; there are orders 0, 1, 2"):
        small_complexity().replace([0, 7])
    with pytest.raises(InvalidInput, match="nothing would be left"):
        small_complexity().replace([])
