"""A disentangled feature as tensors and facts of a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vesalius.complexity.features import FeatureSource, parameter_device
from vesalius.complexity.networks import RowShapes, read_shape, read_trunk
from vesalius.complexity.readout import Disentangler
from vesalius.core import store
from vesalius.trace.network import Network

if TYPE_CHECKING:
    from vesalius.complexity.components import Complexity


def result_contents(found: Complexity) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that is kept of a result; the network is not."""
    tensors = {"kept": found.kept, "moments": found.moments}
    tensors |= {} if found.time_matched_gain is None else {"beyond_time": found.time_matched_gain}
    nets = []
    for s, row in enumerate(found.nets):
        for at, net in enumerate(row):
            tensors |= {f"{s}.{at}.{name}": tensor for name, tensor in net_tensors(net).items()}
            nets.append({"blocks": net.trunk.blocks, "width": net.trunk.width})
    shape = {"x": found.shape.x, "f": found.shape.f, "axis": found.shape.axis, "source_axis": found.shape.source_axis}
    facts = {"at": found.at, "orders": found.orders, "nets": nets, "shape": shape, "provenance": store.to_json_values(found.provenance)}
    facts["inputs"] = found.inputs if found.source is None else found.source.inputs
    return tensors, facts


def read_result(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], network: Network | None) -> dict[str, Any]:
    """The fields of a result.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: the file holds none.
    """
    shape, orders = read_shape(store.fact(facts, "shape", dict)), store.sides(facts["orders"])
    rows, count = tensors["kept"].shape
    kept, inputs = store.part(tensors, "kept", (rows, len(orders)), kind="boolean"), tuple(store.words(facts, "inputs"))
    found = store.part(tensors, "moments", (len(tensors["moments"]), *[rows * count + 1] * 2)).double()
    gain = store.part(tensors, "beyond_time", kept.shape) if "beyond_time" in tensors else None
    listed = store.fact(facts, "nets", list)
    if len(listed) != kept.numel() or not listed or list(orders) != sorted(set(orders)) or len(found) < 2:
        raise ValueError(f"there are {len(listed)} nets of {rows} seeds and orders {list(orders)}")
    store.provenance(
        facts,
        rows=lambda known: known and (int(known["held"]), int(known["all"])),
        cost=lambda known: float(known.get("seconds") or 0),
    )
    device = torch.device("cpu") if network is None else parameter_device(network)
    made = [read_net(tensors, f"{n // count}.{n % count}.", shape, who, device) for n, who in enumerate(listed)]
    return {
        "at": store.fact(facts, "at", str),
        "orders": orders,
        "nets": tuple(tuple(made[s * count : (s + 1) * count]) for s in range(rows)),
        "kept": kept,
        "moments": found,
        "shape": shape,
        "time_matched_gain": gain,
        "source": None if network is None else FeatureSource(network=network, at=facts["at"], inputs=inputs),
        "inputs": inputs,
        "provenance": facts["provenance"],
    }


def net_tensors(net: Disentangler) -> dict[str, Tensor]:
    """A net's tensors as a file names them."""
    return {"weight": net.weight, "bias": net.bias} | {f"trunk.{name}": tensor for name, tensor in net.trunk.state_dict().items()}


def read_net(
    tensors: Mapping[str, Tensor], prefix: str, shape: RowShapes, who: Mapping[str, int], device: torch.device | str = "cpu"
) -> Disentangler:
    """A net of a file."""
    mine = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    inner = {name.removeprefix("trunk."): tensor for name, tensor in mine.items() if name.startswith("trunk.")}
    trunk = read_trunk(inner, shape, who["width"], who["blocks"]).to(device)
    weight = store.part(mine, "weight", (len(mine["weight"]), shape.channels))
    bias = store.part(mine, "bias", (shape.positions, shape.channels))
    return Disentangler(trunk=trunk.eval(), weight=weight.to(device), bias=bias.to(device))
