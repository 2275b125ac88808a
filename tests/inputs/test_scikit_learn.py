"""Perceptrons of scikit-learn as the networks they are."""

import torch
from sklearn.neural_network import MLPClassifier, MLPRegressor

import vesalius as vs
from tests.test_first_calls import ROWS, scikit_learn


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
