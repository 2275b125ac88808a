"""The one audit that several rooms look at."""

import pytest

from tests.audit.nets import columns, sample, tanh_net, traced, unchecked
from vesalius.audit import audit


@pytest.fixture(scope="session")
def smooth():
    """Every method on the smooth network of ten columns."""
    with unchecked():
        return audit(traced(tanh_net()), sample(), columns())
