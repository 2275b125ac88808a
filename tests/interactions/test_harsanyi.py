"""Dividends of networks: the definition, polynomials known by hand, every kind of player, what is listed, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.reference import analytic
from tests.reference import shapley as slow
from vesalius import Allocation, Game, Players, trace
from vesalius.core.errors import InvalidInput, TooManyPlayers, WrongType
from vesalius.games.absence import Marginal
from vesalius.games.moebius import membership, values_from_dividends
from vesalius.interactions import harsanyi_dividends, interactions

KNOWN = [case for case in analytic.CASES if case.dividends]


def tanh_net(features, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(features, 9), nn.Tanh(), nn.Linear(9, 3)).double().eval()


def sample(features, seed=1):
    return torch.randn(features, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net():
    return trace(tanh_net(9), torch.zeros(1, 9, dtype=torch.float64))


@pytest.fixture(scope="module")
def found(net):
    x = sample(9)
    return interactions(net, x, Players.features(x), target=1, baseline=0.5)


# ---- what they are


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_effects_known_by_hand(case):
    network = trace(case.model, case.x)
    dividend = interactions(network, case.x, Players.features(case.x[0]), baseline=case.baseline)
    names = [tuple(row.nonzero().flatten().tolist()) for row in dividend.coalitions]
    for members, value in zip(names, dividend.values.tolist(), strict=True):
        assert value == pytest.approx(case.dividends.get(members, 0.0), abs=1e-12)
    assert float(dividend.base) == pytest.approx(case.dividends.get((), 0.0), abs=1e-12)
    assert dividend.reduce("shapley").values.tolist() == pytest.approx(case.expected["shapley_value"], abs=5e-7)


def test_they_are_the_definition(net, found):
    """The alternating sum over subsets, each subset by running the network on it alone."""
    x, baseline = sample(9), torch.full((9,), 0.5, dtype=torch.float64)
    values = [float(net(torch.where(member, x, baseline)[None])[0, 1]) for member in membership(9)]
    expected = torch.tensor(slow.dividends(values)[1:], dtype=torch.float64)
    torch.testing.assert_close(found.values, expected, atol=1e-10, rtol=0)


def test_they_add_up(net, found):
    x = sample(9)
    ends = net(torch.stack([torch.full_like(x, 0.5), x]))[:, 1]
    torch.testing.assert_close(torch.stack([found.base, found.total]), ends, atol=1e-14, rtol=0)
    assert abs(float(found.gap)) <= 1e-10 * abs(float(found.total - found.base))


def test_index_order_gives_the_game_back(net, found):
    x = sample(9)
    table = values_from_dividends(torch.cat([found.base[None], found.values]))
    game = Game.on(net, x, Players.features(x), target=1, baseline=0.5)
    torch.testing.assert_close(table, game(membership(9)), atol=1e-12, rtol=0)


def test_what_is_told_beside_the_values(net, found):
    assert (found.values.dtype, found.order, int(found.evaluations)) == (torch.float64, 9, 512)
    facts = found.provenance
    assert (facts["method"], facts["index"], facts["target"]) == ("interactions", "dividend", "class 1")
    assert (facts["baseline"], facts["digest"]) == ("constant 0.5", net.digest())
    assert found.reduce("fsii").provenance["index"] == "fsii"


# ---- whose they are


def test_groups_absorb_what_is_within_them(net):
    """A group's dividend is the sum of those of the coalitions that meet every group of it and no other."""
    x = sample(9)
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2])
    fine = interactions(net, x, Players.features(x), target=0)
    coarse = interactions(net, x, Players.segments(labels), target=0)
    touched = torch.stack([fine.coalitions[:, labels == group].any(1) for group in range(3)], 1)
    for row, value in zip(coarse.coalitions, coarse.values, strict=True):
        torch.testing.assert_close(value, fine.values[(touched == row).all(1)].sum(), atol=1e-12, rtol=0)


def test_several_stand_ins_are_averaged(net):
    x, rows = sample(9), torch.stack([sample(9, seed) for seed in (5, 6, 7)])
    each = [interactions(net, x, Players.features(x), target=0, baseline=row).values for row in rows]
    together = interactions(net, x, Players.features(x), target=0, baseline=Marginal(background=rows))
    torch.testing.assert_close(together.values, torch.stack(each).mean(0), atol=1e-13, rtol=0)


def test_units_and_links_are_players_too():
    """Without a nonlinearity everything is additive, so that only singles have an effect."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        linear = trace(nn.Sequential(nn.Linear(9, 4), nn.Linear(4, 1)).double(), torch.zeros(1, 9, dtype=torch.float64))
    for players in (Players.units(linear, "0"), Players.links(linear, "1")):
        effect = interactions(linear, sample(9), players)
        alone = effect.coalitions.sum(1) == 1
        assert effect.values[~alone].abs().max() < 1e-12 < effect.values[alone].abs().max()


def test_a_plain_callable_will_do():
    opaque = trace(lambda x: x[:, 0] * x[:, 1] + 2 * x[:, 2], torch.zeros(1, 3, dtype=torch.float64))
    x = torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64)
    assert interactions(opaque, x, Players.features(x)).values.tolist() == pytest.approx([0, 0, 6, 8, 0, 0, 0])


def test_one_sample_with_its_batch_axis_is_one_sample(net):
    x = sample(9)
    one, other = (interactions(net, given, Players.features(x), target=1) for given in (x, x[None]))
    assert torch.equal(one.values, other.values)
    assert one.base.shape == other.base.shape == ()


# ---- what is listed


@pytest.mark.parametrize("order", [1, 2, 5])
def test_a_shorter_list_keeps_its_values_and_leaves_the_rest_in_the_gap(net, found, order):
    x = sample(9)
    short = interactions(net, x, Players.features(x), target=1, baseline=0.5, max_order=order)
    kept = found.coalitions.sum(1) <= order
    assert torch.equal(short.coalitions, found.coalitions[kept])
    torch.testing.assert_close(short.values, found.values[kept], atol=0, rtol=0)
    torch.testing.assert_close(short.gap, found.values[~kept].sum(), atol=1e-12, rtol=0)
    assert (short.order, int(short.evaluations)) == (order, 512)


def test_a_longer_list_than_there_is_is_the_whole(net, found):
    x = sample(9)
    assert torch.equal(interactions(net, x, Players.features(x), target=1, baseline=0.5, max_order=30).values, found.values)


def test_a_file_brings_coalitions_and_indices_back(found, tmp_path):
    for before in (found, found.reduce("k_sii", order=3)):
        after = Allocation.load(before.save(tmp_path / "d.safetensors"))
        assert torch.equal(after.values, before.values)
        assert torch.equal(after.coalitions, before.coalitions)
        assert (after.order, after.provenance["index"]) == (before.order, before.provenance["index"])
        assert after.gap == before.gap
    again = Allocation.load(found.save(tmp_path / "d.safetensors")).reduce("fsii", order=3)
    assert torch.equal(again.values, found.reduce("fsii", order=3).values)
    with pytest.raises(InvalidInput, match="'k_sii' already"):
        after.reduce("stii")


# ---- more players than can be enumerated


def test_with_more_players_pairs_are_estimated():
    """24 players, two pairs and singles that have an effect: the estimate finds them within 2 % of the largest."""
    network = trace(lambda x: 3 * x[:, 0] * x[:, 1] - 2 * x[:, 5] * x[:, 23] + x[:, 2:9].sum(1), torch.ones(1, 24, dtype=torch.float64))
    x = torch.ones(24, dtype=torch.float64)
    found, again = (interactions(network, x, Players.features(x)) for _ in range(2))
    assert found.provenance["index"] == "k_sii"
    assert found.provenance["digest"] == network.digest()
    assert found.provenance["options"] == {"max_order": 2, "seed": 0}
    assert (found.order, len(found.values)) == (2, 24 + 24 * 23 // 2)
    assert torch.equal(found.values, again.values)
    assert found.stderr is not None
    expected = torch.zeros_like(found.values)
    expected[2:9] = 1
    for members, value in ((0, 1), 3.0), ((5, 23), -2.0):
        expected[(found.coalitions.sum(1) == 2) & found.coalitions[:, list(members)].all(1)] = value
    torch.testing.assert_close(found.values, expected, atol=0.06, rtol=0)


# ---- games


def test_a_game_is_asked_once_for_every_coalition():
    asked = []
    game = Game.of(lambda masks: asked.extend(map(tuple, masks.tolist())) or masks.double().prod(1), 15, batch=300)
    dividend = harsanyi_dividends(game)
    assert len(asked) == len(set(asked)) == game.evaluations == int(dividend.evaluations) == 1 << 15
    assert dividend.values.nonzero().tolist() == [[(1 << 15) - 2]]
    assert game.table().nonzero().tolist() == [[(1 << 15) - 1]]
    assert int(harsanyi_dividends(game, max_order=1).evaluations) == 1 << 15  # of this call alone


# ---- what is refused


def test_more_players_than_can_be_enumerated():
    with pytest.raises(TooManyPlayers, match=r"21 players, but at most 20 .*interactions_of"):
        harsanyi_dividends(Game.of(lambda masks: masks.double().sum(1), 21))


def test_players_that_do_not_fit(net):
    with pytest.raises(InvalidInput, match="divide a tensor of shape"):
        interactions(net, sample(9), Players.features(sample(8)), target=0)


def test_two_samples(net):
    x = sample(9)
    with pytest.raises(InvalidInput, match="one sample; 2 came"):
        interactions(net, torch.stack([x, x]), Players.features(x), target=0)


def test_inputs_that_are_not_finite(net):
    x = sample(9)
    x[3] = float("nan")
    with pytest.raises(InvalidInput, match="NaN"):
        interactions(net, x, Players.features(x), target=0)


def test_outputs_that_are_not_finite():
    """Finite where everybody is present, infinite where the first is not."""
    network = trace(lambda x: 1 / x[:, 0] + x[:, 1], torch.ones(1, 2, dtype=torch.float64))
    with pytest.raises(InvalidInput, match="the output is inf for a coalition of 0 of 2 players"):
        interactions(network, torch.ones(2, dtype=torch.float64), Players.features(torch.ones(2)))


def test_an_order_below_one(net):
    with pytest.raises(InvalidInput, match="at least 1, not 0"):
        interactions(net, sample(9), Players.features(sample(9)), target=0, max_order=0)


def test_half_precision_is_named_with_the_way_out():
    network = trace(nn.Linear(3, 1).bfloat16(), torch.zeros(1, 3, dtype=torch.bfloat16))
    x = torch.ones(3, dtype=torch.bfloat16)
    with pytest.raises(InvalidInput, match=r"torch.bfloat16.*network.cast\(torch.float32\)"):
        interactions(network, x, Players.features(x))
    assert interactions(network.cast(torch.float32), x.float(), Players.features(x)).values.shape == (7,)


@pytest.mark.usefixtures("as_a_user")
def test_a_model_is_traced():
    model, x = nn.Linear(2, 1), torch.ones(2)
    torch.testing.assert_close(interactions(model, x).values[:2], model.weight[0].detach().double(), atol=1e-6, rtol=1e-6)
    with pytest.raises(WrongType, match=r"a torch\.nn\.Module, a function or an estimator"):
        interactions("model", x)
