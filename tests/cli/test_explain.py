"""``vesalius explain`` from words to files: every kind of data and model, what is written, and what a second run does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import vesalius as vs
from vesalius.methods import METHODS, IntegratedGradients, ShapleyValue
from vesalius.workflow import method_runs


def summary():
    return json.loads(Path("out/summary.json").read_text())


def test_a_run_writes_a_page_a_file_per_method_and_a_summary(vesalius, home):
    ran = vesalius("explain", "models.py:net", "x.npz", "--out", "out", "--rows", "2:5")
    assert ran.code == 0 and ran.out.splitlines()[-1] == str(Path("out/report.html"))
    names = {"integrated_gradients", "shapley_value", "occlusion", "gradient_x_input"}
    assert {path.name for path in Path("out").iterdir()} == {"report.html", "summary.json", *(f"{name}.safetensors" for name in names)}
    page = Path("out/report.html").read_text()
    assert "vesalius explain models.py:net x.npz --out out --rows 2:5" in page and "http://" not in page.replace("http://www.w3.org", "")
    assert set(summary()["methods"]) == names


def test_methods_may_be_separated_by_commas(explain):
    assert explain("models.py:net", "x.npz", "--methods", "occlusion,gradient_x_input").code == 0
    assert list(summary()["methods"]) == ["occlusion", "gradient_x_input"]


def test_numbers_are_those_of_the_library(vesalius, made):
    vesalius("explain", "models.py:net", "x.npz", "--out", "out", "--rows", "1,4", "--seed", "3")
    x = torch.tensor(np.load("x.npz")["x"])[[1, 4]]
    net = vs.trace(made("net"), x)
    for name in METHODS.keys() & summary()["methods"].keys():
        method = {"shapley_value": ShapleyValue(seed=3), "integrated_gradients": IntegratedGradients()}.get(name, name)
        found, kept = vs.attribute(net, x, method), vs.Allocation.load(f"out/{name}.safetensors")
        torch.testing.assert_close(kept.values, found.values, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(kept.total, found.total)
        sure = net(x).detach().softmax(1).max(1).values.tolist()
        assert [row["probability"] for row in summary()["methods"][name]["rows"]] == pytest.approx(sure, rel=1e-5)


def test_the_summary_adds_up(vesalius, home):
    vesalius("explain", "models.py:net", "x.npz", "--out", "out", "--tol", "0.001")
    labels = np.load("x.npz")["y"]
    for name, method in summary()["methods"].items():
        allocation = vs.Allocation.load(f"out/{method['file']}")
        for place, row in enumerate(method["rows"]):
            assert row["gap"] == pytest.approx(row["total"] - row["base"] - row["sum"], abs=1e-6)
            assert row["sum"] == pytest.approx(float(allocation[place].values.sum()), abs=1e-6)
            assert row["predicted"] == str(row["target"]) and row["label"] == str(labels[place]) and row["row"] == place
            assert row["evaluations"] == int(allocation.evaluations[place]) > 0
        if name == "shapley_value":
            assert max(abs(row["gap"]) for row in method["rows"]) < 1e-5
        if name == "integrated_gradients":
            assert all(row["converged"] for row in method["rows"])
            # where the output hardly changes, the method's floor decides, not its tolerance
            assert all(row["relative_gap"] < 1e-3 for row in method["rows"] if abs(row["total"] - row["base"]) > 0.05)


# ---- data ---------------------------------------------------------------------------------------------------------------------------


def table(suffix):
    x = np.load("x.npz")["x"].astype(float)
    names = ["a", "b", "<c>", "constant"]
    x[:, 3] = 1
    words = ["no", "yes", "maybe"]
    if suffix == "csv":
        lines = [",".join([*names, "kind"])] + [",".join([*map(repr, row.tolist()), words[i % 3]]) for i, row in enumerate(x)]
        Path("t.csv").write_text("\n".join(lines) + "\n")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        columns = {name: x[:, i] for i, name in enumerate(names)} | {"kind": [words[i % 3] for i in range(len(x))]}
        parquet.write_table(pyarrow.table(columns), "t.parquet")
    return x


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_keep_their_names_and_labels(suffix, explain):
    x = table(suffix)
    ran = explain("models.py:net", f"t.{suffix}", "--label", "kind", "--names", "no,yes,maybe", "--rows", "0:3")
    assert ran.code == 0, ran.err
    rows = summary()["methods"]["occlusion"]["rows"]
    assert [row["label"] for row in rows] == ["no", "yes", "maybe"] and {row["predicted"] for row in rows} <= {"no", "yes", "maybe"}
    kept = vs.Allocation.load("out/occlusion.safetensors")
    assert kept.players.names == ("a", "b", "<c>", "constant")
    again = vs.Allocation.load("out/gradient_x_input.safetensors")
    assert again.players.names == kept.players.names and x.shape == (10, 4)
    page = Path("out/report.html").read_text()
    assert "&lt;c&gt;" in page and "<c>" not in page


def test_npy_with_a_file_of_labels_and_names(explain):
    np.save("x.npy", np.load("x.npz")["x"])
    Path("labels.txt").write_text("\n".join(["2", "0"] * 5) + "\n")
    Path("names.txt").write_text("rose\nlily\niris\n")
    ran = explain("models.py:net", "x.npy", "--labels", "labels.txt", "--names", "names.txt", "--features", "p,q,r,s", "--rows", "-2:")
    assert ran.code == 0, ran.err
    rows = summary()["methods"]["occlusion"]["rows"]
    assert [(row["row"], row["label"]) for row in rows] == [(8, "iris"), (9, "rose")]
    assert vs.Allocation.load("out/occlusion.safetensors").players.names == ("p", "q", "r", "s")


def test_safetensors_with_named_arrays(explain):
    held = np.load("x.npz")
    save_file({"X": torch.tensor(held["x"]), "species": torch.tensor(held["y"])}, "x.safetensors")
    assert explain("models.py:net", "x.safetensors", "--label", "species", "--target", "true").code == 0
    assert [row["target"] for row in summary()["methods"]["occlusion"]["rows"]] == held["y"][:8].tolist()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_of_pictures_in_order_with_classes_from_subfolders(mode, explain):
    rng = np.random.default_rng(0)
    for kind in ("dog", "cat"):
        Path("pictures", kind).mkdir(parents=True)
        for number in range(2):
            sides = (8, 8) if mode == "L" else (8, 8, 3)
            Image.fromarray(rng.integers(0, 256, sides, dtype=np.uint8)).save(f"pictures/{kind}/{number}.png")
    model = "models.py:pictures" if mode == "L" else "models.py:colour"
    ran = explain(model, "pictures", "--baseline", "blur", "--players", "patches:4", "--rows", "1:4")
    assert ran.code == 0, ran.err
    rows = summary()["methods"]["occlusion"]["rows"]
    assert [(row["name"], row["label"]) for row in rows] == [("cat/1.png", "cat"), ("dog/0.png", "dog"), ("dog/1.png", "dog")]
    assert vs.Allocation.load("out/occlusion.safetensors").values.shape == (3, 2, 2)
    page = Path("out/report.html").read_text()
    assert "dog/1.png" in page and "the files hold single pixels" in page
    assert vs.Allocation.load("out/gradient_x_input.safetensors").values.shape[-2:] == (8, 8)


def test_pictures_of_other_sizes_are_resized_when_asked(explain):
    Path("pictures").mkdir()
    for number, side in enumerate((8, 11)):
        Image.fromarray(np.full((side, side), 80 * number, np.uint8)).save(f"pictures/{number}.png")
    refused = explain("models.py:pictures", "pictures")
    assert refused.code == 2 and "--size N" in refused.err
    assert explain("models.py:pictures", "pictures", "--size", "9").code == 0
    assert ("the files hold" in Path("out/report.html").read_text()) == (vs.Allocation.load("out/occlusion.safetensors").players.n < 81 / 4)
    assert vs.Allocation.load("out/gradient_x_input.safetensors").values.shape == (2, 1, 9, 9)


def test_the_mean_baseline_is_that_of_all_rows(explain, made):
    assert explain("models.py:net", "x.npz", "--baseline", "mean", "--rows", "0", "--methods", "integrated_gradients").code == 0
    output = made("net")(torch.tensor(np.load("x.npz")["x"].mean(0, keepdims=True)))[0].detach()
    row = summary()["methods"]["integrated_gradients"]["rows"][0]
    assert row["base"] == pytest.approx(float(output[row["target"]]), abs=1e-5) and summary()["baseline"] == "mean of 10 rows"


def test_the_mean_of_pictures_is_that_of_all_files(explain, made):
    Path("pictures").mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8), 60 * number, np.uint8)).save(f"pictures/{number}.png")
    assert explain("models.py:pictures", "pictures", "--rows", "0:2", "--baseline", "mean").code == 0
    assert summary()["baseline"] == "mean of 4 rows"
    rows = summary()["methods"]["occlusion"]["rows"]
    output = made("pictures")(torch.full((1, 1, 8, 8), 90 / 255))[0].detach()
    assert rows[0]["base"] == pytest.approx(float(output[rows[0]["target"]]), abs=1e-5)


# ---- models -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["safetensors", "pt", "checkpoint"])
def test_weights_are_put_into_the_factorys_module(kind, explain, weights):
    path = "w.safetensors" if kind == "safetensors" else "w.pt"
    if kind != "safetensors":
        torch.save({"state_dict": weights, "epoch": 3} if kind == "checkpoint" else weights, path)
    assert explain("models.py:net", "x.npz", "--weights", path, "--rows", "0").code == 0
    x = torch.tensor(np.load("x.npz")["x"][:1])
    output = torch.relu(x @ weights["a.weight"].T + weights["a.bias"]) @ weights["b.weight"].T + weights["b.bias"]
    row = summary()["methods"]["occlusion"]["rows"][0]
    assert row["total"] == pytest.approx(float(output.max()), rel=1e-5) and row["target"] == int(output.argmax())


def test_a_saved_network_and_an_exported_program_give_the_numbers_of_the_module(explain, made):
    model = made("net")
    x = torch.tensor(np.load("x.npz")["x"])
    vs.trace(model, x).save("net.safetensors")
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, "net.pt2")
    totals = []
    for spec, rest in (("models.py:net", ()), ("net.safetensors", ()), ("net.pt2", ("--trust",))):
        ran = explain(spec, "x.npz", *rest)
        assert ran.code == 0, ran.err
        totals.append([row["total"] for row in summary()["methods"]["occlusion"]["rows"]])
    assert totals[0] == pytest.approx(totals[1], abs=1e-6) and totals[0] == pytest.approx(totals[2], abs=1e-6)


def test_an_exported_program_is_not_read_without_trust(explain):
    Path("net.pt2").write_bytes(b"anything")
    ran = explain("net.pt2")
    assert ran.code == 2 and "can run code" in ran.err and "--trust" in ran.err


def test_a_module_in_a_file_a_module_in_a_package_and_a_class_are_factories_too(explain, home):
    (home / "pack").mkdir()
    (home / "pack/__init__.py").write_text("from torch import nn\n\n\ndef build():\n    return nn.Linear(4, 3)\n")
    for spec in ("models.py:ready", "models.py:Net", "pack:build"):
        assert explain(spec).code == 0, spec


def test_a_factory_may_import_what_lies_beside_it(explain, home):
    (home / "deep").mkdir()
    (home / "deep/beside.py").write_text("SIZE = 4\n")
    (home / "deep/other.py").write_text("from beside import SIZE\nfrom torch import nn\n\n\ndef build():\n    return nn.Linear(SIZE, 3)\n")
    assert explain("deep/other.py:build").code == 0


def test_one_part_of_a_result_can_be_chosen(explain):
    refused = explain("models.py:two")
    assert refused.code == 2 and "'logits', 'hidden'" in refused.err
    assert explain("models.py:two", "x.npz", "--output", "logits").code == 0


def test_a_single_output_is_explained_as_it_is(explain):
    assert explain("models.py:single", "x.npz").code == 0
    row = summary()["methods"]["occlusion"]["rows"][0]
    assert row["target"] is None and row["probability"] is None and float(row["predicted"]) == pytest.approx(row["total"], rel=1e-3)
    labels = np.load("x.npz")["y"]
    assert row["label"] == str(labels[0]) and f"row 0, label {labels[0]}" in Path("out/report.html").read_text()
    page = Path("out/report.html").read_text()
    assert "wrong" not in page[page.index("<body") : page.index("<script", page.index("<body"))]


def test_probabilities_are_seen_as_such(explain):
    assert explain("models.py:softmax").code == 0
    found = summary()
    assert found["unit"] == "probability"
    assert all(row["probability"] == pytest.approx(row["total"]) for row in found["methods"]["occlusion"]["rows"])


@pytest.mark.slow
def test_a_model_that_cannot_be_exported_is_explained_all_the_same(explain):
    without_graph = sorted(name for name, method in METHODS.items() if "graph" not in method.claims)
    assert explain("models.py:branch", "x.npz", "--methods", *without_graph, "--budget", "64").code == 0
    refused = explain("models.py:branch", "x.npz", "--methods", "occlusion", "lrp_epsilon")
    assert refused.code == 2 and "lrp_epsilon needs the graph" in refused.err


def test_rows_of_the_data_are_a_background(explain):
    assert (
        explain("models.py:net", "x.npz", "--methods", "expected_gradients", "deep_shap", "--baseline", "rows:0:5", "--rows", "6").code == 0
    )
    found = [vs.Allocation.load(f"out/{name}.safetensors") for name in ("expected_gradients", "deep_shap")]
    assert found[0].provenance["baseline"] == "background of 5 rows"
    assert float(found[0].base[0]) == pytest.approx(float(found[1].base[0]), rel=1e-5)
    assert max(float(one.relative_gap.max()) for one in found) < 1e-4
    assert explain("models.py:net", "x.npz", "--baseline", "rows:900").code == 2


def test_token_ids_are_explained_at_their_embedding(explain):
    np.savez("ids.npz", x=np.random.default_rng(0).integers(0, 10, (3, 5)))
    refused = explain("models.py:tokens", "ids.npz")
    assert refused.code == 2 and "int64" in refused.err and "emb" in refused.err
    assert explain("models.py:tokens", "ids.npz", "--at", "emb").code == 0
    assert vs.Allocation.load("out/gradient_x_input.safetensors").values.shape == (3, 5, 3)


def test_an_inner_value_is_compared_with_the_mean_of_the_inputs(explain, made):
    assert explain("models.py:net", "x.npz", "--at", "relu", "--baseline", "mean", "--rows", "0").code == 0
    row, base = summary()["methods"]["occlusion"]["rows"][0], vs.Allocation.load("out/occlusion.safetensors")
    output = made("net")(torch.tensor(np.load("x.npz")["x"].mean(0, keepdims=True)))[0].detach()
    assert base.players.n == 8 and row["base"] == pytest.approx(float(output[row["target"]]), abs=1e-5)


def test_double_precision_models_get_double_precision_data(explain, home):
    (home / "double.py").write_text("from torch import nn\n\n\ndef build():\n    return nn.Linear(4, 3).double()\n")
    assert explain("double.py:build").code == 0
    assert vs.Allocation.load("out/gradient_x_input.safetensors").values.dtype == torch.float64


# ---- a second run -------------------------------------------------------------------------------------------------------------------


def test_a_second_run_computes_nothing_again_and_says_so(explain, monkeypatch):
    first = explain()
    monkeypatch.setattr(method_runs, "attribute", None)
    second = explain()
    assert first.code == second.code == 0
    assert "kept" not in first.err and "gradient_x_input: kept from out" in second.err and "occlusion: kept from out" in second.err
    assert all(method["kept"] for method in summary()["methods"].values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "fresh"),
    [
        (("--rows", "0:3"), {"occlusion", "gradient_x_input"}),
        (("--target", "1"), {"occlusion", "gradient_x_input"}),
        (("--baseline", "mean"), {"occlusion", "gradient_x_input"}),
        (("--weights", "w.safetensors"), {"occlusion", "gradient_x_input"}),
        (("--players", "features"), {"occlusion"}),
        (("--seed", "4"), set()),
    ],
)
def test_what_has_changed_is_computed_again(change, fresh, explain, weights):
    explain()
    assert explain("models.py:net", "x.npz", *change).code == 0
    assert {name for name, method in summary()["methods"].items() if not method["kept"]} == fresh


def test_a_damaged_file_is_computed_again(explain):
    explain()
    Path("out/occlusion.safetensors").write_bytes(b"\0" * 50)
    assert explain().code == 0
    assert {name: method["kept"] for name, method in summary()["methods"].items()} == {"gradient_x_input": True, "occlusion": False}


def test_stopping_keeps_what_is_finished(explain, monkeypatch):
    real, calls = method_runs.attribute, []

    def stop_at_the_second_method(network, x, method, **rest):
        calls.append(method.name)
        if method.name == "occlusion":
            raise KeyboardInterrupt
        return real(network, x, method, **rest)

    monkeypatch.setattr(method_runs, "attribute", stop_at_the_second_method)
    stopped = explain()
    assert stopped.code == 130 and "stopped" in stopped.err and calls == ["gradient_x_input", "occlusion"]
    monkeypatch.setattr(method_runs, "attribute", real)
    assert "gradient_x_input: kept" in explain().err


def test_shapley_values_do_not_depend_on_how_rows_are_grouped(vesalius, made):
    x = torch.randn(3, 14, generator=torch.Generator().manual_seed(0))
    np.savez("wide.npz", x=x.numpy())
    ran = vesalius("explain", "models.py:wide", "wide.npz", "--out", "out", "--methods", "shapley_value", "--budget", "60", "--seed", "1")
    assert ran.code == 0, ran.err
    kept = vs.Allocation.load("out/shapley_value.safetensors")
    whole, other = (vs.attribute(vs.trace(made("wide"), x), x, ShapleyValue(budget=60, seed=seed)) for seed in (1, 2))
    torch.testing.assert_close(kept.values, whole.values)
    assert kept.evaluations.tolist() == [60] * 3 and not torch.allclose(whole.values, other.values, atol=1e-4)


@pytest.mark.parametrize(("target", "place"), [("lily", 1), ("iris", 2), ("2", 2), ("0", 0)])
def test_a_target_is_a_number_or_a_name(target, place, explain, made):
    assert explain("models.py:net", "x.npz", "--target", target, "--names", "rose,lily,iris").code == 0
    output = made("net")(torch.tensor(np.load("x.npz")["x"][:8])).detach()
    rows = summary()["methods"]["occlusion"]["rows"]
    assert [row["total"] for row in rows] == pytest.approx(output[:, place].tolist(), abs=1e-5)
    assert [row["predicted"] for row in rows] == [("rose", "lily", "iris")[best] for best in output.argmax(1).tolist()]
