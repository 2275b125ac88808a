"""The importance of links, as a section of a page.

Axes: U units, F links into a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from markupsafe import Markup
from torch import Tensor

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.sparsity.importance_result import LayerImportance, LinkImportance
from vesalius.views import style, svg
from vesalius.views.html import Section, anchor_of, render_template
from vesalius.views.line_chart import svg_curves
from vesalius.views.sparsity.captions import coverage_notes
from vesalius.views.sparsity.chart_data import CURVE_LABELS, importance_curve, sum_channels

HEADING = "Link importance"
MOST_PICTURES = 24
IMPORTANCE_LEVEL = 0.8
"""Share of the importance that the last column of the table is about, which is the paper's."""
COLUMNS = ("links", "activation", "estimator", "error", "sum", f"links with {100 * IMPORTANCE_LEVEL:.0f} % of it")


def importance_section(shown: LinkImportance, *, shape: Sequence[int] | None = None) -> Section:
    """Layer by layer how importance is spread over links; of the first layer, maps of its units' links.

    Args:
        shown: from ``vesalius.sparsity.link_importance``.
        shape: (height, width), or with channels first, of the image that the first layer reads.

    Raises:
        WrongType: no such result.
        InvalidInput: a shape of another number of elements.
    """
    body = importance_body(shown, shape=shape)
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=body, sources=(dict(shown.provenance),))


def importance_body(shown: LinkImportance, *, shape: Sequence[int] | None = None) -> Markup:
    """The section without its heading."""
    layers = importance_layers(shown)
    first = layers[0]
    return render_template(
        "importance.html.j2",
        {
            "columns": COLUMNS,
            "lines": [(one.name, _cells(one)) for one in layers],
            "curve": svg_curves(curves_by_layer(shown), CURVE_LABELS),
            "first": first.name,
            "notes": coverage_notes(shown.coverage),
            "link_maps": [] if shape is None else _link_maps(first, shape),
        },
    )


def importance_layers(shown: LinkImportance) -> list[LayerImportance]:
    """The layers, in order of computation.

    Raises:
        WrongType: no such result.
    """
    if not isinstance(shown, LinkImportance):
        raise WrongType(f"expected a LinkImportance, not {type(shown).__name__}; make one with vesalius.link_importance(...)")
    return list(shown.layers.values())


def curves_by_layer(shown: LinkImportance) -> dict[str, tuple[object, object]]:
    """Importance of the strongest links, added up, of as many layers as there are colours."""
    return {one.name: importance_curve(_link_matrix(one)) for one in importance_layers(shown)[: len(style.PALETTE)]}


def _link_matrix(one: LayerImportance) -> Float[Tensor, "U F"]:
    return one.values.detach().cpu().movedim(one.axes, (0, 1)).flatten(1)


def _cells(one: LayerImportance) -> tuple[str, ...]:
    places, shares = importance_curve(_link_matrix(one))
    enough = float(places[(shares >= IMPORTANCE_LEVEL).argmax()])
    error = "exact" if one.error == 0 else "unknown" if one.error != one.error else style.percent(one.error)
    return (f"{one.values.numel():,}", one.activation, one.estimator, error, style.number(one.total), style.percent(enough))


def _link_maps(one: LayerImportance, shape: Sequence[int]) -> list[tuple[str, Markup]]:
    """Importance of every input, then of the links of the most important units."""
    values, sides = _link_matrix(one), tuple(shape) if len(shape) == 3 else (1, *shape)
    if prod(sides) != values.shape[1] or len(sides) != 3:
        raise InvalidInput(f"layer {one.name!r} reads {values.shape[1]} values; {tuple(shape)} is none of an image of so many")
    every = sum_channels(values.mean(0), sides)
    found = [("all units", svg.heatmap(every, float(every.max()) or 1.0, "importance of each input"))]
    for unit in torch.argsort(values.sum(1), descending=True, stable=True)[:MOST_PICTURES].tolist():
        image = sum_channels(values[unit], sides)
        found.append((f"unit {unit}", svg.heatmap(image, float(image.max()) or 1.0, f"importance of the links of unit {unit}")))
    return found
