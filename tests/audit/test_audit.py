"""An audit as users meet it: what comes back, how it reads, what it refuses, and that a sample of masks agrees with all of them."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

import vesalius as vs
from tests.audit.nets import columns, sample, seeded, tanh_net, traced, unchecked
from vesalius.audit import Audit, Auditor, audit
from vesalius.audit.masked_attributions import attribute_masked
from vesalius.audit.problem import pose_problem
from vesalius.audit.stratified_sampling import all_coalitions, sample_coalitions
from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.games.absence import Blur, Mean
from vesalius.methods import METHODS, IntegratedGradients, Method, Occlusion, PredictionDifference, ShapleyValue, SmoothGrad
from vesalius.methods.straight_path import feature_allocation
from vesalius.trace.receive import receive

FAST = ("shapley_value", "gradient_x_input", "occlusion", "occlusion_patch", "deeplift_rescale")
SMALL = 5


@pytest.fixture(scope="module")
def network():
    return traced(tanh_net(SMALL), SMALL)


@pytest.fixture(scope="module")
def found(network):
    return audit(network, sample(SMALL), columns(SMALL), methods=FAST)


# ---- what comes back


def test_a_mapping_from_methods_to_records(found):
    assert list(found) == list(FAST) and len(found) == 5 and "occlusion" in found and found.exact
    record = found["occlusion"]
    assert record.miss == 0 and record.over > 0.1 and record.leak == 0 and not record.interval
    assert record.completeness_error == pytest.approx(record.over + record.reverse)
    assert record.gap == pytest.approx(abs(found.total - found.base - sum(record.values)))


def test_values_are_those_of_attribute(network, found):
    for name in FAST:
        expected = vs.attribute(network, sample(SMALL), name).values
        torch.testing.assert_close(torch.tensor(found[name].values, dtype=torch.float64), expected)


def test_one_row_per_method_by_rank(found):
    rows = found.table()
    assert [row["method"] for row in rows] == [name for _, name in found.ranking()]
    assert [row["error"] for row in rows] == sorted(row["error"] for row in rows) or rows[0]["error"] < 1e-12
    assert rows[0]["P1"] is rows[0]["P2"] is rows[0]["P3"] is True
    assert {"miss", "over", "reverse", "leak", "completeness_error", "gap", "insertion", "infidelity"} <= rows[0].keys()


def test_methods_that_cannot_be_told_apart_share_a_rank(network):
    found = audit(
        network, sample(SMALL), columns(SMALL), methods=["occlusion", "prediction_difference", "deeplift_rescale", "shapley_value"]
    )
    assert dict((name, rank) for rank, name in found.ranking()) == {
        "deeplift_rescale": 1,
        "shapley_value": 1,
        "occlusion": 3,
        "prediction_difference": 3,
    }


def test_sentences(found):
    said = found.sentences()
    assert said["shapley_value"] == "complete: allocates every effect once, to the features that took part in it"
    record = found["occlusion_patch"]
    violation = f"null-player violation: {100 * record.leak:.0f} % of what it allocates goes to features that took no part"
    assert violation in said["occlusion_patch"]
    assert said["occlusion"].startswith("over-counts by ") and "null-player" not in said["occlusion"]


def test_it_reads(found):
    text = repr(found)
    assert "5 features, 32 masked samples (all), baseline constant 0" in text
    assert "leak: null-player violation (P2); over: over-counting" in text
    assert "occlusion_patch" in text and "broken" in text


def test_provenance_states_players_baseline_output_and_seed(network):
    found = Auditor(seed=7).audit(network, sample(SMALL), columns(SMALL), baseline=0.25, target=2, methods="occlusion")
    facts = found.provenance
    assert facts["players"] == "5 features" and facts["baseline"] == "constant 0.25" and facts["target"] == "class 2" and facts["seed"] == 7
    assert facts["digest"] and facts["precision"] == "float64" and facts["coalitions"] == 32
    assert found["occlusion"].options["players"]


@pytest.mark.parametrize("exact", [True, False])
def test_saved_and_loaded(network, tmp_path, exact):
    auditor = Auditor(most_exact=14 if exact else 0, coalitions=64)
    found = auditor.audit(network, sample(SMALL), columns(SMALL), methods=[*FAST, "grad_cam"])
    again = Audit.load(found.save(tmp_path / "audit"))
    assert repr(again) == repr(found) and again.table() == found.table()
    assert again["occlusion"].interval == found["occlusion"].interval and again.skipped == found.skipped
    assert torch.equal(again.players.index[0], found.players.index[0]) and again.agreement == found.agreement


# ---- what is asked


def test_the_target_is_the_class_of_the_whole_sample(network):
    x = sample(SMALL)
    predicted = int(network(x[None]).argmax())
    found = audit(network, x, columns(SMALL), methods="shapley_value")
    fixed = audit(network, x, columns(SMALL), target=predicted, methods="shapley_value")
    assert found["shapley_value"].values == fixed["shapley_value"].values and found.provenance["target"] == f"class {predicted}"


def test_masked_samples_are_asked_about_that_class_too():
    """Two columns and a class for each: without the larger one, the other is predicted."""
    x = torch.tensor([1.0, 2.0]).double()
    network = vs.trace(nn.Softmax(1), x[None])
    problem = pose_problem(receive(network, x), columns(2), target=None, baseline=None, at=None)
    masked = problem.masked(torch.tensor([[True, False], [True, True]]), 0)
    assert network(masked[0]).argmax(1).tolist() == [0, 1]
    torch.testing.assert_close(problem.about(masked).total, network(masked[0])[:, 1])


def test_the_players_of_an_allocation(network):
    x = sample(SMALL)
    allocation = vs.attribute(network, x, ShapleyValue(players=vs.Players.segments(torch.tensor([0, 0, 1, 1, 2]))))
    found = audit(network, x, allocation, methods=["shapley_value", "deeplift_rescale"])
    assert found.players is allocation.players and found["deeplift_rescale"].holds
    torch.testing.assert_close(torch.tensor(found["shapley_value"].values).double(), allocation.values)


def test_an_allocation_of_an_inner_value_says_where_its_players_live(network):
    x = sample(SMALL)
    inner = vs.attribute(network, x, ShapleyValue(players=vs.Players.segments(torch.arange(16) // 4)), at="1")
    found = audit(network, x, inner, methods=["shapley_value", "gradient_x_input", "deeplift_rescale"])
    assert found.provenance["at"] == inner.provenance["at"] and found["deeplift_rescale"].holds
    torch.testing.assert_close(torch.tensor(found["shapley_value"].values).double(), inner.values)
    assert found["gradient_x_input"].leak == 0


def test_bystanders_are_present_in_every_coalition(network):
    players = vs.Players.segments(torch.tensor([0, 1, -1, 2, -1]))
    found = audit(network, sample(SMALL), players, methods=["shapley_value", "deeplift_rescale", "integrated_gradients"])
    assert all(found[name].holds for name in found)
    base = torch.where(torch.tensor([False, False, True, False, True]), sample(SMALL), 0.0)
    predicted = int(network(sample(SMALL)[None]).argmax())
    assert found.base == pytest.approx(float(network(base[None])[0, predicted]))


@pytest.mark.parametrize("baseline", [Mean(data=torch.randn(6, SMALL, generator=seeded(0), dtype=torch.float64)), -0.5])
def test_other_baselines(network, baseline):
    found = audit(network, sample(SMALL), columns(SMALL), baseline=baseline, methods=["integrated_gradients", "occlusion"])
    assert found["integrated_gradients"].holds and not found["occlusion"].holds


@pytest.mark.slow
def test_a_float32_network_is_audited_in_float64():
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2))
    network = vs.trace(model, torch.zeros(1, 8))
    found = audit(network, torch.randn(8, generator=seeded(0)), columns(8), methods=["deeplift_rescale", "shapley_value"])
    assert found["deeplift_rescale"].holds and found["deeplift_rescale"].tolerance == 1e-8
    assert found.provenance["precision"] == "float64" and network.parameters["0.weight"].dtype == torch.float32


def test_images_may_be_blurred():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    x = torch.rand(1, 4, 4, generator=seeded(0))
    found = audit(vs.trace(model, x[None]), x, vs.Players.patches(x, 2), baseline=Blur(sigma=1), methods=["deeplift_rescale", "grad_cam"])
    assert found["deeplift_rescale"].holds and not found["grad_cam"].holds and found.provenance["baseline"] == "blurred by 1 pixels"


def test_opaque_networks_get_the_methods_that_run_on_them():
    network = vs.trace(lambda x: torch.tanh(x[:, 0] * x[:, 1] + x[:, 2]), torch.zeros(1, 3))
    found = audit(network, torch.tensor([1.0, -2.0, 0.5]), columns(3))
    assert {"shapley_value", "occlusion", "gradient_x_input", "integrated_gradients"} <= set(found)
    assert {"deep_taylor", "deep_shap", "grad_cam"} <= set(found.skipped)
    assert found["shapley_value"].tolerance > 1e-8, "single precision"
    assert "not applicable" in repr(found)
    with pytest.raises(InvalidInput, match=r"does not apply here.*graph"):
        found["deep_shap"]


class Masked(nn.Module):
    """A model that does not see some columns: what the map of a masked sample is the map of."""

    def __init__(self, model, mask):
        super().__init__()
        self.model = model
        self.register_buffer("mask", mask.double())

    def forward(self, x):
        return self.model(x * self.mask)


@pytest.mark.parametrize("method", [SmoothGrad(deviation=0.5, samples=8), *(METHODS[name]() for name in FAST if name != "occlusion_patch")])
def test_a_map_of_a_masked_sample_is_that_of_the_masked_model(network, method):
    """Noise included: that of absent players would show in the gradients of the present."""
    x, masks = sample(SMALL), torch.tensor([[True, False, True, False, False], [True, True, False, True, True]])
    problem = pose_problem(receive(network, x), columns(SMALL), target=1, baseline=None, at=None)
    found, _ = attribute_masked(method, problem, masks)
    for row, mask in zip(found, masks, strict=True):
        expected = vs.attribute(traced(Masked(tanh_net(SMALL), mask), SMALL), x, method, target=1).values
        torch.testing.assert_close(row, expected)


def test_options_are_part_of_the_label_where_names_repeat(network):
    found = audit(network, sample(SMALL), columns(SMALL), methods=[IntegratedGradients(steps=2), IntegratedGradients()])
    assert list(found) == ["integrated_gradients(steps=2)", "integrated_gradients"]


# ---- game methods read the table


@dataclass(frozen=True, kw_only=True)
class Even(Method):
    """The change shared out evenly, players without effect included: it plays games, and is no dummy method."""

    name: ClassVar[str] = "even"
    plays: ClassVar[bool] = True
    claims: ClassVar[frozenset[str]] = frozenset({"complete", "symmetric", "linear"})
    players: vs.Players | None = None

    def allocate(self, question, absence):
        found = Occlusion(players=self.players).allocate(question, absence)
        change = (found.total - found.base) / found.players.n
        return replace(found, values=change[:, None].expand(len(change), found.players.n).clone())


@dataclass(frozen=True, kw_only=True)
class Boasting(Even):
    """The same, with a claim that is not true."""

    claims: ClassVar[frozenset[str]] = frozenset({"complete", "dummy", "symmetric", "linear"})


@pytest.mark.parametrize("method", [Even(), Boasting()])
def test_a_claim_of_dummy_is_checked_not_believed(network, method):
    record = audit(network, sample(SMALL), columns(SMALL), methods={"even": method})["even"]
    assert record.principles == {"P1": True, "P2": False, "P3": True} and record.leak > 0.2


def test_values_in_another_unit_do_not_apply(network):
    found = audit(network, sample(SMALL), columns(SMALL), methods=["occlusion", PredictionDifference(evidence=100)])
    assert "log odds" in found.skipped["prediction_difference"]


@dataclass(frozen=True, kw_only=True)
class Halved(Method):
    """Half of Gradient x Input of a linear network, written by a user."""

    name: ClassVar[str] = "halved"
    claims: ClassVar[frozenset[str]] = frozenset({"dummy", "linear"})

    def allocate(self, question, absence):
        found = METHODS["gradient_x_input"]().allocate(question, absence)
        return feature_allocation(question, found.flat / 2, found.base, found.total, evaluations=found.evaluations)


def test_a_users_method_on_a_linear_network():
    network = vs.trace(nn.Linear(4, 1).double(), torch.zeros(1, 4).double())
    record = audit(network, sample(4), columns(4), methods=[Halved()])["halved"]
    assert (record.miss, record.over, record.leak) == pytest.approx((0.5, 0, 0), abs=1e-9)
    assert record.sentence("columns") == "does not allocate 50 % of the effects"


# ---- a sample of masks


@pytest.fixture(scope="module")
def sampled():
    methods = [*FAST, "lrp_alpha_beta", "deep_taylor", "gradient_x_input_at_baseline"]
    with unchecked():
        auditor = Auditor(most_exact=0, coalitions=400, evaluations=25_000)
        return auditor.audit(traced(tanh_net()), sample(), columns(), methods=methods)


@pytest.mark.slow
def test_a_sampled_audit_agrees_with_the_exact_one_within_its_intervals(smooth, sampled):
    assert not sampled.exact and sampled.provenance["coalitions"] < 400 < smooth.provenance["coalitions"]
    for name in sampled:
        for number in ("mean_leak", "mean_gap"):
            low, high = sampled[name].interval[number]
            assert low - 1e-12 <= getattr(smooth[name], number) <= high + 1e-12, (name, number)
            assert high - low <= 0.25 * high + 1e-12


@pytest.mark.slow
def test_a_sample_refutes_but_does_not_tell_the_principles_apart(sampled):
    assert sampled["gradient_x_input"].principles == {"P1": None, "P2": True, "P3": None}
    assert sampled["occlusion_patch"].principles["P2"] is False
    assert sampled["deeplift_rescale"].holds and "no violation found" in sampled["deeplift_rescale"].sentence()
    assert sampled["occlusion"].completeness_error != sampled["occlusion"].completeness_error  # NaN
    assert "95 %" in repr(sampled) and set(sampled.tiers[0]) == {"shapley_value", "deeplift_rescale"}


def test_what_counts_as_held_in_a_sample_is_a_thousand_roundings(sampled):
    """In float64 1e-8 is more; a network that stays in float32 cannot be held to that."""
    assert sampled["occlusion"].tolerance == 1e-8
    half = vs.trace(lambda x: torch.tanh(x).sum(1, keepdim=True), torch.ones(1, 4))
    rounded = Auditor(most_exact=0, coalitions=64).audit(half, torch.ones(4), columns(4), methods="occlusion")
    assert rounded["occlusion"].tolerance == 1e3 * torch.finfo(torch.float32).eps


def test_progress_is_told(network):
    told = []
    Auditor(report=lambda done, of: told.append((done, of))).audit(network, sample(SMALL), columns(SMALL), methods=FAST[1:3])
    assert told == [(0, 2), (1, 2)]


def test_more_players_than_can_be_enumerated():
    costly = ShapleyValue(estimator="permutation", budget=210)
    found = Auditor(coalitions=64, evaluations=5000).audit(
        traced(tanh_net(20), 20), sample(20), columns(20), methods=["deeplift_rescale", "occlusion", costly]
    )
    assert not found.exact and found["deeplift_rescale"].holds
    assert found["shapley_value"].coalitions < found["occlusion"].coalitions <= 64
    assert found["occlusion"].mean_gap > 0.05


@pytest.mark.parametrize(("players", "count"), [(10, 400), (20, 128), (60, 512)])
def test_every_size_weighs_the_same(players, count):
    design = sample_coalitions(players, count, 0)
    size = design.masks.sum(1)
    weight = torch.zeros(players + 1, dtype=torch.float64).index_add(0, size, design.weights)
    torch.testing.assert_close(weight, torch.full_like(weight, 1 / (players + 1)), atol=1e-12, rtol=0)
    torch.testing.assert_close(design.bootstrap_weights(200, 0).mean(0), design.weights, atol=2e-3, rtol=0)
    assert torch.equal(sample_coalitions(players, count, 0).masks, design.masks) and not torch.equal(
        sample_coalitions(players, count, 1).masks, design.masks
    )
    part = design.first(40)
    assert set(part.group.tolist()) == set(range(len(design.share))) and float(part.weights.sum()) == pytest.approx(1)


def test_all_coalitions_in_index_order():
    design = all_coalitions(3)
    assert design.masks.tolist()[5] == [True, False, True]
    assert torch.equal(design.bootstrap_weights(3, 0), design.weights.expand(3, -1)), "nothing is drawn, so nothing varies"


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, SMALL).double()}, InvalidInput, "about one sample; 2 came"),
        ({"players": columns(3)}, InvalidInput, r"divide a tensor of shape \(3,\)"),
        ({"players": 5}, WrongType, "players are a Players"),
        ({"methods": "occlusio"}, UnknownName, "occlusion"),
        ({"methods": []}, InvalidInput, "no methods"),
        ({"methods": ["occlusion", "occlusion"]}, InvalidInput, "asked for twice"),
        ({"methods": [3]}, WrongType, "a method is a name"),
        ({"baseline": float("nan")}, InvalidInput, "must be finite"),
        ({"target": 9}, InvalidInput, "out of range"),
        ({"x": torch.full((SMALL,), float("nan")).double()}, InvalidInput, "NaN or infinity"),
    ],
)
def test_bad_input_is_named(as_a_user, network, change, error, message):
    given = {"x": sample(SMALL), "players": columns(SMALL)} | change
    with pytest.raises(error, match=message):
        audit(network, **given)


def test_bad_options_and_names(as_a_user, network, found):
    with pytest.raises(WrongType, match=r"a torch\.nn\.Module, a function or an estimator"):
        audit("model", sample(SMALL), columns(SMALL))
    with pytest.raises(UnknownName, match="did you mean 'occlusion'"):
        found["occlusoin"]
    with pytest.raises(InvalidInput, match="most_exact is a whole number of at least 0 and of at most 16, not 20"):
        Auditor(most_exact=20)
    with pytest.raises(InvalidInput, match="coalitions is a whole number of at least 64, not 5"):
        Auditor(coalitions=5)
    with pytest.raises(InvalidInput, match="links have no attribution maps"):
        audit(network, sample(SMALL), vs.Players.links(network, "0"))


def test_components_are_for_games(network):
    x = sample(SMALL)
    parts = vs.Players.components([x * torch.tensor([1, 1, 0, 0, 0]), x * torch.tensor([0, 0, 1, 1, 1])])
    found = audit(network, x, parts, methods=["shapley_value", "gradient_x_input"])
    assert found["shapley_value"].holds and "components are not parts" in found.skipped["gradient_x_input"]
