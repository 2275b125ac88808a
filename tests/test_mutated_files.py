"""Files of every kind, damaged in a thousand ways: each is refused with one error that names the file, or is what it was, or is sound.

Half of the damage is of an accident, which the digest tells; the other half carries the digest that belongs to it, as a file made by hand
would, so that the decoders are on their own.
"""

from __future__ import annotations

import copy
import json
import math
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import vesalius as vs
from tests import nouns
from tests.crafted import craft, header_text
from tests.nouns import NOUNS
from vesalius.complexity.checkpoint import Checkpoint
from vesalius.complexity.networks import RowShapes, Trunk
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.sparsity import LinkImportance, Sparsified
from vesalius.sparsity.compression.codec import read_sparse, save_sparse
from vesalius.views.report import Report

SHAPE = RowShapes(x=(6,), f=(3,))
SETTINGS = {"seeds": 1}
CRAFTED, DAMAGED = 80, 40
"""Mutations of each of ten kinds of files, with and without a digest that fits."""


def checkpoint(path: Path) -> None:
    Checkpoint(path, SETTINGS).keep("0", {0: Trunk(SHAPE, 4, 0), 2: Trunk(SHAPE, 4, 2)})


def pruned() -> nn.Module:
    model = copy.deepcopy(nouns.model())
    with torch.no_grad():
        model[0].weight[:, ::2] = 0
        model[3].weight[1] = 0
    return model


def use_network(net: vs.Network) -> None:
    """A network that was read runs, on a batch of whatever it says that it takes, or PyTorch says which op it cannot run."""
    assert repr(net)
    inputs = [torch.zeros(3, *(int(side) for side in value.event), dtype=getattr(torch, value.dtype)) for value in net.inputs]
    with suppress(RuntimeError):
        net(*inputs)


def use_result(noun: Any, path: Path) -> None:
    """A result that was read is printed, and written and read again."""
    assert repr(noun)
    again = type(noun).load(noun.save(path.with_name("again")))
    assert repr(again) == repr(noun)


def use_allocation(noun: vs.Allocation, path: Path) -> None:
    use_result(noun, path)
    assert len(list(noun)) == len(noun) and noun.gap.shape == noun.base.shape
    assert noun.order and noun.players.names


def use_sparsified(noun: Any, path: Path) -> None:
    assert repr(noun) and 0 <= noun.sparsity <= 1
    use_network(noun.network)
    use_network(noun.dense)


USES: dict[str, tuple[Any, Callable[[Any, Path], object]]] = {
    "Network": (vs.Network, lambda noun, path: use_network(noun)),
    "Allocation": (vs.Allocation, use_allocation),
    "Allocation of coalitions": (vs.Allocation, use_allocation),
    "Audit": (vs.Audit, use_result),
    "FlowGraph": (vs.FlowGraph, use_result),
    "Complexity": (vs.Complexity, use_result),
    "LinkImportance": (LinkImportance, use_result),
    "Sparsified": (Sparsified, use_sparsified),
}
"""Nouns with files of their own, and what can be done with each."""


def read_and_use(name: str, path: Path) -> None:
    kind, use = USES[name]
    use(kind.load(path), path)


FILES: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    **{name: (lambda path, name=name: NOUNS[name]().save(path), partial(read_and_use, name)) for name in USES},
    "sparse weights": (lambda path: save_sparse(path, pruned()), lambda path: read_sparse(path, nouns.model())),
    "checkpoint": (checkpoint, lambda path: Checkpoint.open(path, SETTINGS, SHAPE, torch.device("cpu"))),
}
"""How each kind of file is written, and read and used."""


# ---- damage ---------------------------------------------------------------------------------------------------------------------------

DEEP: Any = []
for _ in range(40):
    DEEP = [DEEP]
NUMBERS: tuple[Any, ...] = (True, -1, 0, 1, 3, 7.5, math.nan, math.inf, 1 << 31, 1 << 62, 10**30)
BOXES: tuple[Any, ...] = ([], [0], [[1]], [1 << 40, 1 << 40], {}, {"node": "x"}, {"dtype": "load"}, {"a": 1}, DEEP)
OTHERS: tuple[Any, ...] = (None, "", "x", "../../x", "<script>", *NUMBERS, *BOXES)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in JSON."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutate_facts(facts: Any, dice: random.Random) -> None:
    """One change of the facts: a key is lost or misspelt, a value is another, two change places, a list is longer or shorter."""
    path = dice.choice(list(places(facts)))
    box = facts
    for key in path[:-1]:
        box = box[key]
    key, way = path[-1], dice.randrange(7)
    if way == 0:
        del box[key]
    elif way == 1 and isinstance(box, dict):
        box[f"{key}z"] = box.pop(key)
    elif way == 2 and isinstance(box, list):
        box.append(copy.deepcopy(box[key]))
    elif way == 3 and len(box) > 1:
        other = dice.choice(list(box) if isinstance(box, dict) else range(len(box)))
        box[key], box[other] = box[other], box[key]
    else:
        box[key] = copy.deepcopy(dice.choice(OTHERS))


def mutate_tensors(tensors: dict[str, Tensor], dice: random.Random) -> None:
    """One change of the tensors: one is lost, renamed, of another type or shape or size, empty or not finite, or two change places."""
    name, other = dice.choice(sorted(tensors)), dice.choice(sorted(tensors))
    one = tensors[name]
    changed = [
        lambda: one.to(dice.choice([torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.complex64])),
        lambda: one.flatten(),
        lambda: one[None],
        lambda: one.movedim(0, -1) if one.ndim else one,
        lambda: one[:0] if one.ndim else one[None][:0],
        lambda: torch.cat([one, one]) if one.ndim else one,
        lambda: one.double() * math.nan,
        lambda: torch.full_like(one, 100),
        lambda: -one.double(),
    ]
    way = dice.randrange(len(changed) + 3)
    if way == 0:
        del tensors[name]
    elif way == 1:
        tensors[f"{name}z"] = tensors.pop(name)
    elif way == 2:
        tensors[name], tensors[other] = tensors[other], tensors[name]
    else:
        tensors[name] = changed[way - 3]()


def crafted(path: Path, target: Path, dice: random.Random) -> None:
    """A file with one to three changes, and a digest that fits."""
    header, tensors = json.loads(header_text(path)), load_file(path)
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        if tensors and dice.random() < 0.3:
            mutate_tensors(tensors, dice)
        elif header["facts"]:
            mutate_facts(header["facts"], dice)
    header["tensors"] = sorted(tensors)
    craft(target, json.dumps(header), tensors)


def damaged(path: Path, target: Path, dice: random.Random) -> None:
    """A file that lost its end, grew, or has other bits somewhere."""
    raw, way = bytearray(path.read_bytes()), dice.randrange(5)
    head = 8 + struct.unpack("<Q", raw[:8])[0]
    if way == 0:
        raw = raw[: dice.randrange(len(raw))]
    elif way == 1:
        raw += bytes(dice.randrange(256) for _ in range(dice.randrange(1, 20)))
    elif way == 2:
        raw[:8] = struct.pack("<Q", dice.choice([0, 1, head - 9, head, 1 << 20, 1 << 41, (1 << 64) - 1]))
    else:
        for _ in range(dice.choice([1, 1, 5])):
            raw[dice.randrange(8, head) if way == 3 else dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
    target.write_bytes(raw)


# ---- tests ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(FILES))
def kind(request, tmp_path_factory):
    """A kind of file, one of its files, and how it is read."""
    write, read = FILES[request.param]
    path = tmp_path_factory.mktemp("whole") / "file"
    write(path)
    read(path)
    return request.param, path, read


def failures(kind, folder, count, damage):
    """What came of damaged files, where it is neither an error of ours that names the file nor something sound."""
    name, path, read = kind
    found = []
    for seed in range(count):
        target = folder / "file"
        damage(path, target, random.Random(f"{name} {seed}"))
        if target.read_bytes() == path.read_bytes():
            continue
        try:
            read(target)
            found.append((seed, "was read"))
        except (ForeignFile, InvalidInput) as error:
            found += [] if str(target) in str(error) else [(seed, f"names no file: {error}")]
        except Exception as error:  # the point of the test
            found.append((seed, f"{type(error).__name__}: {error}"))
    return found


@pytest.mark.usefixtures("as_a_user")
def test_what_was_made_by_hand_is_refused_or_sound(kind, tmp_path):
    assert [one for one in failures(kind, tmp_path, CRAFTED, crafted) if one[1] != "was read"] == []


@pytest.mark.usefixtures("as_a_user")
def test_what_was_damaged_by_accident_is_refused(kind, tmp_path):
    assert failures(kind, tmp_path, DAMAGED, damaged) == []


@pytest.mark.usefixtures("as_a_user")
def test_a_damaged_trace_is_made_again(tmp_path):
    x = nouns.rows()[:2]
    for seed in range(8):
        folder = tmp_path / str(seed)
        vs.trace(nouns.model(), x, cache=folder)
        (file,) = folder.iterdir()
        (crafted if seed % 2 else damaged)(file, file, random.Random(seed))
        torch.testing.assert_close(vs.trace(nouns.model(), x, cache=folder)(x), nouns.model()(x))


def test_a_damaged_page_is_refused_or_a_page(tmp_path):
    whole = NOUNS["Report"]().save(tmp_path / "page").read_bytes()
    for seed in range(50):
        dice, raw = random.Random(seed), bytearray(whole)
        raw = raw[: dice.randrange(1, len(raw))] if seed % 2 else raw
        for _ in range(20):
            raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        (tmp_path / "page").write_bytes(raw)
        try:
            assert Report.load(tmp_path / "page").html
        except ForeignFile as error:
            assert str(tmp_path / "page") in str(error)


MARK = "<script>alert(1)</script>"
STRUCTURE = frozenset("dense pruned masks importance kind transform digest layers tiers records skipped mode rounds".split())
"""Facts whose texts refer to one another, or are of a few known ones."""


def marked(value):
    """Facts with a mark of HTML in every text."""
    if isinstance(value, dict):
        return {key: item if key.removesuffix(" tensors") in STRUCTURE else marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [marked(item) for item in value]
    return value + MARK if isinstance(value, str) else value


@pytest.mark.parametrize("name", [name for name in USES if name != "Network"])
def test_texts_of_a_file_are_texts_on_a_page(name, tmp_path):
    noun, path = USES[name][0], NOUNS[name]().save(tmp_path / "file")
    header = json.loads(header_text(path))
    header["facts"] = marked(header["facts"])
    found = noun.load(craft(path, json.dumps(header), load_file(path)))
    html = vs.report(found, title="A page").html + found._repr_html_()
    assert MARK not in html
