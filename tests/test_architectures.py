"""The page of architectures is what its generator makes of the results that are kept."""

from __future__ import annotations

import json

import pytest

from benchmarks.architectures import PAGE, RESULTS
from benchmarks.zoo import ENTRIES, page

RESULTS_KEPT = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]


def test_the_page_is_made_of_the_results_that_are_kept():
    assert PAGE.read_text("utf-8") == page.page(RESULTS_KEPT, [entry.name for entry in ENTRIES])


def test_the_results_are_of_models_of_the_zoo_each_once():
    names = [one["name"] for one in RESULTS_KEPT]
    assert len(set(names)) == len(names)
    assert not set(names) - {entry.name for entry in ENTRIES}


def result(**changes):
    gaps = {"float32": [1e-6, 1e-5], "float64": [1e-12, 1e-10]}
    return {
        "name": "a",
        "family": "b",
        "trace": 1.0,
        "export": 1.0,
        "pass": 1.0,
        "seconds": dict.fromkeys([*page.METHODS, page.ACCOUNT], 2.0),
        "differs": {"float32": 0.0, "float64": 0.0},
        "methods": {name: {**gaps, **changes.get(name, {})} for name in (*page.METHODS, page.ACCOUNT)},
        **{key: value for key, value in changes.items() if key not in page.METHODS},
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"deep_shap": {"float32": [1e-6, 2e-5]}},
        {"integrated_gradients": {"float64": [2e-10, 1e-12]}},
        {"deeplift_rescale": {"float32": ["NoRule: item", 1e-6]}},
        {"expected_gradients": {"float32": [float("nan"), 1e-6]}},
        {"differs": {"float32": 1e-3, "float64": 0.0}},
    ],
)
def test_what_misses_a_bound_or_is_refused_is_not_counted(changes):
    assert page.all_complete(result())
    assert not page.all_complete(result(**changes))
    assert page.closed(result(**changes))


def test_words_of_an_error_do_not_break_a_table():
    text = page.page([result(), {"name": "x", "family": "b", "fails": "a | `b`"}], ["a", "x", "y"])
    assert "1 models of the zoo wait for the next `make zoo`: y." in text
    assert "| x | the model | `a \\| 'b'` |" in text
