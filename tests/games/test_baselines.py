"""What a baseline means where ids are explained, or a value behind them: its type decides, and the provenance says which it was."""

import numpy as np
import pytest
import torch

import vesalius as vs
from tests.trace.sequence_models import IDS, OTHER, STEPS, WIDTH, TwoLayers, built
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.games.absence import as_absence
from vesalius.trace.question import ask


@pytest.fixture(scope="module")
def model():
    return built(TwoLayers)


@pytest.fixture(scope="module")
def network(model):
    return vs.trace(model, IDS)


def stand_in(network, baseline, at="embed", x=IDS):
    question = ask(network, x, target=0, at=at)
    (fill,) = as_absence(baseline, question).fill(question)
    return fill


def words(network, baseline, at=None):
    return vs.attribute(network, IDS, "occlusion", target=0, at=at, baseline=baseline).provenance["baseline"]


@pytest.mark.parametrize(
    "four", [4, np.int64(4), torch.tensor(4), np.array(4), vs.Constant(4), torch.full((STEPS,), 4), np.full((1, STEPS), 4)]
)
def test_a_whole_number_is_that_token_at_the_ids_and_at_the_embedding(model, network, four):
    expected = model.embed(torch.full((STEPS,), 4)).detach()
    torch.testing.assert_close(stand_in(network, four)[0, 0], expected, rtol=0, atol=0)
    assert stand_in(network, four, at=None)[0, 0].tolist() == [4] * STEPS


@pytest.mark.parametrize("four", [4.0, np.float32(4), torch.tensor(4.0), vs.Constant(4.0), torch.full((STEPS, WIDTH), 4.0)])
def test_a_floating_number_is_that_number_in_every_coordinate(network, four):
    assert torch.equal(stand_in(network, four), torch.full((1, 1, STEPS, WIDTH), 4.0).double())


def test_the_same_further_on(model, network):
    with torch.no_grad():
        h = model.embed(torch.full((1, STEPS), 4))
        expected = model.first(h)
    torch.testing.assert_close(stand_in(network, 4, at="first")[:, 0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("at", [None, "embed"])
def test_the_provenance_says_which_it_was(network, at):
    assert words(network, 4, at) == "token 4"
    assert words(network, OTHER, at) == "given ids"
    assert words(network, 0.0, at) == ("token 0" if at is None else "constant 0")
    assert words(network, 4.0, at) == ("token 4" if at is None else "constant 4")


def test_ids_stay_ids_where_a_sequence_is_as_long_as_the_embedding_is_wide():
    square = built(TwoLayers)
    ids, other = torch.tensor([[5, 2, 3, 4, 1, 0]]), torch.tensor([[1, 1, 6, 0, 2, 3]])
    network = vs.trace(square, ids)
    meant = square.embed(other[0]).detach()
    for given in (other, other[0], other[0].int(), vs.Constant(other[0]), torch.cat([other, ids])):
        torch.testing.assert_close(stand_in(network, given, x=ids)[0, 0], meant, rtol=0, atol=0)
    values = torch.arange(6.0)
    assert torch.equal(stand_in(network, values, x=ids)[0, 0], values.expand(6, 6).double())
    assert torch.equal(stand_in(network, torch.eye(6), x=ids)[0, 0], torch.eye(6).double())


def test_a_prompt_for_each_sample_by_name(model, network):
    x, others = torch.cat([IDS, OTHER]), torch.cat([OTHER, IDS])
    fill = stand_in(network, vs.Constant(others), x=x)
    torch.testing.assert_close(fill[:, 0], model.embed(others).detach(), rtol=0, atol=0)


@pytest.mark.parametrize("at", [None, "embed"])
@pytest.mark.parametrize("baseline", [-1, 7, torch.full((STEPS,), 9), torch.tensor([[1] * STEPS, [8] * STEPS]), vs.Mean(IDS + 4)])
def test_no_token_of_that_number(network, at, baseline):
    with pytest.raises(InvalidInput, match=r"vocabulary of 7, 0 to 6|have no mean"):
        vs.attribute(network, IDS, "occlusion", target=0, at=at, baseline=baseline)


@pytest.mark.parametrize("baseline", [3.7, torch.full((STEPS,), 0.5), [0.5] * STEPS, np.full(STEPS, 2.25), vs.Constant(1e-9)])
def test_no_fraction_is_a_token(network, baseline):
    with pytest.raises(InvalidInput, match="there is no such token"):
        vs.attribute(network, IDS, "occlusion", target=0, baseline=baseline)


@pytest.mark.parametrize("baseline", ["mean", vs.Mean(), vs.Mean(torch.cat([IDS, OTHER]))])
def test_no_token_is_the_mean_of_others(network, baseline):
    with pytest.raises(InvalidInput, match="have no mean"):
        vs.attribute(network, torch.cat([IDS, OTHER]), "occlusion", target=0, baseline=baseline)


def test_what_may_be_either_is_refused_in_words(network):
    with pytest.raises(InvalidInput, match=r"is ids of 'ids', \[5\] of them, not of shape \[5, 6\]; for values, give floating numbers"):
        stand_in(network, torch.zeros(STEPS, WIDTH, dtype=torch.long))
    with pytest.raises(InvalidInput, match=r"are values there: for ids of 'ids', give whole numbers"):
        stand_in(network, torch.ones(STEPS))
    with pytest.raises(WrongType, match="booleans"):
        stand_in(network, True)


def test_a_network_of_numbers_takes_all_numbers_for_numbers():
    network = vs.trace(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)), torch.ones(1, 3))
    x = torch.ones(1, 3)
    for at, width in ((None, 3), ("1", 4)):
        assert torch.equal(stand_in(network, 4, at=at, x=x), torch.full((1, 1, width), 4.0))
        assert torch.equal(stand_in(network, torch.ones(width).long(), at=at, x=x), torch.ones(1, 1, width))


def test_columns_of_numbers_beside_those_of_ids_keep_their_numbers():
    class Mixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.out = torch.nn.Embedding(4, 3), torch.nn.Linear(5, 2)

        def forward(self, kinds, amounts):
            return self.out(torch.cat([self.rows(kinds), amounts], 1))

    x = (torch.tensor([1]), torch.ones(1, 2).double())
    network = vs.trace(built(Mixed), *x)
    assert torch.equal(stand_in(network, 0, at="cat", x=x), torch.zeros(1, 1, 5).double())
    assert torch.equal(stand_in(network, 0, at="rows", x=x)[0], network.parameters["rows.weight"][:1])
