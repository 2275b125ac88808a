"""Exhibits: one input beside what every method says about it, each on a colour scale of its own; a refusal is shown as its sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from numpy import ndarray
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.core.players import Players
from vesalius.views import style, svg
from vesalius.views.chart_data import heatmap_values, require_single_sample, symmetric_scale, values_of
from vesalius.views.html import ColouredText, MethodPanel, Section, coloured_text, method_panel, players_text, render_template

MOST_COLUMNS = 9
"""Columns of a table of numbers before the smallest are added up."""

OUTLIER_CLIP_SIZE = 256
"""Values from which a map is fine: a few would make all others invisible, so the 1 % largest are drawn in full colour."""


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class MethodAnswer:
    """What one method says of an input.

    Attributes:
        method: its registered name.
        allocation: of this input alone, or ``None`` if the method refused.
        refusal: why, in a sentence; empty if it did not.

    Raises:
        InvalidInput: neither an allocation nor a refusal, or both.
    """

    method: str
    allocation: Allocation | None = None
    refusal: str = ""

    def __post_init__(self) -> None:
        if (self.allocation is None) == (not self.refusal):
            raise InvalidInput(f"{self.method} either gives an allocation or refuses in a sentence")
        if self.allocation is not None:
            require_single_sample(self.allocation, "an answer")


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Exhibit:
    """One input, what a model says about it, and every method's answer.

    Attributes:
        heading: of the section.
        model: in words.
        outcome: what the model says, and whether it is right.
        target: what was explained, such as ``class 4``.
        baseline: in words, what the input was compared with.
        unit: of the values.
        answers: one per method.
        picture: the input, grey or colour, 0 to 1; else ``None``.
        words: of a text, one per place; else empty.
        columns: of a table, (name, value) of each; else empty.
        parts: values of smaller players are added up over these before they are shown.

    Raises:
        InvalidInput: no answers, or not exactly one of a picture, words and columns.
    """

    heading: str
    model: str
    outcome: style.Verdict
    target: str
    baseline: str
    unit: str
    answers: tuple[MethodAnswer, ...]
    picture: Float[Tensor, "channels height width"] | None = None
    words: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    parts: Players | None = None

    def __post_init__(self) -> None:
        if not self.answers:
            raise InvalidInput("an exhibit needs at least one answer")
        if (self.picture is not None) + bool(self.words) + bool(self.columns) != 1:
            raise InvalidInput("an exhibit shows one of a picture, words and columns")


@dataclass(frozen=True, kw_only=True)
class AnswerView:
    """One method, ready to be shown.

    Attributes:
        panel: its name and its gap, with its map if it is shown as one.
        patches: of a text or table.
        scale: the end of its colour scale, in words.
        sentence: instead of all that, why there is nothing to show.
    """

    panel: MethodPanel
    patches: tuple[ColouredText, ...] = ()
    scale: str = ""
    sentence: str = ""


def exhibit_section(exhibit: Exhibit) -> Section:
    """An exhibit as a section of a page."""
    known = [allocation for answer in exhibit.answers if (allocation := answer.allocation) is not None]
    order, heads = _ranked_columns(exhibit, [_group_values(one, exhibit.parts) for one in known])
    drawn = [_view_answer(exhibit, answer, order) for answer in exhibit.answers]
    photo = None if exhibit.picture is None else svg.image(exhibit.picture.detach().float().cpu().numpy(), f"input: {exhibit.outcome.text}")
    body = render_template("gallery.html.j2", {"exhibit": exhibit, "drawn": drawn, "heads": heads, "photo": photo})
    whole = sum(map(adds_up, exhibit.answers))
    finding = f"{exhibit.outcome.text}; the values of {whole} of {style.pluralize(len(exhibit.answers), 'method')} add up."
    return Section(heading=exhibit.heading, anchor=exhibit.heading, body=body, allocations=tuple(known), finding=finding)


def overview_section(exhibits: Sequence[Exhibit], *, heading: str = "Completeness") -> Section:
    """Every method on every exhibit: how far its values are from adding up."""
    rows = {answer.method: [ColouredText(text="")] * len(exhibits) for exhibit in exhibits for answer in exhibit.answers}
    for place, exhibit in enumerate(exhibits):
        for answer in exhibit.answers:
            rows[answer.method][place] = _gap_cell(answer)
    table = [(style.method_name(method), patches) for method, patches in rows.items()]
    body = render_template("overview.html.j2", {"heads": [exhibit.heading for exhibit in exhibits], "rows": table})
    return Section(heading=heading, anchor=heading, body=body)


def missing_section(reasons: Sequence[tuple[str, str]]) -> Section:
    """What the page lacks, and why: (name, sentence) each."""
    items = Markup("").join(Markup("<li><b>{}</b>: {}</li>").format(name, reason) for name, reason in reasons)
    return Section(heading="Left out", anchor="left-out", body=Markup("<ul>{}</ul>").format(items))


def adds_up(answer: MethodAnswer) -> bool:
    """Whether a method answered, and its values add up."""
    return answer.allocation is not None and style.gap_verdict(answer.allocation).level == "ok"


def _gap_cell(answer: MethodAnswer) -> ColouredText:
    """A gap as a share of the change; the level of its verdict as ``spread``."""
    if answer.allocation is None:
        return ColouredText(text="refused", spread="plain")
    share, level = float(answer.allocation.relative_gap), style.gap_verdict(answer.allocation).level
    if level == "ok" or (level == "warn" and style.is_accounted_for(answer.allocation)):
        return ColouredText(text="complete" if level == "ok" else "accounted", spread=level)
    error = "not a number" if share != share else style.percent(share) if share < 10 else "over 1,000 %"
    return ColouredText(text=error, spread=level)


def _view_answer(exhibit: Exhibit, answer: MethodAnswer, order: Sequence[int]) -> AnswerView:
    allocation = answer.allocation
    if allocation is None:
        head = MethodPanel(name=style.method_name(answer.method), verdict=style.Verdict("plain", "refused"), effort="")
        return AnswerView(panel=head, sentence=answer.refusal)
    head = method_panel(allocation, name=style.method_name(answer.method))
    shown = _group_values(allocation, exhibit.parts)
    if exhibit.picture is not None:
        return _view_heatmap(exhibit, shown, head)
    count = len(exhibit.words or exhibit.columns)
    if shown.coalitions is not None or shown.players.n != count:
        things = "words" if exhibit.words else "columns"
        return AnswerView(panel=head, sentence=f"It values {players_text(shown)}, and there are {count} {things} to show them on.")
    values = values_of(shown)
    scale = symmetric_scale([values])
    if exhibit.words:
        named = zip(exhibit.words, values.tolist(), strict=True)
        patches = tuple(coloured_text(value, scale, word, spread=style.signed_number(value)) for word, value in named)
        return AnswerView(panel=head, patches=patches, scale=_scale_text(scale))
    kept = np.array([*values[order], *([values.sum() - values[order].sum()] if len(order) < count else [])])
    scale = symmetric_scale([kept])
    return AnswerView(
        panel=head,
        patches=tuple(coloured_text(value, scale, style.signed_number(value)) for value in kept.tolist()),
        scale=_scale_text(scale),
    )


def _view_heatmap(exhibit: Exhibit, allocation: Allocation, head: MethodPanel) -> AnswerView:
    image = heatmap_values(allocation)
    assert exhibit.picture is not None
    if image is None:
        return AnswerView(panel=head, sentence=f"It values {players_text(allocation)}, which have no places in the picture.")
    scale = _robust_scale(image)
    low, high = (style.number(float(value)) for value in (image.min(), image.max()))
    text = f"{head.name}: values from {low} to {high} {exhibit.unit}".strip()
    named = replace(head, players=_describe_places(allocation, exhibit.picture), picture=svg.heatmap(image, scale, text))
    return AnswerView(panel=named, scale=_scale_text(scale))


def _robust_scale(image: Float[ndarray, "height width"]) -> float:
    """The value of full colour in a map."""
    most = float(np.nanquantile(np.abs(image), 0.99)) if image.size >= OUTLIER_CLIP_SIZE and not np.isnan(image).all() else 0.0
    return most or symmetric_scale([image])


def _describe_places(allocation: Allocation, picture: Float[Tensor, "channels height width"]) -> str:
    """What has a value of its own: ``32 x 32 pixels``, ``8 x 8 patches``, or ``8 x 8 places`` of an inner layer."""
    players = allocation.players
    sides = players.index[0].shape[-2:]
    whole = players.shape[-2:] == tuple(sides)
    if players.kind == "segments":
        return players_text(allocation)
    thing = players.kind if not whole else "pixels" if sides == picture.shape[-2:] else "places"
    return " \N{MULTIPLICATION SIGN} ".join(map(str, sides if whole else players.shape)) + f" {thing}"


def _group_values(allocation: Allocation, parts: Players | None) -> Allocation:
    """Values added up over larger parts, where the players fit into them; else as they are."""
    if parts is None or allocation.coalitions is not None or len(allocation.players.index) != 1:
        return allocation
    fine, coarse = allocation.players.index[0].shape, parts.index[0].shape
    if any(theirs not in (1, mine) for mine, theirs in zip(reversed(fine), reversed(coarse), strict=False)):
        return allocation
    try:
        return allocation.group(parts)
    except InvalidInput:
        return allocation


def _ranked_columns(exhibit: Exhibit, allocations: Sequence[Allocation]) -> tuple[list[int], list[tuple[str, str]]]:
    """Which columns of a table are shown, those with the largest shares first, and their names and values."""
    if not exhibit.columns:
        return [], []
    count = len(exhibit.columns)
    shares = np.zeros(count)
    for allocation in allocations:
        if allocation.coalitions is None and allocation.players.n == count:
            values = np.nan_to_num(np.abs(values_of(allocation)))
            shares += values / (values.sum() or 1.0)
    ranked = [int(place) for place in np.argsort(-shares, kind="stable")]
    kept = ranked if count <= MOST_COLUMNS else ranked[: MOST_COLUMNS - 1]
    heads = [exhibit.columns[place] for place in kept]
    return kept, [*heads, *([(f"{count - len(kept)} others", "")] if len(kept) < count else [])]


def _scale_text(scale: float) -> str:
    return f"\N{PLUS-MINUS SIGN}{style.number(scale)}"
