"""Which tables ids are looked up in, read off graphs of different kinds, and ids that are not in them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vesalius as vs
from tests.trace.sequence_models import IDS, OTHER, Masked, TwoLayers, built
from vesalius.core.errors import InvalidInput


class Table(nn.Module):
    """Ids, looked up in some way; 7 rows."""

    def __init__(self, way):
        super().__init__()
        self.way, self.rows, self.out = way, nn.Embedding(7, 4), nn.Linear(4, 2)

    def forward(self, ids):
        return self.out(WAYS[self.way](self, ids))


WAYS = {
    "embedding": lambda model, ids: model.rows(ids).mean(1),
    "parameter": lambda model, ids: model.rows.weight[ids].mean(1),
    "index_select": lambda model, ids: model.rows.weight.index_select(0, ids.flatten()).view(-1, 5, 4).mean(1),
    "gather": lambda model, ids: model.rows.weight.gather(0, ids[:, :4]),
    "one_hot": lambda model, ids: (F.one_hot(ids, 7).to(model.rows.weight) @ model.rows.weight).mean(1),
    "bag": lambda model, ids: F.embedding_bag(ids, model.rows.weight, mode="sum"),
    "column": lambda model, ids: model.rows(ids[:, 1:].transpose(0, 1).contiguous()).sum(0),
    "small integers": lambda model, ids: model.rows(ids.to(torch.int32)).mean(1),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_id_out_of_the_vocabulary_is_named_with_its_sample(way):
    network = vs.trace(built(Table, way), IDS)
    (lookup,) = network.lookups
    assert (lookup.rows, lookup.inputs, lookup.verbatim) == (7, ("ids",), True)
    wrong = torch.cat([IDS, IDS, IDS])
    wrong[2, 2] = 7
    with pytest.raises(InvalidInput, match=r"sample 2 holds 7, and input 'ids' has a vocabulary of 7, 0 to 6"):
        vs.attribute(network, wrong, "occlusion", target=0)
    network(torch.cat([IDS, OTHER]))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("baseline", [-1, 7, torch.full((5,), 9)])
def test_a_baseline_out_of_the_vocabulary_is_refused(way, baseline):
    network = vs.trace(built(Table, way), IDS)
    with pytest.raises(InvalidInput, match=r"the baseline holds|cannot hold|leads to row"):
        vs.attribute(network, IDS, "occlusion", target=0, baseline=baseline)


def test_several_tables_are_each_looked_at_with_what_reaches_them():
    class Columns(nn.Module):
        def __init__(self):
            super().__init__()
            self.few, self.many, self.out = nn.Embedding(3, 4), nn.Embedding(50, 4), nn.Linear(4, 2)

        def forward(self, ids):
            return self.out(self.few(ids[:, 0]) + self.many(ids[:, 1]))

    network = vs.trace(built(Columns), torch.tensor([[1, 30]]))
    network(torch.tensor([[2, 49], [0, 3]]))
    with pytest.raises(InvalidInput, match=r"sample 1 holds 3.*vocabulary of 3.*'few'"):
        network(torch.tensor([[2, 49], [3, 3]]))


def test_ids_that_are_computed_with_are_judged_by_what_is_looked_up():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.out = nn.Embedding(7, 4), nn.Linear(4, 2)
            self.register_buffer("offset", torch.tensor([0, 1, 2]))

        def forward(self, ids):
            return self.out(self.rows(torch.where(ids < 0, 0, ids + self.offset)).mean(1))

    network = vs.trace(built(Padded), torch.tensor([[1, 2, -1]]))
    network(torch.tensor([[6, 5, -100]]))
    vs.attribute(network, torch.tensor([[1, 2, 3]]), "occlusion", target=0, baseline=-1)
    with pytest.raises(InvalidInput, match=r"a sample of 'ids' leads to row 7 of 'rows', which has 7"):
        network(torch.tensor([[1, 6, 0]]))


def test_places_in_a_sequence_are_looked_at_too():
    class LastStep(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.out = nn.Embedding(7, 4), nn.Linear(4, 2)

        def forward(self, ids, length):
            h = self.rows(ids).cumsum(1)
            return self.out(h.gather(1, (length - 1)[:, None, None].expand(-1, 1, 4))[:, 0])

    network = vs.trace(built(LastStep), IDS, torch.tensor([3]))
    network(IDS, torch.tensor([5]))
    with pytest.raises(InvalidInput, match=r"a sample of 'length' leads to row 5 of 'cumsum', which has 5"):
        network(IDS, torch.tensor([6]))


def test_a_network_without_ids_looks_nothing_up():
    assert vs.trace(nn.Linear(3, 2), torch.zeros(1, 3)).lookups == ()


def test_without_a_graph_torchs_error_is_put_into_words():
    model = built(TwoLayers)
    network = vs.trace(lambda ids: model(ids), IDS)
    for x, baseline in ((IDS + 5, None), (IDS, 9)):
        with pytest.raises(InvalidInput, match=r"looked up a row that is not there.*'ids' must hold ids within its vocabulary"):
            vs.attribute(network, x, "occlusion", target=0, baseline=baseline)


def test_an_untraced_model_says_the_same_of_its_first_samples():
    with pytest.raises(InvalidInput, match=r"looked up a row that is not there"):
        vs.attribute(built(TwoLayers), IDS + 5, "occlusion", target=0)


def test_numbers_that_the_inputs_type_cannot_hold_do_not_wrap_around():
    network = vs.trace(built(TwoLayers), IDS.int())
    with pytest.raises(InvalidInput, match=r"torch.int32, which cannot hold"):
        network(IDS + 2**32)


def test_a_mask_is_looked_up_nowhere():
    network = vs.trace(built(Masked), torch.ones_like(IDS), IDS)
    assert [lookup.inputs for lookup in network.lookups] == [("ids",)]


@pytest.mark.parametrize("way", ["embedding", "one_hot", "gather", "index_select"])
def test_every_way_of_saying_so_without_a_graph(way):
    model = built(Table, way)
    with pytest.raises(InvalidInput, match="'ids' must hold ids within its vocabulary"):
        vs.attribute(vs.trace(lambda ids: model(ids), IDS), IDS, "occlusion", target=0, baseline=9)


def test_other_errors_of_a_model_are_its_own():
    def picky(ids):
        if int(ids.max()) > 5:
            raise RuntimeError("no such luck")
        return ids.sum(1).double()

    network = vs.trace(picky, IDS)
    with pytest.raises(RuntimeError, match="no such luck"):
        network(IDS + 3)
