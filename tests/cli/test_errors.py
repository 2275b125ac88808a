"""Every mistake a user can make: exit code 2, one line that says what to do, no traceback; and nothing written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vesalius.cli import commands
from vesalius.core.version import VERSION


def assert_refused(ran, *words):
    lines = ran.err.strip().splitlines()
    assert ran.code == 2 and ran.out == "" and len(lines) == 1 and lines[0].startswith("vesalius: "), ran
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nowhere.py:net", ["there is no file nowhere.py"]),
        ("models.py:nett", ["no factory", "'nett'", "'net'"]),
        ("models.py:broken", ["models.py:broken failed", "RuntimeError: no licence", "line"]),
        ("models.py:number", ["gave a int", "torch.nn.Module"]),
        ("models.py:constant", ["is a int", "function without arguments"]),
        ("models.py", ["names a file but no model", "models.py:FACTORY"]),
        ("no.such.package:net", ["'no.such.package'", "ModuleNotFoundError"]),
        ("w.pt", ["parameters but no model", "--weights"]),
        ("model.onnx", ["is not a model", "*.pt2"]),
        ("missing.safetensors", ["there is no file missing.safetensors"]),
        ("models.py:overflow", ["row 0", "NaN or infinite"]),
    ],
)
def test_models(model, words, explain):
    assert_refused(explain(model), *words)
    assert not Path("out/report.html").exists()


def test_a_file_that_does_not_run(explain):
    Path("bad.py").write_text("def net(:\n")
    assert_refused(explain("bad.py:net"), "bad.py could not be run", "SyntaxError", "line 1")
    Path("worse.py").write_text("import no_such_thing\n")
    assert_refused(explain("worse.py:net"), "ModuleNotFoundError", "no_such_thing", "line 1")


def test_files_that_are_not_what_their_name_says(explain):
    Path("fake.safetensors").write_bytes(b"not at all")
    Path("fake.pt2").write_bytes(b"not at all")
    assert_refused(explain("fake.safetensors"), "fake.safetensors", "corrupted")
    save_file({"x": torch.zeros(2)}, "fake.safetensors")
    assert_refused(explain("fake.safetensors"), "not written by vesalius")
    assert_refused(explain("fake.pt2", "x.npz", "--trust"), "fake.pt2", "exported program")


def test_an_exported_program_of_fixed_batch(explain):
    program = torch.export.export(torch.nn.Linear(4, 3), (torch.zeros(1, 4),))
    torch.export.save(program, "fixed.pt2")
    assert_refused(explain("fixed.pt2", "x.npz", "--trust"), "dynamic batch")


def test_weights_that_do_not_fit(explain, weights):
    save_file({**weights, "extra.bias": torch.zeros(1), "a.bias": torch.zeros(7)}, "other.safetensors")
    ran = explain("models.py:net", "x.npz", "--weights", "other.safetensors")
    assert_refused(ran, "1 not in the model: extra.bias", "a.bias [7] for [8]")
    del weights["b.weight"]
    save_file(weights, "other.safetensors")
    assert_refused(explain("models.py:net", "x.npz", "--weights", "other.safetensors"), "1 missing: b.weight")
    save_file({f"module.{name}": tensor for name, tensor in weights.items()}, "other.safetensors")
    assert_refused(explain("models.py:net", "x.npz", "--weights", "other.safetensors"), "4 missing", "3 not in the model: module.a.bias")


def test_weights_that_cannot_be_read(explain):
    torch.save(torch.nn.Linear(4, 3), "module.pt")
    Path("torn.pt").write_bytes(b"PK\3\4 torn")
    torch.save([torch.zeros(2)], "list.pt")
    assert_refused(explain("models.py:net", "x.npz", "--weights", "module.pt"), "module.pt", "state_dict")
    assert_refused(explain("models.py:net", "x.npz", "--weights", "torn.pt"), "torn.pt", "state_dict")
    assert_refused(explain("models.py:net", "x.npz", "--weights", "list.pt"), "holds no state dict", "list")
    assert_refused(explain("models.py:net", "x.npz", "--weights", "none.pt"), "there is no file none.pt")


def test_weights_cannot_run_code(explain):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (Path("ran"),))

    torch.save({"a.weight": Evil()}, "evil.pt")
    assert_refused(explain("models.py:net", "x.npz", "--weights", "evil.pt"), "evil.pt")
    assert not Path("ran").exists()


def test_options_for_a_factory_are_refused_for_a_finished_network(explain):
    assert_refused(explain("missing.pt2", "x.npz", "--weights", "w.pt"), "--weights goes with a factory")
    assert_refused(explain("missing.safetensors", "x.npz", "--output", "logits"), "--output goes with a factory")
    Path("net.pt2").write_bytes(b"anything")
    assert_refused(explain("net.pt2", "x.npz", "--device", "meta"), "net.pt2 runs where it was exported")


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((0, 4), np.float32), ["[0, 4]", "at least one row"]),
        (np.zeros(4, np.float32), ["[4]", "[rows, ...]"]),
        (np.zeros((3, 7), np.float32), ["[batch, 7]", "mat1 and mat2", "models.py, line"]),
        (np.zeros((3, 4), np.uint8), ["uint8", "float32", "255"]),
        (np.zeros((3, 4), np.complex64), ["complex64", "expected numbers"]),
        (np.full((3, 4), "word"), ["words", "float32"]),
        (np.array([[0, 1, 2, 3], [0, np.inf, 0, 0]], np.float32), ["row 1", "inf", "element 1", "--rows"]),
    ],
)
def test_samples(x, words, explain):
    np.savez("bad.npz", x=x)
    assert_refused(explain("models.py:net", "bad.npz"), *words)


def test_rows_with_nan_are_named_and_only_matter_where_they_are_used(explain):
    x = np.load("x.npz")["x"]
    x[6, 2] = np.nan
    np.savez("nan.npz", x=x)
    assert_refused(explain("models.py:net", "nan.npz", "--rows", "5:8"), "row 6 holds nan", "element 2", "1 of 3 rows")
    assert explain("models.py:net", "nan.npz", "--rows", "0:6").code == 0
    assert_refused(explain("models.py:net", "nan.npz", "--rows", "0:6", "--baseline", "mean"), "row 6 holds nan")


@pytest.mark.parametrize(
    ("text", "rest", "words"),
    [
        ("", (), ["is empty"]),
        ("a,b,c,d\n", (), ["no rows of numbers"]),
        ("a,b,c,d\n1,2,3\n", (), ["row 0", "3 cells", "4 columns"]),
        ("a,b,c,kind\n1,2,3,rose\n", (), ["row 0", "'rose'", "'kind'", "--label kind"]),
        ("a,b,c,kind\n1,2,3,rose\n", ("--label", "knd"), ["no column", "'knd'", "'kind'"]),
        ("a,b,c,a\n1,2,3,4\n", (), ["two columns named 'a'"]),
        ("a,b,c,d\n1,2,3,4\n1,,3,4\n", (), ["row 1 holds nan", "column 'b'"]),
    ],
)
def test_tables(text, rest, words, explain):
    Path("t.csv").write_text(text)
    assert_refused(explain("models.py:net", "t.csv", *rest), *words)


def test_data_files(explain, monkeypatch):
    Path("torn.npz").write_bytes(b"PK\3\4 torn")
    Path("torn.npy").write_bytes(b"torn")
    Path("torn.safetensors").write_bytes(b"torn")
    Path("torn.parquet").write_bytes(b"torn")
    np.save("object.npy", np.array([[None, 1]], dtype=object), allow_pickle=True)
    for name in ("torn.npz", "torn.npy", "torn.safetensors", "torn.parquet", "object.npy"):
        assert_refused(explain("models.py:net", name), name, "cannot be read as")
    np.savez("two.npz", u=np.zeros((2, 4)), v=np.zeros((2, 4)))
    assert_refused(explain("models.py:net", "two.npz"), "no array in two.npz", "'x'", "'u', 'v'")
    assert_refused(explain("models.py:net", "x.npz", "--label", "z"), "no array", "'z'")
    assert_refused(explain("models.py:net", "none.npz"), "there is no file or folder none.npz")
    assert_refused(explain("models.py:net", "models.py"), "no kind read here", ".csv")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("vesalius.cli.tables.import_module", missing)
    assert_refused(explain("models.py:net", "torn.parquet"), "needs pyarrow", "pip install")


def test_pictures(explain):
    Path("empty").mkdir()
    assert_refused(explain("models.py:pictures", "empty"), "no pictures in empty")
    Path("torn").mkdir()
    Path("torn/a.png").write_bytes(b"not a picture")
    assert_refused(explain("models.py:pictures", "torn"), "a.png cannot be read as a picture")
    Path("torn/a.png").unlink()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("torn/a.png")
    assert_refused(explain("models.py:colour", "torn"), "does not take samples of shape [batch, 1, 8, 8]")


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (("--methods", "integrated_gradient"), ["no method 'integrated_gradient'", "'integrated_gradients'"]),
        (("--methods", "occlusion", "occlusion"), ["occlusion twice"]),
        (("--target", "3"), ["the target 3 is out of range", "3 classes"]),
        (("--target", "rse", "--names", "rose,lily,iris"), ["no target 'rse'", "'rose'"]),
        (("--names", "rose,lily"), ["labels go from 0 to 2", "0 to 1"]),
        (("--names", "a,b,c,d"), ["names of 4 classes", "the model has 3", "--names"]),
        (("--features", "a,b"), ["2 names of features", "4 elements", "--features"]),
        (("--baseline", "men"), ["no baseline 'men'", "'mean'"]),
        (("--baseline", "blur"), ["the baseline blur is for pictures", "[4]"]),
        (("--players", "patch:2"), ["no kind of players 'patch:2'", "'patches:2'"]),
        (("--players", "patches:2"), ["patches need an image"]),
        (("--players", "features", "--at", "relu"), ["players divide the input", "--players or --at"]),
        (("--at", "reluu"), ["'reluu'", "did you mean"]),
        (("--rows", "x"), ["'x' is not a choice of rows"]),
        (("--rows", "10"), ["does not exist; there are 10"]),
        (("--rows", "12:14"), ["chooses none of the 10 rows"]),
        (("--tol", "-1", "--methods", "integrated_gradients"), ["tol is a number above 0, not -1"]),
        (("--tol", "much"), ["--tol", "much", "vesalius explain --help"]),
        (("--labels", "none.txt"), ["there is no file none.txt"]),
        (("--labels", "x.npz"), ["x.npz is not text"]),
        (("--device", "abacus"), ["--device 'abacus' cannot be used here"]),
        (("--methods", ""), ["no method among the methods"]),
        (("--nonsense",), ["--nonsense", "vesalius explain --help"]),
    ],
)
def test_options(rest, words, explain):
    assert_refused(explain("models.py:net", "x.npz", *rest), *words)


def test_labels(explain):
    np.save("x.npy", np.load("x.npz")["x"])
    assert_refused(explain("models.py:net", "x.npy", "--target", "true"), "needs labels")
    Path("few.txt").write_text("0\n1\n")
    assert_refused(explain("models.py:net", "x.npy", "--labels", "few.txt"), "2 labels for 10 rows")
    Path("words.txt").write_text("\n".join(["rose", "lily"] * 5))
    assert_refused(explain("models.py:net", "x.npy", "--labels", "words.txt"), "the labels are words", "2 classes", "--names")
    odd = explain("models.py:net", "x.npy", "--labels", "words.txt", "--names", "ros,lily,iris")
    assert_refused(odd, "no class among the names", "--names", "'rose'")
    Path("far.txt").write_text("\n".join(["0", "9"] * 5))
    assert_refused(explain("models.py:net", "x.npy", "--labels", "far.txt"), "a label 9", "3 classes")


def test_a_folder_that_cannot_be_written_to(vesalius, home):
    Path("file").write_text("in the way")
    assert_refused(vesalius("explain", "models.py:net", "x.npz", "--out", "file/out", "--methods", "occlusion"), "file")


def test_missing_words(vesalius, home):
    assert_refused(vesalius("explain", "models.py:net", "x.npz"), "--out", "vesalius explain --help")
    assert_refused(vesalius("explian"), "explian", "vesalius --help")


def test_version_and_help(vesalius):
    assert vesalius("--version").out == f"vesalius {VERSION}\n"
    for words in (("--help",), ()):
        shown = vesalius(*words)
        assert shown.code == 0 and "examples:" in shown.out and "vesalius demo" in shown.out
    assert "--baseline" in vesalius("explain", "--help").out


def test_a_fault_of_ours_is_told_from_a_mistake_of_the_users(explain, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError("deep down")

    monkeypatch.setattr(commands, "explain", fail)
    ran = explain()
    assert ran.code == 1 and "Traceback" in ran.err
    assert ran.err.strip().splitlines()[-1].startswith("vesalius: unexpected ZeroDivisionError: deep down")


COMMANDS = [("explain", "nowhere.py:f", "none.npz"), ("sparsify", "nowhere.py:f", "none.npz"), ("demo",), ("gallery",)]


@pytest.mark.parametrize("command", COMMANDS)
def test_where_nothing_can_be_written_is_said_before_anything_else(command, vesalius, home, monkeypatch):
    Path("taken").write_text("mine")
    assert_refused(vesalius(*command, "--out", "taken"), "taken is a file", "--out")
    assert_refused(vesalius(*command, "--out", "taken/below"), "taken is a file", "--out")
    assert Path("taken").read_text() == "mine"

    def denied(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr("vesalius.workflow.folder.TemporaryFile", denied)
    assert_refused(vesalius(*command, "--out", "new/out"), "nothing can be written to new/out", "Permission denied", "--out")
    assert not Path("new").exists()
