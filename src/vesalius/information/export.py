"""Flow graphs for other programs: igraph, networkx, GraphML, JSON.

Every unit is a node and every edge with a positive weight a link. The number of a unit counts through all layers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from jaxtyping import Float64
from torch import Tensor

from vesalius.information import igraph_backend
from vesalius.information.layer_graph import LayerGraph
from vesalius.information.layers import FlowEdges, FlowLayer

NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
GRAPHML_TYPES = {bool: "boolean", int: "long", float: "double", str: "string"}


def node_records(layers: Sequence[FlowLayer]) -> list[dict[str, Any]]:
    """What is known of every unit, in order."""
    return [
        {"label": layer.title(at), "layer": layer.name, "unit": unit, "position": at, "kind": layer.kind, "dead": bool(layer.dead[at])}
        for layer in layers
        for at, unit in enumerate(layer.units)
    ]


class LayeredEdges(NamedTuple):
    """A graph as it is exported.

    Attributes:
        layers: units.
        structure: which layers are joined.
        edges: one per layer pair.
        lengths: of the edges.
    """

    layers: Sequence[FlowLayer]
    structure: LayerGraph
    edges: Sequence[FlowEdges]
    lengths: Sequence[Float64[Tensor, "_ _"]]


def edge_table(graph: LayeredEdges) -> tuple[list[list[int]], dict[str, list[Any]]]:
    """Both ends of every edge, by number, and one column per attribute; what was not measured for all layer pairs is left out."""
    flows = [part.flow for part in graph.edges]
    columns = {"flow": flows, "length": list(graph.lengths)}
    for name in ("information", "p", "stderr", "unreliable"):
        values = [getattr(part, name) for part in graph.edges]
        if all(value is not None for value in values):
            columns[name] = values
    return igraph_backend.edge_list(graph.structure, flows).tolist(), {
        name: igraph_backend.edge_values(flows, values).tolist() for name, values in columns.items()
    }


def to_igraph(graph: LayeredEdges) -> Any:
    """A directed ``igraph.Graph``."""
    units = node_records(graph.layers)
    ends, columns = edge_table(graph)
    return igraph_backend.import_igraph().Graph(
        n=len(units), edges=ends, directed=True, vertex_attrs={key: [unit[key] for unit in units] for key in units[0]}, edge_attrs=columns
    )


def to_networkx(graph: LayeredEdges) -> Any:
    """A ``networkx.DiGraph`` whose nodes are pairs (layer, position)."""
    made = igraph_backend.import_networkx().DiGraph()
    units = node_records(graph.layers)
    keys = [(unit["layer"], unit["position"]) for unit in units]
    made.add_nodes_from(zip(keys, units, strict=True))
    ends, columns = edge_table(graph)
    rows = zip(*columns.values(), strict=True)
    made.add_edges_from(
        (keys[first], keys[second], dict(zip(columns, row, strict=True))) for (first, second), row in zip(ends, rows, strict=True)
    )
    return made


def to_graphml(graph: LayeredEdges) -> str:
    """The graph as GraphML. Characters that XML cannot hold become U+FFFD; what is not known is left out."""
    units = node_records(graph.layers)
    ends, columns = edge_table(graph)
    kinds = {("node", key): type(value) for key, value in units[0].items()}
    kinds |= {("edge", key): type(values[0]) for key, values in columns.items() if values}
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">']
    lines += [
        f'<key id="{side}.{key}" for="{side}" attr.name="{key}" attr.type="{GRAPHML_TYPES[kind]}"/>' for (side, key), kind in kinds.items()
    ]
    lines.append('<graph edgedefault="directed">')
    for number, unit in enumerate(units):
        lines += [f"<node id={quoteattr(f'n{number}')}>", *_data_elements("node", unit), "</node>"]
    for (first, second), row in zip(ends, zip(*columns.values(), strict=True), strict=True):
        lines += [f'<edge source="n{first}" target="n{second}">', *_data_elements("edge", dict(zip(columns, row, strict=True))), "</edge>"]
    return "\n".join([*lines, "</graph>", "</graphml>", ""])


def _data_elements(side: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, float) and not isfinite(value):
            continue
        text = str(value).lower() if isinstance(value, bool) else escape(NOT_IN_XML.sub("\ufffd", str(value)), {"\r": "&#13;"})
        yield f'<data key="{side}.{key}">{text}</data>'


def to_json(graph: LayeredEdges, provenance: Mapping[str, Any]) -> str:
    """Nodes and links as strict JSON; ``source`` and ``target`` count nodes, and what is not known is null."""
    ends, columns = edge_table(graph)
    rows = [[value if isfinite(value) else None for value in row] for row in zip(*columns.values(), strict=True)]
    linked = [
        {"source": first, "target": second, **dict(zip(columns, row, strict=True))} for (first, second), row in zip(ends, rows, strict=True)
    ]
    facts = {"directed": True, "nodes": node_records(graph.layers), "links": linked, "provenance": to_json_values(provenance)}
    return json.dumps(facts, ensure_ascii=False, allow_nan=False)


def to_json_values(facts: Mapping[str, Any]) -> Any:
    """As JSON holds it: other types as text, numbers that are not finite as null."""
    return json.loads(json.dumps(dict(facts), default=str), parse_constant=lambda _: None)
