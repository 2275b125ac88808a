"""The gallery as a user makes it, with quickly trained networks and few methods."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

import vesalius as vs
from vesalius.core.errors import InvalidInput
from vesalius.data import models
from vesalius.methods import METHODS, Method
from vesalius.workflow.gallery_examples import EXAMPLES

QUICK = ("--methods", "gradient_x_input", "occlusion", "refusing")


@dataclass(frozen=True, kw_only=True)
class Refusing(Method):
    """A method that answers nobody."""

    name: ClassVar[str] = "refusing"
    claims: ClassVar[frozenset[str]] = frozenset()

    def allocate(self, question, absence):
        raise InvalidInput("it refuses <everything>; use another method")


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Networks of few epochs, and a method that refuses."""
    monkeypatch.chdir(tmp_path)
    for name, epochs in (("digits_cnn", 5), ("adult_mlp", 1), ("reviews_cnn", 1)):
        factory, recipe = models.NETWORKS[name]
        assert isinstance(models.NETWORKS, dict)
        monkeypatch.setitem(models.NETWORKS, name, (factory, replace(recipe, epochs=epochs)))
    monkeypatch.setitem(METHODS, "refusing", Refusing)


@pytest.fixture
def gallery(vesalius):
    def run(*words, methods=QUICK):
        return vesalius("gallery", "--out", "shown", "--cache", "cache", *methods, *words)

    return run


@pytest.fixture
def nowhere(monkeypatch):
    """No data folder and no connection."""
    monkeypatch.delenv("VESALIUS_DATA", raising=False)

    def refuse(*args, **kwargs):
        raise OSError("no connection")

    monkeypatch.setattr("pooch.retrieve", refuse)


@pytest.mark.slow
def test_every_example_is_explained_by_every_method_or_says_why_not(gallery, tmp_path, data_dir):
    done = gallery(methods=("--methods", "gradient_x_input", "refusing"))
    assert done.code == 0 and done.out.strip() == "shown/gallery.html", done.err
    html = (tmp_path / "shown/gallery.html").read_text()
    found = json.loads((tmp_path / "shown/summary.json").read_text())
    assert len(found["examples"]) == len(EXAMPLES) and not found["missing"]
    for numbers in found["examples"].values():
        assert set(numbers) == {"gradient_x_input", "refusing"} and "refuses <everything>" in numbers["refusing"]["refused"]
        assert numbers["gradient_x_input"]["total"] != numbers["gradient_x_input"]["base"]
    assert html.count("it refuses &lt;everything&gt;") == len(EXAMPLES) and "fails</span>" in html and "rugby ball" in html
    assert "0 of 2 methods are complete" in html


@pytest.mark.slow
def test_values_are_those_of_the_method_itself(gallery, tmp_path, data_dir):
    assert gallery("--examples", "row", "digit", methods=("--methods", "occlusion")).code == 0
    row = EXAMPLES["row"](tmp_path / "cache")
    players, job = row.options["players"], row.job
    alone = vs.attribute(job.network, job.x[0], METHODS["occlusion"](players=players), target=int(job.target[0]), baseline=job.absence)
    kept = vs.Allocation.load(tmp_path / "shown/row/occlusion.safetensors")
    assert kept.values[0].tolist() == pytest.approx(alone.values.tolist()) and players.n == 14
    assert dict(row.columns)["sex"] in ("Male", "Female") and float(dict(row.columns)["age"]) > 16


def test_without_data_sections_are_left_out_with_a_sentence(gallery, tmp_path, nowhere):
    done = gallery("--examples", "digit,picture", "photo")
    assert done.code == 0 and "picture is left out" in done.err
    html = (tmp_path / "shown/gallery.html").read_text()
    assert "Left out" in html and "there is no resnet_cifar10/resnet20.safetensors" in html and "A digit" in html
    assert set(json.loads((tmp_path / "shown/summary.json").read_text())["missing"]) == {"picture", "photo"}


def test_a_second_run_keeps_what_is_finished(gallery):
    assert gallery("--examples", "digit").err.count("kept from") == 0
    again = gallery("--examples", "digit")
    assert again.code == 0 and again.err.count("kept from") == 2 and "refusing refuses" in again.err


def test_mistakes_are_named(gallery, nowhere):
    assert "did you mean 'digit'" in gallery("--examples", "digits").err
    assert "did you mean 'occlusion'" in gallery(methods=("--methods", "oclusion")).err
    alone = gallery("--examples", "photo")
    assert alone.code == 2 and "there is nothing to show: there is no squeezenet1_0" in alone.err


def test_all_registered_methods_are_shown_by_default(gallery, tmp_path, monkeypatch):
    kept: Mapping[str, type[Method]] = {name: METHODS[name] for name in ("occlusion", "refusing")}
    for name in set(METHODS) - set(kept):
        monkeypatch.delitem(METHODS, name)
    assert gallery("--examples", "digit", methods=()).code == 0
    assert set(json.loads((tmp_path / "shown/summary.json").read_text())["examples"]["A digit"]) == set(kept)


def test_the_command_on_the_page_makes_it_again(gallery, tmp_path):
    gallery("--examples", "digit", methods=("--methods", "occlusion"))
    assert (
        "vesalius gallery --out shown --cache cache --methods occlusion --examples digit" in (tmp_path / "shown/gallery.html").read_text()
    )
