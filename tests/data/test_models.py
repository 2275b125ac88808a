"""The networks trained here: good enough, the same every time, and kept."""

from dataclasses import replace

import pytest
import torch

from vesalius.core.errors import UnknownName
from vesalius.data import models


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("name", "least"), [("digits_cnn", 0.97), ("iris_mlp", 0.94)])
def test_networks_are_good_and_the_second_time_they_come_from_the_cache(name, least, cache):
    first, epochs = models.trained(name, cache=cache, report=lambda done, of: None), []
    again = models.trained(name, cache=cache, report=lambda done, of: epochs.append(done))
    assert first.accuracy == again.accuracy >= least and epochs == []
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))
    assert again.weights.parent.parent == cache and not again.model.training


def test_training_reports_its_epochs_and_leaves_the_random_state_alone(tmp_path):
    before, epochs = torch.random.get_rng_state(), []
    models.trained("iris_mlp", cache=tmp_path, report=lambda done, of: epochs.append((done, of)))
    assert epochs == [(epoch, 100) for epoch in range(1, 101)]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_damaged_cache_is_trained_again(tmp_path):
    first = models.trained("iris_mlp", cache=tmp_path)
    first.weights.write_bytes(b"nothing of the kind")
    again = models.trained("iris_mlp", cache=tmp_path)
    assert again.accuracy == first.accuracy and again.weights.stat().st_size > 100


def test_another_recipe_has_another_key():
    recipe = models.NETWORKS["digits_cnn"][1]
    assert models._recipe_digest(recipe) != models._recipe_digest(models.NETWORKS["iris_mlp"][1])


def test_iris_is_standardised_inside_so_that_inputs_stay_in_centimetres(cache):
    found = models.trained("iris_mlp", cache=cache)
    torch.testing.assert_close(found.model.mean, found.data.train_x.mean(0))


def test_an_unknown_network_is_refused():
    with pytest.raises(UnknownName, match="digits_cnn"):
        models.trained("digit_cnn")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("adult_mlp", 0.845), ("reviews_cnn", 0.8)])
def test_networks_for_rows_and_reviews_are_good(name, least, tmp_path, data_dir):
    found = models.trained(name, cache=tmp_path)
    assert found.accuracy >= least


@pytest.mark.slow
def test_rare_categories_of_adult_are_not_blown_up(data_dir):
    factory, recipe = models.NETWORKS["adult_mlp"]
    data = models.load("adult")
    quick = models.fit(factory, replace(recipe, epochs=1, batch=4096), data)
    assert float(quick.std.min()) == pytest.approx(models.MIN_STD)
    torch.testing.assert_close(quick.std[0], data.train_x[:, 0].std())
