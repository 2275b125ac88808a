"""The explorer's page, and the pieces of it that are drawn anew for every answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vesalius.audit.result import Audit
from vesalius.core.allocation import Allocation
from vesalius.views import style, svg
from vesalius.views.chart_data import symmetric_scale
from vesalius.views.html import BarCell, TableRow, render_template
from vesalius.views.report import section_of

CLASS_NUMBER = re.compile(r"class (\d{1,9})")
MOST_SCORES = 6
"""Scores of a model that are shown, the largest first."""


def explorer_page(choices: Mapping[str, Any], nonce: str) -> str:
    """The page, which asks where it came from and nothing else.

    Args:
        choices: what it offers to choose from, as JSON knows it.
        nonce: by which its script is known to be its own.
    """
    facts = {
        "light": style.css_variables(style.LIGHT),
        "dark": style.css_variables(style.DARK),
        "font": style.FONT,
        "gradient": style.css_gradient(),
    }
    names = {name: style.method_name(name) for name in choices["methods"]}
    return str(render_template("explorer.html.j2", {**facts, "choices": {**choices, "method_names": names}, "nonce": nonce}))


def scores_html(names: Sequence[str], now: Float[Tensor, " scores"], before: Float[Tensor, " scores"]) -> str:
    """The largest scores of a model, and how far they are from those of the sample as it is in the data.

    Args:
        names: of the scores.
        now: of the changed sample.
        before: of the sample as it is in the data.
    """
    best = now.nan_to_num(nan=float("-inf")).argsort(descending=True, stable=True)[:MOST_SCORES].tolist()
    change = now - before
    scale = symmetric_scale([now[best].numpy()])
    rows = [_score_row(names[place], float(now[place]), float(change[place]), scale) for place in best]
    return str(render_template("scores.html.j2", {"rows": rows, "left_out": len(now) - len(best)}))


def _score_row(name: str, value: float, change: float, scale: float) -> TableRow:
    text = style.signed_number(value)
    return TableRow(
        name=name, detail=style.signed_number(change), cells=(BarCell(bar=svg.bar(value, scale, f"{name}: {text}"), text=text),)
    )


def picture_html(picture: Float[Tensor, "channels height width"], name: str) -> str:
    """A picture from 0 to 1."""
    return str(svg.image(picture.detach().float().cpu().numpy(), name))


def result_html(result: Allocation | Audit, classes: Sequence[str] = ()) -> str:
    """A result of a verb, as on a page.

    Args:
        result: of one sample.
        classes: names of the classes, which is what a class is then called.
    """
    found = CLASS_NUMBER.fullmatch(str(result.provenance.get("target", "")))
    if found is not None and int(found[1]) < len(classes):
        result = replace(result, provenance={**result.provenance, "target": f"class {classes[int(found[1])]}"})
    return str(section_of(result).body)
