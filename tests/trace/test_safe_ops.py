"""No file can write, read, print, draw, hang or fill the memory: each way to try is a file here, and is refused when it is read."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import vesalius as vs
from tests.crafted import rewrite_whole
from vesalius.core.errors import ForeignFile
from vesalius.trace.safe_ops import PURE_OPS, check_arguments, check_identifier, check_name, find_op, impurity


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A small network's file, whose nodes ``input`` and ``bias`` are an input [B, 6] and three numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = vs.trace(nn.Sequential(nn.Linear(6, 3)).eval(), torch.zeros(1, 6))
    file = net.save(tmp_path_factory.mktemp("network") / "net")
    return rewrite_whole(file, file, rename)


def rename(header, tensors):
    nodes = header["facts"]["graph"]["nodes"]
    known = {"placeholder": "input", "0.bias": "bias"}
    names = {one["id"]: known.get(one["op"], known.get(one["target"], one["id"])) for one in nodes}
    for one in nodes:
        one["id"] = names[one["id"]]
        one["args"] = [{"node": names[item["node"]]} if isinstance(item, dict) else item for item in one["args"]]


def row(name, target, *args, **kwargs):
    """A node of a file that computes something of which it says nothing."""
    known = {"id": name, "op": "call_function", "target": target, "args": list(args), "kwargs": {"dict": kwargs}}
    return {**known, "value": None, "batch_size": False}


def described(found, name, shape, dtype="float32"):
    """A node with facts about its value."""
    op = found["target"].split(".")[1]
    facts = {"name": name, "op": op.strip("_"), "family": "zero", "shape": shape, "dtype": dtype, "batch_axis": None}
    return {**found, "value": {**facts, "module": "", "line": ""}}


def node(name):
    return {"node": name}


def harmful(path, tmp_path, *rows, uses=None):
    """The network's file, with some nodes before its output, and a sum of the last of them added to it."""

    def change(header, tensors):
        graph = header["facts"]["graph"]
        last = next(one for one in graph["nodes"] if one["value"] and one["value"]["name"] == graph["output"])
        end = {**last, "id": "end", "target": "aten.add.Tensor", "args": [node(last["id"]), node(uses or rows[-1]["id"])]}
        end["value"] = {**last["value"], "name": "end", "op": "add"}
        graph["nodes"] += [*rows, {**end, "kwargs": {"dict": {}}}]
        graph["output"] = "end"

    return rewrite_whole(path, tmp_path / "harmful", change)


def refused(path, tmp_path, *rows, match, uses=None):
    began = time.monotonic()
    with pytest.raises(ForeignFile, match=match):
        vs.Network.load(harmful(path, tmp_path, *rows, uses=uses))
    assert time.monotonic() - began < 20, "refused before it is computed"


def test_what_is_harmless_is_read(path, tmp_path):
    """The way the others are made is sound: a constant more, and the output is that much more."""
    file = harmful(path, tmp_path, described(row("one", "aten.ones.default", [3]), "one", [3]))
    x = torch.randn(4, 6)
    torch.testing.assert_close(vs.Network.load(file)(x), vs.Network.load(path)(x) + 1)


# ---- ops ------------------------------------------------------------------------------------------------------------------------------

WRITING = ["aten.copy_.default", "aten.set_.source_Tensor", "aten.resize_.default", "aten.add_.Tensor", "aten._foreach_add_.Scalar"]
IMPURE = ["aten.rand.default", "aten.randn_like.default", "aten.bernoulli.default", "aten.normal.float_float", "aten.multinomial.default"]
OUTSIDE = ["aten.from_file.default", "aten.save.default", "aten._print.default", "aten.manual_seed.default", "aten.warn.default"]
HIDDEN = [
    "aten.set_grad_enabled.default",
    "aten._foreach_add.Scalar",
    "aten.resize.default",
    "aten._pin_memory.default",
    "aten.data.default",
]
LISTS = ["aten.mul.left_t", "aten.add.t", "aten.pow.int", "aten.format.default", "aten.index.list_int", "aten.empty_strided.default"]


@pytest.mark.parametrize(
    "target", [*WRITING, *IMPURE, *OUTSIDE, *HIDDEN, *LISTS, "prims.add.default", "operator.setitem", "math.factorial"]
)
def test_an_op_that_is_no_pure_function_of_tensors_is_refused(path, tmp_path, target):
    refused(path, tmp_path, row("bad", target, node("input"), 1), match="asks for the op")


def test_a_file_on_disk_is_left_alone(path, tmp_path):
    victim = tmp_path / "notes"
    victim.write_bytes(b"mine")
    rows = [row("m", "aten.from_file.default", str(victim), True, 4), row("f", "aten.fill_.Scalar", node("m"), 0)]
    refused(path, tmp_path, *rows, match=r"from_file")
    assert victim.read_bytes() == b"mine"


def test_every_op_of_the_list_is_one_of_torch_and_has_a_pure_form():
    for name in sorted(PURE_OPS):
        packet = getattr(torch.ops.aten, name)
        assert any(not impurity(getattr(packet, overload)) for overload in packet.overloads()), name


def test_no_op_of_the_list_takes_a_path_or_writes():
    for name in sorted(PURE_OPS):
        packet = getattr(torch.ops.aten, name)
        for op in (getattr(packet, overload) for overload in packet.overloads()):
            if not impurity(op):
                assert not op._schema.is_mutable
                assert not {"filename", "path", "file"} & {one.name for one in op._schema.arguments if "str" in str(one.type)}, op


@pytest.mark.parametrize(("target", "args", "kwargs"), [
    ("aten.dropout.default", [node("input"), 0.5, True], {}),
    ("aten.batch_norm.default", [node("input"), None, None, node("bias"), node("bias"), True, 0.1, 1e-5, False], {}),
    ("aten.rrelu.default", [node("input")], {"training": True}),
    ("aten.scaled_dot_product_attention.default", [node("input")] * 3, {"dropout_p": 0.5}),
    ("aten.instance_norm.default", [node("input"), None, None, node("bias"), node("bias"), True, 0.1, 1e-5, False], {}),
])  # fmt: skip
def test_what_is_random_or_writes_to_statistics_by_an_argument_is_refused(target, args, kwargs):
    given = [torch.fx.Graph().placeholder("x") if isinstance(item, dict) else item for item in args]
    with pytest.raises(ValueError, match=r"random, or writes|would write"):
        check_arguments(find_op(target), given, kwargs)


@pytest.mark.parametrize(("target", "args"), [
    ("aten.empty.memory_format", [[3]]),
    ("aten.empty_like.default", [node("bias")]),
    ("aten.new_empty.default", [node("bias"), [3]]),
])  # fmt: skip
def test_memory_that_was_never_written_is_read_as_zeros(path, tmp_path, target, args):
    file, x = harmful(path, tmp_path, described(row("found", target, *args), "found", [3])), torch.ones(2, 6)
    torch.full((1000, 3), 7.0)  # memory that is free again
    assert torch.equal(vs.Network.load(file)(x), vs.Network.load(path)(x))


# ---- code -----------------------------------------------------------------------------------------------------------------------------


def test_names_of_arguments_run_nothing(path, tmp_path):
    """PyTorch writes ``name=value`` into a program and runs it."""
    ran = tmp_path / "ran"
    name = f"dtype=open({str(ran)!r}, 'w') and None, layout"
    file = harmful(path, tmp_path, row("bad", "aten.ones.default", [3], **{name: None}))
    with pytest.raises(ForeignFile, match="takes size, dtype"):
        vs.Network.load(file)(torch.ones(1, 6))
    assert not ran.exists()


@pytest.mark.parametrize("attack", ['w", open({ran!r}, "w")) or getattr(self, "w', 'w"); open({ran!r}, "w"); ("', "w\\"])
def test_names_of_tensors_run_nothing(path, tmp_path, attack):
    ran = tmp_path / "ran"
    name = attack.replace("{ran!r}", repr(str(ran)))

    def change(header, tensors):
        tensors[name] = tensors.pop("0.weight")
        for one in header["facts"]["graph"]["nodes"]:
            one["target"] = name if one["target"] == "0.weight" else one["target"]

    with pytest.raises(ForeignFile, match="no name of a tensor"):
        vs.Network.load(rewrite_whole(path, tmp_path / "attack", change))(torch.ones(1, 6))
    assert not ran.exists()


@pytest.mark.parametrize("attack", ["x=open({ran!r}, 'w')", "x, y", "lambda", "*x", "x\ny", "__class__", ""])
def test_names_of_inputs_run_nothing(path, tmp_path, attack):
    ran = tmp_path / "ran"

    def change(header, tensors):
        header["facts"]["graph"]["nodes"][0 if header["facts"]["graph"]["nodes"][0]["op"] == "placeholder" else 2]["target"] = attack

    with pytest.raises(ForeignFile, match=r"no name of an input|attr"):
        vs.Network.load(rewrite_whole(path, tmp_path / "attack", change))(torch.ones(1, 6))
    assert not ran.exists()


@pytest.mark.parametrize("name", ["__class__.weight", "a.__dict__.b", "", "a..b", 'a"b', "a\nb", 5])
def test_a_tensor_is_not_called_like_this(name):
    with pytest.raises(ValueError, match="no name of a tensor"):
        check_name(name)


@pytest.mark.parametrize("name", ["0.weight", "layer-1.conv 2.weight", "_lifted.0", "block.größe", "parametrizations.weight.original0"])
def test_a_tensor_may_be_called_like_this(name):
    check_name(name)


def test_an_input_is_called_like_a_variable():
    check_identifier("tensors_0")
    with pytest.raises(ValueError, match="no name of an input"):
        check_identifier("tensors[0]")


@pytest.mark.parametrize("name", ["forward", "graph", "training", "forward.x", "_modules.x"])
def test_a_tensor_that_hides_a_part_of_a_program_is_damage(path, tmp_path, name):
    def change(header, tensors):
        tensors[name] = tensors.pop("0.weight")
        for one in header["facts"]["graph"]["nodes"]:
            one["target"] = name if one["target"] == "0.weight" else one["target"]

    with pytest.raises(ForeignFile):
        vs.Network.load(rewrite_whole(path, tmp_path / "hidden", change))


@pytest.mark.parametrize("content", ["os", "sys", "load", "Tensor", "strided", "quint8", "complex32", 5, None])
def test_types_come_from_a_list(path, tmp_path, content):
    refused(path, tmp_path, row("bad", "aten.ones.default", [3], dtype={"dtype": content}), match="which no file may")


def test_a_device_in_a_file_is_the_one_that_was_asked_for(path, tmp_path):
    good = described(row("one", "aten.ones.default", [3], device={"device": "cuda:7"}), "one", [3])
    assert vs.Network.load(harmful(path, tmp_path, good)).devices == (torch.device("cpu"),)


# ---- memory and time ------------------------------------------------------------------------------------------------------------------

TERA = 1 << 40
BOMBS = {
    "zeros": [row("b", "aten.zeros.default", [TERA])],
    "one tensor that might just fit": [row("b", "aten.zeros.default", [1 << 30])],
    "full": [row("b", "aten.full.default", [1 << 20, 1 << 20], 1.0)],
    "arange": [row("b", "aten.arange.default", TERA)],
    "linspace": [row("b", "aten.linspace.default", 0, 1, TERA)],
    "eye": [row("b", "aten.eye.default", 1 << 20)],
    "window": [row("b", "aten.hann_window.default", TERA)],
    "repeat": [row("b", "aten.repeat.default", node("input"), [1 << 20, 1 << 20])],
    "tile": [row("b", "aten.tile.default", node("input"), [TERA])],
    "expand and copy": [row("e", "aten.expand.default", node("input"), [TERA, -1, -1]), row("b", "aten.clone.default", node("e"))],
    "pad": [row("b", "aten.constant_pad_nd.default", node("input"), [0, TERA])],
    "upsample": [
        row("u", "aten.unsqueeze.default", node("input"), 1),
        row("b", "aten.upsample_nearest1d.default", node("u"), [TERA]),
    ],
    "one_hot": [
        row("z", "aten.argmax.default", node("input"), 1),
        row("b", "aten.one_hot.default", node("z"), TERA),
    ],
    "a size that is computed": [
        row("s", "aten.sym_size.int", node("input"), 0),
        row("m", "operator.mul", node("s"), TERA),
        row("b", "aten.zeros.default", [node("m")]),
    ],
    "a size that is a number of the file": [
        row("i", "aten.item.default", node("bias")),
        row("n", "torch.sym_int", node("i")),
        row("b", "aten.zeros.default", [node("n")]),
    ],
    "repeats that are numbers of the file": [
        row("z", "aten.argmax.default", node("input"), 1),
        row("b", "aten.repeat_interleave.Tensor", node("z")),
    ],
    "digits": [
        row("s", "aten.sym_size.int", node("input"), 0),
        row("b", "operator.pow", node("s"), 10**12),
    ],
    "squares of squares": [
        row("s0", "aten.sym_size.int", node("input"), 0),
        *(row(f"s{i + 1}", "operator.mul", node(f"s{i}"), node(f"s{i}")) for i in range(40)),
    ],
    "a list times a number": [row("p", "aten.unbind.int", node("input"), 1), row("b", "operator.mul", node("p"), TERA)],
    "many parts": [
        row("e", "aten.expand.default", node("input"), [1 << 22, -1, -1]),
        row("b", "aten.unbind.int", node("e"), 0),
    ],
    "a degree": [row("b", "aten.special_legendre_polynomial_p.n_scalar", node("input"), 10**15)],
    "factors": [row("b", "aten.mvlgamma.default", node("input"), 10**12)],
    "a number too long": [row("b", "aten.mul.Scalar", node("input"), 1 << 200)],
    "much at once": [
        *(row(f"z{i}", "aten.zeros.default", [1 << 28]) for i in range(40)),
        row("b", "aten.stack.default", [node(f"z{i}") for i in range(40)]),
    ],
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_nothing_fills_the_memory_or_hangs(path, tmp_path, name):
    """Each by what it would take, and not by what else is wrong with it."""
    refused(
        path,
        tmp_path,
        *BOMBS[name],
        match=r"TooLarge|too many for a whole number|may have . from|is for|something else|without output_size",
    )


def test_an_input_that_no_memory_holds_is_refused(path, tmp_path):
    def change(header, tensors):
        for one in header["facts"]["graph"]["nodes"]:
            if one["op"] == "placeholder":
                one["value"]["shape"] = [None, TERA]

    with pytest.raises(ForeignFile, match="an input of it has"):
        vs.Network.load(rewrite_whole(path, tmp_path / "wide", change))


@pytest.mark.parametrize("change", [
    lambda value: value["shape"].append(7),
    lambda value: value.update(shape=[None, 4]),
    lambda value: value.update(dtype="int64"),
    lambda value: value.update(dtype="tuple"),
    lambda value: value.update(batch_axis=1),
    lambda value: value.update(op="tanh"),
    lambda value: value.update(family="os"),
    lambda value: value.update(line=7),
])  # fmt: skip
def test_what_a_file_says_of_a_value_is_held_against_it(path, tmp_path, change):
    def edit(header, tensors):
        graph = header["facts"]["graph"]
        change(next(one["value"] for one in graph["nodes"] if one["value"] and one["value"]["name"] == graph["output"]))

    with pytest.raises(ForeignFile):
        vs.Network.load(rewrite_whole(path, tmp_path / "lie", edit))


# ---- saving ---------------------------------------------------------------------------------------------------------------------------


def functions():
    """Models whose graphs hold rarer ops."""
    w, places = torch.rand(6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2, 4])
    return {
        "a frame that is filled": lambda x: torch.cat([torch.empty(x.shape[0], 2).fill_(0.5), x], 1),
        "scattered": lambda x: torch.zeros(x.shape[0], 9).scatter_add(1, places.expand(x.shape[0], 3), x[:, :3]),
        "put": lambda x: torch.zeros_like(x).index_put((torch.arange(x.shape[0])[:, None], places[None]), x[:, :3]),
        "a number read from a tensor": lambda x: x * torch.full((6,), w.max().item()),
        "a transform": lambda x: torch.fft.rfft(x).abs(),
        "a window": lambda x: x * torch.hann_window(6),
        "a polynomial": lambda x: torch.special.legendre_polynomial_p(x.tanh(), 3),
        "a picture made larger": lambda x: F.interpolate(x[:, None], scale_factor=2.0),
        "infinity": lambda x: x.masked_fill(x > 0.5, float("-inf")).softmax(1),
        "sizes": lambda x: x.reshape(x.shape[0] * 2, 3).sum(1).reshape(x.shape[0], 2),
        "half": lambda x: x.half().float() + x.bfloat16(),
        "complex numbers": lambda x: torch.view_as_real(torch.complex(x, x)),
        "a solution": lambda x: torch.linalg.solve(w + 6 * torch.eye(6), x.T).T,
        "slanted": lambda x: F.rrelu(x),
        "parts": lambda x: torch.stack([*x.split([1, 2, 3], 1)[0].unbind(1), x.chunk(2, 1)[1][:, 0]], 1),
    }


@pytest.mark.parametrize("name", sorted(functions()))
def test_rarer_ops_are_saved_and_read(name, tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.function = functions()[name]

        def forward(self, x):
            return self.function(x).float()

    x = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    net = vs.trace(Model().eval(), x)
    assert not net.opaque
    assert torch.equal(vs.Network.load(net.save(tmp_path / "net"))(x), net(x))


def test_a_batch_of_threes_is_saved_and_read(tmp_path):
    class Threes(nn.Module):
        def forward(self, x):
            return (x.reshape(x.shape[0] // 3, 3, 4).cumsum(1)).reshape(x.shape[0], 4)

    net = vs.trace(Threes(), torch.rand(6, 4))
    x = torch.rand(9, 4)
    assert net.opaque or torch.equal(vs.Network.load(net.save(tmp_path / "net"))(x), net(x))


def test_what_could_not_be_read_is_not_saved_and_the_line_is_named(tmp_path):
    class Noisy(nn.Module):
        def forward(self, x):
            return x + 0 * torch.randn_like(x)

    net = vs.trace(Noisy(), torch.ones(1, 3))
    with pytest.raises(ForeignFile, match=r"cannot be saved: its op aten.randn_like.default is none .* \(line test_safe_ops.py:\d+\)"):
        net.save(tmp_path / "net")
    assert not (tmp_path / "net").exists()
