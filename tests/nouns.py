"""One of every noun, made of one small network, and what it means that two are alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import vesalius as vs
from tests.circuits.hand_built import GREATER, GREATER_OTHER, greater_than
from vesalius.circuits import circuit_of
from vesalius.trace.network import Network

NAMES = tuple("abcdef")


def double_sum(rows: Tensor) -> Tensor:
    """A callable that pickles."""
    return 2 * rows.sum(1)


def count_present(masks: Tensor) -> Tensor:
    """A game's function that pickles."""
    return masks.double().sum(1)


@cache
def rows() -> Tensor:
    return torch.randn(300, 6, generator=torch.Generator().manual_seed(0))


@cache
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        found(rows() + 0.5)  # moves the norm's statistics away from those of a fresh model
        return found.eval()


@cache
def network() -> vs.Network:
    return vs.trace(model(), rows()[:2])


@cache
def thin() -> Any:
    return vs.sparsify(network(), rows(), sparsity=0.5)


def players() -> vs.Players:
    return vs.Players.features(rows()[0], names=NAMES)


def game() -> vs.Game:
    found = vs.Game.on(network(), rows()[0], players(), target=1)
    found(torch.eye(6, dtype=torch.bool))
    return found


NOUNS: dict[str, Callable[[], Any]] = {
    "Network": network,
    "Network, opaque": lambda: vs.trace(double_sum, rows()[:2]),
    "Players": players,
    "Game.on": game,
    "Game.of": lambda: vs.Game.of(count_present, 4),
    "Allocation": lambda: vs.attribute(network(), rows()[:4]),
    "Allocation of coalitions": lambda: vs.interactions(network(), rows()[0], players(), target=0, max_order=2),
    "Audit": cache(lambda: vs.audit(network(), rows()[0], players(), target=0, methods=["occlusion", "integrated_gradients"])),
    "FlowGraph": cache(lambda: vs.information_flow(network(), rows())),
    "Complexity": cache(lambda: vs.complexity(network(), rows(), at="0", orders=(0, 1))),
    "Circuit": cache(lambda: circuit_of(greater_than(), GREATER, GREATER_OTHER, keep=3, target=3)),
    "LinkImportance": cache(lambda: vs.link_importance(network(), rows())),
    "Sparsified": thin,
    "Compact": cache(lambda: thin().compact(rows(), batches=(1,))),
    "Report": cache(lambda: vs.report(vs.attribute(network(), rows()[:2]), title="A page")),
}
"""How to make one of each."""


def assert_alike(one: Any, other: Any, where: str = "") -> None:
    """Two things say and compute the same, to the bit; what they keep to be faster may differ."""
    assert type(one) is type(other), f"{where}: {type(one)} and {type(other)}"
    for kind, compare in COMPARISONS.items():
        if isinstance(one, kind):
            compare(one, other, where)
            return
    if is_dataclass(one) and not isinstance(one, type):
        _fields(one, other, where)
    elif not callable(one):
        assert one == other or (one != one and other != other), f"{where}: {one!r} and {other!r}"


def _fields(one: Any, other: Any, where: str) -> None:
    for known in fields(one):
        assert_alike(getattr(one, known.name), getattr(other, known.name), f"{where}.{known.name}")


def _tensors(one: Tensor, other: Tensor, where: str) -> None:
    assert one.dtype == other.dtype and one.shape == other.shape and torch.equal(one.nan_to_num(7), other.nan_to_num(7)), where


def _modules(one: nn.Module, other: nn.Module, where: str) -> None:
    assert one.training == other.training
    assert_alike(dict(one.state_dict()), dict(other.state_dict()), f"{where}.state_dict")


def _games(one: vs.Game, other: vs.Game, where: str) -> None:
    for name in ("players", "provenance", "evaluations", "explained"):
        assert_alike(getattr(one, name), getattr(other, name), f"{where}.{name}")
    masks = torch.tensor([[True, False] * (one.players.n // 2), [True] * one.players.n])
    assert_alike(one(masks), other(masks), f"{where}(masks)")
    assert one.evaluations == other.evaluations, "values that were known are known again"


def _networks(one: Network, other: Network, where: str) -> None:
    for name in ("name", "inputs", "reason", "features", "classes", "opaque", "differentiable"):
        assert getattr(one, name) == getattr(other, name), f"{where}.{name}"
    assert one.digest() == other.digest() and repr(one) == repr(other)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    assert_alike(one(x), other(x), f"{where}(x)")
    if not one.opaque:
        assert list(one.values) == list(other.values) and one.values == other.values and one.layers == other.layers


def _mappings(one: Mapping[Any, Any], other: Mapping[Any, Any], where: str) -> None:
    assert list(one) == list(other), where
    for key in one:
        assert_alike(one[key], other[key], f"{where}[{key!r}]")


def _sequences(one: Sequence[Any], other: Sequence[Any], where: str) -> None:
    assert len(one) == len(other), where
    for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        assert_alike(mine, theirs, f"{where}[{place}]")


COMPARISONS: dict[Any, Callable[[Any, Any, str], None]] = {
    Tensor: _tensors,
    Network: _networks,
    nn.Module: _modules,
    vs.Game: _games,
    vs.Audit: _fields,  # a mapping that says more than its items
    Mapping: _mappings,
    (tuple, list): _sequences,
}
