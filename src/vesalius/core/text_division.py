"""How a text is divided into players: tokens, words, sentences, matches of a pattern, or the slots of a template."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.token_names import name_without_text
from vesalius.core.tokenization import Span, TokenizedText, is_one_text, pad_left, tokenize

BYSTANDER = -1
BLOCKS = (range(0x0300, 0x1D300), range(0x1E000, 0x1E950), range(0xE0100, 0xE01F0))
"""Where Unicode has marks that belong to the letter before them."""
SENTENCE = re.compile(
    r"\S.*?(?:[.!?\N{IDEOGRAPHIC FULL STOP}\N{HORIZONTAL ELLIPSIS}]+[\"')\]\N{RIGHT DOUBLE QUOTATION MARK}]*(?=\s|$)|\n|$)", re.S
)


@cache
def word_pattern() -> re.Pattern[str]:
    """A word: letters with their marks (accents, vowel signs, which ``\\w`` does not know), hyphens, apostrophes and joiners inside it
    included; or a run of punctuation, which can say as much."""
    marks = "".join(chr(one) for block in BLOCKS for one in block if unicodedata.category(chr(one)) in ("Mn", "Mc", "Me"))
    letter, inside = rf"[\w{marks}]", "['\N{RIGHT SINGLE QUOTATION MARK}\\-\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}]"
    return re.compile(rf"\w{letter}*(?:{inside}{letter}+)*|[^\w\s](?:[^\w\s])*")


DIVISIONS: Mapping[str, tuple[str, Callable[[], re.Pattern[str]] | None]] = {
    "token": ("tokens", None),
    "word": ("words", word_pattern),
    "sentence": ("sentences", lambda: SENTENCE),
}
"""Kind of players and what one of them is, by name."""
PATTERN_KIND = "matches"
SLOT_KIND = "slots"
TEXT_KINDS = (*(kind for kind, _ in DIVISIONS.values()), PATTERN_KIND, SLOT_KIND)
"""Kinds of players whose names may come again: the same word stands at several places of a text, and the place tells them apart."""


@dataclass(frozen=True)
class TextLayout:
    """A text in reading order, and who owns what of it.

    Attributes:
        pieces: of the text, one per token; a special token by its name.
        owners: the player of each, or -1.
        ids: of the tokens.
    """

    pieces: tuple[str, ...]
    owners: tuple[int, ...]
    ids: tuple[int, ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)


class Template(str):
    """A text with named slots that are filled in: ``Template("The {adj} movie", {"adj": "great"})`` is ``"The great movie"``.

    Args:
        pattern: with the names of its slots in braces; a brace itself is written twice.
        words: what stands in each slot.

    Raises:
        InvalidInput: no slot; a slot without words, or words without a slot; an empty one.
    """

    slots: tuple[tuple[str, Span], ...]

    def __new__(cls, pattern: str, words: Mapping[str, str]) -> Template:
        if not isinstance(pattern, str) or not isinstance(words, Mapping):
            raise WrongType("a template is a text and the words of its slots: Template('The {adj} movie', {'adj': 'great'})")
        text, slots, done = "", [], 0
        for match in re.finditer(r"\{\{|\}\}|\{(\w+)\}", pattern):
            text += pattern[done : match.start()]
            done, name = match.end(), match.group(1)
            if name is None:
                text += match.group()[0]
                continue
            if not isinstance(words.get(name), str) or not words[name].strip():
                raise InvalidInput(f"slot {{{name}}} of the template has no words; give them: {{{name!r}: 'great'}}")
            slots.append((name, (len(text), len(text) + len(words[name]))))
            text += words[name]
        if unknown := set(words) - {name for name, _ in slots}:
            raise InvalidInput(
                f"the template has no slot {{{sorted(unknown)[0]}}}; it has {', '.join(name for name, _ in slots) or 'none'}"
            )
        if not slots:
            raise InvalidInput(f"the template {pattern[:40]!r} has no slots; write their names in braces: 'The {{adj}} movie'")
        found = super().__new__(cls, text + pattern[done:])
        found.slots = tuple(slots)
        return found


@dataclass(frozen=True)
class TextDivision:
    """What :func:`divide_text` finds.

    Attributes:
        kind: of the players.
        names: one each.
        layout: the text.
        before, behind: places of padding around it.
    """

    kind: str
    names: tuple[str, ...]
    layout: TextLayout
    before: int = 0
    behind: int = 0

    @property
    def index(self) -> Int[Tensor, " T"]:
        """The player of each position, padding included."""
        return torch.tensor([BYSTANDER] * self.before + [*self.layout.owners] + [BYSTANDER] * self.behind)


def divide_texts(text: Any, tokenizer: Any, by: Any) -> list[TextDivision]:
    """Players of a text, or of each of several, padded to one length.

    Args and Raises: as :func:`divide_text`; InvalidInput: no texts.
    """
    if is_one_text(text):
        return [divide_text(text, tokenizer, by)]
    each = [divide_text(one, tokenizer, by) for one in text]
    if not each:
        raise InvalidInput("there are no texts; give at least one")
    longest, left = max(len(one.layout.ids) for one in each), pad_left(tokenizer)
    rooms = [longest - len(one.layout.ids) for one in each]
    return [replace(one, before=room if left else 0, behind=0 if left else room) for one, room in zip(each, rooms, strict=True)]


def divide_text(text: Any, tokenizer: Any, by: Any) -> TextDivision:
    """Players of one text.

    Args:
        text: a string, a template, or ids [T].
        tokenizer: see :mod:`vesalius.core.tokenization`.
        by: ``token``, ``word``, ``sentence``, or a pattern, each match of which is a player. A template is divided into its slots, unless
            something else than tokens is asked for.

    Raises:
        As :func:`vesalius.core.tokenization.tokenize`; InvalidInput: a pattern that is none, or matches nothing.
    """
    found = text if isinstance(text, TokenizedText) else tokenize(text, tokenizer)
    if found.slots and isinstance(by, str) and by == "token":
        owners = _owners(found, [span for _, span in found.slots])
        return _merge(SLOT_KIND, found, owners, [name for name, _ in found.slots])
    kind, pattern = _division(by)
    if pattern is None:
        return _tokens(found)
    spans_found = [(match.start(), match.end()) for match in pattern.finditer(found.text) if match.group().strip()]
    if not spans_found:
        raise InvalidInput(f"{getattr(by, 'pattern', by)!r} matches nothing in the text, so there are no players; {_offer()}")
    names = [found.text[start:stop].strip() for start, stop in spans_found]
    return _merge(kind, found, _owners(found, spans_found), names)


def _offer() -> str:
    return f"players of a text are {', '.join(map(repr, DIVISIONS))}, or a pattern (a regular expression), each match a player"


def _division(by: Any) -> tuple[str, re.Pattern[str] | None]:
    if isinstance(by, re.Pattern):
        return PATTERN_KIND, by
    if not isinstance(by, str):
        raise WrongType(f"by is a word or a pattern, not {type(by).__name__}; {_offer()}")
    if by in DIVISIONS:
        kind, pattern = DIVISIONS[by]
        return kind, None if pattern is None else pattern()
    if by.lower().rstrip("s") in DIVISIONS:
        raise UnknownName("division of a text", by, DIVISIONS, meant=by.lower().rstrip("s"), listed=True)
    try:
        return PATTERN_KIND, re.compile(by)
    except re.error as error:
        raise InvalidInput(f"{by!r} is no pattern ({error}); {_offer()}") from error


def _tokens(found: TokenizedText) -> TextDivision:
    owners, count = [], 0
    for special in found.special:
        owners.append(BYSTANDER if special else count)
        count += not special
    pieces = found.pieces
    names = tuple(
        piece.strip() or (repr(piece)[1:-1] if piece else name_without_text(name))
        for piece, name, special in zip(pieces, found.names, found.special, strict=True)
        if not special
    )
    return TextDivision(DIVISIONS["token"][0], names, TextLayout(pieces, tuple(owners), found.ids))


def _owners(found: TokenizedText, spans: Sequence[Span]) -> list[list[int]]:
    """For each token the spans that it has characters of; what is only a space belongs to nobody."""
    owned = []
    for (start, stop), special in zip(found.spans, found.special, strict=True):
        shown = found.text[start:stop]
        start += len(shown) - len(shown.lstrip())
        stop = max(start, stop - (len(shown) - len(shown.rstrip())))
        owned.append([] if special else [place for place, (a, b) in enumerate(spans) if max(a, start) < min(b, stop)])
    return owned


def _merge(kind: str, found: TokenizedText, owned: Sequence[Sequence[int]], names: Sequence[str]) -> TextDivision:
    """Players that own whole tokens: what shares a token is one player."""
    root = list(range(len(names)))
    for places in owned:
        for place in places[1:]:
            low, high = sorted((root[places[0]], root[place]))
            root = [low if one == high else one for one in root]
    held = {root[places[0]] for places in owned if places}
    kept = sorted(held)
    number = {one: place for place, one in enumerate(kept)}
    owners = tuple(number[root[places[0]]] if places else BYSTANDER for places in owned)
    joined = tuple(" ".join(names[place] for place in range(len(names)) if root[place] == one) for one in kept)
    if not joined:
        raise InvalidInput(f"none of the {kind} has a token of its own, so there are no players")
    return TextDivision(kind, joined, TextLayout(found.pieces, owners, found.ids))
