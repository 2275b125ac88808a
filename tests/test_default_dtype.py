"""Tensors and layers that the library makes name their dtype: the default is the user's, and may be any."""

import ast
from pathlib import Path

import pytest

import vesalius

SOURCE = Path(vesalius.__file__).parent
FLOATING = set("zeros ones empty rand randn normal linspace logspace eye scalar_tensor empty_strided".split())
"""Factories of torch that make floating numbers whatever they are given."""
BY_VALUE = {"tensor", "full"}
"""Factories whose dtype is that of the numbers they are given: the default where these are floats."""
LAYERS = set("Linear Bilinear Conv1d Conv2d Conv3d BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm Embedding LSTM GRU RNN".split())
WHOLE = {"int", "len", "bool", "round", "range", "ord"}
"""Functions that make whole numbers of anything."""
OF_THE_USER = ("models/",)
"""Where layers follow the default dtype: networks that users ask for, which are as PyTorch's own."""


def is_floating(value):
    """Whether a number, or one of several, is a float as it is written down."""
    if isinstance(value, ast.Compare) or (isinstance(value, ast.Call) and ast.unparse(value.func) in WHOLE):
        return False
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div):
        return True
    if isinstance(value, ast.Constant):
        return isinstance(value.value, float)
    if ast.unparse(value) in ("math.inf", "math.nan", "torch.inf", "torch.nan", "math.pi") or isinstance(value, ast.Call):
        return ast.unparse(value.func) in ("float", "math.sqrt", "math.log", "math.exp") if isinstance(value, ast.Call) else True
    if isinstance(value, ast.IfExp):
        return is_floating(value.body) or is_floating(value.orelse)
    elements = {ast.List: "elts", ast.Tuple: "elts", ast.ListComp: "elt", ast.GeneratorExp: "elt", ast.UnaryOp: "operand"}
    held = getattr(value, elements.get(type(value), ""), [])
    parts = held if isinstance(held, list) else [held]
    if isinstance(value, ast.BinOp):
        parts = [value.left, value.right]
    return any(is_floating(part) for part in parts)


def without_dtype(tree):
    """Calls that make floating tensors, or layers, of the default dtype."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        owner, _, name = ast.unparse(call.func).rpartition(".")
        if any(keyword.arg in ("dtype", None) for keyword in call.keywords):
            continue
        given = call.args[1:2] if name == "full" else call.args[:1]
        made = owner == "torch" and (name in FLOATING or (name in BY_VALUE and any(map(is_floating, given))))
        if made or (owner == "nn" and name in LAYERS):
            yield f"{call.lineno}: {ast.unparse(call)}"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_tensors_of_our_own_name_their_dtype(path):
    found = list(without_dtype(ast.parse(path.read_text())))
    where = path.relative_to(SOURCE).as_posix()
    if where.startswith(OF_THE_USER):
        found = [call for call in found if "nn." not in call]
    assert found == [], f"{where} makes tensors of whatever dtype the user's default is"


@pytest.mark.parametrize(
    "text",
    [
        "torch.zeros(3)",
        "torch.rand(2, generator=g)",
        "torch.tensor([0.1, x])",
        "torch.tensor([a / b for a in c])",
        "torch.full((3,), -math.inf)",
        "torch.full(s, 0.5 if a else 1)",
        "nn.Linear(2, 3)",
    ],
)
def test_a_missing_dtype_would_be_seen(text):
    assert list(without_dtype(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "torch.zeros(3, dtype=x.dtype)",
        "torch.tensor([int(a / b)])",
        "torch.tensor([len(x), 2])",
        "torch.full((n,), place)",
        "torch.tensor([a / b > 0.5])",
        "torch.arange(3)",
        "torch.as_tensor(x)",
        "torch.zeros_like(x)",
        "x.new_zeros(3)",
        "nn.Linear(2, 3, **kind)",
    ],
)
def test_and_nothing_else(text):
    assert not list(without_dtype(ast.parse(text)))
