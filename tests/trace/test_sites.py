"""Explained values behind each other: the truth is activation patching with hooks, in plain PyTorch."""

import pickle
from itertools import product

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.reference.patching import activations, patched
from tests.trace.sequence_models import HEADS, IDS, OTHER, Masked, TwoLayers, built
from vesalius.audit import Auditor
from vesalius.core.errors import InvalidInput
from vesalius.core.text_division import BYSTANDER
from vesalius.interactions.taylor import order_totals
from vesalius.trace.question import ask
from vesalius.trace.sites import later_sites

HEAD = torch.arange(HEADS)[:, None, None]
SITES = {"first": HEAD, "mlp": torch.tensor([[0]]), "second": HEAD}
"""Modules, and which of its own players each element of their outputs belongs to."""


@pytest.fixture(scope="module")
def model():
    return built(TwoLayers)


@pytest.fixture(scope="module")
def network(model):
    return vs.trace(model, IDS)


def players_at(names):
    """The players of several modules, in that order."""
    index, start = [], 0
    for name in names:
        index.append(SITES[name] + start)
        start += int(SITES[name].max()) + 1
    return vs.Players(tuple(index), (start,), "heads")


def all_masks(count):
    return torch.tensor(list(product([False, True], repeat=count)))


def patched_values(model, inputs, names, absent, target=2, frozen=None):
    """v of every coalition: absent elements overwritten by hooks; ``frozen`` modules hand on what they had on the clean run."""
    players = players_at(names)
    found = []
    for mask in all_masks(players.n):
        patches = {}
        for name, index in zip(names, players.index, strict=True):
            kept = mask[index]
            patches[name] = (kept, absent[name])
            if frozen is not None:
                patches[name] = (torch.zeros_like(kept), torch.where(kept, frozen[name], absent[name]))
        found.append(patched(model, inputs, patches)[0, target])
    return torch.stack(found)


ORDERS = [("first", "second"), ("first", "mlp"), ("first", "mlp", "second"), ("second", "first"), ("mlp", "second", "first")]


@pytest.mark.parametrize("names", ORDERS)
def test_what_lies_behind_an_overwritten_value_is_computed_anew(model, network, names):
    players = players_at(names)
    game = vs.Game.on(network, IDS, players, target=2, at=names, baseline=OTHER)
    truth = patched_values(model, [IDS], names, activations(model, [OTHER], names))
    torch.testing.assert_close(game(all_masks(players.n)), truth, rtol=1e-12, atol=1e-12)


def test_zeros_stand_in_likewise(model, network):
    names = ("first", "second")
    game = vs.Game.on(network, IDS, players_at(names), target=2, at=names)
    absent = {name: torch.zeros(()).double() for name in names}
    torch.testing.assert_close(game(all_masks(4)), patched_values(model, [IDS], names, absent), rtol=1e-12, atol=1e-12)


def test_a_head_of_the_first_layer_is_worth_what_it_is_worth_alone(network):
    alone, both = (
        vs.attribute(network, IDS, "occlusion", target=2, at=names, baseline=OTHER, players=players_at(names))
        for names in (("first",), ("first", "second"))
    )
    torch.testing.assert_close(both[0].values[:2], alone[0].values, rtol=1e-12, atol=1e-12)


def test_direct_effects_leave_the_later_value_as_it_was(model, network):
    names = ("first", "second")
    game = vs.Game.on(network, IDS, players_at(names), target=2, at=names, baseline=OTHER, direct=True)
    clean = activations(model, [IDS], names)
    truth = patched_values(model, [IDS], names, activations(model, [OTHER], names), frozen=clean)
    torch.testing.assert_close(game(all_masks(4)), truth, rtol=1e-12, atol=1e-12)
    anew = vs.Game.on(network, IDS, players_at(names), target=2, at=names, baseline=OTHER)(all_masks(4))
    assert float((anew - truth).abs().max()) > 0.05
    assert game.provenance["direct"] is True


def test_every_sample_of_a_batch_has_its_own_surroundings(model, network):
    x, names = torch.cat([IDS, OTHER, IDS.flip(1)]), ("first", "second")
    found = vs.attribute(network, x, "shapley_value", target=2, at=names, players=players_at(names))
    for row in range(3):
        one = vs.attribute(network, x[row : row + 1], "shapley_value", target=2, at=names, players=players_at(names))
        torch.testing.assert_close(found[row].values, one[0].values, rtol=1e-12, atol=1e-12)


def test_a_mask_beside_the_ids_stays_that_of_the_sample():
    model = built(Masked)
    mask = torch.tensor([[1, 1, 0, 1, 1]])
    network, names = vs.trace(model, mask, IDS), ("first", "second")
    game = vs.Game.on(network, (mask, IDS), players_at(names), target=2, at=names)
    truth = patched_values(model, [mask, IDS], names, {name: torch.zeros(()).double() for name in names})
    torch.testing.assert_close(game(all_masks(4)), truth, rtol=1e-12, atol=1e-12)


def test_bystanders_behind_are_computed_anew_as_well(model, network):
    names = ("first", "second")
    bystanding = torch.where(HEAD == 0, 2, BYSTANDER)
    game = vs.Game.on(network, IDS, vs.Players((HEAD, bystanding), (3,), "heads"), target=2, at=names)
    nobody = game(torch.zeros(1, 3, dtype=torch.bool))
    absent = torch.zeros(()).double()
    truth = patched(model, [IDS], {"first": (torch.tensor(False), absent), "second": (HEAD == 1, absent)})[0, 2]
    torch.testing.assert_close(nobody[0], truth, rtol=1e-12, atol=1e-12)


def test_an_input_and_a_value_behind_it():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.tensor([[1.0, -2.0, 0.5]]).double()
    network = vs.trace(model, x)
    players = vs.Players((torch.arange(3), torch.tensor([3])), (4,), "parts")
    game = vs.Game.on(network, x, players, target=0, at=("input", "1"))
    masks = all_masks(4)
    truth = [patched(model, [x * mask[:3]], {"1": (mask[3], torch.zeros(()).double())})[0, 0] for mask in masks]
    torch.testing.assert_close(game(masks), torch.stack(truth), rtol=1e-12, atol=1e-12)


def test_values_whose_batch_is_not_their_first_axis():
    class StepsFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            h = torch.tanh(self.a(x.transpose(0, 1)))
            return torch.tanh(self.b(h + h.flip(0))).sum(0)

    model = built(StepsFirst)
    x = torch.linspace(-1, 1, 24).double().reshape(2, 4, 3)
    network = vs.trace(model, x)
    players = vs.Players((torch.arange(4)[:, None], torch.arange(4, 8)[:, None]), (8,), "steps")
    found = vs.attribute(network, x, "occlusion", target=1, at=("a", "b"), players=players)
    for row, step in product(range(2), range(4)):
        kept = (torch.arange(4) != step)[:, None, None]
        lost = [model(x)[row, 1] - patched(model, [x], {name: (kept, torch.zeros(()).double())})[row, 1] for name in ("a", "b")]
        torch.testing.assert_close(found.values[row, [step, 4 + step]], torch.stack(lost), rtol=1e-12, atol=1e-12)


def test_a_target_inside_that_the_later_value_does_not_reach(model, network):
    names = ("first", "second")
    game = vs.Game.on(network, IDS, players_at(names), target=("mlp", 1, 2), at=names)
    found = game(all_masks(4)).reshape(2, 2, 2, 2)
    assert float((found - found[:, :, :1, :1]).abs().max()) == 0
    assert float((found[0, 0] - found[1, 1]).abs().max()) > 1e-3


def test_dividends_add_up_and_a_background_is_averaged_over(model, network):
    names, rows = ("first", "second"), torch.cat([OTHER, IDS.flip(1)])
    found = vs.interactions(network, IDS, players_at(names), target=2, at=names, baseline=rows)
    each = [vs.interactions(network, IDS, players_at(names), target=2, at=names, baseline=row) for row in rows]
    torch.testing.assert_close(found.values, (each[0].values + each[1].values) / 2, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.total, model(IDS)[0, 2].detach(), rtol=1e-12, atol=1e-12)
    assert float(found.gap.abs()) < 1e-12


# ---- what takes them for variables of their own


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_x_input", "deeplift_rescale", "lrp_epsilon", "smooth_grad"])
def test_a_method_that_differentiates_says_that_its_values_would_be_direct_effects(network, method):
    with pytest.raises(InvalidInput, match=r"'second/matmul_1' is computed from other explained values.*direct=True"):
        vs.attribute(network, IDS, method, target=2, at=("first", "second"))
    found = vs.attribute(network, IDS, method, target=2, at=("first", "second"), direct=True)
    assert found.provenance["direct"] is True and found.values.shape == (1, 2 * 2 * 5 * 6)


def test_integrated_gradients_of_direct_effects_add_up(network):
    found = vs.attribute(network, IDS, "integrated_gradients", target=2, at=("second", "first"), direct=True)
    assert float(found.relative_gap) < 1e-6


def test_a_method_of_ones_own_that_asks_for_other_values_is_refused(network):
    question = ask(network, IDS, target=2, at=("first", "second"))
    with pytest.raises(InvalidInput, match="direct=True"):
        question.score(question.present, torch.zeros(1, dtype=torch.long))


def test_an_audit_judges_games_and_skips_what_differentiates(network):
    names = ("first", "second")
    found = vs.audit(network, IDS, players_at(names), target=2, at=names, baseline=OTHER, methods=["shapley_value", "gradient_x_input"])
    assert list(found) == ["shapley_value"] and "direct=True" in found.skipped["gradient_x_input"]
    direct = vs.audit(network, IDS, players_at(names), target=2, at=names, direct=True, methods=["shapley_value", "gradient_x_input"])
    assert len(direct) == 2


def test_a_sampled_audit_masks_what_is_computed_anew(network):
    names = ("first", "mlp", "second")
    exact = vs.audit(network, IDS, players_at(names), target=2, at=names, methods=["occlusion"])["occlusion"]
    sampled = Auditor(at=names, most_exact=0).audit(network, IDS, players_at(names), target=2, methods=["occlusion"])["occlusion"]
    assert sampled.values == pytest.approx(exact.values)
    assert sampled.mean_leak == pytest.approx(exact.mean_leak, abs=0.1)


# ---- names


@pytest.mark.parametrize("at", [("first", "first"), ("first", "second", "first/matmul_1"), ("embed", "embed/embedding"), ["ids", "ids"]])
def test_a_value_is_named_once(network, at):
    with pytest.raises(InvalidInput, match="twice"):
        vs.attribute(network, IDS, "occlusion", target=2, at=at)


def test_no_place_is_no_question(network):
    with pytest.raises(InvalidInput, match="names no value"):
        vs.attribute(network, IDS, "occlusion", target=2, at=())


def test_values_that_do_not_reach_each_other_are_independent(network):
    graph = network.model_graph
    assert later_sites(graph, ("first/matmul_1", "second/matmul_1")) == (1,)
    assert later_sites(graph, ("second/matmul_1", "mlp.1/tanh")) == (0,)
    assert ask(network, IDS, target=2, at="first").dependent is None


def test_ids_and_a_value_behind_them(model, network):
    players = vs.Players((torch.arange(5), HEAD + 5), (7,), "parts")
    game = vs.Game.on(network, IDS, players, target=2, at=("ids", "first"), baseline=4)
    absent = activations(model, [torch.full_like(IDS, 4)], ["first"])["first"]
    masks = all_masks(7)
    truth = [patched(model, [torch.where(mask[:5], IDS, 4)], {"first": (mask[5:][HEAD], absent)})[0, 2] for mask in masks]
    torch.testing.assert_close(game(masks), torch.stack(truth), rtol=1e-12, atol=1e-12)


def test_taylor_orders_are_of_direct_effects(network):
    with pytest.raises(InvalidInput, match="direct=True"):
        order_totals(network, IDS, target=2, at=("first", "second"))
    assert order_totals(network, IDS, target=2, at=("first", "second"), order=2, direct=True).totals.shape == (1, 2)


def test_a_game_of_direct_effects_travels(network):
    names = ("first", "second")
    game = vs.Game.on(network, IDS, players_at(names), target=2, at=names, baseline=OTHER, direct=True)
    again = pickle.loads(pickle.dumps(game))
    assert torch.equal(again(all_masks(4)), game(all_masks(4)))


def test_an_allocation_of_direct_effects_is_audited_as_one(network):
    names = ("first", "second")
    made = vs.attribute(network, IDS, "occlusion", target=2, at=names, players=players_at(names), direct=True)[0]
    assert list(vs.audit(network, IDS, made, target=2, methods=["gradient_x_input"])) == ["gradient_x_input"]
