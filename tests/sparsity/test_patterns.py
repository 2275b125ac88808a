"""Masks keep their pattern, in every layer, mode and score, and hold the highest scores that fit it."""

import pytest
import torch
from torch import nn

import vesalius as vs
from vesalius.core.errors import InvalidInput, UnknownName
from vesalius.sparsity import Pruning, sparsify
from vesalius.sparsity.links import links_of
from vesalius.sparsity.pruning.patterns import Pattern

X = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))


def dense():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)).eval()


def links(weight):
    units, fan_in = weight.shape
    layer = nn.Linear(fan_in, units)
    return links_of(vs.trace(nn.Sequential(layer), torch.zeros(2, fan_in)))["0"]


@pytest.mark.parametrize("scope", ["2:4", "1:4", "1:2", "3:8"])
@pytest.mark.parametrize("mode", ["refit", "paper"])
def test_so_many_of_every_few_neighbours_stay(scope, mode):
    n, m = map(int, scope.split(":"))
    thin = sparsify(dense(), X, sparsity=1 - n / m, mode=mode, pruning=Pruning(scope=scope, rounds=3))
    for mask in thin.masks.values():
        assert bool((mask.unflatten(1, (-1, m)).sum(2) == n).all())
    assert thin.sparsity == pytest.approx(1 - n / m)


def test_neighbours_of_a_convolution_are_its_channels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(45, 3)).eval()
    mask = sparsify(model, torch.randn(40, 6, 5, 5), sparsity=0.5, pruning=Pruning(scope="2:4", rounds=2)).masks["0"]
    assert bool((mask[:, :4].sum(1) == 2).all()) and bool((mask[:, 4:].sum(1) == 1).all())


def test_the_highest_of_neighbours_stay():
    scores = torch.randn(3, 10, generator=torch.Generator().manual_seed(1))
    mask = Pattern.of("2:4").mask(links(scores), scores, 0)
    for unit in range(3):
        for group, most in ((range(4), 2), (range(4, 8), 2), (range(8, 10), 1)):
            best = sorted(group, key=lambda place: -float(scores[unit, place]))[:most]
            assert [place for place in group if mask[unit, place]] == sorted(best)


def test_on_the_way_to_a_pattern_more_stay_and_what_is_cut_stays_cut():
    scores = torch.rand(4, 16, generator=torch.Generator().manual_seed(1))
    one, pattern = links(scores), Pattern.of("1:4")
    half = pattern.mask(one, scores, 0, share=0.5)
    assert bool((half.unflatten(1, (-1, 4)).sum(2) == 2).all())
    end = pattern.mask(one, -scores, 0, half)
    assert bool((end <= half).all()) and bool((end.unflatten(1, (-1, 4)).sum(2) == 1).all())


@pytest.mark.parametrize("scope", ["4x1", "2x4", "1x8", "3x5"])
@pytest.mark.parametrize("mode", ["refit", "paper"])
def test_blocks_stay_or_go_as_one(scope, mode):
    high, wide = map(int, scope.split("x"))
    thin = sparsify(dense(), X, sparsity=0.6, mode=mode, pruning=Pruning(scope=scope, rounds=3))
    for mask in thin.masks.values():
        for part in mask.split(high, 0):
            for block in part.split(wide, 1):
                assert bool(block.all()) or not bool(block.any())
    assert thin.sparsity == pytest.approx(0.6, abs=0.06)


def test_blocks_of_the_highest_mean_stay():
    scores = torch.tensor([[9.0, 0.0, 3.0, 3.0], [0.0, 0.0, 3.0, 3.0], [1.0, 1.0, 4.0, 4.0]])
    mask = Pattern.of("2x2").mask(links(scores), scores, 6)
    assert mask.int().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize("scope", ["2:4", "4x1"])
def test_refitting_under_a_pattern_is_nearer_than_its_mask(scope):
    model = dense()

    def change(mode):
        thin = sparsify(model, X, sparsity=0.5, mode=mode, pruning=Pruning(scope=scope, allocation=None))
        return float((thin.model(X) - model(X)).detach().square().mean())

    assert change("refit") < 0.8 * change("paper")


@pytest.mark.parametrize(
    ("scope", "kind", "words"),
    [
        ("2:5:1", UnknownName, "2:4"),
        ("4:2", InvalidInput, "keeps 4 of every 2"),
        ("0:4", InvalidInput, "keeps 0 of every 4"),
        ("0x4", InvalidInput, "1 or more each"),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_words_that_are_no_pattern(scope, kind, words):
    with pytest.raises(kind, match=words):
        Pruning(scope=scope)


@pytest.mark.usefixtures("as_a_user")
def test_amounts_that_do_not_go_with_a_pattern():
    with pytest.raises(InvalidInput, match=r"prunes 0.5 of the links of every layer; give sparsity=0.5"):
        sparsify(dense(), X, sparsity=0.7, pruning=Pruning(scope="2:4"))
    with pytest.raises(InvalidInput, match="give one"):
        Pruning(scope="2:4", allocation="erk")
    with pytest.raises(InvalidInput, match="give sparsity instead"):
        sparsify(dense(), X, importance_level=0.7, pruning=Pruning(scope="4x1"))
