"""A pruned network as a section of a page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from torch import Tensor

from vesalius.sparsity.sparsified import Sparsified
from vesalius.views import style, svg
from vesalius.views.html import Section, anchor_of, render_template
from vesalius.views.line_chart import svg_curves
from vesalius.views.sparsity.captions import COLUMNS, HEADING, facts, layer_rows, notes, summary
from vesalius.views.sparsity.chart_data import (
    CURVE_LABELS,
    MOST_UNITS,
    PrunedLayer,
    RankedLink,
    before_after_images,
    image_shape,
    importance_curve,
    most_important_units,
    output_errors,
    pruned_layers,
    ranked_links,
    reads_input,
    require_sparsified,
    sum_channels,
)
from vesalius.views.sparsity.drawing import kept_network, layer_chain
from vesalius.views.sparsity.svg_charts import draw_kept_network

MOST_CURVES = len(style.PALETTE)


def sparsified_section(shown: Sparsified, *, x: Tensor | None = None, shape: Sequence[int] | None = None) -> Section:
    """What is left of a network and why; its outputs before and after; what its units are connected to.

    Args:
        shown: from ``vesalius.sparsify``.
        x: samples that it is evaluated on, and of which some are drawn.
        shape: (height, width), or with channels first, of the image a sample is; by default as the network's input has it.

    Raises:
        WrongType: nothing that was pruned.
        InvalidInput: a shape of another number of elements.
    """
    body = sparsified_body(shown, x=x, shape=shape)
    source = {"model": shown.dense.name, "digest": shown.provenance.get("network", ""), "seed": shown.provenance.get("seed")}
    return Section(heading=HEADING, anchor=anchor_of(HEADING), body=body, sources=(source,))


def sparsified_body(shown: Sparsified, *, x: Tensor | None = None, shape: Sequence[int] | None = None) -> Markup:
    """The section without its heading."""
    cuts, image = pruned_layers(require_sparsified(shown)), image_shape(shown, shape)
    errors = {} if x is None else output_errors(shown, x)
    chain = layer_chain(cuts)
    drawn = kept_network(chain, [_weight(shown, cut) for cut in chain]) if chain else None
    pictured = image is not None and reads_input(cuts[0], shown)
    return render_template(
        "sparsified.html.j2",
        {
            "meaning": summary(shown, errors),
            "columns": COLUMNS,
            "lines": layer_rows(cuts),
            "pairs": [] if x is None or image is None or "error, dense" not in errors else _sample_images(shown, x, image),
            "link_maps": _link_maps(cuts[0], image) if pictured and image else [],
            "most": MOST_UNITS,
            "first": cuts[0].name,
            "picture": None if drawn is None else draw_kept_network(drawn, "the links that are left"),
            "left_out": 0 if drawn is None else drawn.left_out,
            "curve": svg_curves({cut.name: importance_curve(cut.scores) for cut in cuts[:MOST_CURVES]}, CURVE_LABELS),
            "reasons": [_link_row(reason) for cut in cuts for reason in ranked_links(cut)],
            "facts": facts(shown),
            "notes": notes(shown, cuts),
        },
    )


def _weight(shown: Sparsified, cut: PrunedLayer) -> Tensor:
    return cut.links.matrix(shown.network.weight(cut.links.layer)).detach().cpu()


def _sample_images(shown: Sparsified, x: Tensor, shape: tuple[int, ...]) -> list[tuple[Markup, Markup, Markup]]:
    """Sample, and what comes out before and after."""
    return [
        (svg.image(pair.image, "sample"), svg.image(pair.before, "before"), svg.image(pair.after, "after"))
        for pair in before_after_images(shown, x, shape)
    ]


def _link_maps(cut: PrunedLayer, shape: tuple[int, ...]) -> list[tuple[str, Markup]]:
    """Importance of every input, then of the links that are left of single units."""
    every = sum_channels(cut.unit_importance, shape)
    found = [("all links, before", svg.heatmap(every, float(every.max()) or 1.0, "importance of each input"))]
    left = cut.scores * cut.mask
    for unit in most_important_units(cut).tolist():
        values = sum_channels(left[unit], shape)
        name = f"unit {unit}: {int(cut.mask[unit].sum()):,} kept"
        found.append((name, svg.heatmap(values, float(values.max()) or 1.0, name)))
    return found


def _link_row(reason: RankedLink) -> tuple[str, tuple[str, ...], bool]:
    """A link, and where it stands."""
    cells = (style.number(reason.score), f"{reason.rank:,}", style.percent(reason.share), "kept" if reason.kept else "pruned")
    return f"{reason.layer}: {reason.source} \N{RIGHTWARDS ARROW} {reason.unit}", cells, reason.kept
