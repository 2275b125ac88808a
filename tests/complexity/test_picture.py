"""Pictures of components: of maps, sequences and vectors, each with parts and rest that are the feature, on a page and on paper."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.complexity.small_network import TRAINING, rows, small_complexity
from vesalius.complexity import complexity
from vesalius.complexity.picture import MOST_ROWS, MOST_SAMPLES, MOST_UNITS
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.views.complexity.charts import plot_component_picture


class Reader(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.inner, self.out = cell, nn.Linear(30, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.inner(x)[0][:, -1]))


@pytest.fixture(scope="module")
def sequences():
    torch.manual_seed(0)
    x = torch.randn(60, 5, 3)
    return complexity(vs.trace(Reader(nn.GRU(3, 30, batch_first=True)), x[:2]), x, at="inner", orders=(0, 1), training=TRAINING), x


@pytest.fixture(scope="module")
def tables():
    torch.manual_seed(0)
    x, model = torch.randn(60, 4), nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 1))
    return complexity(vs.trace(model, x[:2]), x, at="2", orders=(0, 1), training=TRAINING), x


def check_sums(picture):
    for maps in picture.maps:
        names = list(maps.parts)
        assert (names[0], names[-1]) == ("feature", "rest") and names[1:-1] == list(maps.sums)
        torch.testing.assert_close(sum(maps.parts[name] for name in names[1:]), maps.parts["feature"])
        torch.testing.assert_close(maps.sums[names[-2]] + maps.parts["rest"], maps.parts["feature"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(maps.sums[names[1]], maps.parts[names[1]])
        assert maps.scale >= float(maps.parts["feature"].abs().max())


def test_a_map_shows_the_unit_that_varies_most_beside_its_picture():
    found, x = small_complexity(), rows(5)
    picture = found.picture(x)
    feature = found.components(x[:MOST_SAMPLES])
    whole = feature.parts.sum(0) + feature.rest
    unit = int(whole.movedim(1, 0).flatten(1).var(1).argmax())
    assert picture.units == (unit,) and len(picture.maps) == MOST_SAMPLES and picture.maps[0].image.shape == (1, 6, 6)
    torch.testing.assert_close(picture.maps[1].parts["feature"], whole[1, unit].double())
    check_sums(picture)
    other = (unit + 1) % 3
    torch.testing.assert_close(
        found.picture(x, unit=other, seed=1).maps[0].parts["feature"], whole[0, other].double(), rtol=1e-5, atol=1e-5
    )


def test_a_sequence_shows_units_by_steps(sequences):
    found, x = sequences
    picture = found.picture(x)
    assert picture.axes == ("units", "steps") and len(picture.units) == MOST_UNITS and len(picture.maps) == MOST_SAMPLES
    expected = found.reading.network.read(x, found.at)[found.at][2].T[list(picture.units)]
    torch.testing.assert_close(picture.maps[2].parts["feature"], expected.double(), rtol=1e-5, atol=1e-5)
    assert picture.maps[0].seen.shape == (3, 5) and picture.maps[0].image is None
    check_sums(picture)


def test_vectors_are_shown_row_by_row(tables):
    found, x = tables
    picture = found.picture(x)
    assert picture.axes == ("rows", "units") and len(picture.maps) == 1 and picture.maps[0].parts["rest"].shape == (MOST_ROWS, MOST_UNITS)
    assert picture.maps[0].seen.shape == (MOST_ROWS, 4)
    check_sums(picture)


@pytest.mark.slow
def test_they_show_themselves_on_paper_and_in_a_notebook(sequences, tables):
    for found, x in (sequences, tables, (small_complexity(), rows(5))):
        picture = found.picture(x)
        drawn = picture.plot(title="<a> title").axes[0]
        shown = [inner.get_title() for inner in drawn.child_axes]
        assert drawn.get_title("left") == "<a> title" and shown.count("rest") == len(picture.maps)
        assert len(shown) == sum(2 * len(maps.parts) - 1 for maps in picture.maps), "the input, the parts, and a sum for each component"
        page = picture._repr_html_()
        assert page.count("up to 0") >= len(picture.maps) and "Components of a feature" in page
        assert str(vs.report([found], title="t").html)


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_shown_is_refused(tables):
    found, x = tables
    with pytest.raises(InvalidInput, match="units 0 to 39, no unit 40"):
        found.picture(x, unit=40)
    with pytest.raises(InvalidInput, match="2 seeds, from 0; not 2"):
        found.picture(x, seed=2)
    with pytest.raises(WrongType, match=r"found\.picture"):
        plot_component_picture(found)
