"""What the page asks, read from JSON: every field is known, of its type and within its limits, or the question is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.names import require_known
from vesalius.core.numbers import ANY, Limit, flag, real_number, whole_number

MAX_EDITS = 256
"""Values of one sample that may be changed."""
MAX_MASKS = 64
"""Regions of one picture that may be masked."""
MAX_BUDGET = 20_000
"""Evaluations of the model that one question may ask for."""
MAX_WORD = 400
"""Characters of a name."""
Region = tuple[int, int, int, int]
"""Top, left, bottom and right of a rectangle of pixels; the last two are outside of it."""


@dataclass(frozen=True, kw_only=True)
class ExplorerQuestion:
    """What is asked about one sample.

    Attributes:
        row: of the data.
        edits: other values, by the number of the element in the sample, row by row of its axes.
        masks: regions of a picture that are filled.
        fill: with this value.
        text: in the place of the sample, where samples are texts.
        target: ``predicted``, or a class by number or name, or a token.
        at: a value to explain instead of the input; empty for the input.
        baseline: what stands in for absent parts, in words.
        players: what is masked as a whole, in words.
        method: by name.
        budget: evaluations of a method that has one.
        effects: whether interactions are asked for.
        audit: methods to audit: ``none``, ``method`` (the one that is chosen) or ``all``.
        asker: the page that asks; it cancels what it asked for itself, and nothing of another page.
    """

    row: int = 0
    edits: Mapping[int, float] = field(default_factory=dict)
    masks: tuple[Region, ...] = ()
    fill: float = 0.0
    text: str | None = None
    target: str = "predicted"
    at: str = ""
    baseline: str = "default"
    players: str = "auto"
    method: str = "integrated_gradients"
    budget: int = 2_000
    effects: bool = False
    audit: str = "none"
    asker: str = ""


def read_question(body: bytes) -> ExplorerQuestion:
    """A question from the body of a request.

    Raises:
        InvalidInput, WrongType, UnknownName: no JSON, a field that is not known, of another type or out of its limits.
    """
    found = _read_json(body)
    if not isinstance(found, dict):
        raise WrongType(f"a question is a JSON object, not {type(found).__name__}")
    for name in found:
        require_known("field of a question", name, READERS)
    return ExplorerQuestion(**{name: READERS[name](name, value) for name, value in found.items()})


def _read_json(body: bytes) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number of JSON")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body of a question is JSON in UTF-8 ({' '.join(str(error).split())[:100]})") from error


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise WrongType(f"{name} is text, not {type(value).__name__}")
    if len(value) > MAX_WORD:
        raise InvalidInput(f"{name} has {len(value):,} characters; at most {MAX_WORD} are taken")
    return value


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise WrongType(f"{name} is text, not {type(value).__name__}")
    return value


def _edits(name: str, value: Any) -> dict[int, float]:
    if not isinstance(value, dict):
        raise WrongType(f"{name} are values by the number of the element, not {type(value).__name__}")
    if len(value) > MAX_EDITS:
        raise InvalidInput(f"{len(value):,} {name}; at most {MAX_EDITS} values are changed at once")
    if strange := next((place for place in value if not (place.isascii() and place.isdigit() and len(place) < 19)), None):
        raise InvalidInput(f"{name} are values by the number of the element, and {strange[:20]!r} is no such number")
    return {int(place): real_number(f"the value of element {place}", held) for place, held in value.items()}


def _masks(name: str, value: Any) -> tuple[Region, ...]:
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 4 for one in value):
        raise WrongType(f"{name} are regions [top, left, bottom, right] of pixels")
    if len(value) > MAX_MASKS:
        raise InvalidInput(f"{len(value):,} {name}; at most {MAX_MASKS} regions are masked at once")
    found = []
    for one in value:
        top, left, bottom, right = (whole_number("a side of a region", side, Limit(least=0)) for side in one)
        if bottom <= top or right <= left:
            raise InvalidInput(f"the region {one} is empty; expected [top, left, bottom, right] with bottom > top and right > left")
        found.append((top, left, bottom, right))
    return tuple(found)


def _whole(limit: Limit) -> Callable[[str, Any], int]:
    return lambda name, value: whole_number(name, value, limit)


def _audit(name: str, value: Any) -> str:
    require_known(name, value, AUDITS)
    return str(value)


AUDITS = ("none", "method", "all")
READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "row": _whole(Limit(least=0)),
    "edits": _edits,
    "masks": _masks,
    "fill": lambda name, value: real_number(name, value, ANY),
    "text": _text,
    "target": _word,
    "at": _word,
    "baseline": _word,
    "players": _word,
    "method": _word,
    "budget": _whole(Limit(least=2, most=MAX_BUDGET)),
    "effects": flag,
    "audit": _audit,
    "asker": _word,
}
"""How each field is read."""
