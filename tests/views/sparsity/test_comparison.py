"""Pruning methods compared: the numbers are those of pruning by hand, and are shown."""

import pytest
import torch

import vesalius as vs
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.models import Autoencoder
from vesalius.sparsity import Pruning, PruningMethod, compare_pruning, sparsify
from vesalius.sparsity.metrics import reconstruction_error
from vesalius.views.sparsity.comparison import pruning_comparison_body, pruning_comparison_section

WAYS = {"refit": PruningMethod(), "once, magnitude": PruningMethod(mode="paper", pruning=Pruning(score="magnitude"))}


def rows(count=64, seed=3):
    return torch.rand(count, 16, generator=torch.Generator().manual_seed(seed))


def models(count=2):
    return [Autoencoder([16, 6, 3], seed=seed) for seed in range(count)]


def judged(model, place):
    return {"error": reconstruction_error(model, rows(40, seed=9)), "place": float(place)}


@pytest.fixture(scope="module")
def found():
    return compare_pruning(models(), rows(), judged, sparsity=(0.5, 0.8), ways=WAYS)


def test_numbers_are_those_of_pruning_by_hand(found):
    for place, model in enumerate(models()):
        for at, cut in enumerate((0.5, 0.8)):
            hand = sparsify(model, rows(), sparsity=cut, mode="paper", pruning=Pruning(score="magnitude"))
            error = reconstruction_error(hand.model, rows(40, seed=9))
            assert float(found.found["error"]["once, magnitude"][place, at]) == pytest.approx(error)
    assert found.dense["place"].tolist() == [0, 1] and found.found["place"]["refit"].tolist() == [[0, 0], [1, 1]]
    assert "once, magnitude" in repr(found) and "50%, 80%" in repr(found)


def test_it_is_shown_with_every_measure(found, read):
    page = read(str(pruning_comparison_section(found).body))
    assert len(page.all("svg", **{"class": "lines"})) == 2 and "80 %" in page.text and "2 networks" in page.text
    assert found.plot("error").axes[0].get_ylabel() == "error"
    assert "Pruning methods compared" in found._repr_html_() and "Pruning methods compared" in vs.report([found], title="t").html
    with pytest.raises(UnknownName, match="did you mean 'error'"):
        found.plot("eror")


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InvalidInput, match="0 networks and 2 ways"):
        compare_pruning([], rows(), judged, ways=WAYS)
    with pytest.raises(InvalidInput, match="it must always give the same"):
        compare_pruning(models(1), rows(), lambda model, place: {str(id(model)): 0.0}, sparsity=(0.5,), ways=WAYS)
    with pytest.raises(WrongType, match="expected a PruningComparison, not int"):
        pruning_comparison_body(3)
