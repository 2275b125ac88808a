"""A pruned network as a section of a page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from torch import Tensor

from vesalius.sparsity.sparsified import Sparsified
from vesalius.views import style, svg
from vesalius.views.fragments import Section, anchor_of, fill
from vesalius.views.lines import svg_curves
from vesalius.views.sparsity.describe import (
    CURVE,
    MOST_UNITS,
    Cut,
    Reason,
    curve_of,
    cuts_of,
    errors_of,
    image_of,
    is_sparsified,
    listening,
    pairs_of,
    reads_input,
    reasons_of,
    shape_of,
)
from vesalius.views.sparsity.kept import chain_of, kept_of
from vesalius.views.sparsity.pictures import network
from vesalius.views.sparsity.words import COLUMNS, HEADING, facts, meaning, notes, table_of

MOST_CURVES = len(style.KINDS)


def sparsified_section(shown: Sparsified, *, x: Tensor | None = None, shape: Sequence[int] | None = None) -> Section:
    """What is left of a network and why; what it makes of samples; what its units listen to.

    Args:
        shown: from ``vesalius.sparsify``.
        x: samples that it is judged on, and of which some are drawn.
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
    cuts, image = cuts_of(is_sparsified(shown)), shape_of(shown, shape)
    errors = {} if x is None else errors_of(shown, x)
    chain = chain_of(cuts)
    drawn = kept_of(chain, [_weight(shown, cut) for cut in chain]) if chain else None
    pictured = image is not None and reads_input(cuts[0], shown)
    return fill(
        "sparsified.html.j2",
        {
            "meaning": meaning(shown, errors),
            "columns": COLUMNS,
            "lines": table_of(cuts),
            "pairs": [] if x is None or image is None or "error, dense" not in errors else _pairs(shown, x, image),
            "heard": _heard(cuts[0], image) if pictured and image else [],
            "most": MOST_UNITS,
            "first": cuts[0].name,
            "picture": None if drawn is None else network(drawn, "the links that are left"),
            "left_out": 0 if drawn is None else drawn.left_out,
            "curve": svg_curves({cut.name: curve_of(cut.scores) for cut in cuts[:MOST_CURVES]}, CURVE),
            "reasons": [_line(reason) for cut in cuts for reason in reasons_of(cut)],
            "facts": facts(shown),
            "notes": notes(shown, cuts),
        },
    )


def _weight(shown: Sparsified, cut: Cut) -> Tensor:
    return cut.links.matrix(shown.network.parameters[cut.links.layer.weight]).detach().cpu()


def _pairs(shown: Sparsified, x: Tensor, shape: tuple[int, ...]) -> list[tuple[Markup, Markup, Markup]]:
    """Sample, and what comes out before and after."""
    words = ("sample", "before", "after")
    return [
        tuple(svg.photo(part, word) for part, word in zip((pair.image, pair.before, pair.after), words, strict=True))
        for pair in pairs_of(shown, x, shape)
    ]


def _heard(cut: Cut, shape: tuple[int, ...]) -> list[tuple[str, Markup]]:
    """Importance of every input, then of the links of single units: what each still listens to."""
    every = image_of(cut.unit_importance, shape)
    found = [("all links, before", svg.heat(every, float(every.max()) or 1.0, "importance of each input"))]
    left = cut.scores * cut.mask
    for unit in listening(cut).tolist():
        values = image_of(left[unit], shape)
        name = f"unit {unit}: {int(cut.mask[unit].sum()):,} left"
        found.append((name, svg.heat(values, float(values.max()) or 1.0, name)))
    return found


def _line(reason: Reason) -> tuple[str, tuple[str, ...], bool]:
    """A link, and where it stands."""
    cells = (style.number(reason.score), f"{reason.rank:,}", style.percent(reason.share), "stayed" if reason.kept else "cut")
    return f"{reason.layer}: {reason.source} \N{RIGHTWARDS ARROW} {reason.unit}", cells, reason.kept
