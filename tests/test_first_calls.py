"""The first calls that a newcomer tries: every kind of model, with every kind of data, to every verb. What is refused names the repair."""

import numpy as np
import pandas
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import vesalius as vs
from vesalius.core.errors import NotTraceable, VesaliusError
from vesalius.sparsity import Pruning

ROWS = np.random.default_rng(0).normal(size=(64, 3))
LABELS = (ROWS.sum(1) > 0).astype(int)
NAMES = ["age", "income", "tenure"]


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def scikit_learn(kind=MLPClassifier):
    return make_pipeline(StandardScaler(), kind(hidden_layer_sizes=(4,), max_iter=40, random_state=0, tol=1)).fit(ROWS, LABELS)


def numpy_function(x):
    return np.tanh(x @ np.ones((3, 2)))


MODELS = {
    "network": lambda: vs.trace(module(), torch.zeros(1, 3)),
    "module": module,
    "torch function": lambda: lambda x: torch.stack([x.sum(1), x.prod(1)], 1),
    "numpy function": lambda: numpy_function,
    "perceptron": scikit_learn,
    "forest": lambda: RandomForestClassifier(5, random_state=0).fit(ROWS, LABELS),
}
DATA = {
    "tensor": lambda: torch.tensor(ROWS).float(),
    "array": lambda: ROWS,
    "table": lambda: pandas.DataFrame(ROWS, columns=NAMES),
    "list": lambda: ROWS.tolist(),
    "labelled": lambda: (ROWS, LABELS),
    "loader": lambda: DataLoader(TensorDataset(torch.tensor(ROWS).float(), torch.tensor(LABELS)), batch_size=16),
}
SAMPLE_VERBS = {
    "attribute": lambda model, data: vs.attribute(model, data, "occlusion", target=1),
    "interactions": lambda model, data: vs.interactions(
        model, data[:1] if not isinstance(data, (tuple, DataLoader)) else ROWS[:1], target=1
    ),
    "audit": lambda model, data: vs.audit(model, ROWS[0], target=1, methods=["occlusion"]),
}
DATA_VERBS = {
    "information_flow": vs.information_flow,
    "link_importance": vs.link_importance,
    "sparsify": lambda model, data: vs.sparsify(model, data, sparsity=0.5, pruning=Pruning(rows=64)),
}
GRAPHS = {"network", "module", "perceptron"}
CALLS = [
    (verb, model, data)
    for verb in ("attribute", "interactions")
    for model in MODELS
    for data in DATA
    if (verb, data) != ("interactions", "loader")
]
CALLS += [("audit", model, "array") for model in MODELS]
CALLS += [(verb, model, data) for verb in DATA_VERBS for model in sorted(GRAPHS) for data in DATA]


def call(verb, model, data):
    return (SAMPLE_VERBS | DATA_VERBS)[verb](MODELS[model](), DATA[data]())


@pytest.mark.parametrize(("verb", "model", "data"), CALLS, ids=[" - ".join(row) for row in CALLS])
def test_a_first_call_works(as_a_user, verb, model, data):
    assert call(verb, model, data) is not None


def test_there_are_enough_of_them():
    assert len(CALLS) >= 60


@pytest.mark.parametrize("model", sorted(set(MODELS) - GRAPHS))
@pytest.mark.parametrize("verb", sorted(DATA_VERBS))
def test_a_question_about_the_inside_of_a_black_box_says_what_to_do(as_a_user, verb, model):
    with pytest.raises(NotTraceable, match=r"needs the graph of the model.*Rewrite that line.*or use the methods that need no graph"):
        call(verb, model, "array")


def test_a_perceptron_is_the_network_it_is():
    """Logits whose softmax is what scikit-learn says, through the scaler, and the classes by name."""
    for kind in (MLPClassifier, MLPRegressor):
        model = scikit_learn(kind)
        network = vs.trace(model, ROWS)
        said = network(torch.tensor(ROWS))
        expected = torch.tensor(model.predict_proba(ROWS) if kind is MLPClassifier else model.predict(ROWS)[:, None])
        torch.testing.assert_close(said.softmax(1) if kind is MLPClassifier else said, expected)
        assert not network.opaque and next(iter(network.layers)) == "scaler"
    assert vs.attribute(scikit_learn(), ROWS, "occlusion", target="1").provenance["target"] == "class 1"


def test_a_black_box_costs_a_call_a_batch():
    calls = []

    def count(x):
        calls.append(len(x))
        return x.sum(1)

    network = vs.trace(count, ROWS[:1])
    calls.clear()
    vs.attribute(network, ROWS[0], "shapley_value", baseline=ROWS[:20])
    assert len(calls) <= 50 and max(calls) >= 6


def test_weights_are_the_live_ones():
    """Remembered, but never old: trained in place, replaced, or of another structure."""
    model, x = module(), torch.ones(2, 3)
    first = vs.attribute(model, x, "occlusion", target=0)
    with torch.no_grad():
        model[2].weight.mul_(2)
    torch.testing.assert_close(vs.attribute(model, x, "occlusion", target=0).total, model(x)[:, 0].detach())
    model[2].weight = nn.Parameter(torch.ones(2, 4))
    torch.testing.assert_close(vs.attribute(model, x, "occlusion", target=0).total, model(x)[:, 0].detach())
    model[1] = nn.Tanh()
    found = vs.attribute(model, x, "occlusion", target=0)
    torch.testing.assert_close(found.total, model(x)[:, 0].detach())
    assert found.provenance["digest"] != first.provenance["digest"]


def test_names_come_with_the_table():
    found = vs.attribute(module(), pandas.DataFrame(ROWS, columns=NAMES), "integrated_gradients", target=0)
    assert found.players.names == tuple(NAMES)
    groups = vs.Players.groups(pandas.Series(ROWS[0], index=NAMES), {"person": ["age", "tenure"], "money": ["income"]})
    summed = vs.attribute(module(), ROWS, "integrated_gradients", target=0, players=groups)
    torch.testing.assert_close(summed.values, torch.stack([found.values[:, 0] + found.values[:, 2], found.values[:, 1]], 1))
    with pytest.raises(VesaliusError, match="there is no column 'agee'; did you mean 'age'"):
        vs.Players.groups(pandas.Series(ROWS[0], index=NAMES), {"person": ["agee"]})


@pytest.mark.parametrize(
    "target",
    [np.int64(1), [1] * 64, np.ones(64, int), (1,) * 64, torch.ones(64, dtype=torch.int32), lambda out: out[:, 1], "yes", ["yes"] * 64],
)
def test_a_target_in_every_form_is_the_same_target(as_a_user, target):
    network, x = vs.trace(module(), ROWS), torch.tensor(ROWS).float()
    found = vs.attribute(network, x, "deeplift_rescale", target=target, classes=["no", "yes"])
    expected = vs.attribute(network, x, "deeplift_rescale", target=1)
    torch.testing.assert_close(found.values, expected.values, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["deeplift_rescale", "deeplift_revealcancel", "integrated_gradients", "shapley_value"])
def test_a_function_of_the_output_is_explained_in_full(method):
    """A log-probability is no linear function of the logits: it becomes part of the graph, and the values add up to its change."""
    network, x = vs.trace(module(), ROWS), torch.tensor(ROWS).float()
    found = vs.attribute(network, x, method, target=lambda out: out.log_softmax(1)[:, 0])
    torch.testing.assert_close(found.total, network(x).log_softmax(1)[:, 0].detach())
    assert float(found.gap.abs().max()) < 1e-5


def test_positions_may_differ_between_samples():
    class Steps(nn.Module):
        def forward(self, x):
            return x[:, :, None] * torch.arange(1.0, 5.0)

    network, x = vs.trace(Steps(), torch.zeros(1, 3)), torch.tensor(ROWS[:2]).float()
    for target in ((-1, torch.tensor([1, 3])), torch.tensor([[-1, 1], [-1, 3]]), [(-1, 1), (2, 3)], (-1, [1, 3])):
        found = vs.attribute(network, x, "occlusion", target=target)
        torch.testing.assert_close(found.total, x[:, 2] * torch.tensor([2.0, 4.0]))
    with pytest.raises(VesaliusError, match="2 positions for each of 2 samples"):
        vs.attribute(network, x, "occlusion", target=[1, 3])


def test_a_unit_may_be_taken_at_one_position():
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    network, x = vs.trace(model, torch.zeros(1, 1, 4, 4)), torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = vs.attribute(network, x, "deeplift_rescale", target=("0", 1, 0, 2))
    torch.testing.assert_close(found.total, model[0](x)[:, 1, 0, 2].detach())
    with pytest.raises(VesaliusError, match="2 units at positions of shape"):
        vs.attribute(network, x, "deeplift_rescale", target=("0", 1, 0, 3))


def test_methods_are_found_by_their_other_names():
    for said, meant in {
        "ig": "integrated_gradients",
        "GradCAM": "grad_cam",
        "Kernel SHAP": "shapley_value",
        "saliency": "gradient_x_input",
    }.items():
        with pytest.raises(VesaliusError, match=f"did you mean '{meant}'") as error:
            vs.attribute(module(), ROWS, said)
        assert all(repr(name) in str(error.value) for name in vs.METHODS)
    assert vs.attribute(module(), ROWS[0], "shapley_value", options={"budget": 8}).provenance["options"]["budget"] == 8
