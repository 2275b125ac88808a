"""What is asked about texts, in the words of tokens: players, target and baseline as every verb takes them, for texts of one length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vesalius.core.arguments import read_argument
from vesalius.core.errors import InvalidInput, WrongType
from vesalius.core.players import Players
from vesalius.core.text_division import BYSTANDER, TextLayout, divide_text
from vesalius.core.tokenization import TokenizedText, special_id, token_text, vocabulary, vocabulary_size
from vesalius.language.baselines import text_baseline
from vesalius.language.targets import Continuation, LanguageTarget, NextTokenLogit, PerToken
from vesalius.trace.default_inputs import embedding_behind
from vesalius.trace.network import Network
from vesalius.trace.target import Target, predicted_classes
from vesalius.trace.texts import GivenTexts, device_ids, fills_masks, read_texts
from vesalius.trace.trace import recall

TextPlayers = Any
"""``Players``; or how a text is divided into them, a word or a pattern; or ``None``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TextQuestion:
    """A question about texts of one length, as a verb asks it of ids.

    Attributes:
        network: for this length.
        x: the ids, as it takes them.
        players: of each text.
        target: of their output.
        baseline: as ids, where it was named in words.
        at: the embedding of the ids, where gradients are taken; else as it was given.
        targets: what is explained of each row, in words; empty where the verb knows it as well.
        baseline_words: of what stands in, likewise.
        generated: tokens of the continuation, if each is explained on its own.
    """

    network: Network
    x: Tensor | dict[str, Tensor]
    players: Players
    target: Target
    baseline: Any
    at: str | Sequence[str] | None
    targets: tuple[str, ...] = ()
    baseline_words: str = ""
    generated: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Model, samples, players, target, baseline and place, as a verb takes them."""
        return self.network, self.x, self.players, self.target, self.baseline, self.at


@dataclass(frozen=True, eq=False, kw_only=True)
class TextWords:
    """What a verb was asked, as it was given.

    Attributes:
        target, baseline, at: see :func:`vesalius.attribute`.
        players: or how the texts are divided.
        classes: names of classes.
        of_ids: whether ids are explained where nobody says so, rather than embeddings.
    """

    target: Target = None
    baseline: Any = None
    players: TextPlayers = None
    at: str | Sequence[str] | None = None
    classes: Sequence[str] = ()
    of_ids: bool = True


def pose_texts(given: GivenTexts, places: Sequence[int], words: TextWords) -> TextQuestion:
    """The question about those texts at some places, all of one length.

    Raises:
        InvalidInput, WrongType, UnknownName: a target, a baseline or players that do not fit them.
    """
    texts = [given.texts[place] for place in places]
    target = _resolve_tokens(given, texts, words.target)
    behind = target.ids if isinstance(target, (Continuation, PerToken)) else ()
    ids = device_ids(given.model, [[*text.ids, *behind] for text in texts])
    rows = given.rows(ids)
    network = given.network(rows)
    players = Players.joined([_behind(one, behind, given.tokenizer) for one in text_players(given, places, words.players)])
    at = words.at
    if at is None and not words.of_ids:
        at = embedding_behind(network)
    of_ids = at is None or at in [value.name for value in network.inputs]
    longer = [replace_ids(text, behind) for text in texts]
    baseline, said = text_baseline(words.baseline, longer[0], given.tokenizer, of_ids=of_ids)
    if said and isinstance(baseline, Tensor):
        if len(texts) > 1:
            raise InvalidInput("a text or a background of texts stands in for the tokens of one text; explain the texts one at a time")
        baseline = given.rows(baseline) if baseline.ndim == 2 else baseline
    found = TextQuestion(network=network, x=rows, players=players, target=target, baseline=baseline, at=at, baseline_words=said)
    if isinstance(target, PerToken):
        return _matrix(found, target, given.tokenizer)
    if isinstance(target, LanguageTarget):
        return replace(found, targets=(target.describe(given.tokenizer),) * len(texts))
    return _predicted(found, given, texts, words)


def as_text_question(model: Any, x: Any, tokenizer: Any, words: TextWords) -> TextQuestion | None:
    """The question about one text, for verbs that take a single sample; ``None`` where no text came.

    Raises:
        InvalidInput: several texts; a matrix of targets.
    """
    from_words = read_texts(model, x, tokenizer)
    if from_words is None:
        return None
    if len(from_words.texts) > 1:
        raise InvalidInput(f"this is about one text; {len(from_words.texts)} came. Loop over them, or use vesalius.attribute")
    if isinstance(words.target, PerToken):
        raise InvalidInput("PerToken makes a matrix, which vesalius.attribute and vesalius.explain do; here one number is explained")
    return pose_texts(from_words, [0], words)


def require_players(players: TextPlayers) -> Players | None:
    """Players, where no text came that words could divide."""
    if isinstance(players, str):
        raise InvalidInput(f"players={players!r} divides a text, and none came; give a text and tokenizer=, or players made of the input")
    found: Players | None = read_argument("players", players, "Players | None")
    return found


def text_players(given: GivenTexts, places: Sequence[int], players: TextPlayers) -> list[Players]:
    """The players of texts at some places."""
    if isinstance(players, Players):
        own = [players.of(place) for place in places]
        for one, place in zip(own, places, strict=True):
            _check_players(one, given.texts[place], alone=not players.samples and len(given.texts) > 1)
        return own
    by = "token" if players is None else players
    if not isinstance(by, (str, re.Pattern)):
        raise WrongType(f"players: a Players was expected, or a way to divide a text ('word'), not {type(by).__name__} {by!r}")
    found = []
    for place in places:
        made = divide_text(given.texts[place], given.tokenizer, by)
        found.append(Players((made.index,), (len(made.names),), made.kind, made.names, layout=made.layout))
    return found


def _check_players(players: Players, text: TokenizedText, *, alone: bool) -> None:
    if alone:
        raise InvalidInput("these players are of one text, and several came; make them of all: vesalius.Players.text(texts, tokenizer)")
    if players.layout is not None and players.layout.ids != text.ids:
        raise InvalidInput(
            f"these {players.kind} are of another text, {players.layout.text[:40]!r}; make them of the one that is explained, with the same"
            " tokenizer: vesalius.Players.text(text, tokenizer)"
        )


def replace_ids(text: TokenizedText, behind: Sequence[int]) -> TokenizedText:
    """A text with a continuation behind it, whose tokens are no part of it."""
    more = len(behind)
    return replace(
        text,
        ids=(*text.ids, *behind),
        spans=(*text.spans, *[(0, 0)] * more),
        special=(*text.special, *[True] * more),
        names=(*text.names, *[""] * more),
    )


def _behind(players: Players, behind: Sequence[int], tokenizer: Any) -> Players:
    """Players of a text, unpadded, with a continuation behind it, whose tokens are bystanders."""
    layout = players.layout
    owner = players.index[0] if layout is None else torch.tensor(layout.owners)
    if not behind and layout is not None:
        return replace(players, index=(owner,))
    index = torch.cat([owner, torch.full((len(behind),), BYSTANDER)]) if owner.ndim == 1 else owner
    if layout is not None:
        pieces = (*layout.pieces, *(token_text(tokenizer, one) for one in behind))
        layout = TextLayout(pieces, (*layout.owners, *[BYSTANDER] * len(behind)), (*layout.ids, *behind))
    return replace(players, index=(index,), layout=layout)


def _resolve_tokens(given: GivenTexts, texts: Sequence[TokenizedText], target: Target) -> Target:
    """A target of language with ids, the tokens to be generated included."""
    if not isinstance(target, LanguageTarget):
        return target
    if isinstance(target, (Continuation, PerToken)):
        return _resolve_continuation(given, texts, target)
    found = target.resolve(given.tokenizer)
    place = mask_place(given, texts) if getattr(found, "position", 0) == -1 else None
    return found if place is None else replace(found, position=place)  # type: ignore[type-var]


def _resolve_continuation(given: GivenTexts, texts: Sequence[TokenizedText], target: Continuation | PerToken) -> Continuation | PerToken:
    """A continuation as ids, as they come behind the texts, or are generated."""
    each = [target.resolve(given.tokenizer, text.text) for text in texts]
    if any(one.tokens != each[0].tokens for one in each):
        each = [target.resolve(given.tokenizer)]  # the tokenizer cuts it in unlike ways behind them: as it does alone
    found = each[0]
    if isinstance(found, Continuation):
        return found
    if len(given.texts) > 1:
        raise InvalidInput(f"a matrix is of one text, and {len(given.texts)} came; explain them one at a time")
    return replace(found, tokens=given.generate(found.tokens)) if isinstance(found.tokens, int) else found


def _matrix(found: TextQuestion, target: PerToken, tokenizer: Any) -> TextQuestion:
    """One row for each token of the continuation, all of the same text."""
    shown = tuple(target.each(tokenizer))
    call = found.network.call
    if call is None:
        raise InvalidInput("a matrix needs the live model, and this network was loaded from a file; give the model")
    tensors = found.network.bind(found.x)
    network = recall((replace(call, function=target.of_all), tensors))
    many = tuple(tensor.expand(len(shown), *tensor.shape[1:]) for tensor in tensors)
    rows = dict(zip((value.name for value in network.inputs), many, strict=True)) if len(many) > 1 else many[0]
    targets = tuple(f"{target.unit.replace('_', '-')} of {one!r}" for one in shown)
    return replace(found, network=network, x=rows, target=torch.arange(len(shown)), targets=targets, generated=shown)


def _predicted(found: TextQuestion, given: GivenTexts, texts: Sequence[TokenizedText], words: TextWords) -> TextQuestion:
    """A token by its string or id, or the likeliest one, where the model gives logits of tokens; a class as it is."""
    target = words.target
    if target is not None and not (isinstance(target, (str, int)) and not isinstance(target, bool)):
        return found
    with torch.no_grad():
        output = found.network.run(found.network.bind(found.x))
    if output.ndim not in (2, 3):
        return found
    known = _classes(found, words)
    of_token = isinstance(target, str) and target not in known and target in vocabulary(given.tokenizer)
    if output.ndim == 2 and not of_token:
        named = len(known) == output.shape[1] and (target is None or isinstance(target, str))
        each = [known[one] for one in predicted_classes(output).tolist()] if target is None and named else [str(target)] * len(output)
        return replace(found, targets=tuple(f"class {one}" for one in each)) if named else found
    position = _position(given, texts, output) if output.ndim == 3 else None
    if target is not None:
        token = NextTokenLogit(target, -1 if position is None else position).resolve(given.tokenizer)
        return replace(found, target=token, targets=(token.describe(given.tokenizer),) * len(output))
    place = -1 if position is None else position
    likeliest = output[:, place].argmax(-1)
    said = tuple(NextTokenLogit(int(one)).describe(given.tokenizer) for one in likeliest)
    return replace(found, target=(place, likeliest if len(output) > 1 else int(likeliest)), targets=said)


def _position(given: GivenTexts, texts: Sequence[TokenizedText], output: Tensor) -> int | None:
    """Where a token is predicted, if not behind the last one.

    Raises:
        InvalidInput: the output is not of tokens; a model that fills masks, and none in the text.
    """
    if output.shape[2] < vocabulary_size(given.tokenizer, added=False):
        raise InvalidInput(
            f"the output has {output.shape[2]} numbers at each of {output.shape[1]} positions, and there are"
            f" {vocabulary_size(given.tokenizer, added=False)} tokens: it is of classes of each token, so say of which one,"
            " target=(position, class)"
        )
    place = mask_place(given, texts)
    if place is None and fills_masks(given.model):
        raise InvalidInput(
            "this model says what stands at a mask, and the text has none; write the tokenizer's mask token where a word is to be"
            " predicted, or name position and token: target=(position, token)"
        )
    return place


def mask_place(given: GivenTexts, texts: Sequence[TokenizedText]) -> int | None:
    """Where texts have their one token for a word that is to be filled in; ``None`` where they have none.

    Raises:
        InvalidInput: several, or at other places in other texts.
    """
    mask = special_id(given.tokenizer, "mask")
    places = [[place for place, one in enumerate(text.ids) if one == mask] for text in texts]
    if not any(places):
        return None
    if len(places[0]) != 1 or any(one != places[0] for one in places):
        raise InvalidInput(
            f"the texts have masks at {', '.join(map(str, places[:4]))}, and one is explained at a time; name position and token,"
            " target=(position, token), and explain texts with masks at other places apart"
        )
    return places[0][0]


def _classes(found: TextQuestion, words: TextWords) -> Sequence[str]:
    return words.classes or found.network.classes
