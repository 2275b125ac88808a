"""What is explained where nobody says so: the ids and never their mask, whatever comes first and whatever it is made of."""

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.trace.sequence_models import IDS, OTHER, Masked, TwoLayers, built
from vesalius.core.errors import InvalidInput
from vesalius.trace.question import ask

MASKS = {
    "int64": torch.ones(1, 5, dtype=torch.long),
    "int32": torch.ones(1, 5, dtype=torch.int32),
    "bool": torch.ones(1, 5, dtype=torch.bool),
    "float64": torch.ones(1, 5, dtype=torch.float64),
}


class Unnamed(TwoLayers):
    """The mask's name does not say what it is."""

    def forward(self, keep, tokens):
        return self.body(self.embed(tokens), keep == 0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", MASKS)
def test_the_ids_are_explained_and_not_the_mask_before_them(dtype):
    mask = MASKS[dtype]
    network = vs.trace(built(Masked), mask, IDS)
    alone = vs.attribute(vs.trace(built(TwoLayers), IDS), IDS, "occlusion", target=1, baseline=4)
    found = vs.attribute(network, (mask, IDS), "occlusion", target=1, baseline=4)
    assert found.provenance["at"] == ["ids"]
    torch.testing.assert_close(found.values, alone.values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_a_mask_is_told_by_what_becomes_of_it_not_by_its_name(dtype):
    assert ask(vs.trace(built(Unnamed), MASKS[dtype], IDS), (MASKS[dtype], IDS), target=0).at == ("tokens",)


def test_floats_beside_ids_that_may_be_a_mask_are_asked_about():
    network = vs.trace(built(Unnamed), MASKS["float64"], IDS)
    with pytest.raises(InvalidInput, match=r"may be what is to be explained, or a mask of 'tokens'.*at='tokens' or at='keep'"):
        ask(network, (MASKS["float64"], IDS), target=0)
    assert ask(network, (MASKS["float64"], IDS), target=0, at="keep").at == ("keep",)


def test_floats_beside_ids_that_are_no_mask_are_explained():
    class Times(TwoLayers):
        def forward(self, ids, time):
            return self.body(self.embed(ids) * time[..., None])

    time = torch.linspace(0, 2, 5).double()[None]
    assert ask(vs.trace(built(Times), IDS, time), (IDS, time), target=0).at == ("time",)


def test_of_several_ids_those_with_the_largest_vocabulary():
    class Typed(TwoLayers):
        def __init__(self):
            super().__init__()
            self.types, self.places = nn.Embedding(2, 6), nn.Embedding(5, 6)

        def forward(self, token_type_ids, position_ids, ids):
            return self.body(self.embed(ids) + self.types(token_type_ids) + self.places(position_ids))

    inputs = (torch.zeros_like(IDS), torch.arange(5)[None], IDS)
    network = vs.trace(built(Typed), *inputs)
    assert ask(network, inputs, target=0).at == ("ids",)
    assert ask(network, inputs, target=0, at="token_type_ids").at == ("token_type_ids",)


def test_positions_that_are_counted_from_a_mask_do_not_make_it_ids():
    class Counted(TwoLayers):
        def __init__(self):
            super().__init__()
            self.places = nn.Embedding(100, 6)

        def forward(self, keep, ids):
            return self.body(self.embed(ids) + self.places((keep.cumsum(1) - 1).clamp(min=0)), keep == 0)

    mask = MASKS["int64"]
    assert ask(vs.trace(built(Counted), mask, IDS), (mask, IDS), target=0).at == ("ids",)


def test_without_a_graph_names_tell_or_the_caller_does():
    model = built(Masked)
    network = vs.trace(lambda attention_mask, ids: model(attention_mask, ids), MASKS["int64"], IDS)
    assert ask(network, (MASKS["int64"], IDS), target=0).at == ("ids",)
    unnamed = vs.trace(lambda keep, tokens: model(keep, tokens), MASKS["int64"], IDS)
    with pytest.raises(InvalidInput, match=r"'keep' and 'tokens' is to be explained; say so with at="):
        ask(unnamed, (MASKS["int64"], IDS), target=0)
    assert ask(unnamed, (MASKS["int64"], IDS), target=0, at="tokens").at == ("tokens",)


def test_a_baseline_for_an_inner_value_stands_in_for_the_ids_not_for_the_mask_before_them():
    mask = MASKS["int64"]
    network = vs.trace(built(Masked), mask, IDS)
    players = vs.Players.tokens(torch.zeros(5, 6))
    here = vs.attribute(network, (mask, IDS), "occlusion", target=1, at="embed", baseline=OTHER, players=players)
    there = vs.attribute(network, (mask, IDS), "occlusion", target=1, baseline=OTHER)
    torch.testing.assert_close(here.values, there.values.double(), rtol=1e-6, atol=1e-7)  # values at ids are in float32


def test_all_floating_inputs_as_ever():
    network = vs.trace(lambda a, b: a.sum(1) * b.sum(1), torch.ones(1, 2), torch.ones(1, 3))
    assert ask(network, (torch.ones(1, 2), torch.ones(1, 3))).at == ("a", "b")
    counts = torch.tensor([[1, 2]])
    assert ask(vs.trace(lambda counts: counts.sum(1).float(), counts), counts).at == ("counts",)


@pytest.mark.parametrize("turned", [False, True])
def test_one_sample_by_name_in_any_order(turned):
    mask = MASKS["int64"]
    network = vs.trace(built(Masked), mask, IDS)
    given = {"attention_mask": mask[0], "ids": IDS[0]}
    found = vs.attribute(network, dict(reversed(given.items())) if turned else given, "occlusion", target=0)
    assert found.provenance["at"] == ["ids"] and found.values.shape == (5,)
