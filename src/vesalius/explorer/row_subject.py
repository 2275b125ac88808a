"""Rows of numbers that are explored: tables, pictures, series, ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput
from vesalius.core.names import require_known
from vesalius.core.numbers import Limit, whole_number
from vesalius.core.players import Players
from vesalius.explorer.question import ExplorerQuestion
from vesalius.explorer.subject import ModelScores, ShownSample, Subject
from vesalius.explorer.verb_calls import CallArgument, names_argument
from vesalius.games.absence import Blur, Marginal, Mean
from vesalius.trace import Network
from vesalius.workflow.samples import Samples

MOST_BACKGROUND = 16
"""Rows of the data that are averaged over as a background."""
MOST_INTEGRATED = 20_000
"""Elements of a sample up to which the page begins with integrated gradients, which take minutes on a photograph and one core."""
MOST_VALUES = 64
"""Elements of a sample up to which each has a field of its own on the page."""


@final
@dataclass(frozen=True, eq=False)
class RowSubject(Subject):
    """Rows of numbers: tables, pictures, series, ids.

    Attributes:
        models: networks of one input.
        samples: the rows.
    """

    models: tuple[Network, ...]
    samples: Samples

    @property
    def classes(self) -> tuple[str, ...]:
        return self.samples.classes

    @property
    def is_image(self) -> bool:
        """Whether a row has a height and a width."""
        return self.samples.x.ndim in (3, 4) and min(self.samples.x.shape[-2:]) > 1 and self.samples.x.is_floating_point()

    def choices(self) -> dict[str, Any]:
        x = self.samples.x
        count = x[0].numel()
        return {
            "kind": "picture" if self.is_image else "rows",
            "rows": len(x),
            "targets": ["predicted", *(self.samples.classes or ())],
            "places": ["", *self._places()],
            "baselines": list(self._baselines()),
            "method": "integrated_gradients" if count <= MOST_INTEGRATED else "gradient_x_input",
            "players": ["auto", *self._patches(), "features"],
            "names": list(self.samples.features) or [f"feature {place}" for place in range(count)] if count <= MOST_VALUES else [],
            "elements": count,
            "size": list(x.shape[-2:]) if self.is_image else [],
        }

    def _patches(self) -> list[str]:
        """Squares that divide a picture, from two pixels to half of its side."""
        side = min(self.samples.x.shape[-2:]) if self.is_image else 0
        return [f"patches:{1 << power}" for power in range(1, 12) if 2 << power <= side]

    def _places(self) -> list[str]:
        """Layers whose values may be explained, in their order."""
        network = self.models[0]
        return [] if network.opaque else list(dict.fromkeys(layer.value for layer in network.layers.values()))

    def _baselines(self) -> dict[str, CallArgument]:
        data, most = self.samples.x, min(MOST_BACKGROUND, len(self.samples.x))
        found = {"default": CallArgument(None, "None")}
        if data.is_floating_point():
            found["mean"] = CallArgument(Mean(data), "vs.Mean(data)")
            found |= {"blur": CallArgument(Blur(), "vs.Blur()")} if self.is_image else {}
        found["background"] = CallArgument(Marginal(data[:most]), f"vs.Marginal(data[:{most}])")
        return found

    def show(self, question: ExplorerQuestion) -> ShownSample:
        row, changed = self.row(question), self.changed(question)
        flat = row.reshape(-1)
        label = f", label {self.samples.labels[question.row]}" if self.samples.labels else ""
        name = self.samples.ids[question.row] if self.samples.ids else f"row {self.samples.rows[question.row]}"
        picture = row if row.ndim == 3 and row.shape[0] in (1, 3) else row[None] if row.ndim == 2 else None
        return ShownSample(
            name=f"{name}{label}",
            values=_shortest(flat) if flat.numel() <= MOST_VALUES else (),
            picture=_stretch(changed.reshape(picture.shape), picture) if self.is_image and picture is not None else None,
        )

    def row(self, question: ExplorerQuestion) -> Tensor:
        """A row as it is in the data."""
        whole_number("row", question.row, Limit(least=0, most=len(self.samples.x) - 1))
        return self.samples.x[question.row]

    def changed(self, question: ExplorerQuestion) -> Tensor:
        """A row with the changes of the question; the data are left alone."""
        x = self.row(question).contiguous().clone()
        flat = x.view(-1)
        for place, value in question.edits.items():
            whole_number("the number of an element", place, Limit(least=0, most=flat.numel() - 1))
            flat[place] = value if x.is_floating_point() else whole_number(f"element {place}, of whole numbers,", value)
        if question.masks and not self.is_image:
            raise InvalidInput("regions are masked on pictures; change the values of these rows one by one")
        for top, left, bottom, right in question.masks:
            high, wide = x.shape[-2:]
            if bottom > high or right > wide:
                raise InvalidInput(f"the region [{top}, {left}, {bottom}, {right}] reaches beyond the picture of {high} x {wide} pixels")
            x[..., top:bottom, left:right] = question.fill
        return x

    def scores(self, place: int, question: ExplorerQuestion) -> ModelScores:
        network = self.models[place]
        both = torch.stack([self.changed(question), self.row(question)])
        with torch.no_grad():
            out = torch.cat([network(part) for part in both.split(1)])
        if out.ndim > 2:
            raise InvalidInput(f"the output of one row has shape {list(out.shape[1:])}; one number, or one per class, is explored")
        flat = out.reshape(2, -1).double().cpu()
        return ModelScores(names=self._score_names(flat.shape[1]), now=flat[0], before=flat[1])

    def _score_names(self, count: int) -> Sequence[str]:
        if count == 1:
            return ("output",)
        named = self.samples.classes if len(self.samples.classes) == count else ()
        return named or [f"class {place}" for place in range(count)]

    def _shared(self, question: ExplorerQuestion) -> tuple[CallArgument, dict[str, CallArgument], tuple[str, ...]]:
        changed = self.changed(question)
        lines = [f"x = data[{question.row}].contiguous().clone()"]
        lines += [f"x.view(-1)[{place}] = {changed.view(-1)[place].item()!r}" for place in question.edits]
        lines += [f"x[..., {top}:{bottom}, {left}:{right}] = {question.fill!r}" for top, left, bottom, right in question.masks]
        options: dict[str, CallArgument] = {"target": self._target(question)}
        baselines = self._baselines()
        require_known("baseline", question.baseline, baselines)
        if question.baseline != "default":
            options["baseline"] = baselines[question.baseline]
        if question.at:
            options["at"] = CallArgument.plain(question.at)
        if question.players != "auto":
            options["players"] = self._players(question, changed)
        features = self.samples.features
        if features and len(features) == changed.numel() and not question.at and question.players in ("auto", "features"):
            options["names"] = names_argument(features, "names")
        return CallArgument(changed, "x"), options, tuple(lines)

    def _target(self, question: ExplorerQuestion) -> CallArgument:
        if question.target in ("", "predicted"):
            return CallArgument(None, "None")
        classes = list(self.samples.classes)
        if question.target in classes:
            return CallArgument.plain(classes.index(question.target))
        if not question.target.isascii() or not question.target.isdigit() or len(question.target) > 9:
            require_known("target", question.target, ["predicted", *classes])
        return CallArgument.plain(int(question.target))

    def _players(self, question: ExplorerQuestion, x: Tensor) -> CallArgument:
        if question.at:
            raise InvalidInput("players divide the input, and a layer is explained; choose the input, or players auto")
        kind, _, size = question.players.partition(":")
        if kind == "patches" and size.isascii() and size.isdigit() and len(size) < 6:
            return CallArgument(Players.patches(x, int(size)), f"vs.Players.patches(x, {int(size)})")
        require_known("kind of players", question.players, ["auto", "features", "patches:4"])
        return CallArgument(Players.features(x), "vs.Players.features(x)")


def _stretch(changed: Tensor, original: Tensor) -> Tensor:
    """Pixels in 0..1: as they are, or by the range of the row as it is in the data."""
    low, high = float(original.min()), float(original.max())
    if low >= 0 and high <= 1:
        return changed.float()
    return (changed.float() - low) / ((high - low) or 1.0)


def _shortest(flat: Tensor) -> tuple[float, ...]:
    """Numbers as they are written in as few digits as tell them apart, 4.6 for what float32 holds as 4.599999904632568."""
    digits = 7 if flat.dtype in (torch.float32, torch.float16, torch.bfloat16) else 17
    return tuple(float(f"{value:.{digits}g}") for value in flat.tolist())
