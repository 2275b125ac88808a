"""The first calls that a newcomer tries: every kind of model, with every kind of data, to every verb. What is refused names the repair."""

import numpy as np
import pandas
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
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


@pytest.mark.slow
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


def test_names_come_with_the_table():
    found = vs.attribute(module(), pandas.DataFrame(ROWS, columns=NAMES), "integrated_gradients", target=0)
    assert found.players.names == tuple(NAMES)
    groups = vs.Players.groups(pandas.Series(ROWS[0], index=NAMES), {"person": ["age", "tenure"], "money": ["income"]})
    summed = vs.attribute(module(), ROWS, "integrated_gradients", target=0, players=groups)
    torch.testing.assert_close(summed.values, torch.stack([found.values[:, 0] + found.values[:, 2], found.values[:, 1]], 1))
    with pytest.raises(VesaliusError, match="there is no column 'agee'; did you mean 'age'"):
        vs.Players.groups(pandas.Series(ROWS[0], index=NAMES), {"person": ["agee"]})


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


@pytest.mark.slow
def test_columns_name_inputs_and_nothing_else():
    """A hidden layer of as many units as the table has columns has none of their names."""
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    table = pandas.DataFrame(ROWS, columns=NAMES)
    for at, expected in ((None, tuple(NAMES)), ("0", ("feature 0", "feature 1", "feature 2"))):
        assert vs.attribute(model, table, "occlusion", target=0, at=at).players.names == expected
        assert vs.attribute(model, table, "integrated_gradients", target=0, at=at).players.names == expected
        assert vs.Game.on(model, table[:1], target=0, at=at).players.names == expected
        assert vs.audit(model, table[:1], target=0, at=at, methods=["occlusion"]).players.names == expected
