"""Players and allocations in a file: tensors by name, and facts as JSON, believed only as far as they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vesalius.core.players import Players
from vesalius.core.samples import PER_SAMPLE
from vesalius.core.store import fact, part, sides, to_json_values, words
from vesalius.core.text_division import BYSTANDER, TextLayout

TENSORS = ("values", "base", "total", "coalitions", "stderr", "evaluations", "converged", "map_error")
"""What a file of an allocation holds by its own name."""


def encode_players(players: Players) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Players as tensors by name and facts, for a file."""
    tensors = {f"index.{i}": part for i, part in enumerate(players.index)}
    if players.parts is not None:
        tensors["parts"] = players.parts
    facts: dict[str, Any] = {"shape": players.shape, "kind": players.kind, "labels": players.labels, "layer": players.layer}
    facts["sites"] = players.sites
    if players.layout is not None:
        facts["layout"] = {"pieces": players.layout.pieces, "owners": players.layout.owners, "ids": players.layout.ids}
    for sample, own in enumerate(players.samples):
        held, told = encode_players(own)
        tensors |= {f"sample.{sample}.{name}": tensor for name, tensor in held.items()}
        facts.setdefault("samples", []).append(told)
    return tensors, facts


def decode_players(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Players:
    """The inverse of :func:`encode_players`; tensors of other names are passed over.

    Raises:
        KeyError, TypeError, ValueError: what no players are made of; see :func:`vesalius.core.store.decoding`.
    """
    samples = tuple(
        decode_players({name.removeprefix(f"sample.{i}."): held for name, held in tensors.items() if name.startswith(f"sample.{i}.")}, own)
        for i, own in enumerate(fact(facts, "samples", list) if "samples" in facts else [])
    )
    index = tuple(part(tensors, f"index.{i}", kind="whole") for i in range(sum(name.startswith("index.") for name in tensors)))
    shape, labels, layer = sides(facts["shape"]), tuple(words(facts, "labels")), facts["layer"]
    if layer is not None and not isinstance(layer, str):
        raise TypeError(f"{layer!r} is no layer")
    parts = part(tensors, "parts") if "parts" in tensors else None
    sites = tuple(words(facts, "sites")) if "sites" in facts else ()
    found = Players(index, shape, fact(facts, "kind", str), labels, parts, layer, sites, _decode_layout(facts), samples)
    if samples and found.n != max(one.n for one in samples):
        raise ValueError(f"the samples have other numbers of players than {found.n}")
    if any(one.numel() and not BYSTANDER <= int(one.min()) <= int(one.max()) < found.n for one in index):
        raise ValueError(f"an element is owned by none of {found.n} players")
    if (parts is not None and (not parts.ndim or len(parts) != found.n)) or (
        index and parts is None and found.n > sum(map(Tensor.numel, index))
    ):
        raise ValueError(f"there are parts for other numbers of players than {found.n}")
    return found


def _decode_layout(facts: Mapping[str, Any]) -> TextLayout | None:
    """The text that players divide, if it is one."""
    if "layout" not in facts:
        return None
    held = fact(facts, "layout", dict)
    owners, ids = (tuple(fact(held, name, list)) for name in ("owners", "ids"))
    layout = TextLayout(tuple(words(held, "pieces")), owners, ids)
    if not all(isinstance(number, int) for number in (*owners, *ids)) or not len(layout.pieces) == len(owners) == len(ids):
        raise TypeError("the layout of a text has a piece, an owner and an id for each token")
    return layout


def decode_values(tensors: Mapping[str, Tensor], players: Players) -> dict[str, Any]:
    """The tensors of an allocation, by the names of its fields, each of a type and a shape that it can have.

    Raises:
        KeyError, TypeError, ValueError: they do not fit together.
    """
    base = part(tensors, "base")
    batch = tuple(base.shape)
    found: dict[str, Any] = {"values": part(tensors, "values"), "base": base, "total": part(tensors, "total", batch)}
    if base.ndim > 1:
        raise ValueError(f"there are {base.ndim} axes of samples")
    if "coalitions" in tensors:
        found["coalitions"] = masks = part(tensors, "coalitions", (len(tensors["coalitions"]), players.n), kind="boolean")
        if not bool(masks.any(1).all()):
            raise ValueError("the empty coalition has no value of its own")
    kinds = {"stderr": ("floating", found["values"].shape), "converged": ("boolean", batch), "map_error": ("floating", batch)}
    found |= {name: part(tensors, name, shape, kind=kind) for name, (kind, shape) in kinds.items() if name in tensors}
    found["evaluations"] = part(tensors, "evaluations", batch if tensors["evaluations"].ndim else (), kind="whole")
    absorbed = [name for name in tensors if name.startswith("absorbed.")]
    found["absorbed"] = {name.removeprefix("absorbed."): part(tensors, name, batch) for name in absorbed}
    count = sum(name.startswith("explained.") for name in tensors)
    found["explained"] = tuple(tensors[f"explained.{place}"] for place in range(count))
    return found


def decode_provenance(facts: Mapping[str, Any], samples: int | None) -> dict[str, Any]:
    """Where a result comes from; what it says of each sample it says of all.

    Args:
        facts: of the file.
        samples: how many there are; ``None`` for a single one.

    Raises:
        KeyError, TypeError, ValueError: it is nothing like that.
    """
    found = fact(facts, "provenance", dict)
    each = found.get(PER_SAMPLE)
    if each is not None and not (isinstance(each, dict) and all(isinstance(own, list) and len(own) == samples for own in each.values())):
        raise ValueError(f"its provenance is not that of {samples} samples")
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
    players = decode_players(tensors, fact(facts, "players", dict))
    values = decode_values(tensors, players)
    made = decode_provenance(facts, len(values["base"]) if values["base"].ndim else None)
    return {"players": players, "provenance": made, "stderr_note": fact(facts, "stderr_note", str), **values}
