"""Decisions of a model: each input beside what several methods say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from markupsafe import Markup
from torch import Tensor

from vesalius.core.allocation import Allocation
from vesalius.core.errors import InvalidInput
from vesalius.views import style, svg
from vesalius.views.chart_data import is_heatmap, require_single_sample
from vesalius.views.html import (
    Heatmaps,
    MethodPanel,
    Section,
    TableRow,
    heatmaps,
    method_panel,
    player_counts_differ,
    render_template,
    table_rows,
    waterfall_rows,
)


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Decision:
    """One input, what the model predicts, and why, by one or more methods.

    Attributes:
        sample: the input.
        picture: what to show of it, grey or colour, 0 to 1; ``None`` for a table.
        predicted: the model's answer, such as the name of a class.
        label: the right answer, or ``None`` if nobody knows.
        probability: that the model gives its answer, 0 to 1, or ``None``.
        target: what was explained, such as ``class 4``.
        allocations: one per method, each of this sample alone.
        features: names of the values, in order, where the players have none of their own.
        note: a sentence to be shown with it.

    Raises:
        InvalidInput: no allocation, one of a batch, a picture of another shape, a probability beyond 0 to 1, names that fit nothing.
    """

    sample: Float[Tensor, "*event"]
    picture: Float[Tensor, "channels height width"] | None = None
    predicted: str
    label: str | None = None
    probability: float | None = None
    target: str
    allocations: tuple[Allocation, ...]
    features: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not self.allocations:
            raise InvalidInput("a decision needs at least one allocation to show")
        for allocation in self.allocations:
            require_single_sample(allocation, "a decision")
        if self.picture is not None and (self.picture.ndim != 3 or self.picture.shape[0] not in (1, 3)):
            raise InvalidInput(f"a picture is [1 or 3, height, width], not {tuple(self.picture.shape)}; give None for a table")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise InvalidInput(f"a probability lies between 0 and 1, not at {self.probability}")
        if self.features and all(len(self.features) != allocation.flat.numel() for allocation in self.allocations):
            counts = ", ".join(str(allocation.flat.numel()) for allocation in self.allocations)
            raise InvalidInput(f"{len(self.features)} feature names, but the allocations hold {counts} values")

    @property
    def outcome(self) -> style.Verdict:
        """Right or wrong, in words: ``predicted 4 (0.98), label 4``."""
        sure = "" if self.probability is None else f" ({self.probability:.2f})"
        if self.label is None:
            return style.Verdict("plain", f"predicted {self.predicted}{sure}")
        return style.Verdict("ok" if self.label == self.predicted else "bad", f"predicted {self.predicted}{sure}, label {self.label}")


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Decisions:
    """Decisions to be shown under one heading.

    Attributes:
        items: in the order they are shown.
        unit: of the values.
        baseline: in words, what each input was compared with.
        heading: of the section.
        anchor: its address on the page.

    Raises:
        InvalidInput: there is none.
    """

    items: tuple[Decision, ...]
    unit: str = "logits"
    baseline: str
    heading: str = "Decisions"
    anchor: str = "decisions"

    def __post_init__(self) -> None:
        if not self.items:
            raise InvalidInput("there are no decisions to show; give at least one")


@dataclass(frozen=True, kw_only=True)
class DecisionView:
    """A decision, ready to be shown.

    Attributes:
        picture: the input, ``None`` for a table.
        maps: of the methods whose players divide the picture, ``None`` if none do.
        heads: of the other methods, which are shown as bars.
        lines: their bars.
        steps: from base to total, by the first method; empty beside a picture.
    """

    item: Decision
    picture: Markup | None
    maps: Heatmaps | None
    heads: tuple[MethodPanel, ...]
    lines: list[TableRow]
    steps: list[TableRow]


def decisions_section(decisions: Decisions) -> Section:
    """Decisions as a section of a page."""
    targets = sorted({item.target for item in decisions.items})
    per_pixel = any(player_counts_differ(_heatmap_allocations(item)) for item in decisions.items if item.picture is not None)
    shown = [_view_table(item) if item.picture is None else _view_image(item, decisions.unit, per_pixel) for item in decisions.items]
    stepping = {style.method_name(item.allocations[0].method) for item in decisions.items if item.picture is None}
    body = render_template(
        "decisions.html.j2",
        {
            "shown": shown,
            "target": targets[0] if len(targets) == 1 else "",
            "per_pixel": per_pixel,
            "unit": decisions.unit,
            "baseline": decisions.baseline,
            "stepped": stepping.pop() if len(stepping) == 1 else "",
        },
    )
    allocations = tuple(allocation for item in decisions.items for allocation in item.allocations)
    return Section(heading=decisions.heading, anchor=decisions.anchor, body=body, allocations=allocations, finding=_finding(decisions))


def _finding(decisions: Decisions) -> str:
    """How many are right, and how many of the explanations are complete."""
    known = [item for item in decisions.items if item.label is not None]
    right = sum(item.label == item.predicted for item in known)
    told = [style.gap_verdict(allocation).level for item in decisions.items for allocation in item.allocations]
    rights = f"{right} of {style.pluralize(len(known), 'prediction')} {'is' if right == 1 else 'are'} right; " if known else ""
    names = style.join_words(list(dict.fromkeys(style.method_name(part.method) for part in decisions.items[0].allocations)))
    whole = f"{told.count('ok')} of {style.pluralize(len(told), 'explanation')} ({names}) add up"
    return f"{rights}{whole}."


def _heatmap_allocations(item: Decision) -> list[Allocation]:
    """The allocations that can be shown as maps."""
    return [allocation for allocation in item.allocations if is_heatmap(allocation)]


def _view_image(item: Decision, unit: str, per_pixel: bool) -> DecisionView:
    assert item.picture is not None
    placed, others = _heatmap_allocations(item), [allocation for allocation in item.allocations if not is_heatmap(allocation)]
    return DecisionView(
        item=item,
        picture=svg.image(item.picture.detach().float().cpu().numpy(), f"input: {item.outcome.text}"),
        maps=heatmaps(placed, unit, per_pixel=per_pixel) if placed else None,
        heads=tuple(method_panel(allocation) for allocation in others),
        lines=table_rows(others, names=item.features) if others else [],
        steps=[],
    )


def _view_table(item: Decision) -> DecisionView:
    first, names = item.allocations[0], item.features
    return DecisionView(
        item=item,
        picture=None,
        maps=None,
        heads=tuple(method_panel(allocation) for allocation in item.allocations),
        lines=table_rows(item.allocations, names=names, details=_feature_values(item.sample, first)),
        steps=waterfall_rows(first, names=names if len(names) == first.flat.numel() else ()),
    )


def _feature_values(sample: Tensor, allocation: Allocation) -> Sequence[str]:
    """Each feature's value, where players are features and the sample has as many."""
    single = allocation.players.kind == "features" and allocation.coalitions is None
    if not single or allocation.players.n != sample.numel() or not sample.is_floating_point():
        return ()
    return [style.number(value) for value in sample.detach().double().cpu().reshape(-1).tolist()]
