"""Maps of point-wise flow: one per class on one scale, channels summed, the image beside them."""

import numpy as np
import pytest
import torch

from vesalius.core.errors import InvalidInput
from vesalius.views.flow.saliency import plot_saliency


def test_one_map_per_class_on_one_scale():
    flow = torch.arange(24.0).reshape(12, 2) - 8
    figure = plot_saliency(flow, (3, 2, 2), classes=["cat", "dog"], image=torch.rand(3, 2, 2))
    _, cat, dog = figure.axes
    np.testing.assert_allclose(np.asarray(dog.images[0].get_array()), flow[:, 1].reshape(3, 2, 2).sum(0))
    assert cat.images[0].get_clim() == dog.images[0].get_clim() == (-21.0, 21.0)
    assert [ax.get_title() for ax in figure.axes] == ["image", "cat", "dog"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match="comes from 12 units"):
        plot_saliency(torch.zeros(12, 2), (3, 3))
    with pytest.raises(InvalidInput, match="2 classes, and 1 names"):
        plot_saliency(torch.zeros(12, 2), (3, 4), classes=["cat"])
