"""Units that can only go together: found through every join, worth what enumeration says, and gone without a trace."""

import copy

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.reference import unit_removal
from tests.sparsity.joined_models import FLAT, IMAGES, JOINED, TwoHeads, build
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.sparsity import Pruning, remove_units
from vesalius.sparsity.compression.dead_units import remove_dead_units
from vesalius.sparsity.compression.dependencies import STAYS, find_units
from vesalius.sparsity.compression.sliced_graph import GraphModel, slice_model
from vesalius.sparsity.estimators.enumeration import exact_values
from vesalius.sparsity.estimators.unit_games import UnitGames
from vesalius.sparsity.fused_activation import fold_affine
from vesalius.sparsity.links import links_of, read_link_inputs
from vesalius.sparsity.pruning.calibration import LinkScorer
from vesalius.sparsity.pruning.group_importance import group_importance
from vesalius.sparsity.pruning.unit_budget import UnitBudget, UnitGoal
from vesalius.sparsity.scores import Score


def sliced(network, model, units, gone):
    """The masked copy, and the network on smaller tensors."""
    masked = copy.deepcopy(model)
    own = dict(masked.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name in own.keys() & units.axes.keys():
            own[name].mul_(units.mask(name, gone))
    tensors = {}
    for name, tensor in network.parameters.items():
        left = own[name].detach() if name in own else tensor
        for axis, kept in enumerate(units.kept(name, gone)):
            left = left.index_select(axis, kept.nonzero().flatten())
        tensors[name] = left
    return masked, slice_model(network, tensors, units, gone)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOINED)
@torch.no_grad()
def test_without_units_the_graph_computes_what_it_does_with_zeros_in_their_place(name):
    model, x = build(name)
    network = vs.trace(model, x[:2])
    units, draws = find_units(network), torch.Generator().manual_seed(0)
    for _ in range(3):
        gone = torch.rand(units.count, generator=draws) < 0.5
        for pool in units.pools.values():
            gone[pool[0]] = False
        masked, smaller = sliced(network, model, units, gone)
        torch.testing.assert_close(smaller(x), masked(x), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(masked(x), model(x), rtol=1e-2)
        assert sum(one.numel() for one in smaller.parameters()) < sum(one.numel() for one in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", JOINED)
def test_all_units_but_outputs_can_go(name):
    model, x = build(name)
    units = find_units(vs.trace(model, x[:2]))
    biases = 12 / sum(one.numel() for one in model.parameters())
    assert units.coverage.share >= JOINED[name][2] - biases
    assert all("output" in why or "stay" in why or "looks rows up" in why for why in units.why.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", JOINED)
def test_half_of_the_units_go_and_the_smaller_model_computes_the_same(name):
    model, x = build(name)
    before = copy.deepcopy(model.state_dict())
    result = remove_units(model, x, pruning=Pruning(rounds=2))
    small = result.compact(x, batches=(1,))
    assert small.row("smaller").difference < 1e-5
    assert small.row("smaller").parameters < 0.85 * small.row("dense").parameters
    assert all(left == max(1, had // 2) for left, had in result.provenance["units"].values() if had > 4 or name == "rnn")
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def exact_score(seen):
    """Shapley importance by enumeration of all coalitions, absent links carrying other rows."""
    weight, bias = fold_affine(seen.after, seen.weight, seen.bias)
    games = UnitGames(
        weight=weight[..., None],
        bias=bias,
        rows=seen.rows[..., None],
        activation=seen.after.activation,
        baseline="data",
        background=len(seen.rows),
        seed=0,
    )
    return exact_values(games, slice(0, len(seen.rows)), slice(0, len(weight))).abs().mean(0)


def expected_importance(model, layer, rows, owners, activation):
    """From the definition, in plain loops."""
    weights = layer.weight.flatten(1).tolist()
    return unit_removal.group_importance(activation, weights, layer.bias.tolist(), rows.tolist(), owners)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "concat", "gated", "flatten", "heads"])
@torch.no_grad()
def test_importance_of_groups_is_that_of_enumeration(name):
    torch.manual_seed(0)
    draw = torch.randn
    models = {
        "residual": (build("residual")[0], draw(5, 6), "last", range(8)),
        "concat": (build("concat")[0], draw(5, 6), "last", range(12)),
        "gated": (build("gated")[0], draw(5, 6), "last", range(8)),
        "flatten": (
            nn.Sequential(nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)),
            draw(5, 1, 5),
            "3",
            [0] * 4 + [1] * 4 + [2] * 4,
        ),
        "heads": (build("attention")[0], draw(3, 5, 6), "out", [head for head in range(4) for _ in range(4)]),
    }
    model, x, reader, owners = models[name]
    model = model.double().eval()
    network = vs.trace(model, x.double())
    units, links = find_units(network), links_of(network, [reader])
    rows = read_link_inputs(links, x.double())
    judge = LinkScorer(score=Score(function=exact_score, joint=True), slopes={}, seed=0)
    found = group_importance(units, links, rows, judge)
    layer = model.get_submodule(reader)
    known = expected_importance(model, layer, rows[reader], list(owners), lambda z: z)
    groups = units.axes[f"{reader}.weight"][1]
    assert links[reader].activation.name == "identity"
    for link, owner in enumerate(owners):
        assert groups[link] != STAYS
        assert float(found[groups[link]]) == pytest.approx(known[owner], abs=1e-10)


@torch.no_grad()
def test_importance_of_groups_before_an_activation():
    """Links of a kernel, of two branches, through a relu: where values of links do not add up to those of the group."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Conv1d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)).double()
    x = torch.randn(4, 1, 5).double()
    network = vs.trace(model, x)
    links = links_of(network, ["2"])
    rows = read_link_inputs(links, x)
    judge = LinkScorer(score=Score(function=exact_score, joint=True), slopes={}, seed=0)
    units = find_units(network)
    found = group_importance(units, links, rows, judge)
    known = expected_importance(model, model[2], rows["2"], [0, 0, 0, 1, 1, 1, 2, 2, 2], lambda z: max(z, 0.0))
    assert found[units.layers["0"]].tolist() == pytest.approx(list(known.values()), abs=1e-10)


def test_units_that_another_output_reads_are_not_lost_to_it():
    torch.manual_seed(0)
    model = TwoHeads().eval()
    network = vs.trace(model, FLAT[:2], output=0)
    result = remove_units(network, FLAT, share=0.25, pruning=Pruning(rounds=2))
    with torch.no_grad():
        for before, after in zip(model(FLAT), result.model(FLAT), strict=True):
            assert (before - after).square().mean() < 0.3 * before.var(0).mean()
        smaller = result.compact(FLAT, batches=(1,)).smallest
        assert smaller.other.weight.shape == (2, 6)
        for small, masked in zip(smaller(FLAT), result.model(FLAT), strict=True):
            torch.testing.assert_close(small, masked, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_budget_over_all_layers_is_met_by_the_units_that_are_worth_least():
    model, x = build("squeeze and excitation")
    for amounts in ({"parameters": 0.4}, {"flops": 0.4}):
        result = remove_units(model, x, pruning=Pruning(rounds=2), **amounts)
        small = result.compact(x, batches=(1,))
        cost = "parameters" if "parameters" in amounts else "flop"
        share = getattr(small.row("smaller"), cost) / getattr(small.row("dense"), cost)
        assert 0.4 < share <= 0.62
    shares = {left / had for left, had in result.provenance["units"].values()}
    assert len(shares) > 1


def test_a_budget_goes_by_squared_importance_for_the_cost():
    model, x = build("concat")
    units = find_units(vs.trace(model, x[:2]))
    budget = UnitBudget.of(units, UnitGoal.of({"parameters": 0.3}, 1), None)
    worth = torch.linspace(1, 2, units.count, dtype=torch.float64)
    gone = budget.cut(worth, torch.zeros(units.count, dtype=torch.bool), 1.0)
    cost = torch.zeros(units.count, dtype=torch.float64)
    for name, axes in units.axes.items():
        for axis, groups in enumerate(axes):
            others = units.network.parameters[name].numel() // len(groups)
            cost += others * groups[groups != STAYS].bincount(minlength=units.count) * (1 if axis == 0 or len(axes) > 1 else 0)
    order = (worth.square() / cost).argsort()
    assert set(gone.nonzero().flatten().tolist()) == set(order[: int(gone.sum())].tolist())
    assert budget.cost(gone) <= 0.7 < budget.cost(gone & (torch.arange(units.count) != order[int(gone.sum()) - 1]))


def test_amounts_that_cannot_be_reached_are_refused():
    model, x = build("concat")
    with pytest.raises(InvalidInput, match=r"leaves 0\.01 of the parameters, and with the fewest units .* less than 0\."):
        remove_units(model, x, parameters=0.99)


def test_units_that_can_only_go_all_together_stay_with_the_reason():
    """One part of the channels is shared by four groups, another by three."""
    layers = nn.Conv2d(2, 8, 1), nn.ConvTranspose2d(8, 12, 2, 2, groups=4), nn.Conv2d(12, 6, 3, groups=3), nn.Conv2d(6, 2, 1)
    units = find_units(vs.trace(nn.Sequential(*layers).eval(), IMAGES[:2]))
    assert units.count == 0
    assert units.why["1"] == "its units can only go all together, and some must stay"


def test_matrices_of_no_layer_are_named_where_they_stay():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.table, self.last = nn.Linear(6, 8), nn.Parameter(torch.randn(6, 6)), nn.Linear(8, 3)

        def forward(self, x):
            return self.last(torch.relu(self.first(x @ torch.linalg.matrix_exp(self.table))))

    coverage = find_units(vs.trace(Pairs().eval(), FLAT[:2])).coverage
    assert coverage.left["table"][0] == 36
    assert "linalg_matrix_exp" in coverage.left["table"][1]


@torch.no_grad()
def test_a_bias_of_heads_goes_with_them_in_the_models_own_code():
    """Where a model asks for as many heads as there are."""
    model, x = build("einsums")
    small = remove_units(model, x, pruning=Pruning(rounds=1)).compact(x, batches=(1,))
    assert small.smallest.query.shape == (2, 8, 8)
    assert type(small.smallest) is type(model)


def test_a_smaller_graph_is_trained_as_a_model_is():
    class Fixed(nn.Module):
        """Its code writes a number of channels down."""

        def __init__(self):
            super().__init__()
            self.first, self.norm, self.drop, self.last = nn.Conv2d(2, 8, 1), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Linear(8, 3)

        def forward(self, x):
            return self.last(self.drop(torch.relu(self.norm(self.first(x))).view(len(x), 8, -1).mean(2)))

    torch.manual_seed(0)
    small = remove_units(Fixed().eval(), IMAGES, pruning=Pruning(rounds=1)).compact(IMAGES, batches=(1,)).smallest
    assert isinstance(small, GraphModel)
    before = small(IMAGES)
    torch.testing.assert_close(small(IMAGES), before)
    assert not torch.allclose(small.train()(IMAGES), small(IMAGES))
    assert not torch.allclose(small.eval()(IMAGES), before)


def test_an_output_that_never_changes_loses_nothing():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        model[2].weight.zero_()
    assert remove_units(model, FLAT, pruning=Pruning(rounds=1)).provenance["lost"] == 0


def test_layers_keep_multiples():
    model, x = build("squeeze and excitation")
    result = remove_units(model, x, share=0.4, round_to=4, pruning=Pruning(rounds=1))
    assert all(left % 4 == 0 for left, _ in result.provenance["units"].values())


def test_amounts_that_do_not_go_together_are_refused():
    model, x = build("residual")
    with pytest.raises(InvalidInput, match="share and flops each say how many units go; give one of them"):
        remove_units(model, x, share=0.5, flops=0.5)
    with pytest.raises(InvalidInput, match="the units of layers 'first', 'inner' go together, and share says something else for each"):
        remove_units(model, x, share={"first": 0.5, "inner": 0.25})
    with pytest.raises(WrongType, match="keep is a mapping"):
        remove_units(model, x, keep=3)
    with pytest.raises(InvalidInput, match="parameters is a number above 0 and below 1"):
        remove_units(model, x, parameters=1.5)


@torch.no_grad()
def test_a_unit_that_nothing_reads_stays_where_zeros_are_needed():
    """Its column is 0, but its own value still moves the mean of the norm."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)).eval()
    network = vs.trace(model, FLAT[:2])
    model[2].weight[:, 2] = 0
    assert not bool(remove_dead_units(network, model).gone.any())
    for row in (model[0].weight, model[0].bias, model[1].weight, model[1].bias):
        row[2] = 0
    assert remove_dead_units(network, model).removed["0"].tolist() == [2]


def test_pruning_goes_on_from_where_it_was():
    """Units that are gone stay gone, and links that were cut stay cut."""
    model, x = build("residual")
    first = remove_units(model, x, share=0.25, pruning=Pruning(rounds=1))
    second = remove_units(first.model, x, share=0.5, pruning=Pruning(rounds=1))
    gone = [~one.masks["last"].any(0) for one in (first, second)]
    assert [int(one.sum()) for one in gone] == [2, 4]
    assert bool((gone[1] | ~gone[0]).all())
    links = vs.sparsify(second.model, x, sparsity=0.7)
    assert not bool((links.masks["last"] & ~second.masks["last"]).any())
    units = remove_units(links.network, x, share=0.5, pruning=Pruning(rounds=1))
    assert not bool((units.masks["last"] & ~links.masks["last"]).any())


def test_units_without_gradients_or_weights_of_their_own_stay_with_the_reason():
    class Input(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.last(torch.relu(x + self.inner(x)))

    units = find_units(vs.trace(Input(), FLAT[:2]))
    assert units.count == 0
    assert units.why["inner"] == "'add' (add) joins it with values that stay"
    with pytest.raises(InvalidInput, match="no layer of Input has units that can be removed: inner: 'add'"):
        remove_units(Input(), FLAT)
