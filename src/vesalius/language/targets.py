"""Targets of language: one number per row of what a language model puts out, to be given as ``target=``.

A model's output is [N, T, V] (logits of the next token at every position), or [N, V] where it gives those of the last position alone.

They run while a model is exported, where sizes are symbols, and so their shapes are told here and not in annotations.

Axes: N rows, T positions, V tokens of the vocabulary, K tokens of a continuation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from vesalius.core.errors import InvalidInput, UnknownName, WrongType
from vesalius.core.numbers import POSITIVE_COUNT, whole_number
from vesalius.core.tokenization import content_ids, continuation_ids, token_id, token_text

Token = Any
"""A token by its id, its name in the vocabulary, or the text that it stands for."""
UNITS = ("logit", "log_probability", "probability")


class LanguageTarget(ABC):
    """A function of a language model's output, whose tokens may be named as strings until a tokenizer is known.

    Attributes:
        words: what is explained, in words; found when the tokens are.
    """

    words: str

    @abstractmethod
    def resolve(self, tokenizer: Any) -> LanguageTarget:
        """The same with ids for strings. Raises: as :func:`vesalius.core.tokenization.token_id`."""

    @abstractmethod
    def describe(self, tokenizer: Any = None) -> str:
        """A few words for provenance and page."""

    @abstractmethod
    def __call__(self, output: Tensor) -> Tensor:
        """The target of each row."""


Kind = TypeVar("Kind", bound=LanguageTarget)


@final
@dataclass(frozen=True)
class NextTokenLogit(LanguageTarget):
    """The logit of a token.

    Attributes:
        token: whose.
        position: after which position of the text it comes; the last by default.
    """

    token: Token
    position: int = -1
    words: str = field(default="", compare=False, repr=False)

    def resolve(self, tokenizer: Any) -> NextTokenLogit:
        return _named(replace(self, token=token_id(self.token, tokenizer)), tokenizer)

    def describe(self, tokenizer: Any = None) -> str:
        return f"logit of {_shown(self.token, tokenizer)}"

    def __call__(self, output: Tensor) -> Tensor:
        return _at(output, self.position)[:, _id(self.token)]


@final
@dataclass(frozen=True)
class LogProbability(LanguageTarget):
    """The log-probability of a token, in nats. Attributes: as :class:`NextTokenLogit`."""

    token: Token
    position: int = -1
    words: str = field(default="", compare=False, repr=False)

    def resolve(self, tokenizer: Any) -> LogProbability:
        return _named(replace(self, token=token_id(self.token, tokenizer)), tokenizer)

    def describe(self, tokenizer: Any = None) -> str:
        return f"log-probability of {_shown(self.token, tokenizer)}"

    def __call__(self, output: Tensor) -> Tensor:
        return _at(output, self.position).log_softmax(-1)[:, _id(self.token)]


@final
@dataclass(frozen=True)
class Probability(LanguageTarget):
    """The probability of a token. Attributes: as :class:`NextTokenLogit`."""

    token: Token
    position: int = -1
    words: str = field(default="", compare=False, repr=False)

    def resolve(self, tokenizer: Any) -> Probability:
        return _named(replace(self, token=token_id(self.token, tokenizer)), tokenizer)

    def describe(self, tokenizer: Any = None) -> str:
        return f"probability of {_shown(self.token, tokenizer)}"

    def __call__(self, output: Tensor) -> Tensor:
        return _at(output, self.position).softmax(-1)[:, _id(self.token)]


@final
@dataclass(frozen=True)
class LogitDifference(LanguageTarget):
    """How much larger the logit of one token is than that of another.

    Attributes:
        token, other: the two.
        position: as in :class:`NextTokenLogit`.
    """

    token: Token
    other: Token
    position: int = -1
    words: str = field(default="", compare=False, repr=False)

    def resolve(self, tokenizer: Any) -> LogitDifference:
        return _named(replace(self, token=token_id(self.token, tokenizer), other=token_id(self.other, tokenizer)), tokenizer)

    def describe(self, tokenizer: Any = None) -> str:
        return f"logit of {_shown(self.token, tokenizer)} minus that of {_shown(self.other, tokenizer)}"

    def __call__(self, output: Tensor) -> Tensor:
        here = _at(output, self.position)
        return here[:, _id(self.token)] - here[:, _id(self.other)]


@final
@dataclass(frozen=True)
class Continuation(LanguageTarget):
    """The log-probability (or probability) of a continuation as a whole, each token given those before it, in one pass.

    Attributes:
        tokens: the continuation, as a text or ids. Where a text is explained it is put behind the text, and its tokens are bystanders;
            where ids are explained, they end with it.
        unit: ``"log_probability"``, ``"probability"``, or ``"logit"``, the sum of the tokens' logits.
    """

    tokens: Any
    unit: str = "log_probability"
    words: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_tokens(self.tokens, self.unit, "a continuation")

    def resolve(self, tokenizer: Any, text: str = "") -> Continuation:
        words = self.describe() if isinstance(self.tokens, str) else self.describe(tokenizer)
        return replace(self, tokens=_ids(self.tokens, tokenizer, text), words=words)

    @property
    def ids(self) -> tuple[int, ...]:
        """The continuation's tokens. Raises: InvalidInput: they are not known yet."""
        return _known(self.tokens)

    def describe(self, tokenizer: Any = None) -> str:
        if self.words:
            return self.words
        shown = self.tokens if isinstance(self.tokens, str) else "".join(_text(token, tokenizer) for token in self.tokens)
        return f"{self.unit.replace('_', '-')} of {shown!r}"

    def __call__(self, output: Tensor) -> Tensor:
        each = _each_token(output, _known(self.tokens), "logit" if self.unit == "logit" else "log_probability")
        return each.sum(1).exp() if self.unit == "probability" else each.sum(1)


@final
@dataclass(frozen=True)
class PerToken(LanguageTarget):
    """Every token of a continuation on its own, given those before it: values are a matrix, tokens of the continuation by players.

    Attributes:
        tokens: the continuation, as a text or ids; or how many tokens are generated, each the likeliest.
        unit: ``"log_probability"``, ``"probability"`` or ``"logit"`` of each.
    """

    tokens: Any
    unit: str = "log_probability"
    words: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.tokens, int):
            whole_number("the number of tokens to generate", self.tokens, POSITIVE_COUNT)
        _check_tokens(None if isinstance(self.tokens, int) else self.tokens, self.unit, "a continuation")

    def resolve(self, tokenizer: Any, text: str = "") -> PerToken:
        return self if isinstance(self.tokens, int) else replace(self, tokens=_ids(self.tokens, tokenizer, text))

    def describe(self, tokenizer: Any = None) -> str:
        return f"{self.unit.replace('_', '-')} of each token"

    @property
    def ids(self) -> tuple[int, ...]:
        """The continuation's tokens. Raises: InvalidInput: they are not known yet."""
        return _known(self.tokens)

    def each(self, tokenizer: Any) -> list[str]:
        """What is explained, token by token, in words."""
        return [_text(token, tokenizer) for token in _known(self.tokens)]

    def of_all(self, output: Tensor) -> Tensor:
        """The target of each token."""
        return _each_token(output, _known(self.tokens), self.unit)

    def __call__(self, output: Tensor) -> Tensor:
        raise InvalidInput("PerToken makes a matrix, several numbers of one text; give it to vesalius.attribute or explain with a text")


def _named(target: Kind, tokenizer: Any) -> Kind:
    """The same, with what it is in words."""
    named: Any = target
    found: Kind = replace(named, words=target.describe(tokenizer))
    return found


def _check_tokens(tokens: Any, unit: str, what: str) -> None:
    if unit not in UNITS:
        raise UnknownName("unit of a target", unit, UNITS, listed=True)
    if tokens is None or isinstance(tokens, str):
        if tokens == "":
            raise InvalidInput(f"{what} is empty; give its text")
        return
    if not isinstance(tokens, (list, tuple)) or not all(isinstance(one, int) and not isinstance(one, bool) for one in tokens):
        raise WrongType(f"{what} is a text or a list of ids, not {type(tokens).__name__} {tokens!r}")
    if not tokens:
        raise InvalidInput(f"{what} is empty; give at least one id")


def _ids(tokens: Any, tokenizer: Any, text: str) -> tuple[int, ...]:
    """A continuation as ids; behind a text, if there is one."""
    if not isinstance(tokens, str):
        return tuple(tokens)
    if tokenizer is None:
        raise InvalidInput(f"the continuation {tokens!r} is a string, and no tokenizer is known; give tokenizer=, or ids")
    found = continuation_ids(text, tokens, tokenizer) if text.strip() else content_ids(tokens, tokenizer)
    if not found:
        raise InvalidInput(f"the tokenizer makes no tokens of the continuation {tokens!r}")
    return found


def _known(tokens: Any) -> tuple[int, ...]:
    if isinstance(tokens, (str, int)):
        raise InvalidInput(f"the continuation {tokens!r} is not known as ids, and no tokenizer is; give tokenizer=, or ids")
    return tuple(tokens)


def _id(token: Token) -> int:
    if isinstance(token, str):
        token_id(token, None)
    if isinstance(token, bool) or not isinstance(token, int):
        raise WrongType(f"a token is a string or an id, not {type(token).__name__} {token!r}")
    if token < 0:
        raise InvalidInput(f"there is no token {token}; ids begin at 0")
    return token


def _shown(token: Token, tokenizer: Any) -> str:
    return repr(token) if isinstance(token, str) else _text(token, tokenizer) if tokenizer is None else repr(_text(token, tokenizer))


def _text(token: int, tokenizer: Any) -> str:
    return f"token {token}" if tokenizer is None else token_text(tokenizer, token)


def _at(output: Tensor, position: int) -> Tensor:
    """The logits behind one position."""
    if output.ndim == 2:
        if position != -1:
            raise InvalidInput(f"the model gives logits of the last position alone, so there are none behind position {position}")
        return output
    if output.ndim != 3:
        raise InvalidInput(f"a language model gives logits [positions, tokens] of each row, and this output has shape {list(output.shape)}")
    return output[:, position]


def _each_token(output: Tensor, tokens: Sequence[int], unit: str) -> Tensor:
    """What a continuation's tokens are worth, each read off the position before it."""
    if output.ndim != 3:
        raise InvalidInput(f"a continuation needs logits at every position, [rows, positions, tokens], not {list(output.shape)}")
    count = len(tokens)
    before = output[:, -count - 1 : -1]
    scores = before if unit == "logit" else before.log_softmax(-1) if unit == "log_probability" else before.softmax(-1)
    index = torch.tensor([_id(token) for token in tokens], device=output.device)
    return scores.gather(2, index[None, :, None].expand(output.shape[0], count, 1))[:, :, 0]
