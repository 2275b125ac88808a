"""One network for inputs of any length: the numbers of a network traced at that length, and no export for it."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vesalius as vs
from tests.crafted import rewrite_whole
from tests.trace.models_of_sequences import (
    ANY_LENGTH,
    POSITIONS,
    STEPS,
    Attending,
    Baked,
    Branching,
    Flattened,
    TellsExport,
    built,
    ids,
    numbers,
)
from vesalius.core.errors import ForeignFile, InvalidInput
from vesalius.sparsity.pruning.masked_copy import copy_network
from vesalius.trace import Network
from vesalius.trace.batches import iterate_batches
from vesalius.trace.receive import receive_data
from vesalius.trace.recurrent_export import KEYS, OPS


@pytest.fixture
def exports(monkeypatch) -> list[int]:
    """Grows by one for each export."""
    seen: list[int] = []
    tracing = sys.modules["vesalius.trace.trace"]  # the package has a function of that name
    export = tracing.export_graph
    monkeypatch.setattr(tracing, "export_graph", lambda *args, **kwargs: (seen.append(1), export(*args, **kwargs))[1])
    return seen


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return built(Attending, ids(STEPS))


@pytest.fixture(scope="module")
def network(model: nn.Module) -> Network:
    return vs.trace(model, ids(STEPS))


@pytest.fixture(scope="module")
def shorter(model: nn.Module) -> Network:
    """Traced at the length that the other is asked at."""
    return vs.trace(model, ids(6))


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ANY_LENGTH)
def test_other_lengths_are_those_of_a_trace_at_that_length(name: str, exports: list[int]):
    make, inputs = ANY_LENGTH[name]
    model = built(make, *inputs(STEPS))
    network = vs.trace(model, *inputs(STEPS))
    assert "any length from 2" in repr(network)
    del exports[:]
    for steps in (3, 5, 11):
        same(network(*inputs(steps)), model(*inputs(steps)).detach())
    same(network(*(tensor[:1] for tensor in inputs(6))), model(*(tensor[:1] for tensor in inputs(6))).detach())
    assert not exports
    own, here = vs.trace(model, *inputs(6)), network.at_lengths_of(inputs(6))
    assert [*here.values.values()] == [*own.values.values()]
    for value, tensor in zip(here.values.values(), here.read(inputs(6), [*here.values]).values(), strict=True):
        assert [side for side in value.shape if side is not None] == [
            came for side, came in zip(value.shape, tensor.shape, strict=True) if side is not None
        ]
    assert {name: found.axes for name, found in here.axes.values.items()} == {name: found.axes for name, found in own.axes.values.items()}
    assert {name: vars(layer) for name, layer in here.layers.items()} == {name: vars(layer) for name, layer in own.layers.items()}
    assert here.at_lengths_of(inputs(STEPS)) is network and network.at_lengths_of(inputs(6)) is here


@pytest.mark.parametrize("method", vs.METHODS)
def test_every_method_gives_what_it_gives_on_a_trace_at_that_length(network: Network, shorter: Network, method: str):
    found, expected = (vs.attribute(one, ids(6), method, target=(-1, 3), at="embed/embedding") for one in (network, shorter))
    assert found.values.shape == expected.values.shape and bool(expected.values.abs().max() > 0)
    same(found.values, expected.values)
    same(found.gap, expected.gap)


def test_every_verb_takes_other_lengths(network: Network, shorter: Network):
    row = ids(6, 1)[0]
    players = vs.Players.tokens(row)
    found, expected = (vs.interactions(one, row, players, target=(-1, 3)) for one in (network, shorter))
    same(found.values, expected.values)
    audits = [
        str(vs.audit(one, row, players=players, methods=["shapley_value", "occlusion"], target=(-1, 3))) for one in (network, shorter)
    ]
    assert audits[0] == audits[1]
    for target in (("norm", 2), ("norm", 2, 5), (5, 3), lambda out: out[:, -1, 3] - out[:, -1, 4]):
        same(*(vs.attribute(one, ids(6), "shapley_value", target=target).values for one in (network, shorter)))
    units = vs.Players.units(network, "qkv")
    same(*(vs.attribute(one, ids(6), "occlusion", target=(-1, 3), at="qkv", players=units).values for one in (network, shorter)))
    same(*(one.read(ids(6), "norm")["norm"] for one in (network, shorter)))
    games = [vs.attribute(one, ids(6), "shapley_value", target=(-1, 3), baseline=ids(6).flip(1)).values for one in (network, shorter)]
    same(*games)


def test_a_split_network_takes_other_lengths(network: Network, model: nn.Module):
    parts = network.split("norm")
    for steps in (6, STEPS, 10):
        same(parts.head(*parts.front(ids(steps))), model(ids(steps)).detach())
    fresh = vs.trace(model, ids(STEPS)).split("norm")  # whose front was not asked at that length
    same(fresh.head(*parts.front(ids(5))), model(ids(5)).detach())


def test_positions_beyond_the_table_are_refused(network: Network):
    assert network(ids(POSITIONS)).shape == (2, POSITIONS, 11)
    with pytest.raises(
        InvalidInput, match=rf"'ids' has shape \[2, 13\]; the network was traced for \[batch, 8\].* {POSITIONS} positions.*'place'"
    ):
        network(ids(POSITIONS + 1))


def test_a_condition_on_the_length_is_kept_and_beyond_it_the_model_is_traced_again(exports: list[int]):
    model = built(Branching, ids(STEPS))
    network = vs.trace(model, ids(STEPS))
    assert "any length from 6" in repr(network)
    for steps in (7, 12, 5, 4, 5, 3, 1):
        same(network(ids(steps)), model(ids(steps)).detach())
    assert len(exports) == 3  # at 8, at 5 for all from 2 to 5, and at 1
    assert "any length from 6, any length from 2 to 5, 3 lengths traced apart" in repr(network)


@pytest.mark.parametrize("kind", [Baked, TellsExport])
def test_a_length_that_is_part_of_the_graph_makes_a_graph_for_each(kind: type[nn.Module], exports: list[int]):
    model = built(kind, ids(STEPS))
    network = vs.trace(model, ids(STEPS))
    assert "length" not in repr(network)
    for steps in (5, 11, 5):
        total = vs.attribute(network, ids(steps), "occlusion", target=1).total
        torch.testing.assert_close(total, model(ids(steps))[:, 1].detach())
    assert "3 lengths traced apart" in repr(network)
    assert len(network._family.traced) == 3


@pytest.mark.parametrize("steps", [1, 2])
def test_an_example_of_one_or_two_steps_binds_nothing(steps: int, model: nn.Module):
    network = vs.trace(model, ids(steps))
    for other in (1, 2, 3, 9):
        same(network(ids(other)), model(ids(other)).detach())


def test_a_model_of_one_length_says_which_it_was_traced_for():
    network = vs.trace(built(Flattened, numbers(STEPS)), numbers(STEPS))
    with pytest.raises(InvalidInput, match=r"\[2, 6, 4\]; the network was traced for \[batch, 8, 4\], and the model does not take that"):
        network(numbers(6))
    with pytest.raises(InvalidInput, match=r"\[2, 8, 3\]; the network was traced for \[batch, 8, 4\]"):
        vs.attribute(network, numbers(STEPS)[..., :3], target=1)


def test_inputs_of_unlike_lengths_are_refused():
    make, inputs = ANY_LENGTH["mask"]
    network = vs.trace(built(make, *inputs(STEPS)), *inputs(STEPS))
    with pytest.raises(InvalidInput, match="the network was traced for"):
        network(inputs(6)[0], inputs(STEPS)[1])


def test_a_black_box_takes_the_lengths_that_its_function_takes(model: nn.Module):
    def function(ids: Tensor) -> Tensor:
        return model(ids)[:, -1]

    network = vs.trace(function, ids(STEPS))
    same(network(ids(5)).detach(), function(ids(5)).detach())
    same(network(ids(5)).detach(), network.at_lengths_of(ids(5))(ids(5)).detach())
    assert vs.attribute(network, ids(5), "occlusion", target=3).values.shape == (2, 5)


def test_files_and_copies_take_other_lengths(network: Network, model: nn.Module, tmp_path: Path):
    here = network.at_lengths_of(ids(5))
    for found in (
        Network.load(network.save(tmp_path / "network.safetensors")),
        Network.load(here.save(tmp_path / "shorter.safetensors")),
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
        network.cast(torch.float64),
    ):
        for steps in (5, 6, STEPS):
            same(found(ids(steps)).detach(), model(ids(steps)).detach())
        with pytest.raises(InvalidInput, match="positions"):
            found(ids(POSITIONS + 1))
    assert network.cast(torch.float32)(ids(6)).dtype == torch.float32


def test_a_file_holds_for_no_length_that_its_graph_does_not_hold_for(tmp_path: Path):
    network = vs.trace(built(Branching, ids(STEPS)), ids(STEPS))
    loaded = Network.load(network.save(tmp_path / "network.safetensors"))
    same(loaded(ids(9)), network(ids(9)))
    with pytest.raises(InvalidInput, match=r"\[2, 5\]; the network was traced for \[batch, 8\], and its graph holds for no other"):
        loaded(ids(5))


BROKEN = [
    ("a length without an input", lambda graph: graph.update(lengths={**graph["lengths"], "other": 3})),
    ("a length of none", lambda graph: graph.update(lengths=dict.fromkeys(graph["lengths"], 0))),
    ("a length that it does not hold at", lambda graph: graph.update(lengths=dict.fromkeys(graph["lengths"], 1))),
    ("a size that is code", lambda graph: graph["nodes"][-1].update(sizes=[None, ["eval", 1, 2], 11])),
    ("a size that is none", lambda graph: graph["nodes"][-1].update(sizes=[None, {"node": 1}, 11])),
    ("another size", lambda graph: graph["nodes"][-1].update(sizes=[None, ["+", next(iter(graph["lengths"])), 1], 11])),
    ("too few sizes", lambda graph: graph["nodes"][-1].update(sizes=[None])),
    ("a condition that is none", lambda graph: graph.update(conditions=[[">=", "nobody", 1]])),
]


@pytest.mark.parametrize("change", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_file_with_broken_lengths_is_foreign(network: Network, tmp_path: Path, change):
    file = network.save(tmp_path / "network.safetensors")
    with pytest.raises(ForeignFile):
        Network.load(rewrite_whole(file, file, lambda header, tensors: change(header["facts"]["graph"])))


def test_a_size_in_a_file_that_grows_with_the_length_is_met_at_that_length(network: Network, tmp_path: Path):
    """A tensor of the cube of a length is small at eight, and is not made at forty thousand."""
    file = network.save(tmp_path / "network.safetensors")

    def change(header, tensors):
        header["facts"]["graph"]["conditions"] = []

    loaded = Network.load(rewrite_whole(file, file, change))
    with pytest.raises(InvalidInput, match=r"does not hold for it|positions"):
        loaded(ids(40_000, 1))


def test_a_module_is_traced_once_for_all_lengths(exports: list[int], tmp_path: Path):
    model = built(Attending, ids(STEPS))
    for steps in (STEPS, 5, 11):
        total = vs.attribute(model, ids(steps), "occlusion", target=(-1, 3)).total
        torch.testing.assert_close(total, model(ids(steps))[:, -1, 3].detach())
    assert len(exports) == 1
    for steps in (STEPS, 5, 11):
        same(vs.trace(model, ids(steps), cache=tmp_path)(ids(steps)), model(ids(steps)).detach())
    assert len(exports) == 2


def test_a_pruned_network_takes_other_lengths_with_its_own_weights(network: Network):
    pruned = copy_network(network)
    pruned.parameters["out.weight"].zero_()
    same(pruned(ids(5)), network.parameters["out.bias"].expand(2, 5, -1))


def test_batches_of_another_length_are_taken(network: Network):
    found = receive_data(network, [ids(6), ids(6).flip(0)])
    assert found.network is network.at_lengths_of(ids(6))
    assert [len(rows[0]) for rows, _ in iterate_batches(found.network, found.x, size=2)] == [2, 2]


def test_recurrent_layers_are_as_they_were_after_an_export():
    before = {(op, key): op.py_kernels.get(key) for op in OPS for key in KEYS}
    vs.trace(built(ANY_LENGTH["gru"][0], numbers(STEPS)), numbers(STEPS))
    assert {(op, key): op.py_kernels.get(key) for op in OPS for key in KEYS} == before
