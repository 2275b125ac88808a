"""A classifier of a table, unchanged, all the way: what its links are worth, without most of them, small, and read back."""

import pytest
import torch

import vesalius as vs
from vesalius.data.models import adult_mlp, trained
from vesalius.sparsity import ImportanceOptions, load_sparse


@pytest.mark.slow
@pytest.mark.usefixtures("data_dir")
def test_a_classifier_of_a_table(tmp_path):
    adult = trained("adult_mlp")
    x, test = adult.data.train_x[:4000], adult.data.test_x[:4000]
    network = vs.trace(adult.model, x[:2])
    worth = vs.link_importance(network, x, weighing=ImportanceOptions(permutations=20))
    assert [one.estimator for one in worth.layers.values()] == [
        "permutation",
        "gaussian",
        "linear",
    ]  # columns of zeros and ones add up to no Gaussian
    for one in worth.layers.values():
        assert one.values.shape == network.parameters[network.layers[one.name].weight].shape
    thin = vs.sparsify(network, x, sparsity=0.8)
    right, whole = (float((model(test).argmax(1) == adult.data.test_y[:4000]).double().mean()) for model in (thin.model, adult.model))
    assert thin.sparsity == pytest.approx(0.8, abs=1e-3) and right > whole - 0.01
    small = thin.compact(rows=test[:256], batches=(256,))
    torch.testing.assert_close(small.model(test), thin.model(test), atol=1e-4, rtol=1e-4)
    again = load_sparse(small.export(tmp_path / "adult.safetensors"), adult_mlp())
    torch.testing.assert_close(again(test), thin.model(test), atol=1e-4, rtol=1e-4)
    assert small.row("smaller").file < 0.35 * small.row("dense").file
