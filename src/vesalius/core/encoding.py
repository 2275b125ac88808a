"""Players and allocations as parts of a file: tensors by name, and facts as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vesalius.core.players import BYSTANDER, Players
from vesalius.core.store import fact, to_json_values

TENSORS = ("values", "base", "total", "coalitions", "stderr", "evaluations", "converged", "map_error")
"""What a file of an allocation holds by its own name."""


def encode_players(players: Players) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Players as tensors by name and facts, for a file."""
    tensors = {f"index.{i}": part for i, part in enumerate(players.index)}
    if players.parts is not None:
        tensors["parts"] = players.parts
    return tensors, {"shape": players.shape, "kind": players.kind, "labels": players.labels, "layer": players.layer}


def decode_players(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Players:
    """The inverse of :func:`encode_players`; tensors of other names are passed over.

    Raises:
        KeyError, TypeError, ValueError: what no players are made of; see :func:`vesalius.core.store.decoding`.
    """
    index = tuple(tensors[f"index.{i}"] for i in range(sum(name.startswith("index.") for name in tensors)))
    found = Players(index, tuple(facts["shape"]), fact(facts, "kind", str), tuple(facts["labels"]), tensors.get("parts"), facts["layer"])
    if any(part.is_floating_point() or (part.numel() and not BYSTANDER <= int(part.min()) <= int(part.max()) < found.n) for part in index):
        raise ValueError(f"an element is owned by none of {found.n} players")
    return found


def encode_allocation(held: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The fields of an allocation as tensors by name and facts, for a file."""
    tensors = {name: held[name] for name in TENSORS if held[name] is not None}
    tensors |= {f"absorbed.{where}": part for where, part in held["absorbed"].items()}
    tensors |= {f"explained.{place}": part for place, part in enumerate(held["explained"])}
    who, facts = encode_players(held["players"])
    return tensors | who, {"players": facts, "provenance": to_json_values(held["provenance"]), "stderr_note": held["stderr_note"]}


def decode_allocation(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`encode_allocation`.

    Raises:
        KeyError, TypeError, ValueError: what no allocation is made of; see :func:`vesalius.core.store.decoding`.
    """
    explained = sum(name.startswith("explained.") for name in tensors)
    return {
        "players": decode_players(tensors, facts["players"]),
        "absorbed": {name.removeprefix("absorbed."): tensors[name] for name in tensors if name.startswith("absorbed.")},
        "explained": tuple(tensors[f"explained.{place}"] for place in range(explained)),
        "provenance": fact(facts, "provenance", dict),
        "stderr_note": fact(facts, "stderr_note", str),
        **{name: tensors[name] for name in TENSORS if name in tensors},
    }
