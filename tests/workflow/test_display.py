"""The display, as scikit-learn's are used: from an estimator, drawn where it is told, drawn again."""

import matplotlib.figure
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier

import vesalius as vs
from vesalius.core.errors import InvalidInput
from vesalius.workflow import AttributionDisplay


@pytest.fixture(scope="module")
def iris():
    frame = load_iris(as_frame=True)
    x = frame.data.iloc[::10]
    return MLPClassifier((4,), solver="lbfgs", max_iter=500, random_state=0).fit(x, frame.target.iloc[::10]), x


def test_it_draws_what_the_verb_finds(iris):
    model, x = iris
    display = AttributionDisplay.from_estimator(model, x, sample=3, target=1)
    expected = vs.attribute(model, x, "shapley_value", target=1, baseline="mean")[3]
    torch.testing.assert_close(display.allocation.values, expected.values)
    assert isinstance(display.figure_, matplotlib.figure.Figure) and display.ax_ in display.figure_.axes
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert len(names) == 4 and all(any(name.startswith(column) for name in names) for column in x.columns)


def test_it_draws_into_axes_that_are_given(iris):
    model, x = iris
    first, second = matplotlib.figure.Figure().subplots(1, 2)
    display = AttributionDisplay.from_estimator(model, x.to_numpy(), feature_names=["p", "q", "r", "s"], method="occlusion", ax=first)
    assert display.ax_ is first and display.figure_ is first.figure and first.get_xlabel()
    assert display.plot(ax=second) is display and display.ax_ is second
    assert any(label.get_text().startswith("p") for label in second.get_yticklabels())


def test_one_row_is_shown(iris):
    model, x = iris
    with pytest.raises(InvalidInput, match="sample=15"):
        AttributionDisplay.from_estimator(model, x, sample=15)
    with pytest.raises(InvalidInput, match="one sample"):
        AttributionDisplay(vs.attribute(model, x, "occlusion"))
    last = AttributionDisplay.from_estimator(model, pd.DataFrame(x), sample=-1, method="occlusion")
    assert last.allocation.players.n == 4
