"""Texts as tokens: what a tokenizer of any kind makes of a text, and which part of the text each token stands for.

A tokenizer is one of ``tokenizers``, one of ``transformers`` (fast or slow), or the names of the tokens: a list, whose places are the ids,
or a mapping from name to id. Neither library is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.token_names import BROKEN, CONTINUES, MARKS

Span = tuple[int, int]
MOST_PARTS = 8
"""Tokens in a row that are tried as one character, or as several that are cut in their middle."""
KINDS = "a tokenizer of tokenizers or transformers, a list of the tokens' names, or a mapping from name to id"
SPECIAL_ROLES = ("pad", "mask", "unk", "eos", "bos", "cls", "sep")
"""Tokens that a tokenizer may have by their part."""
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<PAD>", "PAD"),
    "mask": ("<mask>", "[MASK]", "<MASK>", "MASK"),
    "unk": ("<unk>", "[UNK]", "<|unk|>", "<UNK>", "UNK"),
    "eos": ("<eos>", "[EOS]", "</s>", "<|endoftext|>", "<|eos|>", "<EOS>"),
    "bos": ("<bos>", "[BOS]", "<s>", "<|endoftext|>", "<|bos|>", "<BOS>"),
    "cls": ("<cls>", "[CLS]", "<CLS>"),
    "sep": ("<sep>", "[SEP]", "<SEP>"),
}
"""What those are called where a tokenizer does not say which of its tokens they are."""


@dataclass(frozen=True)
class TokenizedText:
    """A text and its tokens.

    Attributes:
        text: as it was given; of bare ids, what they stand for.
        ids: of the tokens.
        spans: first and last + 1 character of the text that each token stands for; (0, 0) for one that stands for none.
        special: whether a token is no part of the text: a marker of its beginning or end, or padding.
        names: what each token is called in the vocabulary.
        slots: of a template, with the part of the text that each is.
    """

    text: str
    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    special: tuple[bool, ...]
    names: tuple[str, ...]
    slots: tuple[tuple[str, Span], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pieces(self) -> tuple[str, ...]:
        """The text in reading order, cut at the tokens: together they are the text; a special token is shown by its name."""
        found, done = [], 0
        content = [place for place, special in enumerate(self.special) if not special]
        for place, ((_, stop), special) in enumerate(zip(self.spans, self.special, strict=True)):
            if special:
                found.append(self.names[place])
                done = max(done, stop)  # one that is written in the text itself
                continue
            stop = len(self.text) if place == content[-1] else max(stop, done)
            found.append(self.text[done:stop])
            done = stop
        return tuple(found)


def tokenize(text: Any, tokenizer: Any) -> TokenizedText:
    """A text, or ids that were made of one, with the part of the text that each token stands for.

    Args:
        text: a string, or whole numbers [T].
        tokenizer: see the head of this module.

    Raises:
        WrongType: no text, or no tokenizer.
        InvalidInput: an empty text, nothing but special tokens, a text that the tokenizer cut, ids that it does not have.
    """
    if isinstance(text, str):
        if not text.strip():
            raise InvalidInput("the text is empty, so there is nothing to explain; give at least one word")
        found = _encode(text, tokenizer)
        markers = special_ids(tokenizer)
        slots = getattr(text, "slots", ())
        found = replace(
            found, slots=slots, special=tuple(marked or one in markers for marked, one in zip(found.special, found.ids, strict=True))
        )
    else:
        found = _from_ids(_plain_ids(text), tokenizer)
    if not found.ids:
        raise InvalidInput(f"the tokenizer made no tokens of {text!r}, so there is nothing to explain")
    if all(found.special):
        shown = " ".join(found.names[:6])
        raise InvalidInput(f"the text has only special tokens ({shown}), which are no players, so there is nothing to explain")
    return found


def _encode(text: str, tokenizer: Any) -> TokenizedText:
    if isinstance(tokenizer, (Mapping, Sequence)) and not isinstance(tokenizer, (str, bytes)):
        return _encode_by_names(text, tokenizer)
    if hasattr(tokenizer, "get_vocab_size") and hasattr(tokenizer, "encode"):
        made = tokenizer.encode(text)
        if made.overflowing:
            _refuse_cut(len(made.ids), len(made.ids) + sum(len(part.ids) for part in made.overflowing))
        special = tuple(map(bool, made.special_tokens_mask))
        return TokenizedText(text, tuple(made.ids), _own_spans(text, made.offsets, made.tokens), special, tuple(made.tokens))
    if not (callable(tokenizer) and hasattr(tokenizer, "convert_ids_to_tokens")):
        raise WrongType(f"a tokenizer is {KINDS}, not {type(tokenizer).__name__}")
    fast = bool(getattr(tokenizer, "is_fast", False))
    wanted = {"return_offsets_mapping": True} if fast else {}
    made = tokenizer(text, return_special_tokens_mask=True, **wanted)
    ids = tuple(made["input_ids"])
    names = tuple(tokenizer.convert_ids_to_tokens(list(ids)))
    special = tuple(map(bool, made["special_tokens_mask"]))
    spans = _own_spans(text, made["offset_mapping"], names) if fast else _find_spans(text, names, special, tokenizer)
    return TokenizedText(text, ids, spans, special, names)


def _own_spans(text: str, spans: Sequence[Sequence[int]], names: Sequence[str]) -> tuple[Span, ...]:
    """Where tokens stand in a text; a mark of a space alone that a tokenizer put before a text which has none there stands for no
    character, though it is said to stand for the next."""
    found = []
    for (start, stop), name in zip(spans, names, strict=True):
        alone = name and all(name == mark * (len(name) // len(mark)) for mark, _ in MARKS if mark in name)
        marked = any(mark in name for mark, _ in MARKS)
        found.append((start, start) if alone and marked and text[start:stop].strip() else (start, stop))
    return tuple(found)


def _refuse_cut(kept: int, whole: int) -> None:
    raise InvalidInput(f"the tokenizer cuts the text to {kept} of its {whole} tokens; switch that off: tokenizer.no_truncation()")


def _find_spans(text: str, names: Sequence[str], special: Sequence[bool], tokenizer: Any) -> tuple[Span, ...]:
    """Where the tokens of a tokenizer without offsets stand in its text, found by looking for each behind the one before."""
    spans, done, lowered = [], 0, text.lower()
    for name, marked in zip(names, special, strict=True):
        shown = "" if marked else _shown(name, tokenizer).strip()
        if not shown:
            spans.append((done, done) if not marked else (0, 0))
            continue
        start = text.find(shown, done)
        start = lowered.find(shown.lower(), done) if start < 0 else start
        if start < 0 or text[done:start].strip():
            raise InvalidInput(
                f"{type(tokenizer).__name__} does not say where its tokens stand in the text, and {shown!r} is not found there behind"
                f" {text[:done][-20:]!r}; use its fast version (AutoTokenizer.from_pretrained(..., use_fast=True)), or give the ids"
            )
        spans.append((start, start + len(shown)))
        done = start + len(shown)
    return tuple(spans)


def _encode_by_names(text: str, names: Any) -> TokenizedText:
    """Words between spaces, looked up in a list of names or a mapping."""
    known = _ids_by_name(names)
    ids, spans, done = [], [], 0
    for word in text.split():
        start = text.index(word, done)
        done = start + len(word)
        if word not in known:
            raise InvalidInput(f"{word!r} is none of the {len(known)} tokens that were named; give ids, or a tokenizer that cuts words")
        ids.append(known[word])
        spans.append((start, done))
    return TokenizedText(text, tuple(ids), tuple(spans), (False,) * len(ids), tuple(text.split()))


def _from_ids(ids: tuple[int, ...], tokenizer: Any) -> TokenizedText:
    """Ids, and the text that they stand for."""
    size = vocabulary_size(tokenizer, added=True)
    if ids and not 0 <= min(ids) <= max(ids) < size:
        wrong = min(ids) if min(ids) < 0 else max(ids)
        raise InvalidInput(f"there is an id {wrong}, and the tokenizer has {size} tokens, 0 to {size - 1}: it is of another vocabulary")
    names = tuple(token_name(tokenizer, one) for one in ids)
    markers = special_ids(tokenizer)
    special = tuple(one in markers for one in ids)
    by_name = isinstance(tokenizer, (Mapping, Sequence))
    text, spans, parts = "", [], {} if by_name else _split_characters(names, tokenizer)
    for place, name in enumerate(names):
        shown = parts[place] if place in parts else name if by_name else _shown(name, tokenizer)
        gap = " " if text and (by_name or not _has_marks(names)) and not name.startswith(CONTINUES) else ""
        if special[place]:
            spans.append((0, 0))
            continue
        text += gap
        spans.append((len(text), len(text) + len(shown)))
        text += shown
    return TokenizedText(text, ids, tuple(spans), special, names)


def _split_characters(names: Sequence[str], tokenizer: Any) -> dict[int, str]:
    """What tokens are shown as that are parts of one character: the first as all of it, the others as nothing."""
    found: dict[int, str] = {}
    for place, name in enumerate(names):
        if place in found or name.isascii() or BROKEN not in (_decoded([name], tokenizer) or ""):
            continue
        for stop in range(place + 2, min(place + MOST_PARTS, len(names)) + 1):
            made = _decoded(names[place:stop], tokenizer) or BROKEN
            if BROKEN not in made:
                found |= {place: made, **dict.fromkeys(range(place + 1, stop), "")}
                break
    return found


def _has_marks(names: Sequence[str]) -> bool:
    """Whether spaces are written in the tokens themselves."""
    return any(mark in name for name in names for mark, _ in MARKS)


def _shown(name: str, tokenizer: Any) -> str:
    """The text that a token stands for."""
    if name.startswith(CONTINUES):
        return name[len(CONTINUES) :]
    if not any(mark in name for mark, _ in MARKS) and name.isascii():
        return name
    made = _decoded([name], tokenizer)
    if made is not None:
        leading = name.startswith(MARKS[0][0]) or name.startswith(MARKS[1][0])
        return f" {made}" if leading and not made.startswith(" ") else made
    for mark, text in MARKS:
        name = name.replace(mark, text)
    return name


def _decoded(names: Sequence[str], tokenizer: Any) -> str | None:
    decoder = getattr(tokenizer, "decoder", None)
    if decoder is not None and hasattr(decoder, "decode"):
        return str(decoder.decode(list(names)))
    backend = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    if backend is not None:
        return str(backend.decode(list(names)))
    if hasattr(tokenizer, "convert_tokens_to_string"):
        return str(tokenizer.convert_tokens_to_string(list(names)))
    return None


def _plain_ids(given: Any) -> tuple[int, ...]:
    """Whole numbers [T] in any form."""
    held = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(held, (list, tuple)) or not all(isinstance(one, int) and not isinstance(one, bool) for one in held):
        raise WrongType(f"a text is a string, or the ids [T] of its tokens, not {type(given).__name__} {str(given)[:60]!r}")
    if not held:
        raise InvalidInput("there are no ids, so there is nothing to explain")
    return tuple(held)


def is_one_text(given: Any) -> bool:
    """Whether this is one text, or the ids [T] of one, rather than several."""
    if isinstance(given, str):
        return True
    if hasattr(given, "ndim"):
        return bool(given.ndim < 2)
    return not isinstance(given, (list, tuple)) or not given or isinstance(given[0], int)


def pad_left(tokenizer: Any) -> bool:
    """Whether a tokenizer pads on the left."""
    padding = getattr(tokenizer, "padding", None)
    side = padding.get("direction") if isinstance(padding, Mapping) else getattr(tokenizer, "padding_side", "right")
    return str(side) == "left"


# ---- the vocabulary ------------------------------------------------------------------------------------------------------------------


def _ids_by_name(names: Any) -> Mapping[str, int]:
    if isinstance(names, Mapping):
        return names
    if isinstance(names, (str, bytes)) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise WrongType(f"a tokenizer is {KINDS}, not {type(names).__name__} {str(names)[:40]!r}")
    return {name: place for place, name in enumerate(names)}


def vocabulary(tokenizer: Any) -> Mapping[str, int]:
    """All tokens by name.

    Raises:
        WrongType: no tokenizer.
    """
    if hasattr(tokenizer, "get_vocab") and callable(tokenizer.get_vocab):
        found: Mapping[str, int] = tokenizer.get_vocab()
        return found
    return _ids_by_name(tokenizer)


def vocabulary_size(tokenizer: Any, *, added: bool) -> int:
    """How many ids a tokenizer has, with or without those of tokens that were added to it later."""
    known = vocabulary(tokenizer)
    if not added and hasattr(tokenizer, "get_vocab_size"):
        return int(tokenizer.get_vocab_size(with_added_tokens=False))
    if not added and isinstance(getattr(tokenizer, "vocab_size", None), int):
        return int(tokenizer.vocab_size)
    return max(known.values(), default=-1) + 1


def token_name(tokenizer: Any, token: int) -> str:
    """What a token is called in the vocabulary."""
    for name in ("id_to_token", "convert_ids_to_tokens"):
        if hasattr(tokenizer, name):
            return str(getattr(tokenizer, name)(token))
    return next((name for name, place in _ids_by_name(tokenizer).items() if place == token), f"<{token}>")


def token_text(tokenizer: Any, token: int) -> str:
    """The text that a token stands for, or its name where it stands for none."""
    return _shown(token_name(tokenizer, token), tokenizer) or token_name(tokenizer, token)


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Tokens that are no part of a text; the one for unknown words is, unless it is another one as well."""
    parts = {role: special_id(tokenizer, role) for role in SPECIAL_ROLES}
    unknown = parts.pop("unk")
    return _marked_ids(tokenizer) - (frozenset() if unknown in parts.values() or unknown is None else {unknown})


def _marked_ids(tokenizer: Any) -> frozenset[int]:
    if hasattr(tokenizer, "all_special_ids"):
        return frozenset(tokenizer.all_special_ids)
    if hasattr(tokenizer, "get_added_tokens_decoder"):
        return frozenset(place for place, token in tokenizer.get_added_tokens_decoder().items() if token.special)
    known = vocabulary(tokenizer)
    return frozenset(known[name] for names in USUAL_NAMES.values() for name in names if name in known)


def special_id(tokenizer: Any, role: str) -> int | None:
    """The id of the token for a part (``pad``, ``mask``, ...), ``None`` where there is none."""
    place = getattr(tokenizer, f"{role}_token_id", None)
    if isinstance(place, int):
        return place
    if hasattr(tokenizer, "all_special_ids"):
        return None
    padding = getattr(tokenizer, "padding", None)
    if role == "pad" and isinstance(padding, Mapping) and "pad_id" in padding:
        return int(padding["pad_id"])
    known = vocabulary(tokenizer)
    return next((known[name] for name in USUAL_NAMES[role] if name in known), None)


def content_ids(text: str, tokenizer: Any) -> tuple[int, ...]:
    """The tokens of a piece of text, without markers around it."""
    found = _encode(text, tokenizer)
    return tuple(one for one, special in zip(found.ids, found.special, strict=True) if not special)


def continuation_ids(text: str, continuation: str, tokenizer: Any) -> tuple[int, ...]:
    """The tokens of what comes behind a text, as the tokenizer cuts both together, where that leaves those of the text as they are; else
    those of the continuation alone. (Alone it may get a space before it that it has not.) Where tokens do not say where spaces are, a
    continuation is another word."""
    before, both = content_ids(text, tokenizer), content_ids(text + continuation, tokenizer)
    marked = _has_marks([token_name(tokenizer, one) for one in both])
    whole = marked and len(both) > len(before) and both[: len(before)] == before
    return both[len(before) :] if whole else content_ids(continuation, tokenizer)


def token_id(token: Any, tokenizer: Any) -> int:
    """The one token that is meant by a string or an id.

    Args:
        token: an id; the name of a token in the vocabulary, or the text it stands for (``" Paris"`` with its space).
        tokenizer: ``None`` where only ids are known.

    Raises:
        WrongType: neither.
        InvalidInput: no such token; a text of several.
    """
    if isinstance(token, int) and not isinstance(token, bool):
        return token
    if not isinstance(token, str):
        raise WrongType(f"a token is a string or an id, not {type(token).__name__} {token!r}")
    if tokenizer is None:
        raise InvalidInput(f"the token {token!r} is a string, and no tokenizer is known; give tokenizer=, or the id of the token")
    known = vocabulary(tokenizer)
    if token in known:
        return known[token]
    if isinstance(tokenizer, (Mapping, Sequence)):
        raise InvalidInput(f"{token!r} is unknown to this vocabulary of {len(known)} tokens")
    found = content_ids(token, tokenizer) if token else ()
    unknown = special_id(tokenizer, "unk")
    if len(found) == 1 and found[0] != unknown:
        return found[0]
    if not found or unknown in found:
        raise InvalidInput(f"{token!r} is unknown to this vocabulary of {len(known)} tokens")
    shown = ", ".join(repr(token_text(tokenizer, one)) for one in found)
    raise InvalidInput(f"{token!r} is {len(found)} tokens to this tokenizer ({shown}), and one is meant here; name one of them")
