"""The command that asks one question of every row: a page, numbers, and a survey that can be loaded."""

import json
from pathlib import Path

import pytest
import torch

import vesalius as vs


@pytest.mark.usefixtures("home")
def test_a_survey_of_all_rows_has_a_page(vesalius):
    words = ("survey", "models.py:net", "x.npz", "--method", "occlusion", "--target", "true", "--baseline", "mean", "--out", "out")
    found = vesalius(*words)
    assert found.code == 0, found.err
    assert found.out.strip() == "out/report.html"
    page = Path("out/report.html").read_text()
    assert "over 10 rows" in page and "vesalius survey models.py:net x.npz" in page
    survey = vs.Survey.load("out/survey")
    facts = json.loads(Path("out/summary.json").read_text())
    assert len(survey) == facts["rows"] == 10 and survey.method == "occlusion"
    torch.testing.assert_close(torch.tensor(facts["mean |value|"]), survey[:].values.abs().mean(0))
    before = {path.name: path.stat().st_mtime_ns for path in survey.folder.glob("rows-*")}
    assert vesalius(*words).code == 0
    assert {path.name: path.stat().st_mtime_ns for path in survey.folder.glob("rows-*")} == before, "nothing is computed again"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "occlusions"), "did you mean 'occlusion'"),
        (("--engine", "spark"), "engine 'spark'"),
        (("--baseline", "nought"), "baseline 'nought'"),
        (("--target", "7"), "7"),
        (("--batch", "0"), "at least 1"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(vesalius, words, said):
    found = vesalius("survey", "models.py:net", "x.npz", "--out", "out", *words)
    assert found.code == 2 and said in found.err and len(found.err.strip().splitlines()) == 1


@pytest.mark.usefixtures("home")
def test_another_question_in_the_same_folder_is_refused(vesalius):
    assert vesalius("survey", "models.py:net", "x.npz", "--method", "occlusion", "--out", "out").code == 0
    found = vesalius("survey", "models.py:net", "x.npz", "--method", "gradient_x_input", "--out", "out")
    assert found.code == 2 and "another question" in found.err
