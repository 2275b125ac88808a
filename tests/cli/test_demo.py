"""The demo as a user runs it: once in a process of its own, then what it left behind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vesalius as vs
from vesalius.data import load


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    words = [sys.executable, "-m", "vesalius.cli", "demo", "--out", "page", "--cache", "cache"]
    source = str(Path(vs.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture(scope="module")
def summary(ran):
    return json.loads((ran[0] / "page/summary.json").read_text())


@pytest.mark.slow
def test_the_last_line_is_the_path_of_the_page(ran):
    folder, done = ran
    page = folder / done.stdout.splitlines()[-1]
    html = page.read_text()
    assert page.name == "report.html" and "</html>" in html
    assert not re.search(r"""(src|href)=["']?(http|//|file)""", html)


@pytest.mark.slow
def test_the_networks_are_good(summary):
    assert summary["accuracy"]["digits"] >= 0.97 and summary["accuracy"]["iris"] >= 0.94


def test_right_and_wrong_decisions_are_shown_by_four_methods_that_add_up(ran):
    for name, wrong in (("digits", 2), ("iris", 1)):
        found = json.loads((ran[0] / f"page/{name}/summary.json").read_text())
        assert set(found["methods"]) == {"integrated_gradients", "shapley_value", "occlusion", "gradient_x_input"}
        rows = found["methods"]["shapley_value"]["rows"]
        assert sum(row["predicted"] != row["label"] for row in rows) == wrong and len(rows) > wrong + 1
        assert max(row["relative_gap"] for row in rows) < 1e-5
        assert all(row["converged"] for row in found["methods"]["integrated_gradients"]["rows"])


def test_shapley_values_of_the_demo_are_exact(ran):
    digits = vs.Allocation.load(ran[0] / "page/digits/shapley_value.safetensors")
    assert digits.players.shape == (4, 4) and digits.provenance["estimator"] == "exact" and set(digits.evaluations.tolist()) == {1 << 16}


def test_the_finding_is_made_from_the_numbers(ran, summary):
    relevance = vs.Allocation.load(ran[0] / "page/digits/integrated_gradients.safetensors").values.abs()
    rows = [row["row"] for row in json.loads((ran[0] / "page/digits/summary.json").read_text())["methods"]["occlusion"]["rows"]]
    ink = load("digits").test_x[rows] >= 0.5
    share, area = relevance[ink].sum() / relevance.sum(), ink.float().mean()
    assert summary["ink"]["relevance"] == pytest.approx(float(share), abs=1e-5)
    ratio = float(share / area / ((1 - share) / (1 - area)))
    assert f"{ratio:.1f} times" in summary["finding"] and summary["finding"] in (ran[0] / "page/report.html").read_text()


@pytest.mark.slow
def test_the_commands_on_the_page_make_its_numbers_again(ran, vesalius, monkeypatch):
    monkeypatch.chdir(ran[0])
    before = vs.Allocation.load("page/iris/integrated_gradients.safetensors")
    html = Path("page/report.html").read_text()
    command = next(line for line in html.splitlines() if "iris_mlp" in line and "vesalius explain" in line)
    words = command[command.index("explain") :].split("<")[0].split()
    words[words.index("--out") + 1] = "again"
    assert vesalius(*words).code == 0
    torch.testing.assert_close(vs.Allocation.load("again/integrated_gradients.safetensors").values, before.values)


def test_an_autoencoder_is_made_smaller_and_its_command_makes_its_numbers_again(ran, summary, vesalius, monkeypatch):
    monkeypatch.chdir(ran[0])
    links = summary["links"]
    assert links["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert links["error, pruned"] < 1.6 * links["error, dense"] < 0.4 * links["error of the mean sample"]
    command = next(line for line in Path("page/report.html").read_text().splitlines() if "vesalius sparsify" in line)
    words = command[command.index("sparsify") :].split("<")[0].split()
    words[words.index("--out") + 1] = "smaller"
    assert vesalius(*words).code == 0
    assert json.loads(Path("smaller/summary.json").read_text())["error, pruned"] == pytest.approx(links["error, pruned"], rel=1e-4)


@pytest.mark.slow
def test_a_second_run_keeps_everything(ran, vesalius, monkeypatch):
    monkeypatch.chdir(ran[0])
    threads = torch.get_num_threads()
    second = vesalius("demo", "--out", "page", "--cache", "cache")
    assert second.code == 0 and second.err.count("kept from") == 15 and "training" not in second.err
    assert torch.get_num_threads() == threads
